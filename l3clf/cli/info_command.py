"""``l3clf info``: what is in a model, a student, an export, a file of embeddings or a cache."""

import argparse
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from l3clf.cli import options
from l3clf.cli.printing import say
from l3clf.errors import L3clfError, ParameterError, counted

__all__ = ["add"]

MAX_NAMED = 20  # classes; the JSON has all
_SQLITE = b"SQLite format 3\0"
_PARQUET = b"PAR1"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    info = options.command(
        commands, "info", _run, "show what is in a model, a student, an export, embeddings or a cache"
    )
    info.add_argument(
        "file",
        metavar="FILE",
        help="model (.l3clf), student (.student), embeddings (.npz, .parquet), cache, or folder of an export",
    )
    info.add_argument("--json", action="store_true", help="print it as JSON, with all classes")


def _run(args: argparse.Namespace) -> int:
    found = _describe(Path(args.file))
    if args.json:
        say(json.dumps(found, indent=1))
        return 0
    width = max(map(len, found)) + 2
    for name, value in found.items():
        say(f"{name + ':':{width}}{_shown(value)}")
    return 0


def _describe(path: Path) -> dict[str, Any]:
    from l3clf.device.exporter import MODEL_FILE, export_settings, is_export
    from l3clf.pipeline import EMBEDDINGS

    try:
        place = path / MODEL_FILE if path.is_dir() else path
        if not place.is_file():
            found = "is a folder without a model" if path.is_dir() else "no such file"
            raise ParameterError(
                f"{path}: {found}; give a model, a student, embeddings, a cache, or the folder of an export"
            )
        with place.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from None
    except ValueError as error:
        if isinstance(error, L3clfError):
            raise
        raise ParameterError(f"{str(path)!r}: is not a file name ({type(error).__name__}); choose another") from None
    size = {"size": f"{place.stat().st_size / 1000:,.1f} kB"}
    if start == _SQLITE:
        return _cache(place) | size
    if start.startswith(_PARQUET):
        return _parquet(place) | size
    if EMBEDDINGS.holds(place):
        return _embeddings(place) | size
    if path.is_dir() and is_export(path):
        settings = {name.replace("_", " "): value for name, value in (export_settings(path) or {}).items()}
        gate = settings.pop("gate dbfs"), settings.pop("gate hysteresis db") or 0.0
        return {
            "export": str(path),
            **_model(place),
            **settings,
            "gate": _gate(*gate),
        } | size
    return (_student(place) if _is_student(place) else _model(place)) | size


def _is_student(path: Path) -> bool:
    from l3clf.embedders.student import STUDENT

    return STUDENT.holds(path)


def _model(path: Path) -> dict[str, Any]:
    from l3clf.classifier.model_file import load_model, written_with
    from l3clf.classifier.tagger import ClipTagger
    from l3clf.embedders.filtered import unfiltered

    model = load_model(path)
    embedder = unfiltered(model.embedder_)
    named = {**embedder.unnamed_options, **embedder.options}
    chosen = {name: value for name in named if (value := getattr(embedder, name)) is not None}
    head = "logistic regression" if model.head_.kind in ("linear", "sigmoid") else "forest"
    is_tagger = isinstance(model, ClipTagger)
    return {
        "model": str(path),
        "tags" if is_tagger else "classes": [
            label.item() if hasattr(label, "item") else label for label in model.classes_
        ],
        "embedder": ", ".join([embedder.name, *(f"{k}={v}" for k, v in sorted(chosen.items()))]),
        **_filters(model.embedder_),
        "fingerprint": model.expected_fingerprint_,
        "window": f"{embedder.window_s:g} s at {embedder.sample_rate} Hz, {embedder.embedding_size} values",
        "hop": f"{model.hop_s:g} s, {'centred' if model.center else 'from the start of the clip'}",
        "head": head,
        "pooling": model.pooling,
        **(_tag_thresholds(model) if is_tagger else {"unknown threshold": _threshold(model)}),
        **_unknown(model),
        "gate": _gate(*model.gate_in_force(), isinstance(model.gate_dbfs, str)),
        **(
            {}
            if model.augment is None
            else {"learned": f"the clips and {counted(model.augment.copies, 'copy', 'copies')} of each"}
        ),
        **_events(model),
        "training digest": model.training_digest_,
        "written with": ", ".join(f"{name} {version}" for name, version in written_with(path).items()),
    }


def _filters(embedder: Any) -> dict[str, Any]:
    """Return what is done to the sound that an embedder hears, if anything is."""
    band, denoise = getattr(embedder, "band_hz", None), getattr(embedder, "denoise", None)
    found = {} if band is None else {"band": f"{band[0]:.12g} to {band[1]:.12g} Hz"}
    return found | ({} if denoise is None else {"denoise": f"{denoise} noise is taken out of each clip"})


