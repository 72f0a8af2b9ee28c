"""Download one file completely and correctly, or not at all.

Rule: the download is written to `NAME.part`, which is renamed only if its git object id is the expected one. An
interrupted download is resumed where it stopped, by another attempt or by the next call.
"""

import hashlib
import http
import http.client
import os
import re
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from l3clf.errors import DownloadError
from l3clf.storage.locks import lock_now, unlock

ATTEMPTS = 5
BACKOFF_S = 0.5  # doubled after each failed attempt
READ_TIMEOUT_S = 20.0  # without a single byte; a slow download may take hours
LOCK_POLL_S = 0.1
BAR_AFTER_S = 0.3  # no progress bar for a download that fails at once
BLOCK_BYTES = 1 << 16

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})  # no network is involved
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # temporary: another attempt may succeed


class _TransferError(Exception):
    """The transfer failed in a way that another attempt may not."""


@dataclass(frozen=True)
class _Job:
    """What to download, the file that it is written to, and what its content must be."""

    url: str
    name: str
    part: Path
    git_sha1: str
    size_limit: int
    progress: bool

    def size_here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def start_over(self) -> None:
        self.part.unlink(missing_ok=True)


def git_blob_id(path: Path) -> str:
    """Return the id that git gives to the content of a file: the SHA-1 of its type, length and bytes.

    Parameters
    ----------
    path : Path
        The file to read.

    Returns
    -------
    str
        40 hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        return hashlib.file_digest(handle, lambda: digest).hexdigest()


def download(url: str, target: Path, *, git_sha1: str, size_limit: int, progress: bool) -> Path:
    """Download `url` to `target`, unless `target` exists already with the expected content.

    Parameters
    ----------
    url : str
        An https address; http is accepted for this machine only.
    target : Path
        The final name; its folder is created if necessary. `NAME.part` and `NAME.lock` are written beside it.
    git_sha1 : str
        The git object id that the content must have.
    size_limit : int
        Maximum size in bytes.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DownloadError
        If the address is not allowed or does not respond, the content is too large or not the expected one, or it
        cannot be stored.
    """
    _require_safe(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sole_use(target) as part:
            job = _Job(url, target.name, part, git_sha1, size_limit, progress)
            if not _has_id(target, git_sha1):  # another process may have fetched it while we waited for the lock
                _receive_right_bytes(job)
                _store(part, target)
    except OSError as error:  # of the file system: network errors are caught in _open and _blocks
        problem = error.strerror or error
        message = f"{target}: cannot be stored ({problem}); free some space there, or make the folder writable"
        raise DownloadError(message) from error
    return target


def _require_safe(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise DownloadError(f"{url}: is not a web address; give one that starts with https://") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise DownloadError(f"{url}: is not a secure address; give one that starts with https://")


def _has_id(path: Path, git_sha1: str) -> bool:
    return path.is_file() and git_blob_id(path) == git_sha1


def _store(part: Path, target: Path) -> None:
    with part.open("rb+") as handle:
        os.fsync(handle.fileno())  # or else a power cut could leave an empty file under the final name
    part.replace(target)


# --- one process at a time ------------------------------------------------------------------------


@contextmanager
def _sole_use(target: Path) -> Iterator[Path]:
    """Yield the name of the part file, which only this caller uses until the block ends."""
    with target.with_name(f"{target.name}.lock").open("ab") as handle:
        if not _wait_for_lock(handle.fileno()):
            with _private_part(target) as part:
                yield part
            return
        try:
            yield target.with_name(f"{target.name}.part")
        finally:
            unlock(handle.fileno())


def _wait_for_lock(descriptor: int) -> bool:
    """Wait for the lock; return False if the file system does not support locks."""
    try:
        while not lock_now(descriptor):
            time.sleep(LOCK_POLL_S)
    except OSError:
        return False
    return True


@contextmanager
def _private_part(target: Path) -> Iterator[Path]:
    """Yield the name of a part file of this caller's own: without locks, it cannot be shared or resumed."""
    part = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


# --- receiving ------------------------------------------------------------------------------------


def _receive_right_bytes(job: _Job) -> None:
    left_over = job.size_here() > 0
    if left_over and _has_id(job.part, job.git_sha1):
        return
    found = _receive(job)
    if left_over and found != job.git_sha1:  # the old beginning may be wrong, so try without it
        job.start_over()
        found = _receive(job)
    if found != job.git_sha1:
        job.start_over()
        problem = f"is not the published {job.name} (expected git id {job.git_sha1}, found {found})"
        raise DownloadError(f"{job.url}: {problem}; use another address")


