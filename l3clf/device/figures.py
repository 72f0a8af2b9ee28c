"""The figures of an export in its README.

Rule: they are the largest of all builds for the first core that was measured, and say so.
"""

from collections.abc import Sequence
from pathlib import Path

from l3clf.device.cost import SLICE_MACS, Cost
from l3clf.device.model import DeviceModel
from l3clf.device.packages import readme
from l3clf.errors import DeviceError, counted
from l3clf.storage.outputs import FolderRecord

__all__ = ["add_figures"]


def add_figures(folder: Path, d: DeviceModel, costs: Sequence[Cost]) -> None:
    """Write the README of an export anew, with what was measured on it.

    Parameters
    ----------
    folder : Path
        From `write_export`.
    d : DeviceModel
        What the export was made from.
    costs : sequence of Cost
        From `measure_costs`, at least one.

    Raises
    ------
    DeviceError
        If the README was changed since, or cannot be written.
    """
    name, text = readme(d, _facts(d, costs))
    FolderRecord(folder, DeviceError).write({name: text.encode()})


def _facts(d: DeviceModel, costs: Sequence[Cost]) -> dict[str, str]:
    found = [cost for cost in costs if cost.core == costs[0].core]
    most, work = max(found, key=lambda cost: cost.ram_bytes), [cost.instructions for cost in found]
    builds = ", ".join(cost.build for cost in found)
    return {
        "Flash": f"{max(cost.flash_bytes for cost in found):,} bytes",
        "RAM": f"{most.ram_bytes:,} bytes: arena {most.arena_bytes:,}, state {most.state_bytes:,}, stack "
        f"{most.stack_bytes:,}, C library {most.static_bytes:,}; and a buffer for samples",
        "Time": f"{max(one.per_second(d.hop_s) for one in work):,.0f} instructions a second of sound",
        "Worst case": f"{max(one.push_longest for one in work):,} instructions in one call of `l3clf_push`; in slices, "
        f"{max(one.slice_longest for one in work):,} in `l3clf_step(&state, {SLICE_MACS})` and "
        f"{max(one.frame for one in work):,} in `l3clf_feed` with {d.spec.hop} samples",
        "Measured": f"largest of {counted(len(found), 'build', 'builds')} for an emulated {found[0].core} ({builds}); "
        "instructions, of which each takes a cycle or more",
    }
