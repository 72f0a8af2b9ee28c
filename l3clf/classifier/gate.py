"""A gate learned from levels: between background and sound.

Rule: the gate never leaves out all windows of a clip of a known class, and is set only where a gap is clear. Levels are
of windows, in dBFS; windows of digital silence (below -100 dBFS) say nothing about a background and are not looked at.

The gap ends below the faintest clip of a known class, whose level is that of its loudest window. It begins

- with background clips, at the level that 95 % of their windows do not exceed;
- without, at the lower end of the widest stretch of levels that is all but empty: at most 5 % of the windows of all
  clips are inside, for sounds that begin or end within a window, and at least 10 % are below it and above it.

A gap of less than 6 dB (with background clips) or 10 dB (without) is not clear. The gate is in the middle of the gap,
but at most 10 dB above its beginning: to miss a sound is worse than to let some background through, which the head
can still call unknown. Half of the way back to the beginning of the gap, but at most 6 dB, is the hysteresis.

What is assumed: all clips were recorded at the gain at which the model will listen, so that levels can be compared;
every clip of a known class has its sound in at least one window; background clips are typical of where it will listen.
Clips that were made equally loud one by one, or come from everywhere, have no gap, and get no gate.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from l3clf.audio.clip import FloatArray
from l3clf.audio.levels import SILENT_DBFS
from l3clf.errors import LevelWarning

__all__ = ["learned_gate"]

MIN_GAP_DB, MIN_SPLIT_DB = 6.0, 10.0  # with background clips, and without
MAX_ABOVE_DB, MAX_HYSTERESIS_DB = 10.0, 6.0
BACKGROUND_SHARE = 0.95
MAX_INSIDE, MIN_BESIDE = 0.05, 0.10  # shares of the windows, inside a stretch and on each side of it
MIN_WINDOWS = 5  # on each side of a stretch
STEP_DB = 0.1  # gates are rounded down to whole steps


def learned_gate(sounds: Sequence[FloatArray], background: Sequence[FloatArray] = ()) -> tuple[float | None, float]:
    """Return the gate between background and sound, and its hysteresis; None, with a warning, where no gap is clear.

    Parameters
    ----------
    sounds : sequence of arrays of shape (n_windows,)
        For each clip of a known class the levels of its windows in dBFS; each has at least one.
    background : sequence of arrays of shape (n_windows,), default=()
        The same for each background clip.

    Returns
    -------
    gate_dbfs : float or None
    hysteresis_db : float
        0 without a gate.

    Examples
    --------
    >>> learned_gate([np.array([-61.0, -20.0]), np.array([-24.0, -58.0])], [np.array([-62.0, -60.0, -61.0])])
    (-50.1, 5.0)
    """
    if not len(sounds):
        return None, 0.0
    faintest = min(float(levels.max()) for levels in sounds)
    floor = _background_level(background) if len(background) else _quiet_level(np.concatenate(sounds), faintest)
    clear = MIN_GAP_DB if len(background) else MIN_SPLIT_DB
    if floor is None or faintest - floor < clear:
        _warn_of_no_gap(floor, faintest, clear)
        return None, 0.0
    above = min((faintest - floor) / 2, MAX_ABOVE_DB)
    gate = np.floor((floor + above) / STEP_DB) * STEP_DB
    hysteresis = np.floor(min(above / 2, MAX_HYSTERESIS_DB) / STEP_DB) * STEP_DB
    return round(float(gate), 1), round(float(hysteresis), 1)


def _background_level(background: Sequence[FloatArray]) -> float:
    levels = np.concatenate(background)
    audible = levels[levels >= SILENT_DBFS]
    return float(np.quantile(audible, BACKGROUND_SHARE)) if len(audible) else SILENT_DBFS


def _quiet_level(levels: FloatArray, faintest: float) -> float | None:
    """Return the lower end of the widest stretch that is all but empty and ends below the faintest clip."""
    ordered = np.sort(levels[levels >= SILENT_DBFS]).astype(np.float64)
    inside = int(MAX_INSIDE * len(ordered))
    beside = max(MIN_WINDOWS, int(np.ceil(MIN_BESIDE * len(ordered))))
    lows = np.arange(beside - 1, len(ordered) - beside - inside)
    if not len(lows):
        return None
    widths = np.minimum(ordered[lows + inside + 1], faintest) - ordered[lows]
    return float(ordered[lows[widths.argmax()]])


def _warn_of_no_gap(floor: float | None, faintest: float, clear: float) -> None:
    if floor is None:
        found = "too few windows to tell background from sound"
    else:
        found = (
            f"no clear gap between background, up to {floor:.1f} dBFS, and the faintest clip, at {faintest:.1f} dBFS "
            f"(it takes {clear:g} dB)"
        )
    text = f"gate_dbfs='auto': {found}; no gate is set: add clips of background alone, or give the gate in dBFS"
    warnings.warn(text, LevelWarning, stacklevel=4)
