"""Thumbnails of models from the public API of Sketchfab, cached on disk.

A failure costs a picture, never a page.

https://docs.sketchfab.com/data-api/v3/ (GET /v3/models/{uid}): a model's `thumbnails.images` are
pictures of several sizes.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

API = "https://api.sketchfab.com/v3/models"
HOSTS = (".sketchfab.com",)
_UID = re.compile(r"[0-9a-f]{32}")
_WIDTH = 200  # pixels at least, if there is such a picture
_MOST_BYTES = 1 << 20
_AT_ONCE = 4
_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n", "image/png"), (b"RIFF", "image/webp"))


@dataclass(frozen=True)
class Picture:
    """A picture and its media type."""

    content: bytes
    kind: str


class Sketchfab:
    """Fetches pictures of models.

    Parameters
    ----------
    folder : Path
        The cache; that a model has no picture is cached for a day.
    api : str
    hosts : tuple of str
        Suffixes of the hosts that pictures may come from.
    seconds : float
        The time limit for one item, all requests together.
    rest : float
        Seconds without a request after three failures in a row.
    """

    def __init__(
        self,
        folder: Path,
        api: str = API,
        hosts: tuple[str, ...] = HOSTS,
        seconds: float = 4.0,
        rest: float = 60.0,
    ) -> None:
        self._folder, self._api, self._hosts = folder, api.rstrip("/"), hosts
        self._seconds, self._rest = seconds, rest
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._failures, self._asked_again = 0, 0.0

    def knows(self, item: str) -> bool:
        """Whether the id has the form of a model's id."""
        return _UID.fullmatch(item) is not None

    def picture(self, item: str) -> Picture | None:
        """A model's picture; None if there is none, or none in time."""
        if not self.knows(item):
            return None
        path = self._folder / item[:2] / item
        if (kept := _kept(path)) is not None:
            return _as_picture(kept)
        if time.monotonic() < self._asked_again or not self._places.acquire(timeout=self._seconds):
            return None
        try:
            content = self._fetch(item)
            self._failures = 0
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
            # The page works without the picture, and the service is left alone for a while.
            self._failures += 1
            if self._failures >= 3:
                self._asked_again = time.monotonic() + self._rest
            return None
        finally:
            self._places.release()
        _keep(path, content)
        return _as_picture(content)

    def _fetch(self, item: str) -> bytes:
        """The picture; empty if the model has none."""
        until = time.monotonic() + self._seconds
        with httpx.Client(timeout=self._seconds, follow_redirects=False) as client:
            answer = self._read(client, f"{self._api}/{item}", until)
            if answer is None:
                return b""
            images = httpx.Response(200, content=answer).json()["thumbnails"]["images"]
            sized = sorted((int(image["width"]), str(image["url"])) for image in images)
            if not sized:
                return b""
            url = next((url for width, url in sized if width >= _WIDTH), sized[-1][1])
            host = urlsplit(url).hostname or ""
            if not any(host == end.lstrip(".") or host.endswith(end) for end in self._hosts):
                raise ValueError(host)
            content = self._read(client, url, until) or b""
            return content if _as_picture(content) else b""

    def _read(self, client: httpx.Client, url: str, until: float) -> bytes | None:
        """Read a body of at most a megabyte in time; None if the server does not have it."""
        content = b""
        with client.stream("GET", url) as answer:
            if answer.status_code in (403, 404, 410):
                return None
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > _MOST_BYTES or time.monotonic() > until:
                    raise ValueError("too large or too slow")
        return content


def _as_picture(content: bytes) -> Picture | None:
    for start, kind in _KINDS:
        if content.startswith(start):
            return Picture(content, kind)
    return None


def _kept(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
        if content or time.time() - path.stat().st_mtime < 86_400:
            return content
    except OSError:
        pass
    return None


def _keep(path: Path, content: bytes) -> None:
    """Write a file atomically; if that fails, the picture is fetched again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(scratch).replace(path)
    except OSError:
        pass
