"""Files and databases: the embedding cache, ZIP containers that are read without trust, writing that is atomic."""
