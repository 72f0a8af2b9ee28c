"""Fuzzing: every format that l3clf reads, damaged in ways that keep its structure, and every write that can fail."""
