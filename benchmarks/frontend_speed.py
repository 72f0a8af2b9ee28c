"""OpenL3's front-end beside librosa's, window by window, and what l3mini and l3base spend their time on from files.

Front-ends are timed on one thread, in turns, since machines are noisy. The steps from a file to vectors are timed one
after another on one thread, each with what the one before it made; the whole is timed on all cores. Without librosa its
row is left out. OpenL3 has seeded weights.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import soundfile

import l3clf
from benchmarks.materials import embed, seeded_openl3
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import Clip, FloatArray
from l3clf.audio.decode import read_blocks
from l3clf.audio.spectrogram import log_spectrogram
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import levels, student_spec
from l3clf.embedders.openl3 import front_end
from l3clf.networks.threads import one_blas_thread

RATE_HZ = 44_100
FORMATS = {"FLAC": ".flac", "WAV": ".wav"}


@dataclass(frozen=True)
class Options:
    """How much is timed.

    Attributes
    ----------
    embedders : tuple of str
        That are timed from files.
    windows : int
        Of OpenL3, that each round gives to both front-ends.
    clips : int
        Files of each format.
    duration_s : float
        Of a file.
    rounds : int
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base")
    windows: int = 16
    clips: int = 16
    duration_s: float = 30.0
    rounds: int = 7


def run(options: Options) -> Result:
    """Time the front-ends, then the steps from files."""
    with tempfile.TemporaryDirectory() as folder, one_blas_thread():
        return Result((_front_ends(Path(folder), options), _from_files(Path(folder), options)))


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# --- OpenL3's front-end -----------------------------------------------------------------------------


def _front_ends(folder: Path, options: Options) -> Table:
    openl3 = l3clf.load_embedder("openl3", weights=seeded_openl3(folder))
    windows = np.random.default_rng(0).normal(0, 0.1, (options.windows, openl3.window_samples)).astype(np.float32)
    few = windows[:2]  # the network takes long
    spec = front_end("mel256")
    racers: dict[str, Callable[[], object]] = {"l3clf": lambda: log_spectrogram(spec, windows)}
    if find_spec("librosa"):
        racers["librosa, a window at a time"] = lambda: [_librosa(window) for window in windows]
    for function in racers.values():
        function()
    rounds = [([_seconds(racer) for racer in racers.values()], _share(openl3, few)) for _ in range(options.rounds)]
    rows = [
        (
            name,
            Timing.of([options.windows / times[i] for times, _ in rounds]),
            Timing.of([times[-1] / times[i] for times, _ in rounds]) if len(racers) > 1 else None,
            Timing.of([share for _, share in rounds]) if name == "l3clf" else None,
        )
        for i, name in enumerate(racers)
    ]
    columns = ("", ""), ("windows per second", ",.1f"), ("librosa = 1", ".2f"), ("share of embedding, float32", ".1%")
    return Table(f"OpenL3's front-end (mel256), one thread, {options.rounds} rounds", columns, tuple(rows))


def _librosa(window: FloatArray) -> FloatArray:
    """Return what `log_spectrogram` does; a frame that begins before the window's end is padded."""
    import librosa

    spec = front_end("mel256")
    padded = np.pad(window, (0, (spec.n_frames - 1) * spec.hop + spec.frame - len(window)))
    mel = librosa.feature.melspectrogram(
        y=padded, sr=spec.sample_rate, n_fft=spec.frame, hop_length=spec.hop, center=False, power=1, n_mels=spec.n_mels
    )
    found: FloatArray = librosa.power_to_db(mel, ref=np.max, amin=1e-10, top_db=80)
    return found


def _share(openl3: Embedder, windows: FloatArray) -> float:
    """Return the share of the front-end in the time of embedding."""
    front = _seconds(lambda: log_spectrogram(front_end("mel256"), windows))
    return front / _seconds(lambda: openl3.embed_windows(windows))


# --- from files -------------------------------------------------------------------------------------


def _from_files(folder: Path, options: Options) -> Table:
    rows = []
    for kind, suffix in FORMATS.items():
        clips = _files(folder, suffix, options)
        for name in options.embedders:
            embedder = l3clf.load_embedder(name)
            embed(embedder, clips[:1])
            rounds = [_steps(embedder, clips) for _ in range(options.rounds)]
            shares = [Timing.of([found[i] for found in rounds]) for i in range(1, len(rounds[0]))]
            row: tuple[Cell, ...] = (f"{name}, {kind}", Timing.of([found[0] for found in rounds]), *shares)
            rows.append(row)
    columns = [("", ""), ("windows per second", ",.0f")]
    columns += [(step, ".0%") for step in ("decoding", "resampling", "framing", "front-end", "network")]
    title = f"Stereo at {RATE_HZ:,} Hz, on {joblib.cpu_count()} cores; shares of one thread's time"
    return Table(f"{title}, {options.rounds} rounds", tuple(columns), tuple(rows))


def _files(folder: Path, suffix: str, options: Options) -> list[Clip]:
    rng = np.random.default_rng(0)
    clips = []
    for number in range(options.clips):
        path = folder / f"{number}{suffix}"
        size = round(options.duration_s * RATE_HZ)
        soundfile.write(path, rng.normal(0, 0.1, (size, 2)), RATE_HZ, subtype="PCM_16")
        clips.append(Clip(path))
    return clips


def _steps(embedder: Embedder, clips: list[Clip]) -> tuple[float, ...]:
    """Return windows per second on all cores, and the share of each step in the time of one thread, for one clip."""
    start = time.perf_counter()
    n_windows = sum(map(len, embed(embedder, clips)))
    speed = n_windows / (time.perf_counter() - start)
    clip = clips[0]
    decoding = _seconds(lambda: list(read_blocks(clip, RATE_HZ)))
    resampling = _seconds(lambda: list(read_blocks(clip, embedder.sample_rate))) - decoding
    framing = _seconds(lambda: list(embedder.read_windows(clip, 0.5, True))) - decoding - resampling
    batches = list(embedder.read_windows(clip, 0.5, True))
    spec = student_spec(embedder.window_s)
    front = _seconds(lambda: [levels(spec, windows) for windows in batches])
    network = _seconds(lambda: [embedder.embed_windows(windows) for windows in batches]) - front
    steps = [max(0.0, step) for step in (decoding, resampling, framing, front, network)]
    return (speed, *(step / sum(steps) for step in steps))
