"""A fitted model as C99 for a microcontroller, and the proof that it answers as Python does.

Compilers and the emulated chip are the extra ``device``; writing the C code needs neither.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3clf.device.cost import Cost, measure_cost
    from l3clf.device.folder import export
    from l3clf.device.ledger import Ledger, Verification, verify

__all__ = ["Cost", "Ledger", "Verification", "export", "measure_cost", "verify"]

_HOMES = {
    "Cost": "cost",
    "Ledger": "ledger",
    "Verification": "ledger",
    "export": "folder",
    "measure_cost": "cost",
    "verify": "ledger",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"l3clf.device.{_HOMES[name]}"), name)
