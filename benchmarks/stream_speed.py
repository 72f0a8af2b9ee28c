"""Streams: whether they decide as the clip path does, and what three hours of one take.

Real clips at their own sample rates are cut into random chunks, and what comes of them is compared with the clip path.
Then hours of sound (clips of ESC-10 of folds that were not learned, over a quiet background; see `long_stream`) go
through a classifier in chunks of a tenth of a second, as a microphone gives them, in a process that only listens. Speed
is of one thread, by the clock and by the time that the processor spent on it: on a busy machine the clock says little.
Memory is that of the process, from the tenth minute on.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import l3clf
from benchmarks.environment import ROOT, say
from benchmarks.long_stream import make_long_stream, pool_background
from benchmarks.materials import esc10, fsdd, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.audio.clip import FloatArray
from l3clf.audio.decode import load
from l3clf.classifier.decision import above_gate, pool_windows
from l3clf.embedders import Embedder
from l3clf.networks.threads import one_blas_thread
from l3clf.streaming.stream_classifier import StreamClassifier
from l3clf.streaming.stream_segment import Segment

HOP_S = 0.5
WARM_S = 600.0


@dataclass(frozen=True)
class Options:
    """What is streamed.

    Attributes
    ----------
    embedders : tuple of str
        For the long stream; the first is the one for the comparison too.
    clips, cuts : int
        How many clips are cut, in how many ways each.
    hours : float
        Of the long stream.
    chunk_s : float
        How much of it comes at once.
    folds : tuple of int
        Of ESC-10, that are learned.
    seed : int
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base")
    clips: int = 20
    cuts: int = 50
    hours: float = 3.0
    chunk_s: float = 0.1
    folds: tuple[int, ...] = (1, 2, 3)
    seed: int = 0


def run(options: Options) -> Result:
    """Compare, then stream for hours."""
    with tempfile.TemporaryDirectory() as folder:
        models = {name: fitted(name, options.folds) for name in options.embedders}
        with one_blas_thread():
            same = compared(models[options.embedders[0]], options)
        rows: list[tuple[Cell, ...]] = []
        for name, model in models.items():
            say(f"{name}: a stream of {options.hours:g} hours ...")
            path = l3clf.save_model(model, Path(folder) / f"{name.replace('/', '_')}.l3clf")
            rows.append((name, *_in_a_process(path, options)))
    columns = (
        *(("model", ""), ("hours", "g"), ("decisions", ",d"), ("times real time", ",.0f"), ("in CPU time", ",.0f")),
        *(("latency, mean (ms)", ".1f"), ("latency, 99 % (ms)", ".1f"), ("memory at 10 minutes (MB)", ".0f")),
        ("memory growth (MB)", ".1f"),
    )
    title = f"A stream of 44.1 kHz in chunks of {options.chunk_s:g} s, one thread"
    note = (
        "Latency is from the arrival of the sound that completes a window to the decision. Between 44.1 and 16 kHz the "
        "resampler holds back another 9 to 84 ms of sound."
    )
    return Result((same, Table(title, columns, tuple(rows))), (note,))


def fitted(name: str, folds: Sequence[int]) -> l3clf.ClipClassifier:
    """Return a classifier of ESC-10, fitted on these folds."""
    table = esc10()
    used = [i for i in range(len(table)) if int(str(table.folds[i])) in folds]  # type: ignore[index]
    options = {"weights": weights_folder()} if name in ("efficientat", "yamnet") else {}
    model = l3clf.ClipClassifier(l3clf.load_embedder(name, **options), hop_s=HOP_S)
    return model.fit([table.clips[i] for i in used], [table.labels[i] for i in used])


