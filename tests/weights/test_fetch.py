"""Downloads: complete and correct, or nothing under the final name, whatever the server does."""

import hashlib
import http.server
import multiprocessing
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from l3clf.errors import DownloadError, WeightsError
from l3clf.weights import fetch as download
from l3clf.weights import registry as weights
from l3clf.weights.registry import WeightFile, fetch, known, obtain

BODY = np.random.default_rng(5).bytes(300_000)


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's ids are SHA-1


FILE = WeightFile("openl3", "net.h5.gz", None, git_id(BODY), 400_000, "MIT", ("net.h5",))


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """A user's cache folder that is this test's own, and no wait between attempts."""
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    folder = tmp_path / "cache"
    monkeypatch.setattr(weights.platformdirs, "user_cache_path", lambda name: folder / name)
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setattr(download, "LOCK_POLL_S", 0.01)
    return folder / "l3clf" / "weights"


# --- a server that can misbehave -------------------------------------------------------------------


@dataclass
class Plan:
    """What the server does with one request; the last plan stays in force."""

    status: int = 200
    body: bytes = BODY
    stop_after: int | None = None  # bytes after which the connection is dropped
    ignore_range: bool = False
    shift: int = 0  # added to the start that Content-Range claims
    no_length: bool = False
    location: str | None = None


@dataclass
class Server:
    url: str = ""
    plans: list = field(default_factory=lambda: [Plan()])
    ranges: list = field(default_factory=list)  # the Range header of each request


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        told = self.server.told
        told.ranges.append(self.headers.get("Range"))
        plan = told.plans.pop(0) if len(told.plans) > 1 else told.plans[0]
        start = self.start_of(plan)
        if start is not None and start >= len(plan.body):
            plan = replace(plan, status=416, body=b"")
        elif start is not None and plan.status == 200:
            plan = replace(plan, status=206)
        self.answer(plan, plan.body[start or 0 :], start or 0)

    def start_of(self, plan):
        asked = self.headers.get("Range")
        return None if asked is None or plan.ignore_range else int(asked.removeprefix("bytes=").rstrip("-"))

    def answer(self, plan, rest, start):
        self.send_response(plan.status)
        if plan.location:
            self.send_header("Location", plan.location)
        if plan.status == 206:
            total = start + len(rest)
            self.send_header("Content-Range", f"bytes {start + plan.shift}-{total - 1}/{total}")
        if not plan.no_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if plan.stop_after is None else rest[: plan.stop_after])


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.told = Server(f"http://127.0.0.1:{running.server_port}/net.h5.gz")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.told
        running.shutdown()
        thread.join()


def get(server, folder, **options):
    return fetch(options.pop("file", FILE), folder, url=server.url, progress=False, **options)


def only_lock(folder):
    """Whether nothing but the lock is left."""
    return [p.name for p in folder.iterdir()] == ["net.h5.gz.lock"]


# --- fetching --------------------------------------------------------------------------------------


def test_fetch_stores_the_file_in_the_users_folder(server, cache_dir):
    path = get(server, None)
    assert path == cache_dir / "net.h5.gz"
    assert path.read_bytes() == BODY
    assert sorted(p.name for p in cache_dir.iterdir()) == ["net.h5.gz", "net.h5.gz.lock"]


def test_fetch_leaves_a_right_file_alone_and_replaces_a_wrong_one(server, tmp_path):
    path = get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.ranges) == 1
    path.write_bytes(b"bit rot")
    get(server, tmp_path)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("no_length", [False, True])
def test_fetch_continues_after_a_dropped_connection(server, tmp_path, no_length):
    # Without Content-Length a truncated body looks complete; the git id tells, and the next call is right.
    server.plans = [Plan(stop_after=100_000, no_length=no_length), Plan()]
    if no_length:
        with pytest.raises(DownloadError, match="git id"):
            get(server, tmp_path)
        assert only_lock(tmp_path)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == ([None, None] if no_length else [None, "bytes=100000-"])


def test_fetch_continues_what_an_earlier_call_left(server, tmp_path):
    server.plans = [Plan(stop_after=50_000)]
    with pytest.raises(DownloadError, match=r"attempts.* of 300000 bytes"):
        get(server, tmp_path)
    have = min(50_000 * download.ATTEMPTS, len(BODY))
    assert (tmp_path / "net.h5.gz.part").read_bytes() == BODY[:have]
    assert not (tmp_path / "net.h5.gz").exists()
    server.plans, server.ranges = [Plan()], []
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [f"bytes={have}-"]


def test_fetch_needs_no_network_when_only_the_rename_was_missing(server, tmp_path):
    (tmp_path / "net.h5.gz.part").write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == []


@pytest.mark.parametrize(
    ("left", "plan"),
    [
        pytest.param(BODY[:1000], Plan(ignore_range=True), id="server ignores Range"),
        pytest.param(BODY[:1000], Plan(shift=7), id="wrong Content-Range"),
        pytest.param(b"x" * 1000, Plan(), id="old part of another file"),
        pytest.param(b"x" * 350_000, Plan(), id="old part is longer than the file"),
    ],
)
def test_fetch_starts_over_when_the_part_cannot_be_continued(server, tmp_path, left, plan):
    (tmp_path / "net.h5.gz.part").write_bytes(left)
    server.plans = [plan]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges[0] == f"bytes={len(left)}-"


