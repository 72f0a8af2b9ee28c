"""From clips to what the head says of them, as a base class of the classifier and the tagger.

Rule: it answers and decides nothing: thresholds belong to the subclasses.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import FloatArray
from l3clf.classifier.clip_fitting import ClipFitting
from l3clf.classifier.clip_warnings import warn_of_silence
from l3clf.classifier.decision import VECTOR_POOLINGS, Answers
from l3clf.classifier.inputs import Item, as_sources
from l3clf.embedders import Embedder
from l3clf.errors import L3clfError, ModelFileError, ParameterError
from l3clf.pipeline import Outcome

__all__ = ["ANSWERED_AT_ONCE", "ClipAnswering"]

ANSWERED_AT_ONCE = 2048  # windows


class ClipAnswering(ClipFitting):
    """Base of the classifier and the tagger: the answers of a fitted head, for clips, pools of windows and windows."""

    answer_to_silence: ClassVar[str] = "'unknown'"  # that was not learned, in words
    classes_: NDArray[Any]
    silence_learned_: bool | None

    def _row_answers(self, rows: FloatArray, lengths: Sequence[int], pooling: str) -> Answers:
        """Return the answers for the head's input: rows of clips of so many windows, or of windows without lengths."""
        raise NotImplementedError

    def clip_answers(self, X: Iterable[Any]) -> Answers:
        """Return what the head says of each clip, before the threshold: `predict_proba` and `unknown_score` in one.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        Answers

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        _, outcomes = self._embedded(X)
        answers = self.answers([self._vectors(outcome, self.silence_learned_) for outcome in outcomes])
        answers.probabilities[[i for i, outcome in enumerate(outcomes) if isinstance(outcome, L3clfError)]] = np.nan
        return answers

    def answers(self, pools: Sequence[FloatArray]) -> Answers:
        """Return what the head says of pools of windows, such as those of a clip, or the last ones of a stream.

        Parameters
        ----------
        pools : sequence of arrays of shape (n_windows, embedding_size)
            The embeddings of the windows that count, for each decision; none gives zeros.

        Returns
        -------
        Answers
        """
        found = Answers(np.zeros((len(pools), len(self.classes_))), np.ones(len(pools)))
        audible = [i for i, vectors in enumerate(pools) if len(vectors)]
        if audible:
            rows = self._head_input([pools[i] for i in audible])
            some = self._row_answers(rows, [len(pools[i]) for i in audible], self.pooling)
            found.probabilities[audible], found.known_shares[audible] = some.probabilities, some.known_shares
        return found

    def _answers_of_each(self, vectors: FloatArray, counts: NDArray[np.bool_]) -> Answers:
        """Return the head's own answer for each window, whatever the pooling; zeros for those that do not count."""
        found = Answers(np.zeros((len(vectors), len(self.classes_))), np.ones(len(vectors)))
        counted = np.flatnonzero(counts)
        # Heads copy their input, some in double precision: hours of it would take several times its memory.
        for first in range(0, len(counted), ANSWERED_AT_ONCE):
            chosen = counted[first : first + ANSWERED_AT_ONCE]
            some = self._row_answers(vectors[chosen], [], VECTOR_POOLINGS[0])
            found.probabilities[chosen], found.known_shares[chosen] = some.probabilities, some.known_shares
        return found

    def _answers_of_windows(self, X: Iterable[Any]) -> list[tuple[Answers, NDArray[np.float64]]]:
        """Return for each clip the answers for its windows and their times in seconds, (n_windows, 2)."""
        if self.pooling == "mean+std":
            raise ParameterError("pooling='mean+std': a single window has no standard deviation; use 'mean'")
        nothing = Answers(np.zeros((0, len(self.classes_))), np.ones(0)), np.zeros((0, 2))
        return [
            nothing
            if isinstance(outcome, L3clfError)
            else (
                self._answers_of_each(outcome.vectors, self._counted(outcome.levels_dbfs, self.silence_learned_)),
                outcome.times_s,
            )
            for outcome in self._embedded(X)[1]
        ]

    def _embedded(self, X: Iterable[Any]) -> tuple[list[Item], list[Outcome]]:
        """Return the clips and their windows, for a fitted model; raise or warn if some failed, or are silent."""
        check_is_fitted(self)
        self._check_parameters()  # set_params may have changed them since the fit
        sources = as_sources(X, self.sample_rate, self.full_scale)
        outcomes = self._embed(sources, self._own_embedder())
        warn_of_silence(self, sources, outcomes)
        return sources, outcomes

    def _own_embedder(self) -> Embedder:
        """Return the fitted embedder; raise ModelFileError if it is not the one the head was fitted with."""
        if not hasattr(self, "embedder_"):
            return super()._own_embedder()
        expected = getattr(self, "expected_fingerprint_", None)
        if expected is not None and self.embedder_.fingerprint != expected:
            raise ModelFileError(
                f"embedder {self.embedder_.name!r}: its fingerprint is {self.embedder_.fingerprint}, but the model was "
                f"fitted with {expected}; use the weights and the l3clf version of the fit (with precision='fast' the "
                "engine, too: OpenVINO, or ONNX Runtime without it), or fit again"
            )
        return self.embedder_
