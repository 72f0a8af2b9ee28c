"""Golden values that every build of an export must reproduce, computed by the Python model in integers."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.framing import level_dbfs
from l3clf.audio.spectrogram import MelSpec, absolute_level_db, hann, mel_filters
from l3clf.classifier.decision import Answers, above_gate, counted, decide, tagged
from l3clf.device.credits import Credits, spdx
from l3clf.device.ctext import c_array
from l3clf.device.device_events import golden_events
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.embedders.fixed_frontend import fixed_levels
from l3clf.embedders.frontend import quantise_levels

__all__ = ["Expected", "frame_limits", "golden_header", "golden_pcm", "level_limits"]

BIN_ERROR = 2.0**-20  # of a bin of a float32 transform, in root mean squares of its bins; 2^-24 was found to suffice
SUM_ERROR = 4e-6  # of a float32 sum over a mel band and of a logarithm, in parts of the power


class Expected:
    """The results of the Python model for windows of 16-bit samples.

    Parameters
    ----------
    d : DeviceModel
    windows : array of shape (n, window samples), int16

    Attributes
    ----------
    levels : array of shape (n, frames, bands), int8
    lowest, highest : array of shape (n, frames, bands), int8
        Those that the C code may give: the same, or those that float32 may give, however it rounds; see `level_limits`.
    embeddings : array of shape (n, size), int8
    above_gate : array of shape (n,), bool
        Within the whole sound, if the gate has a hysteresis.
    n_windows : array of shape (n,), int64
        How many of the last `pool_windows` windows each decision is made from: those above the gate, or none if all are
        digital silence, which was not learned.
    probabilities : array of shape (n, n_classes), float64
        After each window, pooled over the last `pool_windows`; zeros if the decision is made from none.
    unknown_scores : array of shape (n,), float64
    class_ids : array of shape (n,), int64
        The decision after each window; -1 for "unknown", and where the model is a tagger.
    outcomes : array of shape (n, 1) or (n, n_tags), int64
        What `Decision.outcome` should be: the class, or for each tag 1 where it is on.
    """

    def __init__(self, d: DeviceModel, windows: NDArray[np.int16]) -> None:
        self._d = d
        samples = windows.astype(np.float32) / np.float32(PCM_FULL_SCALE)
        self.levels = d.student.input_levels(samples)
        self.lowest = self.highest = self.levels
        if d.frontend == "float":
            frames = np.lib.stride_tricks.sliding_window_view(samples, d.spec.frame, axis=1)[:, :: d.spec.hop]
            self.lowest, self.highest = level_limits(d.spec, frames[:, : d.spec.n_frames])
        self.embeddings = d.student.network.run(self.levels[..., np.newaxis]).reshape(len(windows), -1)
        self.levels_dbfs = level_dbfs(samples)
        self.above_gate = above_gate(self.levels_dbfs, d.gate_dbfs, d.gate_hysteresis_db)
        self.n_windows = np.array([counts.sum() for _, counts in self._pools()])
        answers = self.answers_of(self.embeddings)
        self.probabilities, self.unknown_scores = answers.probabilities, answers.unknown_scores
        self.class_ids = np.full(len(windows), -1)
        if d.tags:
            self.outcomes = tagged(self.probabilities, d.thresholds).astype(np.int64)
            return
        decisions = decide(self.probabilities, np.arange(len(d.class_names)), d.thresholds, answers.known_shares)
        self.class_ids[:] = [-1 if decision == "unknown" else int(decision) for decision in decisions]
        self.outcomes = self.class_ids[:, np.newaxis]

    def answers_of(self, embeddings: NDArray[np.int8]) -> Answers:
        """Return the answers after each window, had the windows other embeddings.

        Parameters
        ----------
        embeddings : array of shape (n, size), int8
            Those of windows below the gate are not used.

        Returns
        -------
        Answers
        """
        d, output = self._d, self._d.network.output
        vectors = (embeddings.astype(np.float32) - np.float32(output.zero_point)) * output.scale
        return d.classifier.answers([vectors[pool][counts] for pool, counts in self._pools()])

    def rows_of(self, embeddings: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return what the head says after each window, (n, n_rows), had the windows other embeddings."""
        answers = self.answers_of(embeddings)
        rows = answers.known_shares[:, np.newaxis] * answers.probabilities
        return np.column_stack([rows, 1 - answers.known_shares]) if self._d.has_background else rows

    def _pools(self) -> list[tuple[slice, NDArray[np.bool_]]]:
        """Return the windows that each decision is pooled over, and which of them count."""
        ends = range(1, len(self.levels_dbfs) + 1)
        pools = [slice(max(0, end - self._d.pool_windows), end) for end in ends]
        learned = self._d.classifier.silence_learned_
        return [(pool, counted(self.levels_dbfs[pool], self.above_gate[pool], learned)) for pool in pools]


