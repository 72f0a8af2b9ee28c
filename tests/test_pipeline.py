"""From clips to window embeddings: the numbers, the failures, the cache, and what interrupts it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import TESTS
from helpers.fake_embedder import FakeEmbedder
from helpers.processes import HEED_CTRL_C, environment

from l3clf import pipeline
from l3clf.audio.clip import Clip, Samples
from l3clf.embedders import WindowEmbeddings, parallel_run
from l3clf.errors import AudioError, L3clfError, ParameterError, WeightsError
from l3clf.pipeline import content_ids, embed_sources, n_threads, save_embeddings
from l3clf.storage.embedding_cache import EmbeddingCache

RATE = 8000
EMBEDDER = FakeEmbedder()
original_embed_windows = FakeEmbedder.embed_windows


def sound(seconds=1.0, seed=0, rate=RATE):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)


def write(path, seconds=1.0, seed=0, rate=RATE, **options):
    soundfile.write(path, sound(seconds, seed, rate), rate, **{"subtype": "FLOAT", "format": "WAV", **options})
    return str(path)


def write_clips(folder, n, seconds=1.0):
    return [Clip(write(folder / f"{i:03}.wav", seconds, seed=i)) for i in range(n)]


def expected(source, **framing):
    """Embed one clip by itself, without the pipeline."""
    if isinstance(source, Samples):
        return EMBEDDER.embed(source.samples, source.sample_rate, **framing)
    samples, rate = soundfile.read(source.path, dtype="float32")
    end = None if source.end_s is None else round(source.end_s * rate)
    return EMBEDDER.embed(samples[round(source.start_s * rate) : end], rate, **framing)


def assert_same(found, wanted):
    assert isinstance(found, WindowEmbeddings), found
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    np.testing.assert_array_equal(found.times_s, wanted.times_s)
    np.testing.assert_array_equal(found.levels_dbfs, wanted.levels_dbfs)


def assert_all_same(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")


def before_each_call(monkeypatch, action):
    """Have the fake call `action(windows)` before it embeds windows."""

    def embed_windows(self, windows):
        action(windows)
        return original_embed_windows(self, windows)

    monkeypatch.setattr(FakeEmbedder, "embed_windows", embed_windows)


@pytest.fixture
def heard(monkeypatch):
    """The numbers of windows given to the fake, call by call."""
    counts = []
    before_each_call(monkeypatch, lambda windows: counts.append(len(windows)))
    return counts


@pytest.fixture
def small_is_large(monkeypatch):
    """Every file is shared between the threads, where there are several."""
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 10)


# --- the same numbers, whatever the way ------------------------------------------------------------


def mixed_sources(folder):
    """Clips of every kind, with windows from one to fifty."""
    long = write(folder / "long.wav", 12.0, seed=1)
    return [
        Clip(write(folder / "short.wav", 0.01, seed=2)),
        Clip(long),
        Clip(long, 2.5, 4.0),
        Clip(long, 11.0),
        Samples(sound(3.3, seed=3), RATE),
        *write_clips(folder, 9),
        Samples(np.stack([sound(2, 4), sound(2, 5)], axis=1), RATE),
        Clip(write(folder / "pcm.flac", 2, seed=6, format="FLAC", subtype="PCM_16")),
    ]


@pytest.mark.parametrize("n_jobs", [1, 2, 4, None])
@pytest.mark.parametrize("kept", [True, False], ids=["cache", "no cache"])
def test_every_clip_gets_what_the_embedder_gives_it_alone_in_order(tmp_path, cache, n_jobs, kept):
    sources = mixed_sources(tmp_path)
    wanted = [expected(source) for source in sources]
    for _ in range(2):  # the second time from the cache, where there is one
        assert_all_same(embed_sources(EMBEDDER, sources, cache=cache if kept else None, n_jobs=n_jobs), wanted)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("hop_s", [0.1, 0.5, 0.7])
def test_hop_and_centring_reach_the_embedder(tmp_path, cache, hop_s, center):
    sources = mixed_sources(tmp_path)
    framing = {"hop_s": hop_s, "center": center}
    wanted = [expected(source, **framing) for source in sources]
    for _ in range(2):
        assert_all_same(embed_sources(EMBEDDER, sources, cache=cache, n_jobs=2, **framing), wanted)


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_a_file_shared_between_threads_gives_the_same_bits(tmp_path, monkeypatch, n_jobs):
    sources = [*mixed_sources(tmp_path), Clip(write(tmp_path / "hour.wav", 60, seed=9))]
    small = embed_sources(EMBEDDER, sources, n_jobs=n_jobs)
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 10)
    assert_all_same(embed_sources(EMBEDDER, sources, n_jobs=n_jobs), small)


def test_a_large_file_is_shared_between_threads(tmp_path, monkeypatch, small_is_large):
    """Two calls meet each other, which one thread alone could never do."""
    meeting = threading.Barrier(2, timeout=20)
    calls = []

    def meet(windows):
        calls.append(len(windows))
        if len(calls) <= 2:
            meeting.wait()

    clip = Clip(write(tmp_path / "long.wav", 30))
    wanted = expected(clip)
    before_each_call(monkeypatch, meet)
    assert_all_same(embed_sources(EMBEDDER, [clip], n_jobs=2), [wanted])
    assert max(calls) <= EMBEDDER.batch_windows


def test_windows_of_several_clips_are_embedded_together(tmp_path, heard):
    sources = write_clips(tmp_path, 32)
    found = embed_sources(EMBEDDER, sources, n_jobs=1)
    assert heard == [12] * 8
    assert sum(heard) == sum(len(out) for out in found)


def test_few_clips_are_shared_between_threads_and_single_windows_always(tmp_path, monkeypatch, heard):
    embed_sources(EMBEDDER, write_clips(tmp_path, 8), n_jobs=1)
    assert heard == [3] * 8
    monkeypatch.setattr(type(EMBEDDER), "batch_windows", 1)
    assert parallel_run.clips_of_a_job(EMBEDDER, 1000) == 1


def test_no_more_windows_at_once_than_the_embedder_wants(tmp_path, heard):
    embed_sources(EMBEDDER, [Clip(write(tmp_path / "long.wav", 40)), *write_clips(tmp_path, 3)], n_jobs=1)
    assert max(heard) == EMBEDDER.batch_windows


@pytest.mark.parametrize("kept", [True, False], ids=["cache", "no cache"])
def test_nothing_in_nothing_out(cache, heard, kept):
    assert embed_sources(EMBEDDER, [], cache=cache if kept else None) == []
    assert heard == []


def test_numbers_of_threads():
    cores = n_threads(None)
    assert cores == n_threads(-1) >= 1
    assert [n_threads(n) for n in (1, 3, np.int64(2))] == [1, 3, 2]


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "2", True, np.nan, [1]])
def test_invalid_numbers_of_threads_are_refused(n_jobs, heard):
    with pytest.raises(ParameterError, match=r"n_jobs=.*expected a number of threads"):
        embed_sources(EMBEDDER, [Samples(sound(), RATE)], n_jobs=n_jobs)
    assert heard == []


@pytest.mark.parametrize("hop_s", [0, -1, np.inf, "0.5"])
def test_a_wrong_hop_is_refused_before_any_file_is_read(hop_s):
    with pytest.raises(ParameterError, match="hop_s="):
        embed_sources(EMBEDDER, [Clip("no such file.wav")], hop_s=hop_s)


def test_the_progress_bar_is_hidden_without_a_terminal(capfd):
    embed_sources(EMBEDDER, [Samples(sound(), RATE)], progress=True)
    assert capfd.readouterr() == ("", "")


# --- clips that fail -------------------------------------------------------------------------------


def missing(path):
    return Clip(path)


def not_audio(path):
    path.write_text("no sound at all")
    return Clip(path)


def damaged_flac(path):
    """Good for its first 20 seconds; the rest is cut off."""
    write(path, 30, format="FLAC", subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return Clip(path)


def not_a_number_late(path):
    samples = sound(30)
    samples[25 * RATE] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT", format="WAV")
    return Clip(path)


def too_late(path):
    return Clip(write(path, 1), 3.0)


def not_finite(path):
    return Samples(np.full(100, np.inf), RATE, label=str(path))


BAD = [missing, not_audio, damaged_flac, not_a_number_late, too_late, not_finite]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kept", [True, False], ids=["cache", "no cache"])
@pytest.mark.parametrize("large", [True, False], ids=["shared", "whole"])
def test_a_bad_clip_does_not_affect_other_clips(tmp_path, monkeypatch, cache, bad, n_jobs, kept, large):
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 10 if large else 1 << 40)
    good = write_clips(tmp_path, 6)
    sources = [*good[:3], bad(tmp_path / "bad one"), *good[3:]]
    for _ in range(2):  # a failure is not kept either
        found = embed_sources(EMBEDDER, sources, cache=cache if kept else None, n_jobs=n_jobs)
        error = found.pop(3)
        assert isinstance(error, AudioError)
        assert str(tmp_path / "bad one") in str(error)
        assert_all_same(found, [expected(clip) for clip in good])
    assert cache.info()["entries"] == (6 if kept else 0)


def test_all_clips_may_fail(tmp_path, cache):
    found = embed_sources(EMBEDDER, [bad(tmp_path / bad.__name__) for bad in BAD], cache=cache, n_jobs=2)
    assert [type(out) for out in found] == [AudioError] * len(BAD)


def test_each_of_several_equal_bad_files_is_named(tmp_path, cache):
    """They have one content, and so one key; but a user looks for the file that a message names."""
    sources = [not_audio(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    found = embed_sources(EMBEDDER, sources, cache=cache, n_jobs=2)
    for source, error in zip(sources, found, strict=True):
        assert isinstance(error, AudioError)
        assert source.path in str(error)


def test_an_embedder_that_cannot_run_stops_everything(tmp_path, monkeypatch, cache):
    """Unlike a clip that fails: no other clip could be embedded either."""

    def fail(windows):
        raise WeightsError("nothing to run")

    before_each_call(monkeypatch, fail)
    for large in (10, 1 << 40):
        monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", large)
        with pytest.raises(WeightsError, match="nothing to run"):
            embed_sources(EMBEDDER, write_clips(tmp_path, 9, seconds=5), cache=cache, n_jobs=2)


# --- the cache -------------------------------------------------------------------------------------


def test_a_second_time_embeds_nothing(tmp_path, cache, heard):
    sources = mixed_sources(tmp_path)
    first = embed_sources(EMBEDDER, sources, cache=cache, n_jobs=2)
    n_calls = len(heard)
    assert n_calls > 0
    again = embed_sources(EMBEDDER, sources, cache=EmbeddingCache(cache.path), n_jobs=1)
    assert_all_same(again, first)
    assert len(heard) == n_calls


def test_only_what_is_new_is_embedded(tmp_path, cache, heard):
    sources = write_clips(tmp_path, 6)
    embed_sources(EMBEDDER, sources[:4], cache=cache, n_jobs=1)
    embed_sources(EMBEDDER, sources, cache=cache, n_jobs=1)
    assert heard == [3] * 6


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_the_same_sound_is_embedded_once(tmp_path, cache, heard, n_jobs):
    clips = write_clips(tmp_path, 2)
    copies = [Clip(shutil.copy(clips[0].path, tmp_path / f"copy {i}.wav")) for i in range(3)]
    arrays = [Samples(sound(seed=7), RATE), Samples(sound(seed=7), RATE, label="again")]
    sources = [*clips, *copies, *clips, *arrays]
    found = embed_sources(EMBEDDER, sources, cache=cache, n_jobs=n_jobs)
    assert sum(heard) == 3 * 3  # three sounds of three windows
    assert_all_same(found, [expected(source) for source in sources])


@pytest.mark.parametrize("moved", ["renamed", "copied"])
def test_a_file_under_another_name_is_recognised(tmp_path, cache, heard, moved):
    first = write(tmp_path / "first.wav")
    wanted = embed_sources(EMBEDDER, [Clip(first)], cache=cache)
    heard.clear()
    second = tmp_path / "second.wav"
    second.write_bytes(Path(first).read_bytes())
    if moved == "renamed":
        Path(first).unlink()
    assert_all_same(embed_sources(EMBEDDER, [Clip(second)], cache=cache), wanted)
    assert heard == []


def test_a_changed_file_is_embedded_again(tmp_path, cache, heard):
    clip = Clip(write(tmp_path / "clip.wav", seed=0))
    (before,) = embed_sources(EMBEDDER, [clip], cache=cache)
    stat = Path(clip.path).stat()
    write(clip.path, seed=1)  # of the same size
    os.utime(clip.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    heard.clear()
    (after,) = embed_sources(EMBEDDER, [clip], cache=cache)
    assert heard == [3]
    assert_same(after, expected(clip))
    assert not np.array_equal(after.vectors, before.vectors)


@pytest.mark.parametrize(
    ("embedder", "piece", "framing"),
    [
        (EMBEDDER, (1.0, None), {}),
        (EMBEDDER, (0.0, 3.0), {}),
        (EMBEDDER, (0.0, None), {"hop_s": 0.25}),
        (EMBEDDER, (0.0, None), {"center": False}),
        (FakeEmbedder(2.0), (0.0, None), {}),
    ],
    ids=["start", "end", "hop", "centring", "fingerprint"],
)
def test_whatever_changes_the_embeddings_is_part_of_the_key(tmp_path, cache, heard, embedder, piece, framing):
    path = write(tmp_path / "clip.wav", 4.0)
    calls = [(EMBEDDER, Clip(path), {}), (embedder, Clip(path, *piece), framing)]
    first, second = (embed_sources(e, [clip], cache=cache, **options)[0] for e, clip, options in calls)
    assert len(heard) == 2
    assert first.vectors.shape != second.vectors.shape or not np.array_equal(first.vectors, second.vectors)
    again = [embed_sources(e, [clip], cache=cache, **options)[0] for e, clip, options in calls]
    assert_all_same(again, [first, second])
    assert len(heard) == 2


@pytest.mark.parametrize("kept", [True, False], ids=["cache", "no cache"])
def test_content_ids_distinguish_sounds(tmp_path, cache, kept):
    clip, other = write_clips(tmp_path, 2)
    copied = Clip(shutil.copy(clip.path, tmp_path / "copied.wav"), 0.5)  # the content is the file's, whatever the piece
    array = Samples(sound(), RATE)
    sources = [clip, other, copied, missing(tmp_path / "missing.wav"), array, Samples(sound(), 2 * RATE)]
    found = content_ids(sources, cache if kept else None)
    assert found[0] == found[2]
    assert isinstance(found[3], L3clfError)
    assert len({*found[:3], *found[4:]}) == 4


def before_reading(monkeypatch, clip, action):
    """Have `action` called when `clip` has been looked up, and before it is read."""
    read_windows = FakeEmbedder.read_windows

    def act_and_read(self, source, hop_s, center):
        if source is clip:
            action()
        return read_windows(self, source, hop_s, center)

    monkeypatch.setattr(FakeEmbedder, "read_windows", act_and_read)


@pytest.mark.parametrize("restored_times", [False, True])
def test_a_file_that_changes_while_it_is_read_is_not_cached(tmp_path, monkeypatch, cache, restored_times):
    clip, twin, other = write_clips(tmp_path, 3)
    shutil.copyfile(clip.path, twin.path)  # the same bytes: a WAV of floats holds the time at which it was written
    stat = Path(clip.path).stat()

    def change():
        write(clip.path, seed=5)  # of the same size
        if restored_times:
            os.utime(clip.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    before_reading(monkeypatch, clip, change)
    found = embed_sources(EMBEDDER, [clip, twin, other], cache=cache, n_jobs=1)
    assert_all_same(found[1:], [expected(twin), expected(other)])
    assert cache.info()["entries"] == 2  # of the twin and the other
    monkeypatch.undo()
    for _ in range(2):
        assert_all_same(embed_sources(EMBEDDER, [clip, twin], cache=cache), [expected(clip), expected(twin)])


def test_a_file_that_disappears_does_not_affect_other_files(tmp_path, monkeypatch, cache):
    """Its content is known to be another file's too: that one is read in its place."""
    gone, twin = write_clips(tmp_path, 2)
    shutil.copyfile(gone.path, twin.path)
    before_reading(monkeypatch, gone, Path(gone.path).unlink)
    error, found = embed_sources(EMBEDDER, [gone, twin], cache=cache)
    assert isinstance(error, AudioError)
    assert gone.path in str(error)
    assert_same(found, expected(twin))


