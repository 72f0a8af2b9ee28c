"""Sound that comes endlessly: a stream classifier, and the microphone, pipes and files that feed it."""
