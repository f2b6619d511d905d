"""The verified download, against a real server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recsys.base.errors import DownloadError, StorageError
from recsys.data.download import (
    Digest,
    FetchPolicy,
    RemoteFile,
    digest_of,
    download_file,
    part_path,
)

CONTENT = bytes(range(256)) * 2000
HALF = len(CONTENT) // 2
QUICK = FetchPolicy(timeout=0.3, attempts=3, backoff=0.01, deadline=20, max_bytes=1 << 20)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content` with ranges and an ETag, unless an answer is scripted."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.ranges.append(self.headers.get("Range"))
        self.server.conditions.append(self.headers.get("If-Range"))
        answer = self.server.script.pop(0) if self.server.script else serve
        answer(self)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


Answer = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """What it serves, how it answers the next requests, and what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.script: list[Answer] = []
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []
        self.released = threading.Event()

    @property
    def remote(self) -> RemoteFile:
        return RemoteFile(f"http://127.0.0.1:{self.server_port}/file.psv", blob(CONTENT))


def serve(request: Handler) -> None:
    content, etag = request.server.content, request.server.etag
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    current = request.headers.get("If-Range", etag) == etag
    if asked and current:
        start = int(asked[1])
        if start >= len(content):
            request.head(416, 0, Content_Range=f"bytes */{len(content)}")
            return
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        request.head(206, len(content) - start, ETag=etag, Content_Range=span)
        request.wfile.write(content[start:])
    else:
        whole(request)


def whole(request: Handler) -> None:
    """Everything, whatever part was asked for."""
    request.head(200, len(request.server.content), ETag=request.server.etag)
    request.wfile.write(request.server.content)


def broken(request: Handler) -> None:
    """Half of it, then the connection is gone."""
    request.head(200, len(request.server.content), ETag=request.server.etag)
    request.wfile.write(request.server.content[:HALF])


def stalled(request: Handler) -> None:
    """Half of it, then nothing, with the connection open."""
    broken(request)
    request.wfile.flush()
    request.server.released.wait(10)


def status(code: int, **headers: str) -> Answer:
    return lambda request: request.head(code, 0, **headers)


def blob(content: bytes) -> Digest:
    framed = b"blob %d\0" % len(content) + content
    return Digest("git-blob", hashlib.sha1(framed).hexdigest())  # noqa: S324


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between a test and this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "file.psv"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_whole_download_is_kept_verified_and_told(server: Server, target: Path) -> None:
    told: list[tuple[int, int | None]] = []

    path = download_file(
        server.remote, target, policy=QUICK, progress=lambda *step: told.append(step)
    )

    assert path == target
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.psv"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_size_is_unknown_when_the_server_does_not_tell_it(server: Server, target: Path) -> None:
    def unsized(request: Handler) -> None:
        request.head(200, None)
        request.wfile.write(CONTENT)

    server.script = [unsized]
    told: list[int | None] = []

    download_file(server.remote, target, policy=QUICK, progress=lambda _, total: told.append(total))

    assert set(told) == {None}


def test_second_call_needs_no_network(server: Server, target: Path) -> None:
    download_file(server.remote, target, policy=QUICK)
    before = target.stat()

    download_file(server.remote, target, policy=QUICK)

    assert len(server.ranges) == 1
    assert target.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_put_there_by_hand_is_verified_and_never_replaced(
    server: Server, target: Path
) -> None:
    target.parent.mkdir()
    target.write_bytes(b"something else")

    with pytest.raises(DownloadError, match="has other content") as caught:
        download_file(server.remote, target, policy=QUICK)

    assert blob(b"something else").value in caught.value.found
    assert caught.value.expected == str(server.remote.digest)
    assert target.read_bytes() == b"something else"
    assert server.ranges == []


def test_a_redirect_is_followed(server: Server, target: Path) -> None:
    server.script = [status(302, Location="/elsewhere")]

    assert download_file(server.remote, target, policy=QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [broken, stalled])
def test_a_break_in_the_middle_is_resumed(server: Server, target: Path, fault: Answer) -> None:
    server.script = [fault]

    download_file(server.remote, target, policy=QUICK)

    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert server.conditions == [None, '"one"']


