"""OpenL3's front-end beside those of librosa and torchopenl3, and what students spend their time on from files.

Front-ends are timed in turns, since machines are noisy. torchopenl3's is rebuilt here. The steps from a file to vectors
are timed one after another on one thread, each with what the one before it made; the whole is timed on all cores.
Without librosa or PyTorch their rows are left out. OpenL3 has seeded weights.
"""

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile

import l3clf
from benchmarks.int8_speed import precisions
from benchmarks.materials import embed, seeded_openl3
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import Clip, FloatArray
from l3clf.audio.decode import read_blocks
from l3clf.audio.spectrogram import hann, log_spectrogram, mel_filters
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import levels, student_spec
from l3clf.embedders.openl3 import front_end
from l3clf.networks.threads import one_blas_thread

CORES = joblib.cpu_count()
SPEC = front_end("mel256")
EMBEDDED = 4  # windows, to find the share of the front-end
RATE_HZ = 44_100
FORMATS = {"FLAC": ".flac", "WAV": ".wav"}


@dataclass(frozen=True)
class Options:
    """How much is timed.

    Attributes
    ----------
    embedders : tuple of str
        That are timed from files.
    precisions : tuple of str
        Of OpenL3, in which the share of the front-end is measured.
    windows : int
        Of OpenL3, that each round gives to each front-end.
    clips : int
        Files of each format.
    duration_s : float
        Of a file.
    rounds : int
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base")
    precisions: tuple[str, ...] = ("float32", "int8", "bfloat16", "fast")
    windows: int = 16
    clips: int = 16
    duration_s: float = 30.0
    rounds: int = 7


def run(options: Options) -> Result:
    """Time the front-ends, then the steps from files."""
    with tempfile.TemporaryDirectory() as folder, one_blas_thread():
        place = Path(folder)
        return Result((_front_ends(options), _shares(place, options), _from_files(place, options)))


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# --- OpenL3's front-end -----------------------------------------------------------------------------

LIBROSA = "librosa, a window at a time"


def _front_ends(options: Options) -> Table:
    windows = np.random.default_rng(0).normal(0, 0.1, (options.windows, SPEC.sample_rate)).astype(np.float32)
    racers = _racers(windows)
    for racer in racers.values():
        racer()
    rounds = [{name: _seconds(racer) for name, racer in racers.items()} for _ in range(options.rounds)]
    rows = [
        (
            name,
            Timing.of([options.windows / seconds[name] for seconds in rounds]),
            Timing.of([seconds[LIBROSA] / seconds[name] for seconds in rounds]) if LIBROSA in racers else None,
        )
        for name in racers
    ]
    columns = ("", ""), ("windows per second", ",.1f"), ("librosa = 1", ".2f")
    title = f"OpenL3's front-end (mel256), one thread where nothing else is said, {options.rounds} rounds"
    return Table(title, columns, tuple(rows))


def _racers(windows: FloatArray) -> dict[str, Callable[[], object]]:
    def on_all_cores() -> list[FloatArray]:
        with ThreadPoolExecutor(CORES) as pool:
            return list(pool.map(lambda window: log_spectrogram(SPEC, window[np.newaxis]), windows))

    racers: dict[str, Callable[[], object]] = {
        "l3clf": lambda: log_spectrogram(SPEC, windows),
        f"l3clf, {CORES} threads, as it embeds": on_all_cores,
    }
    if find_spec("librosa"):
        racers[LIBROSA] = lambda: [_librosa(window) for window in windows]
    if find_spec("torch"):
        module = _torchopenl3()
        racers["torchopenl3's, rebuilt in PyTorch, all windows at once"] = lambda: module(windows)
    return racers


def _padded(windows: FloatArray) -> FloatArray:
    """Return windows with the zeros that their last frames see."""
    after = (SPEC.n_frames - 1) * SPEC.hop + SPEC.frame - SPEC.sample_rate
    return np.pad(windows, [(0, 0)] * (windows.ndim - 1) + [(0, after)])


def _librosa(window: FloatArray) -> FloatArray:
    """Return what `log_spectrogram` does, by librosa's functions as they are; they make the filters anew each time."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=_padded(window), sr=SPEC.sample_rate, n_fft=SPEC.frame, hop_length=SPEC.hop, center=False, power=1,
        n_mels=SPEC.n_mels,
    )  # fmt: skip
    found: FloatArray = librosa.power_to_db(mel, ref=np.max, amin=1e-10, top_db=80)
    return found


def _torchopenl3() -> Callable[[FloatArray], Any]:
    """Return the arithmetic of torchopenl3's front-end: the Fourier transform is two convolutions with all its waves.

    Its filters weight powers; they and the padding are ours, which takes as long.
    """
    import torch

    torch.set_num_threads(1)
    turns = np.outer(np.arange(SPEC.frame // 2 + 1), np.arange(SPEC.frame)) * (2 * np.pi / SPEC.frame)
    kernels = [(wave(turns) * hann(SPEC.frame)).astype(np.float32) for wave in (np.cos, np.sin)]
    waves = [torch.from_numpy(kernel)[:, None] for kernel in kernels]
    filters = torch.from_numpy(mel_filters(SPEC).T.copy())

    def levels(windows: FloatArray) -> Any:
        with torch.inference_mode():
            samples = torch.from_numpy(_padded(windows))[:, None]
            real, imaginary = (torch.nn.functional.conv1d(samples, wave, stride=SPEC.hop) for wave in waves)
            bands = torch.sqrt(filters @ (real**2 + imaginary**2))
            level = 10 / math.log(10) * torch.log(torch.clamp(bands, min=1e-10))
            return torch.clamp(level - level.amax((1, 2), keepdim=True), min=-80)

    return levels


def _shares(folder: Path, options: Options) -> Table:
    """Measure the share of the front-end in the time of embedding, in each precision."""
    exact = l3clf.load_embedder("openl3", weights=seeded_openl3(folder))
    racing = {
        name: one
        for name, one in precisions(exact).items()
        if one.precision in options.precisions  # type: ignore[attr-defined]
    }
    windows = np.random.default_rng(0).normal(0, 0.1, (EMBEDDED, exact.window_samples)).astype(np.float32)
    for embedder in racing.values():
        embedder.embed_windows(windows[:1])
    rows = []
    for name, embedder in racing.items():
        rounds = [_front_and_all(embedder, windows) for _ in range(options.rounds)]
        whole = Timing.of([1e3 * seconds / EMBEDDED for _, seconds in rounds])
        rows.append((name, whole, Timing.of([front / seconds for front, seconds in rounds])))
    columns = ("", ""), ("embedding a window (ms)", ".1f"), ("share of the front-end", ".1%")
    title = f"OpenL3 (mel256), one thread, windows of 48 kHz from memory, {options.rounds} rounds"
    return Table(title, columns, tuple(rows))


def _front_and_all(embedder: Embedder, windows: FloatArray) -> tuple[float, float]:
    """Return the seconds of the front-end and of all, a window at a time."""
    front = _seconds(lambda: [log_spectrogram(SPEC, window[np.newaxis]) for window in windows])
    return front, _seconds(lambda: [embedder.embed_windows(window[np.newaxis]) for window in windows])


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
    title = f"Stereo at {RATE_HZ:,} Hz, on {CORES} cores; shares of one thread's time"
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
