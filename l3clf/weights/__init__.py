"""Weight files: which are known, where they are found, how they are fetched, verified and read."""
