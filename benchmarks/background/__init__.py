"""The background banks of the package: making them, and choosing how much they weigh."""