# --- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_what_was_done_before_an_interruption_is_kept(tmp_path, monkeypatch, cache, error):
    sources = write_clips(tmp_path, 20)
    wanted = [expected(source) for source in sources]
    calls = []

    def interrupt(windows):
        calls.append(len(windows))
        if len(calls) == 3:
            raise error

    before_each_call(monkeypatch, interrupt)
    with pytest.raises(error):
        embed_sources(EMBEDDER, sources, cache=cache, n_jobs=1)
    kept = cache.info()["entries"]
    assert kept >= 2 * parallel_run.clips_of_a_job(EMBEDDER, 20)  # and what threads had begun
    calls.clear()
    before_each_call(monkeypatch, lambda windows: calls.append(len(windows)))
    assert_all_same(embed_sources(EMBEDDER, sources, cache=cache, n_jobs=1), wanted)
    assert sum(calls) == (len(sources) - kept) * 3


RUN = """
import os, sys, time
import numpy as np
from helpers.fake_embedder import FakeEmbedder
from l3clf import pipeline
from l3clf.embedders import clip_work
from l3clf.audio.clip import Clip
from l3clf.storage.embedding_cache import EmbeddingCache

cache, out, stopped_at, how, *paths = sys.argv[1:]
embed_windows, calls = FakeEmbedder.embed_windows, []

def stopped(self, windows):
    calls.append(1)
    if len(calls) == int(stopped_at):
        os.kill(os.getpid(), int(how))
    time.sleep(0.02)
    return embed_windows(self, windows)

FakeEmbedder.embed_windows = stopped
clip_work.STORE_EVERY_S = 0.0
found = pipeline.embed_sources(FakeEmbedder(), [Clip(p) for p in paths], cache=EmbeddingCache(cache), n_jobs=1)
np.savez(out, *[f.vectors for f in found])
"""


