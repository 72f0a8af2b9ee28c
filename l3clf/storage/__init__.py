"""Files and databases: the embedding cache, safe reading of ZIP files, file locks and atomic writing."""
