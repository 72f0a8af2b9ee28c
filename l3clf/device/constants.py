"""Every number of an export beside the model's: weights, tables, sizes, thresholds, class names and golden values.

Rule: running sound through an export shows what that sound reaches; this shows what it does not. Initialisers, macros
and function bodies are compared token by token, so that comments, line breaks, attributes and the files' other content
are free. A number that depends on the last bit of a logarithm or sine, which differs between machines, may be off by a
millionth.
"""

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3clf.device.emit_model import model_header, model_source
from l3clf.device.golden import Expected, golden_header, golden_pcm
from l3clf.device.model import DeviceModel
from l3clf.device.runtime_files import PREFIX, is_library, prefixed, prefixed_files, runtime_files, unprefixed
from l3clf.device.signals import PROBABILITY_LIMIT
from l3clf.errors import DeviceError

__all__ = ["altered_constants", "altered_runtime", "constants"]

Tokens = list[str]

_MAKERS = {"l3clf_model.h": model_header, "l3clf_model.c": model_source}
_GOLDEN = "selftest/l3clf_golden.h"
_GOLDEN_NUMBERS = ("pcm", "levels", "embedding", "probabilities", "unknown_score")  # the last one not of taggers
_MACHINES = {"window", "twiddles", "band_weights", "thresholds", "l3clf_model_frontend"}
_MACHINES |= {"L3CLF_GATE_ENERGY", "L3CLF_GATE_CLOSE_ENERGY", "L3CLF_SILENT_ENERGY"}
MACHINE_LIMIT = 1e-6
_VERSIONS = ("l3clf_version", "L3CLF_VERSION_")  # another version of l3clf may have written the same numbers
_NUMBER = r"(?:0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?|\d[\d.]*(?:[eE][+-]?\d+)?)[FfUuLl]*"
_TOKEN = re.compile(rf'"(?:\\.|[^"\\])*"|/\*.*?\*/|//[^\n]*|{_NUMBER}|\w+|\S', re.DOTALL)
_DEPTHS = {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(.*)$", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def altered_constants(d: DeviceModel, folder: Path) -> list[str]:
    """Return which constants of an export are missing or are not the model's, as "file: name".

    Parameters
    ----------
    d : DeviceModel
    folder : Path
        The export.

    Returns
    -------
    list of str
        In the order in which the exporter writes them.

    Raises
    ------
    DeviceError
        If one of its files cannot be read.
    """
    out = []
    for file, make in _MAKERS.items():
        made, text = make(d), _text(d, folder, file)
        if made == text:
            continue
        expected, found = constants(made), constants(text)
        names = [name for name in expected if not name.startswith(_VERSIONS)]
        out += [f"{file}: {name}" for name in names if not _same(name, found.get(name), expected[name])]
    golden, text = golden_header(d), _text(d, folder, _GOLDEN)
    if golden != text:
        out += [f"{_GOLDEN}: {name}" for name in _altered_golden(d, constants(text), constants(golden))]
    return [prefixed(one, d.prefix, code=False) for one in out]


def _same(name: str, found: Tokens | None, expected: Tokens) -> bool:
    if found == expected:
        return True
    if found is None or name not in _MACHINES or _words(found) != _words(expected):
        return False
    return bool(np.allclose(_numbers(found), _numbers(expected), rtol=MACHINE_LIMIT, atol=0))


def _altered_golden(d: DeviceModel, found: dict[str, Tokens], made: dict[str, Tokens]) -> list[str]:
    """Return which golden values are not Python's for the golden values that they follow from."""
    names = [f"l3clf_golden_{name}" for name in _GOLDEN_NUMBERS]
    pcm, levels, embedding, probabilities, score = (_numbers(found.get(name, [])) for name in names)
    window = golden_pcm(d)[np.newaxis]
    gated, ungated = Expected(d, window), Expected(replace(d, gate_dbfs=None), window)
    right = [np.array_equal(pcm, window[0]), False, False, False, False]
    if levels.size == gated.levels.size:
        levels = levels.reshape(gated.levels.shape)
        right[1] = bool(((levels >= gated.lowest) & (levels <= gated.highest)).all())
        follows = d.student.network.run(levels.astype(np.int8)[..., np.newaxis])
        right[2] = np.array_equal(embedding, follows.ravel())
    if embedding.size == gated.embeddings.size and (probabilities.size, score.size) == (d.n_rows, not d.tags):
        given = embedding.astype(np.int8)[np.newaxis]
        right[3] = float(np.abs(probabilities - ungated.rows_of(given)[0]).max()) <= PROBABILITY_LIMIT
        right[4] = float(np.abs(score - gated.answers_of(given).unknown_scores).max(initial=0)) <= PROBABILITY_LIMIT
    wrong = [name for name, is_right in zip(names, right, strict=True) if not is_right]
    return wrong + [name for name, value in made.items() if name not in names and found.get(name) != value]


def _words(tokens: Tokens) -> Tokens:
    return [word for word in tokens if not word[0].isdigit() and word != "-"]


def _numbers(tokens: Tokens) -> NDArray[np.float64]:
    found = [(before, token) for before, token in pairwise(["", *tokens]) if token[0].isdigit()]
    return np.array([(-1 if before == "-" else 1) * _value(token) for before, token in found])


def _value(number: str) -> float:
    """Return the value of a number in C; NaN for what a compiler refuses, which no constant is equal to."""
    whole = number.rstrip("UuLl")
    try:
        if number.lower().startswith("0x"):
            return float.fromhex(number.rstrip("FfUuLl") if "p" in number.lower() else whole)
        if whole.isdigit() and whole.startswith("0"):
            return float(int(whole, 8))
        return float(number.rstrip("FfUuLl"))
    except ValueError:
        return math.nan


def altered_runtime(folder: Path, tags: bool = False, prefix: str = PREFIX) -> list[str]:
    """Return which of the library's files are missing or are not as this l3clf writes them, for taggers or not."""
    texts = {name: content.decode() for name, content in runtime_files(tags).items() if is_library(name)}
    written = prefixed_files(texts, prefix).items()
    return [name for name, text in written if _bytes(folder / name) != text.encode()]


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _text(d: DeviceModel, folder: Path, file: str) -> str:
    """Return the text of an export's C file as it were without a prefix of its own."""
    path = folder / prefixed(file, d.prefix, code=False)
    content = _bytes(path)
    if content is None:
        raise DeviceError(f"{path}: cannot be read; write the export again with l3clf export")
    return unprefixed(content.decode("utf-8", "surrogateescape"), d.prefix)


def constants(text: str) -> dict[str, Tokens]:
    r"""Return the tokens of every macro, initialiser and function body of a C source, by name.

    Examples
    --------
    >>> constants("#define A 1 // one\nstatic const int b[2] = {3, /* and */ 4};")
    {'A': ['1'], 'b': ['{', '3', ',', '4', '}']}
    """
    found = {name: _tokens(value) for name, value in _MACRO.findall(_COMMENT.sub(" ", text))}
    words = _tokens(_MACRO.sub("", text))
    start = depth = 0
    for place, word in enumerate(words):
        depth += _DEPTHS.get(word, 0)
        if depth or word not in ";}":
            continue
        definition = words[start : place + 1]
        opening = definition.index("{") if "{" in definition else place
        head = definition[:opening]
        if word == ";" and "=" in definition:
            equals = definition.index("=")
            found[_name(definition[:equals], "[")] = definition[equals + 1 : -1]
        elif word == "}" and ")" in head and "=" not in head:  # the body of a function
            found[_name(head, "(")] = definition[opening:]
        elif word == "}":
            continue  # of an initialiser or a type, which a semicolon ends
        start = place + 1
    return found


def _name(declaration: list[str], bracket: str) -> str:
    """Return the name that is declared: the word before a bracket, or the last."""
    end = declaration.index(bracket) if bracket in declaration else len(declaration)
    return declaration[end - 1] if end else ""


def _tokens(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(text) if not token.startswith(("/*", "//"))]
