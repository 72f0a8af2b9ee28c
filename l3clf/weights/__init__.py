"""Weight files: which ones are known, where they are found, and how they are downloaded, verified and read."""