def compared(model: l3clf.ClipClassifier, options: Options) -> Table:
    """Return how far random chunks of clips are from the clip path."""
    rng = np.random.default_rng(options.seed)
    effects, speech = esc10(), fsdd()
    n_speech = options.clips * 3 // 10
    chosen = [
        *(effects.clips[int(i)] for i in rng.choice(len(effects), options.clips - n_speech, replace=False)),
        *(speech.clips[int(i)] for i in rng.choice(len(speech), n_speech, replace=False)),
    ]
    largest, decisions, different, vectors = 0.0, 0, 0, 0
    for clip in chosen:
        samples, rate = load(clip)
        whole = model.embedder_.embed(samples, rate, hop_s=HOP_S, center=False)
        expected = clip_decisions(model, whole, StreamClassifier(model).windows)
        for _ in range(options.cuts):
            chunks = list(random_chunks(rng, samples))
            found = segment_vectors(model.embedder_, chunks, rate)
            largest = max(
                largest, float(np.abs(found - whole.vectors).max()) if found.shape == whole.vectors.shape else 1e9
            )
            stream = StreamClassifier(model)
            labels = [each.label for chunk in chunks for each in stream.push(chunk, rate)]
            labels += [each.label for each in stream.flush()]
            different += labels != expected
            decisions, vectors = decisions + len(labels), vectors + len(found)
    columns = (
        *(("clips", "d"), ("cuts of each", "d"), ("windows", ",d"), ("largest difference of a value", ".1e")),
        *(("decisions", ",d"), ("cuts with other decisions", "d")),
    )
    row = (len(chosen), options.cuts, vectors, largest, decisions, different)
    return Table(f"Random chunks beside the clip path, {model.embedder_.name}", columns, (row,))


def clip_decisions(model: l3clf.ClipClassifier, whole: l3clf.WindowEmbeddings, windows: int) -> list[str]:
    """Return the labels that the rule of `decision` gives the windows of a clip."""
    above = above_gate(whole.levels_dbfs, *model.gate_in_force())
    pools = pool_windows(whole.vectors, whole.levels_dbfs, above, windows, model.silence_learned_)
    answers = model.answers(pools)
    labels: list[str] = model.labels_of(answers).tolist()
    return labels


def random_chunks(rng: np.random.Generator, samples: FloatArray) -> Iterator[FloatArray]:
    """Cut samples: into a few long chunks, many short ones, or anything between."""
    longest, at = int(10 ** rng.uniform(2.5, 5.3)), 0
    while at < len(samples):
        size = int(rng.integers(1, longest + 1))
        yield samples[at : at + size]
        at += size


def segment_vectors(embedder: Embedder, chunks: Sequence[FloatArray], rate: int) -> FloatArray:
    """Return the embeddings of the windows of chunks."""
    segment = Segment(embedder, HOP_S, rate, None, 0.0)
    return np.concatenate([*(segment.push(chunk).vectors for chunk in chunks), segment.finish().vectors])


# --- the long stream ------------------------------------------------------------------------------


def _in_a_process(path: Path, options: Options) -> list[float]:
    """Give hours of sound to a process that only listens: the sound is made in this one."""
    table = esc10()
    new = [i for i in range(len(table)) if int(str(table.folds[i])) not in options.folds]  # type: ignore[index]
    clips, labels = [table.clips[i] for i in new], [str(table.labels[i]) for i in new]
    made = make_long_stream(clips, labels, 3600 * options.hours, options.seed, pool_background())
    size = round(options.chunk_s * made.sample_rate)
    code = f"from benchmarks.stream_speed import hear; hear({str(path)!r}, {made.sample_rate}, {size}, {options.hours})"
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        for chunk in made.chunks():
            process.stdin.write(chunk.tobytes())
        process.stdin.close()
        found: list[float] = json.loads(process.stdout.read())
    return found


def hear(path: str, sample_rate: int, size: int, hours: float) -> None:
    """Listen to standard input for hours, so many samples at once, and print the figures as JSON."""
    stream, n_decisions, busy_s, cpu_s = StreamClassifier(l3clf.load_model(path)), 0, 0.0, 0.0
    latencies_s, memory = [], [_resident_mb()]
    next_s = min(WARM_S, 1800 * hours)
    with one_blas_thread():
        while data := sys.stdin.buffer.read(4 * size):
            chunk = np.frombuffer(data, np.float32)
            begun_s, cpu_begun_s = time.perf_counter(), time.thread_time()
            decisions = stream.push(chunk, sample_rate)
            taken_s = time.perf_counter() - begun_s
            busy_s, cpu_s = busy_s + taken_s, cpu_s + time.thread_time() - cpu_begun_s
            if decisions:
                n_decisions += len(decisions)
                latencies_s.append(taken_s)
            if stream.time_s >= next_s:
                memory.append(_resident_mb())
                next_s += 60
    warm = memory[1:] or memory
    late_ms = 1000 * np.asarray(latencies_s)
    figures = [hours, n_decisions, stream.time_s / busy_s, stream.time_s / cpu_s]
    latencies_ms = [late_ms.mean(), np.percentile(late_ms, 99)]
    print(json.dumps([*figures, *latencies_ms, warm[0], max(warm) - warm[0]]))


def _resident_mb() -> float:
    """Return the memory that the process has now; 0 where the system does not tell as Linux does."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 1e6
