"""Verified download: one file by HTTP, resumed when it breaks, kept only if its digest matches.

Why this is not a library's: docs/experiments/libraries.md.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import httpx

from recsys.base.disk import as_storage_error
from recsys.base.errors import DownloadError
from recsys.store.locks import locked

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes on disk so far and the bytes in all (None if the server does not say)."""

Algorithm = Literal["git-blob", "sha256", "md5"]

_CHUNK = 1 << 20
_LONGEST_DELAY = 30.0
# The only 4xx answers worth a retry: Request Timeout, Too Early, Too Many Requests.
_TRANSIENT_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Digest:
    """The expected digest of a file's content.

    Parameters
    ----------
    algorithm : {"git-blob", "sha256", "md5"}
        "git-blob" is the id git gives a file: SHA-1 over a line with its size and the content.
    value : str
        Lower-case hexadecimal.
    """

    algorithm: Algorithm
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


@dataclass(frozen=True)
class FetchPolicy:
    """Limits of a download: time, attempts and size.

    Parameters
    ----------
    timeout : float
        Seconds without a byte or a connection after which an attempt fails.
    attempts : int
        Largest number of attempts, including the first.
    backoff : float
        Seconds before the second attempt; doubled before each further one, up to 30.
    deadline : float
        Seconds for all attempts together: a slow trickle of bytes never reaches `timeout`.
    max_bytes : int
        Largest size accepted if the exact size is not known beforehand.

    Raises
    ------
    ValueError
        If a number is not positive (`backoff` may be 0).
    """

    timeout: float = 30.0
    attempts: int = 4
    backoff: float = 0.5
    deadline: float = 3600.0
    max_bytes: int = 200 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.timeout, self.attempts, self.deadline, self.max_bytes) <= 0 or self.backoff < 0:
            raise ValueError(f"every limit of a FetchPolicy must be positive: {self}")

    def delay(self, attempt: int, asked: float = 0.0) -> float:
        """Seconds to wait after attempt number `attempt` (from 0) failed.

        Parameters
        ----------
        attempt : int
        asked : float
            Seconds that the server asked for in `Retry-After`.
        """
        return min(max(self.backoff * 2.0**attempt, asked), _LONGEST_DELAY)


DEFAULT_POLICY = FetchPolicy()


@dataclass(frozen=True)
class RemoteFile:
    """A file to be downloaded: its address, digest and size.

    Parameters
    ----------
    url : str
    digest : Digest
    size : int, optional
        Exact number of bytes, if it is known.
    """

    url: str
    digest: Digest
    size: int | None = None


def part_path(target: Path) -> Path:
    """Path of the incomplete download of `target`."""
    return target.with_name(target.name + ".part")


