"""A cache that is full, read-only or in use: the answers come out, and nothing waits for ever."""

import os
import resource
import subprocess
import sys
import warnings

import numpy as np
import pytest
import soundfile
from helpers.fake_embedder import FakeEmbedder
from helpers.file_systems import fill, make_read_only, small_disk
from helpers.processes import environment

from l3clf import ClipClassifier, ClipEmbedder, save_model
from l3clf.audio.clip import Clip
from l3clf.cli.main import main
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import CacheError, CacheWarning
from l3clf.pipeline import embed_sources
from l3clf.storage.embedding_cache import EmbeddingCache

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals, fork and limits of a process")
RATE = 8000
EMBEDDER = FakeEmbedder()


@pytest.fixture
def clips(tmp_path):
    """Six clips of two classes."""
    paths = []
    for i in range(6):
        tone = np.sin(np.arange(RATE) * (0.1 + i / 100)) * 0.3
        samples = tone if i % 2 else np.random.default_rng(i).normal(0, 0.1, RATE)
        paths.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(paths[-1], samples, RATE)
    return paths


LABELS = ["noise", "tone"] * 3


# A full disk, a read-only disk, a limit


@pytest.fixture(params=["full", "read-only", "no folder"])
def unusable(request, tmp_path):
    """A cache that cannot be written, and what the warning says."""
    with small_disk(tmp_path / "disk", 260) as disk:
        cache = EmbeddingCache(disk / "c.sqlite")
        if request.param == "full":
            fill(disk)
            yield cache, "full|disk reports an error"
        elif request.param == "read-only":
            make_read_only(disk)
            yield cache, "cannot be opened|read-only|folder"
        else:
            (disk / "file").touch()
            yield EmbeddingCache(disk / "file" / "c.sqlite"), "folder cannot be created|cannot be reached"


def test_embed_sources_goes_on_without_storing(unusable, clips):
    cache, words = unusable
    wanted = embed_sources(EMBEDDER, [Clip(path) for path in clips])
    with pytest.warns(CacheWarning, match=words) as caught:
        found = embed_sources(EMBEDDER, [Clip(path) for path in clips], cache=cache)
    assert len(caught) == 1
    assert str(cache.path) in str(caught[0].message)
    assert "; this run goes on without storing" in str(caught[0].message)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_the_estimators_go_on_without_storing(unusable, clips):
    cache, words = unusable
    with pytest.warns(CacheWarning, match=words):
        assert ClipEmbedder(EMBEDDER, cache=cache).fit_transform(clips).shape == (6, 4)
    with pytest.warns(CacheWarning, match=words):
        model = ClipClassifier(EMBEDDER, cache=cache).fit(clips, LABELS)
    with pytest.warns(CacheWarning, match=words):
        assert list(model.predict(clips)) == LABELS


def test_the_commands_print_their_answers(unusable, clips, tmp_path, capsys):
    cache, _ = unusable
    model = tmp_path / "m.l3clf"
    save_model(ClipClassifier("mfcc", cache=None).fit(clips, LABELS), model)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a process of its own
        assert main(["predict", str(model), *clips, "--cache", str(cache.path)]) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 7
        assert err.count("goes on without storing") == 1
        embed = ["embed", *clips, "--embedder", "mfcc", "--out", str(tmp_path / "x.npz"), "--cache", str(cache.path)]
        assert main(embed) == 0


def test_what_a_full_disk_holds_is_read(clips, tmp_path):
    with small_disk(tmp_path / "disk", 500) as disk:
        cache = EmbeddingCache(disk / "c.sqlite")
        embed_sources(EMBEDDER, [Clip(path) for path in clips[:3]], cache=cache)
        fill(disk)
        with pytest.warns(CacheWarning, match="full|reports an error"):
            found = embed_sources(EMBEDDER, [Clip(path) for path in clips], cache=cache)
        assert all(isinstance(each, WindowEmbeddings) for each in found)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            embed_sources(EMBEDDER, [Clip(path) for path in clips[:3]], cache=cache)


@posix_only
def test_a_limit_on_the_size_of_files_is_one_warning(clips, tmp_path):
    """As of a quota: each write beyond it fails, in the middle of the file."""
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.warns(CacheWarning, match="disk") as caught:
            found = embed_sources(EMBEDDER, [Clip(path) for path in clips], cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(caught) == 1
    assert all(isinstance(each, WindowEmbeddings) for each in found)


def test_another_file_is_still_refused(clips, tmp_path):
    """A cache that is not the one that was meant is a mistake, and no reason to embed everything again."""
    (tmp_path / "diary").write_text("Dear diary")
    with pytest.raises(CacheError, match="is not an embedding cache"):
        embed_sources(EMBEDDER, [Clip(path) for path in clips], cache=EmbeddingCache(tmp_path / "diary"))


# Signals and forks


PREPARED = """
import os, signal, sys, numpy as np
from l3clf.errors import CacheError
from l3clf.storage import cache_database
from l3clf.storage.embedding_cache import *

cache, said = EmbeddingCache(sys.argv[1]), []

def put(n):
    key = cache_key(b"%d" % n, 0.0, None, "f", 0.5, True)
    windows = StoredWindows(np.ones((3, 4), "f"), np.ones(3, "f"))
    cache.put_many({key: windows}, fingerprint="f", embedder="e")
    return key

def attempt(work):
    try:
        work()
    except CacheError as error:
        return "refused" if "interrupted" in str(error) else str(error)

def while_reading(work):
    cache_database.read(cache.path, lambda db: (db.execute("SELECT * FROM windows").fetchall(), work()))

def while_writing(work):
    cache_database.write(cache.path, lambda db: (db.execute("UPDATE entries SET last_used_s = 0"), work()))

first = put(0)
"""


def run(code, tmp_path):
    """Run code in a process of its own, which must not take for ever."""
    command = [sys.executable, "-c", PREPARED + code, str(tmp_path / "c.sqlite")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


HANDLERS = {
    "reads": ("len(cache.get_many([first]))", "while_reading", "1"),
    "writes": ("put(1) and cache.info()['entries']", "while_reading", "2"),
    "hashes": ("len(cache.content_ids([sys.executable]))", "while_reading", "1"),
    "writes while the other writes": ("attempt(lambda: put(1))", "while_writing", "refused"),
    "reads while the other writes": ("len(cache.get_many([first]))", "while_writing", "1"),
}


@posix_only
@pytest.mark.parametrize("name", HANDLERS)
def test_the_handler_of_a_signal_may_use_the_cache_amid_another_call(tmp_path, name):
    action, caller, answer = HANDLERS[name]
    code = (
        f"signal.signal(signal.SIGUSR1, lambda *_: said.append({action}))\n"
        f"{caller}(lambda: os.kill(os.getpid(), signal.SIGUSR1))\n"
        "print(*said, cache.verify().damaged)\n"
    )
    assert run(code, tmp_path) == [answer, "0"]


@posix_only
def test_a_fork_in_the_handler_of_a_signal_leaves_the_cache_whole(tmp_path):
    """The child has a copy of the open connection, but not its locks: it is refused the cache, and told why."""
    code = """
def handler(*_):
    child = os.fork()
    if child == 0:
        try:
            put(1)
            os._exit(1)
        except CacheError as error:
            os._exit(7 if "forked" in str(error) else 2)
    said.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.signal(signal.SIGUSR1, handler)
while_reading(lambda: os.kill(os.getpid(), signal.SIGUSR1))
put(2)
print(*said, cache.verify().checked)
"""
    assert run(code, tmp_path) == ["7", "2"]
