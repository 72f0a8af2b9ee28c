"""What the estimators warn of: clips that fail or are left out, and digital silence.

Rule: one warning for all clips of a call, with their number and the name of the first.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from l3clf.audio.clip import Samples
from l3clf.audio.framing import SILENCE_DBFS
from l3clf.audio.levels import MIN_SAMPLES, SILENT_DBFS, all_silent
from l3clf.classifier.decision import BACKGROUND, UNKNOWN
from l3clf.classifier.inputs import Item
from l3clf.datasets.describe import some
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import AudioError, ClipWarning, L3clfError, LevelWarning, ParameterError
from l3clf.pipeline import Outcome

__all__ = [
    "report_failures",
    "silent_clips",
    "warn_of_background",
    "warn_of_silence",
    "warn_of_tag_training",
    "warn_of_training",
]


MAX_LISTED_FAILURES = 20
MAX_LISTED_CLASSES = 5


def report_failures(outcomes: Sequence[Outcome], on_error: str) -> None:
    """Raise an error, or warn for ``on_error="nan"``, if clips failed."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
    if on_error == "raise" and len(failures) == 1:
        raise failures[0]
    listed = some(failures, MAX_LISTED_FAILURES, "\n  ")
    text = f"{len(failures)} of {len(outcomes)} clips could not be embedded:\n  {listed}"
    if failures and on_error == "raise":
        raise AudioError(f"{text}\nRepair these clips, leave them out, or pass on_error='nan'")
    if failures:
        warnings.warn(text, ClipWarning, stacklevel=4)


def silent_clips(outcomes: Sequence[Outcome], among: Iterable[int] | None = None) -> list[int]:
    """Return the indices of the clips that are digital silence: every window is below -100 dBFS.

    Parameters
    ----------
    outcomes : sequence of WindowEmbeddings or L3clfError
    among : iterable of int, optional
        The indices to look at; all if not given.
    """
    found = []
    for i in range(len(outcomes)) if among is None else among:
        outcome = outcomes[i]
        if isinstance(outcome, WindowEmbeddings) and all_silent(outcome.levels_dbfs):
            found.append(i)
    return found


def warn_of_training(
    sources: Sequence[Item],
    labels: NDArray[Any],
    outcomes: Sequence[Outcome],
    known: Sequence[int],
    used: Sequence[int],
    gate_dbfs: float | None,
) -> None:
    """Warn of clips of known classes that are left out of a training, or silent.

    Parameters
    ----------
    sources, labels, outcomes : sequence
        The clips; `outcomes` may go on with others.
    known, used : sequence of int
        The clips of known classes, and those of them that have windows above the gate.
    gate_dbfs : float or None

    Raises
    ------
    ParameterError
        If fewer than two classes are left.
    """
    place = {i: k for k, i in enumerate(known)}
    clips, own, kept = [sources[i] for i in known], [outcomes[i] for i in known], [place[i] for i in used]
    _warn_of_unused(labels[known], kept, own, gate_dbfs)
    _warn_of_silent_labels(clips, labels[known], kept, silent_clips(own, kept), own)


def warn_of_tag_training(
    sources: Sequence[Item],
    tags: Sequence[str],
    outcomes: Sequence[Outcome],
    used: Sequence[int],
    gate_dbfs: float | None,
) -> None:
    """Warn of clips that are left out of the training of a tagger, and of silent clips with tags.

    Parameters
    ----------
    sources, tags, outcomes : sequence
        The clips, and their tags as text.
    used : sequence of int
        The clips that have windows above the gate.
    gate_dbfs : float or None
    """
    _warn_of_left_out(used, outcomes, gate_dbfs)
    silent = [i for i in silent_clips(outcomes, used) if tags[i] and not _is_tiny(sources[i])]
    if silent:
        found = f"{_named(silent, sources)}: digital silence labelled {tags[silent[0]]!r}"
        warnings.warn(f"{found}; leave it out, or give it no tag", LevelWarning, stacklevel=3)


def warn_of_background(
    sources: Sequence[Item],
    labels: NDArray[Any],
    outcomes: Sequence[Outcome],
    used: Sequence[int],
    other: Sequence[int],
) -> None:
    """Warn of clips of a class whose sound is in the background, too, and of a class named as the answer is.

    Parameters
    ----------
    sources, labels, outcomes : sequence
        The clips; `outcomes` may go on with those of a folder of background.
    used, other : sequence of int
        The clips of classes and those of the background.
    """
    heard = {_sound(outcomes[i]) for i in other}
    both = [i for i in used if _sound(outcomes[i]) in heard] if heard else []
    if both:
        text = f"{_named(both, sources)}: labelled {labels[both[0]].item()!r}, and the same sound is in the background"
        advice = 'take it out of the background, or more sounds of its class are "unknown"'
        warnings.warn(f"{text}; {advice}", ClipWarning, stacklevel=3)
    if UNKNOWN in labels[list(used)].tolist():
        text = f"y: a class is named {UNKNOWN!r}, which is also the answer to sounds of no class"
        advice = f"name it {BACKGROUND!r} to have it learned as background, or give it another name"
        warnings.warn(f"{text}; {advice}", ClipWarning, stacklevel=3)


