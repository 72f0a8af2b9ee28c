"""Sounds like this one, and clips that are worth a label: what embeddings say without training.

Rule: a search is exact, and its memory does not grow with the number of its queries.
"""

from l3clf.search.embedding_index import EmbeddingIndex, Match, similar
from l3clf.search.suggestions import Suggestion, Suggestions, suggest

__all__ = ["EmbeddingIndex", "Match", "Suggestion", "Suggestions", "similar", "suggest"]