def start(cache, out, sources, stopped_at=0, how=0):
    """Embed in another process, which sends itself the signal `how` at one of its calls."""
    arguments = [str(cache.path), str(out), str(stopped_at), str(int(how)), *(clip.path for clip in sources)]
    command = [sys.executable, "-c", HEED_CTRL_C + RUN, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment(TESTS), text=True, **pipes)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_loses_what_is_in_flight_and_the_next_one_completes(tmp_path, cache, heard, how):
    sources = write_clips(tmp_path, 40)
    with start(cache, tmp_path / "out.npz", sources, 7, how) as process:
        process.communicate(timeout=60)
    assert process.returncode == -how
    assert not (tmp_path / "out.npz").exists()
    kept = cache.info()["entries"]
    # Six calls were finished. The last of them may not have been stored yet, nor the one being stored; an interruption
    # lets the call that it finds finish, and perhaps the next.
    assert 4 <= kept / parallel_run.CLIPS_AT_ONCE <= (6 if how == signal.SIGKILL else 9)
    assert cache.verify().damaged == 0
    found = embed_sources(EMBEDDER, sources, cache=cache, n_jobs=1)
    assert sum(heard) == (40 - kept) * 3
    assert_all_same(found, [expected(source) for source in sources])


def test_two_processes_at_once_both_finish_and_agree(tmp_path, cache):
    sources = write_clips(tmp_path, 24)
    outs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    both = [start(cache, out, sources) for out in outs]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    wanted = [expected(source).vectors for source in sources]
    for out in outs:
        with np.load(out) as file:
            np.testing.assert_array_equal([file[name] for name in file.files], wanted)
    assert cache.info()["entries"] == 24
    assert cache.verify() == (24, 0, None)