def test_a_server_without_ranges_is_asked_for_everything_again(
    server: Server, target: Path
) -> None:
    server.script = [broken, whole]

    assert download_file(server.remote, target, policy=QUICK).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_file_that_changed_meanwhile_starts_over(server: Server, target: Path) -> None:
    def old(request: Handler) -> None:
        request.head(200, len(CONTENT), ETag='"zero"')
        request.wfile.write(b"x" * HALF)

    server.script = [old]

    assert download_file(server.remote, target, policy=QUICK).read_bytes() == CONTENT
    assert server.conditions == [None, '"zero"']


@pytest.mark.parametrize(
    ("etag", "span"),
    [('"two"', f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}"), ('"one"', "bytes 7-9/10")],
    ids=["of another version", "another part"],
)
def test_a_wrong_part_is_not_appended(server: Server, target: Path, etag: str, span: str) -> None:
    def wrong(request: Handler) -> None:
        request.head(206, HALF, ETag=etag, Content_Range=span)
        request.wfile.write(b"x" * HALF)

    server.script = [broken, wrong]
    told: list[int] = []

    download_file(server.remote, target, policy=QUICK, progress=lambda done, _: told.append(done))

    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", None]
    assert told.count(len(CONTENT)) == 1


def test_a_weak_etag_does_not_vouch_for_a_resumption(server: Server, target: Path) -> None:
    server.etag = 'W/"one"'
    server.script = [broken]

    assert download_file(server.remote, target, policy=QUICK).read_bytes() == CONTENT
    assert server.conditions == [None, None]


def test_an_earlier_run_is_gone_on_from(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part_path(target).write_bytes(CONTENT[:1000])

    download_file(server.remote, target, policy=QUICK)

    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 1])
def test_a_spoilt_part_of_an_earlier_run_costs_one_clean_download(
    server: Server, target: Path, size: int
) -> None:
    target.parent.mkdir()
    part_path(target).write_bytes(b"x" * size)

    download_file(server.remote, target, policy=QUICK)

    assert target.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={size}-", None]
    assert left(target) == ["file.psv"]


