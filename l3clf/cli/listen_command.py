"""``l3clf listen``: classify sound as it comes, from a microphone, a pipe or a file that is played."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from l3clf.cli import options
from l3clf.cli.printing import note, printable, say, tell
from l3clf.errors import AudioError, L3clfError, ParameterError, counted

if TYPE_CHECKING:
    from l3clf.streaming.listening import Listener, Pace
    from l3clf.streaming.stream_classifier import StreamDecision, StreamTags
    from l3clf.streaming.stream_pieces import Gap, StreamPiece

    Decided: TypeAlias = StreamDecision | StreamTags

__all__ = ["add"]

# Repeated here because the module that defines them takes long to import.
RAW_TYPES = ("uint8", "int16", "int24", "int32", "float32", "float64")
BAR = 20
NO_TAG = "no tag"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    listen = options.command(
        commands, "listen", _run, "classify sound as it comes, from a microphone, a pipe or a file that is played"
    )
    listen.add_argument("model", metavar="MODEL", help="model file that `l3clf fit` wrote")
    sound = "- for standard input (WAV), or a sound file to play (default: the microphone)"
    listen.add_argument("sound", metavar="SOUND", nargs="?", help=sound)
    listen.add_argument("--device", metavar="D", help="microphone: its number or part of its name")
    listen.add_argument("--list-devices", action=_ListDevices, help="print the microphones and exit")
    raw = "standard input is raw PCM at this sample rate, in Hz"
    listen.add_argument("--rate", type=options.positive, metavar="HZ", help=raw)
    listen.add_argument("--channels", type=int, metavar="N", help="of raw PCM (default: 1)")
    listen.add_argument("--dtype", choices=RAW_TYPES, help="of raw PCM (default: int16)")
    listen.add_argument("--hop", dest="hop_s", type=options.seconds, metavar="S", help="seconds between decisions")
    windows = "how many windows a decision is about (default: 10)"
    listen.add_argument("--windows", type=int, metavar="N", help=windows)
    text = "lines: one for each change; jsonl: a JSON object for each decision (default: lines)"
    listen.add_argument("--format", choices=("lines", "jsonl"), default="lines", help=text)
    listen.add_argument("--save", metavar="DIR", help="keep the sounds of known classes, or of tags, there, as WAV")
    listen.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    options.add_decision(listen)
    options.add_full_scale(listen)


class _ListDevices(argparse.Action):
    """Prints the microphones and ends, as --help does."""

    def __init__(self, option_strings: Any, dest: str, **how: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **how)

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        """List the devices."""
        from l3clf.streaming.microphone import input_devices

        try:
            devices = input_devices()
        except L3clfError as error:  # parsing has not ended, so that `main` does not know the command yet
            tell(error, parser)
            parser.exit(1)
        if not devices:
            note("no microphone was found")
        for device in devices:
            say(f"{device.index:3d}  {printable(device.name, keep='')}  {device.sample_rate:,.0f} Hz")
        parser.exit()


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.inputs import check_limits
    from l3clf.classifier.model_file import load_model
    from l3clf.networks.threads import one_blas_thread
    from l3clf.streaming.kept_sounds import SoundKeeper
    from l3clf.streaming.listening import Listener
    from l3clf.streaming.stream_classifier import StreamClassifier

    check_limits(args.unknown_threshold, args.gate_dbfs, args.gate_hysteresis_db or 0.0)
    _check_source(args)
    model = load_model(args.model, weights=args.weights)
    full_scale = model.full_scale if args.full_scale is None else args.full_scale
    model.set_params(full_scale=None)  # of floating-point files, whose blocks come with 1
    if args.unknown_threshold is not None and not hasattr(model, "unknown_threshold"):
        raise ParameterError(f"--unknown-threshold: {args.model} has several labels at a time and no unknown; omit it")
    options.set_decision(model, args)
    stream: StreamClassifier[Any] = StreamClassifier(model, args.hop_s, args.windows)
    keeper = None
    if args.save is not None:
        about_s = (stream.windows - 1) * stream.hop_s + model.embedder_.window_s
        keeper = SoundKeeper(args.save, about_s, None if args.sound else time.time())
    listener = Listener(stream, keeper)
    classes = model.classes_.tolist()
    screen = _JsonLines(classes) if args.format == "jsonl" else _Lines(sys.stdout.isatty(), classes)
    with one_blas_thread(), closing(_pieces(args, full_scale)) as pieces:
        failure = _listen(pieces, listener, screen)
    screen.close()
    if listener.pace.heard_s:
        note(_summary(listener.pace, keeper.written if keeper else None))
    if failure is not None:
        raise failure
    return 0


def _listen(pieces: Iterable["StreamPiece"], listener: "Listener[Any]", screen: "_Screen") -> AudioError | None:
    """Show what is heard until it ends or Ctrl-C is pressed; return what ended it, if that is an error."""
    from l3clf.streaming.stream_pieces import Gap

    failure = None
    try:
        for piece in pieces:
            if isinstance(piece, Gap):
                at_s = listener.time_s
                screen.show(listener.take(piece))
                screen.show_gap(piece, at_s)
            else:
                screen.show(listener.take(piece))
    except KeyboardInterrupt:  # how listening to a microphone ends
        pass
    except AudioError as error:
        failure = error
    screen.show(listener.finish())
    return failure


def _check_source(args: argparse.Namespace) -> None:
    if args.rate is not None and args.sound != "-":
        raise ParameterError("--rate: is of raw PCM; give - for standard input")
    for name in ("channels", "dtype"):
        if getattr(args, name) is not None and args.rate is None:
            raise ParameterError(f"--{name} {getattr(args, name)}: is of raw PCM, which has no rate; give --rate, too")
    if args.device is not None and args.sound is not None:
        raise ParameterError(f"--device: is of the microphone; leave out {args.sound}, or the device")
    if args.sound == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise ParameterError("standard input: nothing is piped into it; leave out - for the microphone")


def _pieces(args: argparse.Namespace, full_scale: float | None) -> Generator["StreamPiece", None, None]:
    from l3clf.streaming.microphone import Microphone
    from l3clf.streaming.piped_sound import PcmFormat, piped_blocks, played_blocks

    if args.sound is None:
        device = int(args.device) if args.device is not None and args.device.isdecimal() else args.device
        for number, piece in enumerate(Microphone(device).pieces()):
            if number == 0:  # not before: the device may be missing or in use
                note("listening to the microphone; Ctrl-C ends it")
            yield piece
    elif args.sound == "-":
        channels = 1 if args.channels is None else args.channels
        raw = None if args.rate is None else PcmFormat(args.rate, channels, args.dtype or "int16")
        yield from piped_blocks(cast(Any, sys.stdin.buffer), raw, full_scale)
    else:
        yield from played_blocks(args.sound, full_scale)


def _summary(pace: "Pace", n_kept: int | None) -> str:
    parts = [f"{pace.heard_s:.1f} s of sound, {counted(pace.decisions, 'decision')}"]
    if pace.gaps:
        parts.append(f"{pace.lost_s:.1f} s lost in {counted(pace.gaps, 'gap')}")
    if pace.decisions:
        speed = f"{pace.times_real_time:,.0f} times as fast as real time"
        latency = f"latency {1000 * pace.latency_s:.0f} ms (at most {1000 * pace.max_latency_s:.0f} ms)"
        parts += [speed, latency]
    if n_kept is not None:
        parts.append(f"{counted(n_kept, 'sound')} kept")
    return "; ".join(parts)


class _Screen:
    """Where decisions are shown: each line is flushed, for whoever reads them as they come."""

    def show(self, decisions: Iterable["Decided"]) -> None:
        """Show decisions."""
        raise NotImplementedError

    def show_gap(self, gap: "Gap", at_s: float) -> None:
        """Show that sound was lost."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the terminal as it was."""