def _gate(gate_dbfs: float | None, hysteresis_db: float, learned: bool = False) -> str | None:
    """Return a gate in words."""
    if gate_dbfs is None:
        return None
    stays = f", stays open to {hysteresis_db:g} dB below it" if hysteresis_db else ""
    return f"{gate_dbfs:g} dBFS{stays}{', learned' if learned else ''}"


def _threshold(model: Any) -> Any:
    """Return the threshold in force, or those of the classes."""
    found = model.threshold_in_force()
    return [round(value, 4) for value in found.tolist()] if isinstance(found, np.ndarray) else found


def _tag_thresholds(model: Any) -> dict[str, Any]:
    """Return the threshold of each tag."""
    how = "learned" if model.threshold == "auto" else "given"
    pairs = zip(model.classes_.tolist(), model.thresholds_in_force().tolist(), strict=True)
    return {f"thresholds, {how}": [f"{name} {value:.3f}" for name, value in pairs]}


def _unknown(model: Any) -> dict[str, Any]:
    """Return what a model does about unknown sounds beside the threshold, if anything was learned."""
    if model.unknown_threshold_ is None:
        return {}
    accept = 0.95 if isinstance(model.unknown, str) or model.unknown is None else model.unknown.accept
    by_hand = "" if model.unknown_threshold is None else ", which is not used"
    ends = np.atleast_2d(model.unknown_threshold_interval_)
    intervals = ["not known: too few clips" if np.isnan(low) else f"{low:.4f} to {high:.4f}" for low, high in ends]
    learned = f"to keep {accept:.4g} of known clips" if not np.isnan(ends).all() else "not from clips: too few"
    return {
        "background": "one more row of the head" if model.has_background_ else None,
        "threshold learned": learned + by_hand,
        "95 % interval": intervals[0] if len(intervals) == 1 else intervals,
    }


def _events(model: Any) -> dict[str, Any]:
    """Return the rules of events that were tuned, if they were."""
    if model.event_rules_ is None:
        return {}
    rules = {name: value for name, value in model.event_rules_.get_params().items() if value is not None}
    if not rules["refractory_s"]:
        del rules["refractory_s"]
    return {"rules of events": ", ".join(f"{name}={value:g}" for name, value in rules.items())}


def _student(path: Path) -> dict[str, Any]:
    from l3clf.embedders.student import Student

    student = Student(str(path))
    about = student.about
    teachers = about.get("teachers")
    learned = {"clips": about.get("clips"), "windows learned": about.get("windows")}  # by distil, by benchmarks/l3mini
    return {
        "student": str(path),
        "architecture": about.get("architecture"),
        "fingerprint": student.fingerprint,
        "window": f"{student.window_s:g} s at {student.sample_rate} Hz, {student.embedding_size} values",
        "parameters": about.get("parameters"),
        "MACs per window": about.get("macs"),
        "teachers": [str(name) for name in teachers] if isinstance(teachers, list) else None,
        **{name: count for name, count in learned.items() if count is not None},
    }


def _embeddings(path: Path) -> dict[str, Any]:
    """Describe a file that `l3clf embed` wrote, by the headers of its arrays: the arrays may be large."""
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in ("paths", "vectors"):
                with archive.open(f"{name}.npy") as file:
                    np.lib.format.read_magic(file)
                    shapes[name] = np.lib.format.read_array_header_1_0(file)[0]
        (n_clips,), (n_windows, size) = shapes["paths"], shapes["vectors"]
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        raise ParameterError(f"{path}: is a damaged file of embeddings; write it again with `l3clf embed`") from None
    return {"embeddings": str(path), "clips": n_clips, "windows": n_windows, "values": f"{size:,} for each window"}


def _parquet(path: Path) -> dict[str, Any]:
    from l3clf.embedders import WindowEmbeddings

    found = WindowEmbeddings.from_parquet(path)
    about = {"embeddings": str(path), "clips": len(found), "windows": sum(map(len, found.values()))}
    width = next((one.vectors.shape[1] for one in found.values()), None)
    return about if width is None else about | {"values": f"{width:,} for each window"}


def _cache(path: Path) -> dict[str, Any]:
    from l3clf.storage.embedding_cache import EmbeddingCache

    info = EmbeddingCache(path).info()
    rows = info["embedders"].items()
    return {
        "cache": str(path),
        "clips": info["entries"],
        "sound files known": info["files"],
        "embedders": [f"{row['embedder']} {print_} ({counted(row['entries'], 'clip')})" for print_, row in rows],
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        more = f", and {len(value) - MAX_NAMED:,} more" if len(value) > MAX_NAMED else ""
        return f"{len(value):,}: {', '.join(map(str, value[:MAX_NAMED]))}{more}" if value else "none"
    if value is None:
        return "none"
    return f"{value:,}" if type(value) is int else str(value)