def _receive(job: _Job) -> str:
    """Receive the whole file, in up to `ATTEMPTS` attempts, and return its git id."""
    from tqdm import tqdm  # here, because most users of this module download nothing

    problem = ""
    with tqdm(desc=job.name, unit="B", unit_scale=True, delay=BAR_AFTER_S, disable=not job.progress) as bar:
        for attempt in range(ATTEMPTS):
            time.sleep(BACKOFF_S * 2 ** (attempt - 1) if attempt else 0.0)
            try:
                _transfer(job, bar)
            except _TransferError as error:
                problem = str(error)
            else:
                return git_blob_id(job.part)
    raise DownloadError(f"{job.url}: could not be downloaded in {ATTEMPTS} attempts ({problem}); try again later")


def _transfer(job: _Job, bar: Any) -> None:
    """Make one attempt, which resumes the part file."""
    with _open(job) as response:
        start, total = _start_and_total(job, response)
        _refuse_too_large(job, total or 0)
        bar.total, bar.n = total, start
        with job.part.open("ab" if start else "wb") as out:
            here = _copy(job, response, out, bar)
    _refuse_too_large(job, here)
    if total is not None and here < total:
        raise _TransferError(f"the connection ended after {here} of {total} bytes")


def _copy(job: _Job, response: http.client.HTTPResponse, out: IO[bytes], bar: Any) -> int:
    for block in _blocks(response):
        out.write(block)
        bar.update(len(block))
        if out.tell() > job.size_limit:
            break
    return out.tell()


def _refuse_too_large(job: _Job, size: int) -> None:
    if size > job.size_limit:
        job.start_over()
        problem = f"sends more than {job.size_limit} bytes, so it is not the published {job.name}"
        raise DownloadError(f"{job.url}: {problem}; use another address")


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            block = response.read(BLOCK_BYTES)
        except http.client.IncompleteRead as error:
            block = error.partial
            if not block:
                raise _TransferError("the connection ended early") from error
        except (OSError, http.client.HTTPException) as error:
            raise _TransferError(_reason(error)) from error
        if not block:
            return
        yield block


def _start_and_total(job: _Job, response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return the position of the first byte in the response, and the size of the whole file if it is known."""
    if response.status == http.HTTPStatus.OK:
        return 0, response.length
    offset = job.size_here()
    match = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", response.headers.get("Content-Range", ""))
    if response.status != http.HTTPStatus.PARTIAL_CONTENT or match is None or int(match[1]) != offset:
        job.start_over()
        raise _TransferError(f"the server returned status {response.status} instead of the requested bytes")
    if match[2] != "*":
        return offset, int(match[2])
    return offset, None if response.length is None else offset + response.length


# --- asking ---------------------------------------------------------------------------------------


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects only to addresses that would have been accepted as `url`."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(job: _Job) -> http.client.HTTPResponse:
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        response: http.client.HTTPResponse = opener.open(_request(job), timeout=READ_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise _refusal(job, error) from error
    except urllib.error.URLError as error:
        raise _no_connection(job, error) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise DownloadError(f"{job.url}: is not a valid web address ({error}); correct it") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(_reason(error)) from error
    return response


def _request(job: _Job) -> urllib.request.Request:
    headers = {"User-Agent": "l3clf"}
    if offset := job.size_here():
        headers["Range"] = f"bytes={offset}-"
    return urllib.request.Request(job.url, headers=headers)  # noqa: S310  # _require_safe has checked the address


def _refusal(job: _Job, error: urllib.error.HTTPError) -> Exception:
    error.close()
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and job.size_here():
        job.start_over()  # the part file is at least as long as the file, and yet not the file
        return _TransferError("the server has no more bytes to resume with")
    if error.code in _PASSING_STATUS:
        return _TransferError(f"the server returned status {error.code}")
    return DownloadError(f"{job.url}: cannot be downloaded (status {error.code}); use another address")


def _no_connection(job: _Job, error: urllib.error.URLError) -> Exception:
    # These three do not pass in seconds: without a network, the user should get the message at once.
    if isinstance(error.reason, socket.gaierror | ssl.SSLCertVerificationError | TimeoutError):
        return DownloadError(f"{job.url}: cannot be reached ({_reason(error.reason)}); check the network")
    return _TransferError(_reason(error))


def _reason(error: BaseException) -> str:
    """Return what went wrong in a few words: those of the system, or the type of the error."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)
