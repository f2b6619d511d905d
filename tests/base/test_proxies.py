"""Programs on this machine are asked without a proxy, whatever the environment says."""

from __future__ import annotations

import os

import httpx
import pytest
import requests

from recsys.base.errors import ConfigError
from recsys.base.proxies import require_usable_proxies, spare_loopback
from tests.fixtures.ports import free_port

NAMES = [f"{base}_proxy" for base in ("http", "https", "all", "no")]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [*NAMES, *(name.upper() for name in NAMES)]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {"NO_PROXY": "a"}),
        ({"HTTP_PROXY": ""}, {"HTTP_PROXY": ""}),
        ({"HTTP_PROXY": "p"}, {"HTTP_PROXY": "p", "NO_PROXY": "localhost,127.0.0.1,::1"}),
        (
            {"all_proxy": "p", "no_proxy": " corp , localhost"},
            {"all_proxy": "p", "no_proxy": "corp,localhost,127.0.0.1,::1"},
        ),
        ({"https_proxy": "p", "NO_PROXY": "*"}, {"https_proxy": "p", "NO_PROXY": "*"}),
    ],
)
def test_the_loopback_is_added_where_there_is_a_proxy(
    before: dict[str, str], after: dict[str, str]
) -> None:
    found = dict(before)
    spare_loopback(found)
    assert found == after
    spare_loopback(found)
    assert found == after


@pytest.mark.parametrize("client", [httpx.get, requests.get])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_clients_go_to_the_loopback_themselves(
    client: object, name: str, clean: pytest.MonkeyPatch
) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    assert callable(client)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        clean.setenv(name, f"http://127.0.0.1:{free_port()}")
        clean.setenv("NO_PROXY", "intranet")
        spare_loopback()
        assert client(f"http://localhost:{server.server_port}/", timeout=5).status_code == 204
        assert client(f"http://127.0.0.1:{server.server_port}/", timeout=5).status_code == 204
        server.shutdown()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "socks5://127.0.0.1:1080",
            "ALL_PROXY names a proxy of the kind socks5; .*httpx",
        ),
        ("socks4://user:secret@proxy:1080", "of the kind socks4; .* unset it"),
    ],
)
def test_a_proxy_that_clients_cannot_use_is_named(
    value: str, said: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("ALL_PROXY", "proxy:3128")
    require_usable_proxies()
    clean.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigError, match=said) as refused:
        require_usable_proxies()
    assert "secret" not in str(refused.value)
    # What it spares the user: every client fails, the loopback's as well.
    with pytest.raises((ImportError, ValueError)):
        httpx.Client()
    assert os.environ["ALL_PROXY"] == value
