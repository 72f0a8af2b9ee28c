"""Golden values that every build of an export must reproduce, computed by the Python model in integers."""

import warnings
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.framing import level_dbfs
from l3clf.classifier.decision import above_gate, counted, decide
from l3clf.device.ctext import c_array
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.embedders.base import WindowEmbeddings
from l3clf.embedders.frontend import levels, quantise_levels
from l3clf.errors import LevelWarning

__all__ = ["Expected", "golden_header"]


class Expected:
    """The results of the Python model for windows of 16-bit samples.

    Parameters
    ----------
    d : DeviceModel
    windows : array of shape (n, window samples), int16

    Attributes
    ----------
    levels : array of shape (n, frames, bands), int8
    embeddings : array of shape (n, size), int8
    above_gate : array of shape (n,), bool
    n_windows : array of shape (n,), int64
        How many of the last `pool_windows` windows each decision is made from: those above the gate, or none if all are
        digital silence, which was not learned.
    probabilities : array of shape (n, n_classes), float64
        After each window, pooled over the last `pool_windows`; zeros if the decision is made from none.
    class_ids : array of shape (n,), int64
        The decision after each window; -1 for "unknown".
    """

    def __init__(self, d: DeviceModel, windows: NDArray[np.int16]) -> None:
        samples = windows.astype(np.float32) / np.float32(PCM_FULL_SCALE)
        self.levels = quantise_levels(levels(d.spec, samples))
        self.embeddings = d.student.network.run(self.levels[..., np.newaxis]).reshape(len(windows), -1)
        output = d.network.output
        vectors = (self.embeddings.astype(np.float32) - np.float32(output.zero_point)) * output.scale
        levels_dbfs, times_s = level_dbfs(samples), np.zeros((len(windows), 2))
        self.above_gate = above_gate(levels_dbfs, d.gate_dbfs)
        pools = [slice(max(0, end - d.pool_windows), end) for end in range(1, len(windows) + 1)]
        model = copy(d.classifier).set_params(gate_dbfs=d.gate_dbfs)  # a copy, because the model is the caller's
        learned = d.classifier.silence_learned_
        self.n_windows = np.array([counted(levels_dbfs[pool], d.gate_dbfs, learned).sum() for pool in pools])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LevelWarning)  # a silent pool is no news
            self.probabilities = model.predict_proba(
                [WindowEmbeddings(vectors[pool], times_s[pool], levels_dbfs[pool]) for pool in pools]
            )
        decisions = decide(self.probabilities, np.arange(len(d.class_names)), d.unknown_threshold)
        self.class_ids = np.array([-1 if decision == "unknown" else int(decision) for decision in decisions])


def golden_header(d: DeviceModel) -> str:
    """Return ``l3clf_golden.h``: a window of sound with its levels, embedding, probabilities and decision."""
    # A sweep over some bands and noise over all, so that no level is trivial.
    time_s = np.arange(d.window) / d.spec.sample_rate
    sweep = np.sin(2 * np.pi * (200 + 1500 * time_s) * time_s) * np.exp(-2 * time_s)
    noise = np.random.default_rng(0).normal(0, 0.05, d.window)
    pcm = np.rint((0.5 * sweep + noise) * (PCM_FULL_SCALE / 2)).astype(np.int16)
    # Without the gate, or there might be no probabilities to compare the head's with.
    found, ungated = Expected(d, pcm[np.newaxis]), Expected(replace(d, gate_dbfs=None), pcm[np.newaxis])
    silence = Expected(d, np.zeros((1, d.window), np.int16))
    arrays = [
        c_array("l3clf_golden_pcm", pcm),
        c_array("l3clf_golden_levels", found.levels[0]),
        c_array("l3clf_golden_embedding", found.embeddings[0]),
        c_array("l3clf_golden_probabilities", ungated.probabilities[0].astype(np.float32)),
    ]
    return (
        "/* A window of sound and the results of the Python model for it. */\n#include <stdint.h>\n\n"
        + "\n".join(arrays)
        + f"\nstatic const int32_t l3clf_golden_class = {found.class_ids[0]};\n"
        + "/* The decision about a window of zeros. */\n"
        + f"static const int32_t l3clf_golden_silence_class = {silence.class_ids[0]};\n"
    )