def test_a_complete_part_of_an_earlier_run_needs_no_network(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part_path(target).write_bytes(CONTENT)

    download_file(server.remote, target, policy=QUICK)

    assert left(target) == ["file.psv"]
    assert server.ranges == []


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_passing_error_is_tried_again(server: Server, target: Path, code: int) -> None:
    server.script = [status(code), status(code)]

    assert download_file(server.remote, target, policy=QUICK).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_the_server_may_ask_for_patience(server: Server, target: Path) -> None:
    server.script = [status(503, Retry_After="1")]
    started = time.monotonic()

    download_file(server.remote, target, policy=QUICK)

    assert time.monotonic() - started >= 1


def test_an_error_that_lasts_ends_after_the_last_attempt(server: Server, target: Path) -> None:
    server.script = [status(500)] * 5

    with pytest.raises(DownloadError, match="500 Internal Server Error") as caught:
        download_file(server.remote, target, policy=QUICK)

    assert "3 attempts" in caught.value.found
    assert len(server.ranges) == 3
    assert left(target) == []


def test_a_missing_file_is_not_tried_again(server: Server, target: Path) -> None:
    server.script = [status(404)]

    with pytest.raises(DownloadError, match="answered 404 Not Found") as caught:
        download_file(server.remote, target, policy=QUICK)

    assert str(target) in caught.value.action
    assert len(server.ranges) == 1
    assert not target.exists()


def test_a_server_that_always_breaks_leaves_its_bytes_for_the_next_run(
    server: Server, target: Path
) -> None:
    server.script = [stalled]

    with pytest.raises(DownloadError, match=r"nothing received for 0\.3 s") as caught:
        download_file(server.remote, target, policy=replace(QUICK, attempts=1))

    assert f"first {HALF:,} bytes are kept" in caught.value.action
    assert left(target) == ["file.psv.part"]


def test_a_server_that_drips_ends_at_the_deadline(server: Server, target: Path) -> None:
    def dripping(request: Handler) -> None:
        request.head(200, len(CONTENT))
        for _ in range(2_000):  # a hundred seconds
            request.wfile.write(b"x")
            if request.server.released.wait(0.05):
                return

    server.script = [dripping]
    started = time.monotonic()

    with pytest.raises(DownloadError, match=r"in 0\.5 s \(too slow\)"):
        download_file(server.remote, target, policy=replace(QUICK, deadline=0.5))

    assert time.monotonic() - started < 50


def test_wrong_content_is_not_kept(server: Server, target: Path) -> None:
    server.content = b"<html>sign in to the hotel's network</html>"

    with pytest.raises(DownloadError, match="has other content") as caught:
        download_file(server.remote, target, policy=QUICK)

    assert blob(server.content).value in caught.value.found
    assert caught.value.expected == str(blob(CONTENT))
    assert left(target) == []
    assert len(server.ranges) == 1


@pytest.mark.parametrize("told", [True, False], ids=["announced", "unannounced"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact size", "bound"])
def test_more_than_allowed_is_not_taken(
    server: Server, target: Path, told: bool, exact: bool
) -> None:
    def large(request: Handler) -> None:
        request.head(200, len(CONTENT) if told else None)
        request.wfile.write(CONTENT)

    server.script = [large]
    remote = replace(server.remote, size=1000 if exact else None)

    with pytest.raises(DownloadError, match="larger than it may be") as caught:
        download_file(remote, target, policy=replace(QUICK, max_bytes=1000))

    assert "1,000 bytes" in caught.value.expected
    assert left(target) == []


def test_offline_is_one_clear_error(target: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.psv"

    with pytest.raises(DownloadError, match="no connection") as caught:
        download_file(RemoteFile(url, blob(CONTENT)), target, policy=QUICK)

    assert url in caught.value.found
    assert f"download {url} by hand and put it at {target}" in caught.value.action
    assert left(target) == []


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/file", "http://[/"])
def test_an_address_that_is_none_is_an_error_at_once(target: Path, url: str) -> None:
    with pytest.raises(DownloadError):
        download_file(RemoteFile(url, blob(CONTENT)), target, policy=QUICK)


def test_a_folder_that_cannot_be_made_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")

    with pytest.raises(DownloadError, match=r"raw cannot be written"):
        download_file(server.remote, tmp_path / "raw" / "file.psv", policy=QUICK)


FETCH = """
import sys
from pathlib import Path
from recsys.data.download import Digest, RemoteFile, download_file
download_file(RemoteFile(sys.argv[1], Digest("git-blob", sys.argv[2])), Path(sys.argv[3]))
"""


def start(server: Server, target: Path) -> subprocess.Popen[bytes]:
    arguments = [server.remote.url, server.remote.digest.value, str(target)]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_download_once(server: Server, target: Path) -> None:
    def slow(request: Handler) -> None:
        broken(request)
        request.wfile.flush()
        request.server.released.wait(120)
        request.wfile.write(CONTENT[HALF:])

    server.script = [slow]
    first = start(server, target)
    wait_for(lambda: bool(server.ranges))
    second = start(server, target)
    third = threading.Thread(target=download_file, args=(server.remote, target))
    third.start()
    time.sleep(0.5)
    server.released.set()

    assert (first.wait(120), second.wait(120)) == (0, 0)
    third.join(120)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.psv"]
    assert len(server.ranges) == 1


def test_a_killed_download_leaves_only_its_part_and_is_resumed(
    server: Server, target: Path
) -> None:
    server.script = [stalled]
    process = start(server, target)
    wait_for(lambda: part_path(target).exists() and part_path(target).stat().st_size > 0)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert left(target) == ["file.psv.part"]
    size = part_path(target).stat().st_size

    download_file(server.remote, target, policy=QUICK)

    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={size}-"]


def test_a_disk_that_is_full_keeps_what_was_received(server: Server, target: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, before[1]))
    try:
        with pytest.raises(StorageError, match=r"the download file.psv cannot be .*free some"):
            download_file(server.remote, target, policy=QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(target) == ["file.psv.part"]
    assert part_path(target).stat().st_size == HALF

    download_file(server.remote, target, policy=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_digests_are_those_of_the_usual_tools(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")

    # git hash-object, sha256sum, md5sum
    assert digest_of(path, "git-blob").value == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert digest_of(path, "sha256").value.startswith("5891b5b522d5df086d0ff0b110fbd9d2")
    assert digest_of(path, "md5").value == "b1946ac92492d2347c6235b4d2611184"


def test_delays_double_up_to_a_limit() -> None:
    policy = FetchPolicy(backoff=0.5)

    assert [policy.delay(attempt) for attempt in range(3)] == [0.5, 1.0, 2.0]
    assert policy.delay(20) == 30
    assert policy.delay(0, asked=7) == 7
    assert policy.delay(0, asked=9999) == 30


@pytest.mark.parametrize("name", ["timeout", "attempts", "deadline", "max_bytes"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        replace(FetchPolicy(), **{name: 0})