class _JsonLines(_Screen):
    def __init__(self, classes: Sequence[Any]) -> None:
        self._names = [str(name) for name in classes]

    def show(self, decisions: Iterable["Decided"]) -> None:
        for each in decisions:
            record = {
                "type": "decision",
                "start_s": each.start_s,
                "end_s": each.end_s,
                **_what(each),
                "level_dbfs": round(each.level_dbfs, 2),
                "probabilities": dict(zip(self._names, each.probabilities.tolist(), strict=True)),
            }
            self._print(record)

    def show_gap(self, gap: "Gap", at_s: float) -> None:
        self._print({"type": "gap", "start_s": at_s, "end_s": at_s + gap.duration_s, "reason": gap.reason})

    @staticmethod
    def _print(record: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


class _Lines(_Screen):
    """A line for each change, and on a terminal one more that lives."""

    def __init__(self, is_live: bool, classes: Sequence[Any] = ()) -> None:
        self._is_live, self._classes = is_live, classes
        self._heard: Any = None
        self._width = 0

    def show(self, decisions: Iterable["Decided"]) -> None:
        for each in decisions:
            heard = _heard(each)
            if heard != self._heard:
                self._heard = heard
                self._print(f"{each.end_s:10.3f} s  {_shown(heard)}  {_numbers(each, self._classes)}")
            if self._is_live:
                self._live(each)
        sys.stdout.flush()

    def show_gap(self, gap: "Gap", at_s: float) -> None:
        length = f"{gap.duration_s:.3f} s" if gap.duration_s else "some"
        self._heard = None
        self._print(f"{at_s:10.3f} s  {length} of sound lost: {printable(gap.reason, keep='')}")
        sys.stdout.flush()

    def close(self) -> None:
        self._clear()
        sys.stdout.flush()

    def _print(self, line: str) -> None:
        self._clear()
        sys.stdout.write(line + "\n")

    def _clear(self) -> None:
        if self._width:
            sys.stdout.write("\r" + " " * self._width + "\r")
            self._width = 0

    def _live(self, decision: "Decided") -> None:
        bar = ("#" * round(BAR * _best(decision))).ljust(BAR, ".")
        time_s = f"{int(decision.end_s // 60):d}:{decision.end_s % 60:04.1f}"
        line = f"{time_s:>10}  [{bar}] {decision.level_dbfs:4.0f} dBFS  {_shown(_heard(decision))}"
        line = line[: max(1, shutil.get_terminal_size().columns - 1)]
        sys.stdout.write("\r" + line.ljust(self._width))
        self._width = max(len(line), self._width)


def _what(decision: "Decided") -> dict[str, Any]:
    """Return what was decided, for a program."""
    if hasattr(decision, "labels"):
        return {"tags": decision.labels}
    names = ("label", "probability", "unknown_score")
    return {name: getattr(decision, name) for name in names}


def _heard(decision: "Decided") -> Any:
    """Return what changes: the class, or all tags."""
    return decision.labels if hasattr(decision, "labels") else decision.label


def _best(decision: "Decided") -> float:
    return decision.probability if hasattr(decision, "probability") else float(decision.probabilities.max())


def _numbers(decision: "Decided", classes: Sequence[Any]) -> str:
    """Return the probability of the class, or those of the tags that are on; where none is, of the most probable."""
    if not hasattr(decision, "labels") or not decision.labels:
        return f"{_best(decision):.2f}"
    return " ".join(f"{decision.probabilities[classes.index(label)]:.2f}" for label in decision.labels)


def _shown(heard: Any) -> str:
    text = ("|".join(map(str, heard)) or NO_TAG) if isinstance(heard, tuple) else str(heard)
    return printable(text, keep="")