def test_corrupt_bytes_are_refused_and_removed(server, tmp_path):
    corrupt = bytearray(BODY)
    corrupt[1234] ^= 1
    server.plans = [Plan(body=bytes(corrupt))]
    with pytest.raises(DownloadError, match=f"expected git id {git_id(BODY)}, found {git_id(corrupt)}"):
        get(server, tmp_path)
    assert only_lock(tmp_path)


@pytest.mark.parametrize("no_length", [False, True])
def test_a_body_over_the_limit_is_refused(server, tmp_path, no_length):
    server.plans = [Plan(body=BODY * 2, no_length=no_length)]
    with pytest.raises(DownloadError, match="more than 400000 bytes"):
        get(server, tmp_path)
    assert only_lock(tmp_path)
    assert len(server.ranges) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.plans = [Plan(status=500, body=b""), Plan(status=503, body=b""), Plan()]
    assert get(server, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (204, 5), (500, 5)])
def test_a_refusal_names_the_status(server, tmp_path, status, requests):
    server.plans = [Plan(status=status, body=b"")]
    with pytest.raises(DownloadError, match=f"status {status}"):
        get(server, tmp_path)
    assert len(server.ranges) == requests
    assert only_lock(tmp_path)


def test_no_server_listening(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DownloadError, match=r"attempts.*refused"):
            fetch(FILE, tmp_path, url=f"http://127.0.0.1:{port}/x", progress=False)


def test_a_silent_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DownloadError, match=r"attempts.*timed out"):
            fetch(FILE, tmp_path, url=f"http://127.0.0.1:{port}/x", progress=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "ftp://example.org/x",
        "file:///etc/hosts",
        "net.h5.gz",
        "https://",
        "https://[x",
    ],
)
def test_only_https_is_asked(tmp_path, url):
    with pytest.raises(DownloadError, match="https://"):
        fetch(FILE, tmp_path, url=url)


@pytest.mark.parametrize("location", ["http://example.org/x", "file:///etc/hosts", "ftp://127.0.0.1/x"])
def test_a_redirect_to_anything_else_is_refused(server, tmp_path, location):
    server.plans = [Plan(status=302, body=b"", location=location)]
    with pytest.raises(DownloadError, match=r"https://|status 302"):  # urllib refuses file: by itself
        get(server, tmp_path)
    assert only_lock(tmp_path)


def test_a_redirect_keeps_the_range(server, tmp_path):
    (tmp_path / "net.h5.gz.part").write_bytes(BODY[:1000])
    server.plans = [Plan(status=302, location="/elsewhere"), Plan()]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", "bytes=1000-"]


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"taken.net\.h5\.gz: cannot be stored"):
        get(server, tmp_path / "taken")


def test_the_progress_bar_is_on_stderr_and_can_be_off(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "BAR_AFTER_S", 0.0)
    get(server, tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    fetch(FILE, tmp_path / "loud", url=server.url)
    out, err = capsys.readouterr()
    assert out == ""
    assert "net.h5.gz" in err
    assert "300k/300k" in err


def test_threads_that_fetch_at_once_share_one_download(server, tmp_path):
    server.plans = [Plan(stop_after=100_000), Plan(stop_after=100_000), Plan()]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(server, tmp_path), range(8)))
    assert {p.read_bytes() for p in paths} == {BODY}
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_processes_that_fetch_at_once_share_one_download(server, tmp_path):
    server.plans = [Plan(stop_after=100_000), Plan()]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=get, args=(server, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "net.h5.gz").read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_without_locks_each_process_has_a_part_of_its_own(server, tmp_path, monkeypatch):
    def no_locks(descriptor):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(download, "lock_now", no_locks)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(server, tmp_path), range(4)))
    assert {p.read_bytes() for p in paths} == {BODY}
    assert sorted(p.name for p in tmp_path.glob("net*")) == ["net.h5.gz", "net.h5.gz.lock"]


@pytest.mark.parametrize("file", [replace(FILE, git_sha1=None), known("yamnet.tflite")])
def test_what_cannot_be_verified_is_not_fetched(file):
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        fetch(file, url="https://example.org/x" if file.git_sha1 is None and file.model == "openl3" else None)


# --- obtaining -------------------------------------------------------------------------------------


def test_obtain_finds_or_fetches(server, cache_dir):
    file = replace(FILE, url=server.url)
    path = obtain(file, progress=False)
    assert path == cache_dir / "net.h5.gz"
    assert obtain(file, progress=False) == path
    assert len(server.ranges) == 1


def test_a_failed_download_gives_the_three_ways_out(server):
    server.plans = [Plan(status=404, body=b"")]
    with pytest.raises(DownloadError) as caught:
        obtain(replace(FILE, url=server.url), progress=False)
    message = str(caught.value)
    for part in ("net.h5.gz", "404", "`l3clf weights fetch`", "weights=PATH", 'embedder="l3base"'):
        assert part in message
    assert "\n" not in message