# --- embeddings as a file --------------------------------------------------------------------------


def test_saved_embeddings_are_read_back(tmp_path):
    sources = [Clip(write(tmp_path / "a.wav", 2)), missing(tmp_path / "b.wav"), Clip(write(tmp_path / "c.wav", 1))]
    outcomes = embed_sources(EMBEDDER, sources)
    n_windows = save_embeddings(tmp_path / "out.npz", ["a", "b", "ç"], outcomes)
    a, c = outcomes[0], outcomes[2]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        assert file["paths"].tolist() == ["a", "ç"]
        assert file["clip"].tolist() == [0] * len(a) + [1] * len(c)
        for name in ("vectors", "times_s", "levels_dbfs"):
            wanted = np.concatenate([getattr(a, name), getattr(c, name)])
            np.testing.assert_array_equal(file[name], wanted)
            assert file[name].dtype == wanted.dtype
        assert n_windows == len(file["vectors"]) == 5 + 3


def test_saved_embeddings_of_no_clip_at_all(tmp_path):
    assert save_embeddings(tmp_path / "out.npz", ["a"], [AudioError("bad")]) == 0
    with np.load(tmp_path / "out.npz") as file:
        assert {name: len(file[name]) for name in file.files} == dict.fromkeys(
            ("paths", "clip", "vectors", "times_s", "levels_dbfs"), 0
        )


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    outcomes = embed_sources(EMBEDDER, [Samples(sound(), RATE)])
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")

    def half(spool, member, n_bytes):
        member.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "_copy", half)
    with pytest.raises(ParameterError, match=r"out\.npz: cannot be written \(No space left on device\)"):
        save_embeddings(out, ["a"], outcomes, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]
    assert out.read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions as POSIX has them")