def _sound(outcome: Outcome) -> bytes:
    return hashlib.sha256(outcome.vectors.tobytes()).digest() if isinstance(outcome, WindowEmbeddings) else b""


def _warn_of_unused(
    labels: NDArray[Any], used: Sequence[int], outcomes: Sequence[Outcome], gate_dbfs: float | None
) -> None:
    """Warn of clips that are left out of a training because no window is above the gate, and of classes that vanish."""
    _warn_of_left_out(used, outcomes, gate_dbfs)
    lost = sorted(set(labels.tolist()) - set(labels[list(used)].tolist()), key=str)
    if len(set(labels.tolist())) - len(lost) < 2:
        raise ParameterError(f"y: fewer than two classes have usable clips; none are left of {lost}")
    if lost:
        warnings.warn(f"no clips are left of {', '.join(map(str, lost))}", ClipWarning, stacklevel=4)


def _warn_of_left_out(used: Sequence[int], outcomes: Sequence[Outcome], gate_dbfs: float | None) -> None:
    silent = len([out for out in outcomes if isinstance(out, WindowEmbeddings)]) - len(used)
    if silent:
        text = f"{silent} of {len(outcomes)} clips left out: no window is above gate_dbfs={gate_dbfs}"
        warnings.warn(text, ClipWarning, stacklevel=5)


def _warn_of_silent_labels(
    sources: Sequence[Item],
    labels: NDArray[Any],
    used: Sequence[int],
    silent: Sequence[int],
    outcomes: Sequence[Outcome],
) -> None:
    """Warn of silent training clips in classes of clips with sound, which failed, and of several classes of silence."""
    silent = [i for i in silent if not _is_tiny(sources[i])]
    silent_of, all_of = Counter(labels[silent].tolist()), Counter(labels[list(used)].tolist())
    odd = [i for i in silent if 2 * silent_of[labels[i].item()] <= all_of[labels[i].item()]]
    if odd:
        label = labels[odd[0]].item()
        warnings.warn(
            f"{_named(odd, sources)}: digital silence labelled {label!r}, a class of clips with sound; leave it out, "
            "or silence is predicted as a class and not as 'unknown'",
            LevelWarning,
            stacklevel=4,
        )
    alike = [label for label in all_of if 2 * silent_of[label] > all_of[label]]
    if len(alike) > 1:
        clips = [i for i in silent if labels[i].item() in alike]
        names = some([repr(label) for label in sorted(alike, key=str)], MAX_LISTED_CLASSES)
        found = f"digital silence, every window is below {SILENT_DBFS:g} dBFS, in {len(alike)} classes ({names})"
        advice = "they cannot be told apart: record their clips again"
        text = f"{_named(clips, sources)}: {found}; {advice}{_doubt_of_scale(clips, outcomes)}"
        warnings.warn(text, LevelWarning, stacklevel=4)


def _is_tiny(source: Item) -> bool:
    return isinstance(source, Samples) and len(source.samples) < MIN_SAMPLES


def warn_of_silence(model: Any, sources: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
    """Warn of silent clips to predict, unless silence was learned or a gate asks for "unknown", or for no tag.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
    sources, outcomes : sequence
        The clips and their windows.
    """
    gate_dbfs, silence_learned = model.gate_in_force()[0], model.silence_learned_
    if silence_learned or (gate_dbfs is not None and gate_dbfs >= SILENT_DBFS):
        return
    silent = silent_clips(outcomes)
    if not silent:
        return
    if silence_learned is None:
        advice = "fit the model again: its file does not say whether silence was learned, so a class is answered"
    else:
        advice = f"record it again, or train with silent clips: none was, so {model.answer_to_silence} is answered"
    found = f"digital silence, every window is below {SILENT_DBFS:g} dBFS"
    text = f"{_named(silent, sources)}: {found}; {advice}{_doubt_of_scale(silent, outcomes)}"
    warnings.warn(text, LevelWarning, stacklevel=3)


def _doubt_of_scale(silent: Sequence[int], outcomes: Sequence[Outcome]) -> str:
    """Return what to do about clips that are as faint as silence, but not all zeros: 16-bit samples hardly can be."""
    found = (outcomes[i] for i in silent)
    faint = any(isinstance(each, WindowEmbeddings) and each.levels_dbfs.max() > SILENCE_DBFS for each in found)
    return ", or correct the scale of what is not exactly zero" if faint else ""


def _named(indices: Sequence[int], sources: Sequence[Item]) -> str:
    """Return the name of the first clip, with the number of clips if there are more."""
    source = sources[indices[0]]
    first = f"X[{indices[0]}]" if isinstance(source, WindowEmbeddings) else str(source)
    return first if len(indices) == 1 else f"{len(indices)} of {len(sources)} clips, the first {first}"