def digest_of(path: Path, algorithm: Algorithm) -> Digest:
    """Hash a file's content.

    Parameters
    ----------
    path : Path
    algorithm : {"git-blob", "sha256", "md5"}

    Returns
    -------
    Digest

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as handle:
        return Digest(algorithm, _hash(handle, algorithm))


def download_file(
    remote: RemoteFile,
    target: Path,
    *,
    policy: FetchPolicy = DEFAULT_POLICY,
    progress: Progress | None = None,
) -> Path:
    """Download a file to `target`, unless it is there already.

    The content is written to ``<target>.part``. A download that breaks or is killed leaves this
    file, and the next one resumes from it. `target` appears only when it is complete and verified.
    If several processes need the same file, one downloads it and the others wait.

    Parameters
    ----------
    remote : RemoteFile
    target : Path
        Its folder is created if needed. A file that exists is verified and never replaced.
    policy : FetchPolicy
    progress : callable, optional
        Called as ``progress(done, total)`` after each chunk.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DownloadError
        If the server cannot be reached, answers with an error or sends other content than
        expected, or if the folder cannot be made.
    StorageError
        If the disk is full or the folder is not writable; what was received stays.
    """
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # The lock is on the part itself, so that a killed process leaves no other file.
            with locked(part_path(target), keep=True):
                if not target.exists():
                    with part_path(target).open("a+b") as part:
                        return _Download(remote, target, part, policy, progress).run()
                part_path(target).unlink()  # another process completed the file
        return _verified(remote, target)
    except OSError as error:
        if refused := as_storage_error(error, f"the download {target.name}", target.parent):
            raise refused from error
        raise DownloadError(
            f"{error.filename or target} cannot be written or read ({error.strerror or error})",
            f"a writable folder with space for {target.name}",
            "make room or correct the permissions, and run again",
        ) from error


class _TransientError(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


@dataclass
class _Download:
    """A download in progress, whose `part` this process has locked."""

    remote: RemoteFile
    target: Path
    part: BinaryIO
    policy: FetchPolicy
    progress: Progress | None
    etag: str | None = None
    resumed: bool = False
    started: float = field(default_factory=time.monotonic)

    def run(self) -> Path:
        """Download, verify and rename; returns the target."""
        # A process killed just before the rename leaves a complete part.
        if self._done() and self._is_right():
            return self._keep()
        self._receive_all()
        if not self._is_right() and self.resumed:
            # The parts may come from different versions of the file.
            self._restart()
            self._receive_all()
        if not self._is_right():
            raise self._wrong_content()
        return self._keep()

    def _receive_all(self) -> None:
        with httpx.Client(timeout=self.policy.timeout, follow_redirects=True) as client:
            for attempt in range(self.policy.attempts):
                try:
                    self._receive(client)
                    break
                except _TransientError as fault:
                    delay = self.policy.delay(attempt, fault.retry_after)
                    last = attempt + 1 == self.policy.attempts
                    if last or self._elapsed() + delay > self.policy.deadline:
                        raise self._gave_up(fault, attempt + 1) from fault
                    time.sleep(delay)

    def _receive(self, client: httpx.Client) -> None:
        """Request the missing bytes and append them; start over if the server sends all."""
        try:
            with client.stream("GET", self.remote.url, headers=self._headers()) as response:
                total = self._begin(response)
                # Raw bytes, because they are what is counted, resumed and hashed.
                for piece in response.iter_raw():
                    self._append(piece, total)
        except (httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError) as error:
            raise _TransientError(_reason(error, self.policy)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._refused(f"failed ({error})") from error

    def _headers(self) -> dict[str, str]:
        # With compression, lengths and ranges would refer to other bytes.
        headers = {"Accept-Encoding": "identity"}
        if self._done():
            headers["Range"] = f"bytes={self._done()}-"
            if self.etag:
                headers["If-Range"] = self.etag
        return headers

    def _begin(self, response: httpx.Response) -> int | None:
        """Check the head of the response; returns the size of the whole file, if it is given."""
        self._check_status(response)
        start, total = _extent(response)
        etag = _strong_etag(response)
        changed = self.etag is not None and etag != self.etag
        if response.status_code == 206 and (start != self._done() or changed):
            self._restart()
            raise _TransientError("the file changed or the server sent another part than asked for")
        if response.status_code == 206:
            self.resumed = True
        else:
            self._restart()
        self.etag = etag
        self._check_size(total)
        return total

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        answer = f"answered {status} {response.reason_phrase}".rstrip()
        if status == 416 and self._done():
            self._restart()
            raise _TransientError(answer)
        if status >= 500 or status in _TRANSIENT_STATUS:
            raise _TransientError(answer, _retry_after(response))
        raise self._refused(answer)

    def _append(self, piece: bytes, total: int | None) -> None:
        self.part.write(piece)
        done = self._done()
        self._check_size(done)
        if self.progress is not None:
            self.progress(done, total)
        if self._elapsed() > self.policy.deadline:
            raise self._gave_up(_TransientError("too slow"), None)

    def _check_size(self, size: int | None) -> None:
        limit = self.remote.size or self.policy.max_bytes
        if size is None or size <= limit:
            return
        self._discard()
        raise DownloadError(
            f"{self.remote.url} is larger than it may be ({size:,} bytes or more)",
            f"{'exactly' if self.remote.size else 'at most'} {limit:,} bytes",
            f"nothing was kept; {_by_hand(self.remote, self.target)}",
        )

    def _done(self) -> int:
        return self.part.seek(0, os.SEEK_END)

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def _restart(self) -> None:
        self.part.truncate(0)
        self.etag, self.resumed = None, False

    def _is_right(self) -> bool:
        return self._found() == self.remote.digest

    def _found(self) -> Digest:
        self.part.seek(0)
        algorithm = self.remote.digest.algorithm
        return Digest(algorithm, _hash(self.part, algorithm))

    def _keep(self) -> Path:
        self.part.flush()
        os.fsync(self.part.fileno())
        return part_path(self.target).replace(self.target)

    def _discard(self) -> None:
        part_path(self.target).unlink(missing_ok=True)

    def _wrong_content(self) -> DownloadError:
        found, size = self._found(), self._done()
        self._discard()
        return DownloadError(
            f"{self.remote.url} has other content ({found}, {size:,} bytes)",
            str(self.remote.digest),
            f"nothing was kept; {_by_hand(self.remote, self.target)}",
        )

    def _refused(self, answer: str) -> DownloadError:
        return DownloadError(
            f"{self.remote.url} {answer}",
            f"the file {self.target.name}",
            _by_hand(self.remote, self.target),
        )

    def _gave_up(self, fault: _TransientError, attempts: int | None) -> DownloadError:
        tried = f"{attempts} attempts" if attempts else f"{self.policy.deadline:g} s"
        if self._done():
            kept = f"the first {self._done():,} bytes are kept: run again to go on from there"
        else:
            self._discard()
            kept = "check the network or the proxy and run again"
        return DownloadError(
            f"{self.remote.url} could not be fetched in {tried} ({fault.reason})",
            f"the file {self.target.name}",
            f"{kept}, or {_by_hand(self.remote, self.target)}",
        )


def _verified(remote: RemoteFile, target: Path) -> Path:
    found = digest_of(target, remote.digest.algorithm)
    if found != remote.digest:
        raise DownloadError(
            f"{target} has other content ({found}, {target.stat().st_size:,} bytes)",
            str(remote.digest),
            f"move it away and run again to download it from {remote.url}",
        )
    return target


def _hash(handle: BinaryIO, algorithm: Algorithm) -> str:
    if algorithm == "git-blob":
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(b"blob %d\0" % os.fstat(handle.fileno()).st_size)
    else:
        digest = hashlib.new(algorithm, usedforsecurity=False)
    while piece := handle.read(_CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _extent(response: httpx.Response) -> tuple[int, int | None]:
    """Position of the response in the file, and the size of the file if it is given."""
    if response.status_code == 206:
        unit_range, _, size = response.headers.get("Content-Range", "").partition("/")
        start = unit_range.removeprefix("bytes ").partition("-")[0]
        return (int(start) if start.isdecimal() else -1), _number(size)
    return 0, _number(response.headers.get("Content-Length", ""))


def _strong_etag(response: httpx.Response) -> str | None:
    # A weak one may stand for different bytes, so a download cannot be resumed by it.
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else None


def _retry_after(response: httpx.Response) -> float:
    return float(_number(response.headers.get("Retry-After", "")) or 0)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _reason(error: httpx.TransportError, policy: FetchPolicy) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {policy.timeout:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"nothing received for {policy.timeout:g} s"
    if isinstance(error, httpx.ConnectError):
        return f"no connection: {error}"
    return f"the connection broke: {error}"


def _by_hand(remote: RemoteFile, target: Path) -> str:
    return f"download {remote.url} by hand and put it at {target}"
