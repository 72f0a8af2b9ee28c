"""A scikit-learn transformer: clips in, the pooled embeddings of their windows out.

Rule: nothing is learned; `fit` checks the parameters.
"""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import FloatArray
from l3clf.classifier.clip_estimator import ClipEstimator
from l3clf.classifier.decision import VECTOR_POOLINGS, check_pooling, pool_vectors
from l3clf.classifier.inputs import as_embedder, as_sources
from l3clf.embedders import WindowEmbeddings

__all__ = ["ClipEmbedder"]


class ClipEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClipEstimator):
    """Transform clips into vectors: the pooled embeddings of their windows.

    Parameters
    ----------
    embedder : str or Embedder, default="openl3"
        A name that `load_embedder` knows, or an embedder.
    hop_s : float, default=0.5
        Seconds from the start of one window to the start of the next.
    center : bool, default=True
        Whether the first window is centred on the clip's start.
    pooling : {"mean", "mean+std", "max"}, default="mean"
        How the windows' embeddings become one vector.
    sample_rate : int or None, default=None
        Rate in Hz of the arrays in X; files state their own.
    cache : "auto", path, EmbeddingCache or None, default="auto"
        Where embeddings are stored, so that a clip is embedded only once: "auto" is the user's cache folder
        (or ``L3CLF_CACHE``).
    n_jobs : int or None, default=None
        Number of threads; None and -1 mean one for each core.
    on_error : {"raise", "nan"}, default="raise"
        For a clip that cannot be embedded, raise an error once all others are done, or return a row of NaN
        and warn.
    verbose : bool, default=False
        Whether to show a progress bar.
    full_scale : float or None, default=None
        The value of a sample at full scale, for the arrays in X and for files of floating-point samples; None means 1
        for floating point and the limits of their type for integers. Integer formats state their own. For 16-bit
        samples in a wider type, it is 32768.

    Attributes
    ----------
    embedder_ : Embedder

    Examples
    --------
    >>> import numpy as np
    >>> clips = [np.zeros(8000), np.ones(16000)]
    >>> ClipEmbedder("mfcc", sample_rate=16000, cache=None).fit_transform(clips).shape
    (2, 60)
    """

    def __init__(
        self,
        embedder: Any = "openl3",
        hop_s: float = 0.5,
        center: bool = True,
        pooling: str = "mean",
        sample_rate: int | None = None,
        cache: Any = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        verbose: bool = False,
        full_scale: float | None = None,
    ) -> None:
        self.embedder = embedder
        self.hop_s = hop_s
        self.center = center
        self.pooling = pooling
        self.sample_rate = sample_rate
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose
        self.full_scale = full_scale

    def fit(self, X: Iterable[Any], y: Any = None) -> Self:
        """Check the parameters and the types of the items in X; nothing is read or learned.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : ignored

        Raises
        ------
        ParameterError
            If a parameter is out of range, or an item of X is not a clip.
        """
        self._check_parameters()
        check_pooling(self.pooling, VECTOR_POOLINGS)
        as_sources(X, self.sample_rate, self.full_scale)
        self.embedder_ = as_embedder(self.embedder)
        return self

    def transform(self, X: Iterable[Any]) -> FloatArray:
        """Embed and pool clips.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, embedding_size), float32
            Twice as wide for "mean+std". With ``on_error="nan"`` a clip that failed is a row of NaN.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        check_is_fitted(self)
        outcomes = self._embed(X, self.embedder_)
        out = np.full((len(outcomes), self._n_features_out), np.nan, np.float32)
        for row, outcome in zip(out, outcomes, strict=True):
            if isinstance(outcome, WindowEmbeddings):
                row[:] = pool_vectors(outcome.vectors, self.pooling)
        return out

    @property
    def _n_features_out(self) -> int:
        return self.embedder_.embedding_size * (2 if self.pooling == "mean+std" else 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # whatever type the clips have
        return tags
