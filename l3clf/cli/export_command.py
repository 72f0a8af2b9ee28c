"""``l3clf export``: write a fitted model as a C library for a microcontroller."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.printing import note, say
from l3clf.errors import DeviceError, counted

if TYPE_CHECKING:
    from l3clf.device.cost import Cost
    from l3clf.device.model import DeviceModel

__all__ = ["add", "cost_lines"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = options.command(commands, "export", _run, "write a fitted model as a C library for a microcontroller")
    parser.add_argument("model", metavar="MODEL", help="model file, fitted with l3mini, l3micro or another student")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write the C library to")
    parser.add_argument("--windows", type=int, metavar="K", help="windows pooled for a decision (default: 10)")
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help="use this instead of the model's")
    parser.add_argument("--gate-dbfs", type=float, metavar="DB", help="use this instead of the model's, in dBFS")
    text = "use this instead of the model's"
    parser.add_argument("--gate-hysteresis", dest="gate_hysteresis_db", type=float, metavar="DB", help=text)
    parser.add_argument("--prefix", metavar="NAME", help="begin names and files of the C code so (default: l3clf)")
    text = "how the chip computes the network's input: in integers, or as earlier exports did (default: as fitted)"
    parser.add_argument("--frontend", choices=("fixed", "float"), help=text)
    parser.add_argument("--arena", type=int, metavar="BYTES", help="fail if the arena would be larger than this")
    parser.add_argument("--weights", metavar="PATH", help="the student file, for a model file that lacks it")
    options.add_force(parser)


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.decision import DEFAULT_WINDOWS
    from l3clf.classifier.model_file import load_model
    from l3clf.device.cost import measure_costs
    from l3clf.device.exporter import write_export
    from l3clf.device.figures import add_figures
    from l3clf.device.model import device_model
    from l3clf.device.runtime_files import PREFIX
    from l3clf.device.toolchain import find_tools

    if missing := find_tools().missing():  # the export is complete all the same
        note(f"l3clf: sizes and instructions will not be measured: {missing}")
    model = load_model(args.model, weights=args.weights)
    windows = DEFAULT_WINDOWS if args.windows is None else args.windows
    prefix = PREFIX if args.prefix is None else args.prefix
    limits = args.unknown_threshold, args.gate_dbfs, args.gate_hysteresis_db
    d = device_model(model, windows, *limits, prefix, args.frontend)
    if args.arena is not None and d.arena_bytes > args.arena:
        raise DeviceError(
            f"--arena {args.arena}: the network needs {d.arena_bytes} bytes; allow them or use a smaller student"
        )
    out = write_export(d, args.out, force=args.force, inputs=(args.model,))
    names = ("tag", "tags") if d.tags else ("class", "classes")
    say(f"C library: {out} ({counted(len(d.class_names), *names)}, {d.head.kind} head, {d.pooling} pooling)")
    if missing:
        say(f"Arena: {d.arena_bytes:,} bytes")
        return 0
    note("l3clf: measuring builds for a Cortex-M4F, M3 and M0+")
    costs = measure_costs(out)
    add_figures(out, d, costs)
    say("\n".join(cost_lines(costs, d)))
    return 0


def cost_lines(costs: Sequence["Cost"], d: "DeviceModel") -> list[str]:
    """Return what an export needs and which chips offer it, as lines of text."""
    from l3clf.device.cost import CHIPS, SLICE_MACS, fits

    first = [cost for cost in costs if cost.core == costs[0].core]
    flash, ram = max(first, key=lambda cost: cost.flash_bytes), max(first, key=lambda cost: cost.ram_bytes)
    work = [cost.instructions for cost in first]
    least, most = (pick(one.network for one in work) / max(1, flash.macs) for pick in (min, max))
    longest = max(one.slice_longest for one in work)
    lines = [
        f"Largest figures of {counted(len(first), 'build', 'builds')} for a {first[0].core}: "
        + ", ".join(cost.build for cost in first),
        f"Flash:      {flash.flash_bytes:10,} bytes, code and constants",
        f"RAM:        {ram.ram_bytes:10,} bytes: arena {ram.arena_bytes:,}, state {ram.state_bytes:,}, stack "
        f"{ram.stack_bytes:,}, C library {ram.static_bytes:,}; and a buffer for samples",
        f"Network:    {max(one.network for one in work):10,} instructions per window, for {flash.macs:,} "
        f"multiply-accumulates ({least:.2f} to {most:.2f} each)",
        f"Front-end:  {max(one.frontend for one in work):10,} instructions per second of sound",
        f"Decision:   {max(one.decision for one in work):10,} instructions per window, all of a pool above the gate",
        f"l3clf_push: {max(one.push_longest for one in work):10,} instructions where a window ends, "
        f"{max(one.push_median for one in work):,} in most calls with {d.spec.hop} samples",
        f"l3clf_step: {longest:10,} instructions at most, with a budget of {SLICE_MACS:,}",
        "",
    ]
    return [*lines, *(f"{chip.name:10} {fits(costs, chip, d)}" for chip in CHIPS)]
