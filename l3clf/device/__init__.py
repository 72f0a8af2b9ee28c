"""A fitted model as C99 for a microcontroller, and the proof that it answers as Python does."""
