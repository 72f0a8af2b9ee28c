"""From the windows of training clips to a fitted head, with what is learned beside it: the gate and the threshold.

Rule: it sets what `ClipClassifier` documents as its fitted attributes, and decides nothing about new clips.
"""

import warnings
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.clip_augmentation import Augmentation
from l3clf.classifier.augmented import embed_copies
from l3clf.classifier.clip_estimator import ClipEstimator
from l3clf.classifier.clip_warnings import report_failures
from l3clf.classifier.cross_fitting import Lesson, fit_rows, learn, taught
from l3clf.classifier.decision import VECTOR_POOLINGS, above_gate, counted, pool_vectors
from l3clf.classifier.gate import learned_gate
from l3clf.classifier.heads import LARGE_BYTES, forest_memory
from l3clf.classifier.inputs import Item, as_cache
from l3clf.classifier.typicality import Typicality
from l3clf.classifier.unknown import Unknown, bank_rows, is_student
from l3clf.embedders import Embedder
from l3clf.errors import L3clfError, L3clfWarning, ParameterError
from l3clf.networks.threads import one_blas_thread
from l3clf.pipeline import Outcome

__all__ = ["ClipFitting"]


class ClipFitting(ClipEstimator):
    """Base of the classifier: which windows count, and what is learned from them."""

    head: Any
    pooling: str
    class_weight: Any
    gate_dbfs: float | str | None
    gate_hysteresis_db: float
    random_state: Any
    embedder_: Embedder
    # A pickle of an earlier version has none of these.
    augment: Augmentation | None = None
    unknown_threshold_: float | NDArray[np.float64] | None = None
    unknown_threshold_interval_: NDArray[np.float64] | None = None
    has_background_: bool = False
    temperature_: float = 1.0
    typicality_: Typicality | None = None

    def gate_in_force(self) -> tuple[float | None, float]:
        """Return the gate that decides: the one that was given, or else the one that was learned.

        Returns
        -------
        gate_dbfs : float or None
        hysteresis_db : float

        Raises
        ------
        ParameterError
            If it is to be learned, and the model is not fitted.
        """
        if not isinstance(self.gate_dbfs, str):
            return self.gate_dbfs, self.gate_hysteresis_db
        if not hasattr(self, "gate_dbfs_"):
            raise ParameterError("gate_dbfs='auto': not learned; fit the model again")
        return self.gate_dbfs_, self.gate_hysteresis_db or self.gate_hysteresis_db_

    def set_gate(self, gate_dbfs: float | None = None, hysteresis_db: float | None = None) -> Self:
        """Replace the gate of a fitted model, its hysteresis, or both; what is None stays as it is.

        Unlike the parameter ``gate_hysteresis_db``, a hysteresis of 0 is none here, also where the gate was learned.
        """
        if gate_dbfs is None and hysteresis_db is not None:
            gate_dbfs = self.gate_in_force()[0]  # as a number, because 0 beside "auto" stands for what was learned
        if gate_dbfs is not None:
            self.gate_dbfs = gate_dbfs
        if hysteresis_db is not None:
            self.gate_hysteresis_db = hysteresis_db
        return self

    def _learn_gate(self, outcomes: Sequence[Outcome], is_background: Sequence[bool]) -> None:
        """Learn the gate from clips, some of them background, if it is to be learned."""
        self.gate_dbfs_, self.gate_hysteresis_db_ = None, self.gate_hysteresis_db
        if not isinstance(self.gate_dbfs, str):
            self.gate_dbfs_ = self.gate_dbfs
            return
        levels: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for outcome, quiet in zip(outcomes, is_background, strict=True):
            if not isinstance(outcome, L3clfError):
                levels[quiet].append(outcome.levels_dbfs)
        self.gate_dbfs_, self.gate_hysteresis_db_ = learned_gate(*levels)

    def _vectors(self, outcome: Outcome, silence_learned: bool | None = True) -> FloatArray:
        """Return the embeddings of the windows that count; none for a clip that failed."""
        if isinstance(outcome, L3clfError):
            return np.zeros((0, self.embedder_.embedding_size), np.float32)
        return outcome.vectors[self._counted(outcome.levels_dbfs, silence_learned)]

    def _counted(self, levels_dbfs: FloatArray, silence_learned: bool | None) -> NDArray[np.bool_]:
        """Return which windows of a clip count."""
        return counted(levels_dbfs, above_gate(levels_dbfs, *self.gate_in_force()), silence_learned)

    def _head_input(self, vectors: Sequence[FloatArray]) -> FloatArray:
        """Return a row for each clip, or, where the head's probabilities are pooled, for each window."""
        if self.pooling in VECTOR_POOLINGS:
            return np.stack([pool_vectors(v, self.pooling) for v in vectors])
        return np.concatenate(vectors)

    def _learnable(self, outcomes: Sequence[Outcome], is_background: Sequence[bool]) -> list[FloatArray]:
        """Learn the gate, and return the embeddings of each clip's windows that count."""
        self._learn_gate(outcomes, is_background)
        vectors = [self._vectors(outcome) for outcome in outcomes]
        if self.gate_dbfs != "auto":
            return vectors
        # The gate was to leave out the background: its clips are learned whole.
        return [
            outcome.vectors if quiet and not isinstance(outcome, L3clfError) else v
            for outcome, quiet, v in zip(outcomes, is_background, vectors, strict=True)
        ]

    def _warn_of_forest(self, vectors: Sequence[FloatArray], n_classes: int, values: int = 1) -> None:
        """Warn of a forest that may not fit into memory, before it is grown; `values` are kept for each class."""
        n_rows = len(vectors) if self.pooling in VECTOR_POOLINGS else sum(map(len, vectors))
        n_rows *= 1 + (self.augment.copies if self.augment is not None else 0)
        size = forest_memory(n_rows, n_classes) * values
        if isinstance(self.head, str) and self.head == "forest" and size > LARGE_BYTES:
            warnings.warn(
                f"head='forest': with {n_classes:,} classes and {n_rows:,} rows to learn, it takes up to "
                f"{size / 1e9:,.0f} GB of memory; give head='logistic'",
                L3clfWarning,
                stacklevel=3,
            )

    def _copies(
        self, items: Sequence[Item], outcomes: Sequence[Outcome], kinds: Sequence[Hashable], whole: Sequence[bool]
    ) -> list[FloatArray]:
        """Return the head's input for the changed copies of each clip; an empty list without `augment`.

        Parameters
        ----------
        items, outcomes, kinds
            The clips; see `embed_copies`.
        whole : sequence of bool
            Of which clips every window counts, whatever the gate says.
        """
        if self.augment is None:
            return []
        found: dict[tuple[int, int], FloatArray] = {}
        failures: list[Outcome] = []
        made = embed_copies(
            self.embedder_,
            items,
            outcomes,
            kinds,
            self.augment,
            hop_s=self.hop_s,
            center=self.center,
            cache=as_cache(self.cache),
            n_jobs=self.n_jobs,
            progress=self.verbose,
        )
        for clip, copy, outcome in made:
            if isinstance(outcome, L3clfError):
                failures.append(outcome)
                continue
            vectors = outcome.vectors if whole[clip] else self._vectors(outcome)
            if len(vectors):  # pooled at once, because the windows of all copies may not fit into memory
                found[clip, copy] = self._head_input([vectors])
        report_failures(failures, self.on_error)
        rows: list[list[FloatArray]] = [[] for _ in items]
        for clip, copy in sorted(found):
            rows[clip].append(found[clip, copy])
        width = self.embedder_.embedding_size * (2 if self.pooling == "mean+std" else 1)
        return [np.concatenate(each) if each else np.zeros((0, width), np.float32) for each in rows]

    def _fit_head(
        self, head: Any, vectors: Sequence[FloatArray], labels: NDArray[Any], copies: Sequence[FloatArray] = ()
    ) -> None:
        rows = [self._head_input([v]) for v in vectors]
        # Our own heads solve many small systems, on which several BLAS threads are eight times slower than one.
        with one_blas_thread() if isinstance(self.head, str) else nullcontext():
            self.head_ = fit_rows(head, taught(rows, copies), rows, labels, range(len(rows)))
        self.classes_ = np.asarray(self.head_.classes_)
        self.unknown_threshold_, self.unknown_threshold_interval_ = None, None
        self.has_background_, self.temperature_, self.typicality_ = False, 1.0, None

    def _fit_unknown(
        self,
        unknown: Unknown,
        vectors: Sequence[FloatArray],
        labels: NDArray[Any],
        background: Sequence[FloatArray],
        groups: NDArray[Any] | None,
        copies: Sequence[FloatArray] = (),
        background_copies: Sequence[FloatArray] = (),
    ) -> None:
        """Fit the head with the background, if there is one, and learn the threshold."""
        rows = bank_rows(unknown, self.embedder_, self.pooling)
        if background:
            recordings = np.concatenate([self._head_input(background), *background_copies])
            rows = np.concatenate([rows, recordings]) if len(rows) else recordings
        lesson = Lesson([self._head_input([v]) for v in vectors], labels, rows, self.pooling, vectors, copies)
        learned = learn(
            lesson,
            self.head,
            unknown,
            # Students are for chips, which have no room for a covariance.
            distances=self.pooling == "mean" and not is_student(self.embedder_),
            class_weight=self.class_weight,
            random_state=self.random_state,
            groups=groups,
        )
        self.typicality_ = learned.typicality
        self.head_, self.classes_ = learned.head, np.unique(labels)
        self.unknown_threshold_ = learned.threshold
        self.unknown_threshold_interval_ = learned.interval
        self.has_background_, self.temperature_ = len(rows) > 0, learned.temperature