def test_a_saved_file_has_the_name_and_permissions_asked_for(tmp_path):
    (tmp_path / "reference").touch()
    save_embeddings(tmp_path / "no suffix", ["a"], embed_sources(EMBEDDER, [Samples(sound(), RATE)]))
    assert (tmp_path / "no suffix").stat().st_mode == (tmp_path / "reference").stat().st_mode


def test_names_and_outcomes_belong_together(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        save_embeddings(tmp_path / "out.npz", ["a", "b"], [AudioError("bad")])
    assert list(tmp_path.iterdir()) == []


class Broken(FakeEmbedder):
    """Returns NaN for loud windows."""

    def embed_windows(self, windows):
        vectors = original_embed_windows(self, windows)
        vectors[np.abs(windows).max(axis=1) > 100] = np.nan
        return vectors


@pytest.mark.filterwarnings("ignore::l3clf.errors.LevelWarning")  # the loud one is that loud
def test_embeddings_that_are_not_finite_fail_with_their_clip(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache.sqlite")
    sources = [Samples(sound(seed=i) * (1000 if i == 1 else 1), RATE, f"clip {i}") for i in range(3)]
    for _ in range(2):  # computed, and looked for in the cache
        found = embed_sources(Broken(), sources, cache=cache)
        assert [isinstance(outcome, WindowEmbeddings) for outcome in found] == [True, False, True]
        assert "clip 1: its embeddings by 'fake' are NaN or infinite" in str(found[1])
    assert cache.info()["entries"] == 2
    with pytest.raises(AudioError, match="are NaN or infinite"):
        Broken().embed(sound() * 1000, RATE)


def test_cached_embeddings_that_are_not_finite_are_made_again(tmp_path, monkeypatch):
    cache = EmbeddingCache(tmp_path / "cache.sqlite")
    with monkeypatch.context() as patched:
        patched.setattr(
            FakeEmbedder,
            "join",
            lambda self, batches, *_: WindowEmbeddings(
                np.full((1, 4), np.nan, np.float32), np.zeros((1, 2)), np.zeros(1, np.float32)
            ),
        )
        embed_sources(EMBEDDER, [Samples(sound(), RATE, "clip")], cache=cache)
    (found,) = embed_sources(EMBEDDER, [Samples(sound(), RATE, "clip")], cache=cache)
    assert np.isfinite(found.vectors).all()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system has no folder that takes no files")
def test_an_unwritable_place_for_embeddings_is_one_sentence():
    with pytest.raises(ParameterError, match=r"^/proc/x\.npz: cannot be written \(.*\); choose another place"):
        save_embeddings("/proc/x.npz", [], [])
