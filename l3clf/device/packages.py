"""What of an export is not C: its README, notice, and the files of CMake, Zephyr, Arduino and PlatformIO.

Rule: a name between two @ in the runtime's files stands for what is the export's own. Figures are those that were
measured on this export, or there are none.
"""

import re
from collections.abc import Mapping

from l3clf._version import __version__
from l3clf.device.credits import Credits
from l3clf.device.emit_model import banner
from l3clf.device.model import DeviceModel
from l3clf.device.runtime_files import PREFIX, is_library, prefixed_files, runtime_files
from l3clf.errors import counted

__all__ = ["filled", "named", "readme"]

README = "README.md"
_BETWEEN = re.compile("@([a-z_]+)@")


def filled(texts: Mapping[str, str], d: DeviceModel, measured: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the files of an export with what is its own, but for its prefix.

    Parameters
    ----------
    texts : mapping of str to str
        All files by path, as before `prefixed_files`.
    d : DeviceModel
    measured : mapping of str to str, optional
        What was measured on this export, by name, for the README.

    Returns
    -------
    dict of str to str
        Those with names between two @, filled; and others that only some exports have.
    """
    own = Credits(d.student)
    values = {
        "banner": banner(d),
        "facts": "\n".join(f"| {name} | {text} |" for name, text in facts(d, own, measured).items()),
        "network_notice": own.network,
        "pool_windows": str(d.pool_windows),
        "sources": "\n  ".join(sorted(name for name in texts if is_library(name) and name.endswith(".c"))),
        "version": __version__,
    }
    makers = own.makers
    out = {name: _replaced(text, values) for name, text in texts.items() if not name.endswith((".c", ".h"))}
    return out if makers is None else out | {"CREDITS.md": makers}


def named(texts: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return files with the prefix where it stands alone, as the name of a library."""
    upper = prefix.upper()
    symbol = upper if prefix == PREFIX else f"{upper}_{PREFIX.upper()}"  # Kconfig has one name space for all of Zephyr
    values = {"prefix": prefix, "symbol": symbol}
    return {n: text if n.endswith((".c", ".h")) else _replaced(text, values) for n, text in texts.items()}


def _replaced(text: str, values: Mapping[str, str]) -> str:
    return _BETWEEN.sub(lambda found: values.get(found[1], found[0]), text)


def readme(d: DeviceModel, measured: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and text of the README of an export, with what was measured on it."""
    text = runtime_files(d.tags)[README].decode()
    return README, named(prefixed_files(filled({README: text}, d, measured), d.prefix), d.prefix)[README]


# --- first screen of the README -------------------------------------------------------------------


def facts(d: DeviceModel, own: Credits, measured: Mapping[str, str] | None) -> dict[str, str]:
    """Return what a firmware engineer asks first, by name."""
    window_s, pool_s = d.student.window_s, d.student.window_s + (d.pool_windows - 1) * d.hop_s
    names = ("tag, on or off", "tags, each on or off") if d.tags else ("class, or unknown", "classes, or unknown")
    number, windows = counted(len(d.class_names), *names), counted(d.pool_windows, "window", "windows")
    answer = number if d.tags else f"one of {number}"
    return {
        "Sound": f"{d.spec.sample_rate:,} samples a second, 16 bits, one channel",
        "Answer": f"{answer}; every {d.hop_s:g} s, from the last {windows} of {window_s:g} s",
        "Latency": f"the first answer after {window_s:g} s of sound; a sound fills what is pooled after {pool_s:g} s",
        **(measured or _unmeasured(d)),
        "Licence": f"code: MIT (`LICENSE`); {own.weights}; the head is yours (`NOTICE`)",
    }


def _unmeasured(d: DeviceModel) -> dict[str, str]:
    return {
        "RAM": f"{d.arena_bytes:,} bytes of arena, and `sizeof(l3clf_state)`, stack and a buffer for samples",
        "Time": f"{d.macs:,} multiply-accumulates a window; flash, instructions and the worst case are not measured "
        "(`l3clf export` does where it finds a compiler and an emulator)",
    }