def frame_limits(d: DeviceModel, frames: NDArray[np.int16]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the lowest and the highest levels (n, bands) that the C code may give for frames (n, frame samples)."""
    if d.frontend == "fixed":
        levels = fixed_levels(frames, 1)[:, 0]
        return levels, levels
    return level_limits(d.spec, frames.astype(np.float32) / np.float32(PCM_FULL_SCALE))


def level_limits(spec: MelSpec, frames: FloatArray) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the lowest and the highest level of each band that float32 may give, computed in float64.

    The C code and NumPy round their transforms in different orders, so that a power next to the border of two levels
    may fall to either side. What is outside these limits is no matter of rounding.

    Parameters
    ----------
    spec : MelSpec
        Of a student.
    frames : array of shape (..., frame samples), float32
        Full scale at 1.0.

    Returns
    -------
    lowest, highest : array of shape (..., n_bands), int8
    """
    shaped = (frames * hann(spec.frame)).astype(np.float64)
    filters = mel_filters(spec).astype(np.float64)
    bins = np.fft.rfft(shaped)
    powers = (bins.real**2 + bins.imag**2) @ filters
    error = BIN_ERROR * np.sqrt((shaped**2).sum(axis=-1, keepdims=True))  # of each bin
    weights = filters.sum(axis=0)
    error = 2 * error * np.sqrt(weights * powers) + weights * error**2 + SUM_ERROR * powers
    limits = [quantise_levels(absolute_level_db(powers + sign * error)) for sign in (-1, 1)]
    return limits[0], limits[1]


def golden_pcm(d: DeviceModel) -> NDArray[np.int16]:
    """Return a window of sound: a sweep over some bands and noise over all, so that no level is trivial."""
    time_s = np.arange(d.window) / d.spec.sample_rate
    sweep = np.sin(2 * np.pi * (200 + 1500 * time_s) * time_s) * np.exp(-2 * time_s)
    noise = np.random.default_rng(0).normal(0, 0.05, d.window)
    return np.rint((0.5 * sweep + noise) * (PCM_FULL_SCALE / 2)).astype(np.int16)


def golden_header(d: DeviceModel) -> str:
    """Return ``l3clf_golden.h``: a window of sound with its levels, embedding, probabilities and decision."""
    pcm = golden_pcm(d)
    # Without the gate, or there might be no probabilities to compare the head's with.
    found, ungated = Expected(d, pcm[np.newaxis]), Expected(replace(d, gate_dbfs=None), pcm[np.newaxis])
    silence = Expected(d, np.zeros((1, d.window), np.int16))
    arrays = [
        _array("pcm", pcm),
        _array("levels", found.levels[0]),
        _array("embedding", found.embeddings[0]),
        _array("probabilities", ungated.rows_of(found.embeddings)[0].astype(np.float32)),
    ]
    return (
        spdx(Credits(d.student).model_licence)
        + "/* A window of sound and the results of the Python model for it. */\n#include <stdint.h>\n\n"
        + "\n".join(arrays)
        + (_tags if d.tags else _class)(found, silence)
        + golden_events(d)
    )


def _array(name: str, values: NDArray[Any]) -> str:
    return c_array(f"l3clf_golden_{name}", values, section="")


def _class(found: Expected, silence: Expected) -> str:
    return (
        f"\nstatic const int32_t l3clf_golden_class = {found.class_ids[0]};\n"
        f"static const float l3clf_golden_unknown_score = {float(np.float32(found.unknown_scores[0])).hex()}F;\n"
        "/* The decision about a window of zeros. */\n"
        f"static const int32_t l3clf_golden_silence_class = {silence.class_ids[0]};\n"
    )


def _tags(found: Expected, silence: Expected) -> str:
    return (
        f"\n{_array('tags', found.outcomes[0].astype(np.uint8))}\n"
        "/* The decision about a window of zeros. */\n"
        f"{_array('silence_tags', silence.outcomes[0].astype(np.uint8))}"
    )
