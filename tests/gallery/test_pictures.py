"""Pictures: where they come from, what a page may load, and Sketchfab on a server of our own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recsys.base.config_file import load_config
from recsys.base.errors import ConfigError, InputError
from recsys.gallery.links import Links
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.pictures import Pictures, pictures
from recsys.gallery.site import Site
from recsys.gallery.sketchfab import Sketchfab
from tests.fixtures.bundles import write_bundle

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 20
UID = "0123456789abcdef0123456789abcdef"
LINKS = Links()


def test_a_template_and_a_column(tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text(
        "mid|thumb\na|https://cdn.example/a.jpg\nb|javascript:alert(1)\nc|\n"
        "d|http://o ther;evil/x\ne|data:image/png;base64,AAAA\n"
    )
    given = {"gallery.table": str(table), "gallery.column": "thumb"}
    found = pictures(load_config(None, given))
    assert found.of("a", LINKS) == "https://cdn.example/a.jpg"
    assert [found.of(item, LINKS) for item in "bcde"] == [None] * 4
    assert found.origins == ["https://cdn.example"]
    given["gallery.pictures"] = "https://img.example:8443/t/{id}.png"
    both = pictures(load_config(None, given))
    assert both.of("a", LINKS) == "https://cdn.example/a.jpg"
    assert both.of("x/ y", LINKS) == "https://img.example:8443/t/x%2F%20y.png"
    assert both.origins == ["https://cdn.example", "https://img.example:8443"]


@pytest.mark.parametrize(
    "template",
    ["https://x.example/", "{id}", "ftp://x.example/{id}", "https://{id}.example/{id}",
     "https://a b/{id}", "https://a;script-src/{id}", "https://u@h/{id}", "https://h:x/{id}"],
)  # fmt: skip
def test_a_template_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"gallery\.pictures"):
        pictures(load_config(None, {"gallery.pictures": template}))


def test_a_table_that_does_not_do_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text("mid|thumb\n" + "".join(f"{i}|https://h{i}.example/\n" for i in range(21)))
    with pytest.raises(ConfigError, match=r"without gallery\.column"):
        pictures(load_config(None, {"gallery.table": str(table)}))
    with pytest.raises(InputError, match="21 hosts"):
        pictures(load_config(None, {"gallery.table": str(table), "gallery.column": "thumb"}))
    with pytest.raises(InputError, match="a column picture"):
        pictures(load_config(None, {"gallery.table": str(table), "gallery.column": "picture"}))


def test_pages_name_the_hosts_of_pictures_and_no_others(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "fruit", features=True)
    shown = Pictures("https://img.example/{id}.png")
    client = TestClient(Site(OpenedModels(str(folder)), tmp_path / "kept", shown).app)
    answer = client.get("/item?id=a")
    assert "img-src 'self' https://img.example;" in answer.headers["content-security-policy"]
    assert '<img src="https://img.example/b.png" alt=""' in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"


# --- Sketchfab --------------------------------------------------------------------------------


@dataclass
class Service:
    """A server like Sketchfab's; `answers` maps a path to a status and a body."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    wait: float = 0.0

    def model(self, uid: str, *images: tuple[int, str]) -> None:
        parts = [{"width": width, "height": width, "url": url} for width, url in images]
        body = json.dumps({"uid": uid, "thumbnails": {"images": parts}}).encode()
        self.answers[f"/v3/models/{uid}"] = 200, body


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            time.sleep(made.wait)
            status, body = made.answers.get(self.path, (404, b"{}"))
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has given up
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def asker(service: Service, folder: Path, **options: float) -> Sketchfab:
    return Sketchfab(folder, f"{service.url}/v3/models", ("127.0.0.1",), **options)


def test_the_smallest_picture_that_is_large_enough_is_kept(
    service: Service, tmp_path: Path
) -> None:
    sizes = [(1024, "/l.jpg"), (256, "/m.jpg"), (64, "/s.jpg")]
    service.model(UID, *((width, service.url + path) for width, path in sizes))
    service.answers["/m.jpg"] = 200, JPEG
    found = asker(service, tmp_path).picture(UID)
    assert found is not None
    assert (found.content, found.kind) == (JPEG, "image/jpeg")
    assert service.asked == [f"/v3/models/{UID}", "/m.jpg"]
    assert asker(service, tmp_path).picture(UID) == found  # another start, nothing asked
    assert len(service.asked) == 2


def test_that_there_is_none_is_kept_as_well(service: Service, tmp_path: Path) -> None:
    asks = asker(service, tmp_path)
    assert asks.picture(UID) is None
    assert asks.picture(UID) is None
    assert len(service.asked) == 1
    assert asks.picture("blender") is None  # no id of theirs: nobody is asked
    assert asks.picture("../" + UID) is None
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("body", "picture"),
    [
        (b"no json", JPEG),
        (b"{}", JPEG),
        (b'{"thumbnails": {"images": [{"width": 256, "url": "http://evil.example/x"}]}}', JPEG),
        (b'{"thumbnails": {"images": [{"width": 256, "url": "file:///etc/passwd"}]}}', JPEG),
        (None, b"<svg onload='alert(1)'/>"),
        (None, JPEG + bytes(1 << 20)),
    ],
)
def test_what_is_no_picture_is_a_tile(
    service: Service, tmp_path: Path, body: bytes | None, picture: bytes
) -> None:
    service.model(UID, (256, f"{service.url}/m.jpg"))
    service.answers["/m.jpg"] = 200, picture
    if body is not None:
        service.answers[f"/v3/models/{UID}"] = 200, body
    assert asker(service, tmp_path).picture(UID) is None


def test_a_slow_or_broken_service_is_left_alone(service: Service, tmp_path: Path) -> None:
    service.wait = 1.0
    slow = asker(service, tmp_path, seconds=0.1)
    uids = [f"{i:032x}" for i in range(6)]
    assert [slow.picture(uid) for uid in uids] == [None] * 6
    assert len(service.asked) == 3  # after three failures, a minute of rest
    service.wait = 0.0
    rested = asker(service, tmp_path, rest=0.0)
    service.model(uids[0], (256, f"{service.url}/m.jpg"))
    service.answers["/m.jpg"] = 200, JPEG
    assert rested.picture(uids[0]) is not None  # a failure is not kept


def test_a_page_shows_the_picture_or_the_tile(service: Service, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "fruit", features=True)
    shown = Pictures(sketchfab=asker(service, tmp_path / "pictures"))
    client = TestClient(Site(OpenedModels(str(folder)), tmp_path / "kept", shown).app)
    assert "<img" not in client.get("/item?id=a").text  # ids that are none of theirs
    tile = client.get("/picture?id=a")
    assert tile.headers["content-type"] == "image/svg+xml"
    assert tile.text.count("<circle") == 24
    assert client.get("/picture?id=zzz").status_code == 404
