"""Writes a fitted model as a folder of C99 for a firmware project.

Rule: the folder is complete (runtime, model, examples, golden values, files for build systems, licences and README),
and the same model gives the same bytes.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from l3clf.classifier.decision import DEFAULT_WINDOWS
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import load_model, save_model
from l3clf.classifier.tagger import ClipTagger
from l3clf.device.emit_model import model_header, model_source
from l3clf.device.golden import golden_header
from l3clf.device.model import DeviceModel, device_model
from l3clf.device.packages import filled, named
from l3clf.device.runtime_files import PREFIX, SETTINGS_FILE, prefix_of, prefixed_files, runtime_files
from l3clf.embedders.student import Frontend
from l3clf.errors import DeviceError
from l3clf.storage.atomic import check_folder, claim_folder
from l3clf.storage.outputs import RECORD, FolderRecord
from l3clf.storage.safezip import zip_bytes

__all__ = ["export", "export_settings", "is_export", "read_export", "write_export"]

MODEL_FILE, STUDENT_FILE = "model.l3clf", "network.student"
SETTINGS = ("pool_windows", "unknown_threshold", "gate_dbfs", "gate_hysteresis_db", "prefix", "frontend")
_SINCE = {"gate_hysteresis_db": None, "prefix": PREFIX, "frontend": "float"}  # earlier exports lack them
_MAKERS = {"l3clf_model.h": model_header, "l3clf_model.c": model_source, "selftest/l3clf_golden.h": golden_header}
INTERFACE = 3  # of the C code with the harness: 2 has l3clf_step, 3 events; exports of 1 do not say so


def export(
    model: ClipClassifier | ClipTagger,
    out: str | os.PathLike[str],
    pool_windows: int = DEFAULT_WINDOWS,
    unknown_threshold: float | Sequence[float] | None = None,
    gate_dbfs: float | None = None,
    gate_hysteresis_db: float | None = None,
    prefix: str = PREFIX,
    frontend: Frontend | None = None,
    *,
    force: bool = False,
) -> Path:
    """Write a fitted model as a C library for a microcontroller.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
        Fitted on embeddings of l3mini or another student, with pooling "mean" or "probability" and a head that is a
        logistic regression or, for a classifier, a forest. The chip runs the student's int8 network, even if the model
        was fitted on float32 embeddings.
    out : path-like
        A new or empty folder, or that of an earlier export, whose files are replaced unless they were changed since.
    pool_windows : int, default=10
        Number of windows, 1 to 1000, that a decision is pooled over.
    unknown_threshold : float, sequence of one for each class, or None, default=None
        Of a classifier. A tagger has `thresholds_in_force`.
    gate_dbfs, gate_hysteresis_db : float or None, default=None
        Override those of the model, if given, as `unknown_threshold` does.
    prefix : str, default="l3clf"
        With which every name and file of the C code begins. Exports with different prefixes can be linked together.
    frontend : {"fixed", "float"} or None, default=None
        What computes the input of the network: ``"fixed"`` in integers, the same as Python's on every chip, and fast on
        chips without floating point; or ``"float"``, which is to go with the next release. None takes what the model
        was fitted with if it was fitted on int8 embeddings, and ``"fixed"`` otherwise.
    force : bool, default=False
        Whether `out` may hold other files, and whether files are replaced that were changed or are not ours.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DeviceError
        If a part of the model cannot run on a chip, or the folder cannot be written or holds a file that would be
        replaced though no export wrote it, or it was changed since.
    ParameterError
        If the threshold, the gate or its hysteresis is out of range, or names in C cannot begin with the prefix.
    """
    d = device_model(model, pool_windows, unknown_threshold, gate_dbfs, gate_hysteresis_db, prefix, frontend)
    return write_export(d, out, force=force)


def read_export(folder: str | os.PathLike[str]) -> DeviceModel:
    """Return the model that an export was made from.

    Parameters
    ----------
    folder : path-like
        From `write_export`.

    Raises
    ------
    DeviceError
        If the folder is not an export.
    """
    place = Path(folder)
    settings = export_settings(place)
    if settings is None:
        raise DeviceError(f"{place}: not an export, or a damaged one; write it with l3clf export")
    return device_model(load_model(place / MODEL_FILE, weights=place / STUDENT_FILE), **settings)


def is_export(folder: Path) -> bool:
    """Return whether a folder is an export, of this l3clf or an earlier one."""
    prefix = prefix_of(folder)
    names = (MODEL_FILE, f"{prefix}_model.h", f"{prefix}_model.c")
    return export_settings(folder) is not None and all((folder / name).is_file() for name in names)


def export_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of an export, or None if the folder holds none."""
    try:
        found = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        return {name: {**_SINCE, **found}[name] for name in SETTINGS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check_interface(folder: Path) -> None:
    """Raise DeviceError if the C code of an export cannot be called by this l3clf."""
    found = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8")).get("interface", 1)
    if found != INTERFACE:
        raise DeviceError(
            f"{folder}: exported by another version of l3clf, whose C code is called otherwise; write it again: "
            f"l3clf export {folder / MODEL_FILE} --weights {folder / STUDENT_FILE} --out NEW"
        )


def write_export(
    d: DeviceModel,
    folder: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Write the C library into a folder.

    Parameters
    ----------
    d : DeviceModel
    folder : path-like
    force : bool, default=False
        See `export`.
    inputs : iterable of path
        Files that must not be replaced, such as the one that `d` was loaded from.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DeviceError
        If the model cannot be written as C, or as for `export`.
    """
    out = Path(folder)
    texts = {name: make(d) for name, make in _MAKERS.items()}  # before anything is written, because it may fail
    texts |= {name: content.decode() for name, content in runtime_files(d.tags).items()}
    texts = named(prefixed_files(texts | filled(texts, d), d.prefix), d.prefix)
    contents = {name: text.encode() for name, text in texts.items()}
    contents[STUDENT_FILE] = zip_bytes(d.student.content.members())
    contents[SETTINGS_FILE] = _settings(d)
    contents[MODEL_FILE] = _model_content(d.classifier)
    check_folder(out, RECORD, DeviceError, force=True)  # that it can be asked what it holds
    if not force and not (out / RECORD).exists() and is_export(out):
        # Without a record, the files that a user has edited since cannot be told from the others.
        raise DeviceError(
            f"{out}: made by an earlier l3clf; name a new folder, or pass force=True to replace its files"
        )
    claim_folder(out, RECORD, DeviceError, force)
    student = [d.student.weights] if isinstance(d.student.weights, str) else []
    record = FolderRecord(out, DeviceError)
    record.write(contents, [*inputs, *student], force)
    record.keep_only(contents)  # an earlier export may have had another prefix, or other places for its files
    return out


def _settings(d: DeviceModel) -> bytes:
    settings = {name: getattr(d, name) for name in SETTINGS}
    return json.dumps({"interface": INTERFACE, **settings}, indent=1).encode()


def _model_content(model: ClipClassifier | ClipTagger) -> bytes:
    with TemporaryDirectory() as folder:
        return save_model(model, Path(folder, MODEL_FILE)).read_bytes()
