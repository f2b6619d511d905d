"""Places for alerts: what an address becomes, and what is refused before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from apprise import Apprise
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client

from flows.alerts import EVENTS, Place, _apprise_url, _block, automations, places
from recsys.base.errors import ConfigError
from tests.fixtures.mail_server import Mailbox, Mode, mail_server, make_certificate

NO_CLIENT: Any = None


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as server:
        yield server


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://alerts.example.org/hook?token=a", "Webhook"),
        ("https://hooks.slack.com/services/T/B/secret", "SlackWebhook"),
        ("mailto:a@example.org, b@example.org", "SendgridEmail"),
    ],
)
def test_an_address_becomes_a_block_that_hides_it(
    address: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "key")
    monkeypatch.setenv("RECSYS_ALERT_SENDER", "nights@example.org")
    block = _block(address, *address.split(":", 1))
    assert type(block).__name__ == kind
    if kind == "SendgridEmail":
        assert block.to_emails == ["a@example.org", "b@example.org"]
    else:
        assert block.url.get_secret_value() == address
        assert address not in repr(block)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://user:secret@host/x", r"cannot be sent to ftp://\*\*\*@host/x.*block:TYPE/NAME"),
        ("alerts", "cannot be sent to alerts"),
        ("https:///path", "cannot be sent to"),
        ("mailto:a@example.org", "or neither RECSYS_ALERT_SMTP nor SENDGRID_API_KEY"),
    ],
)
def test_what_is_no_place_is_one_line(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SENDGRID_API_KEY", "RECSYS_ALERT_SMTP"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=said) as refused:
        places(NO_CLIENT, [address])
    assert "secret" not in str(refused.value)


def test_each_kind_has_an_automation_of_its_own_for_a_place() -> None:
    told = automations("recsys", Place("team", uuid4(), webhook=False))
    assert [each.name for each in told] == [f"recsys: alert team of {kind}" for kind in EVENTS]
    texts = [each.actions[0].body for each in told]  # type: ignore[union-attr]
    assert texts[0].splitlines()[0] == "{{ flow_run.name }}"
    assert "event.payload.drifts" in texts[-1]


def test_an_alert_by_smtp_arrives_from_the_block_that_the_server_keeps(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_ALERT_SMTP", f"smtp://127.0.0.1:{mailbox.port}")
    monkeypatch.setenv("RECSYS_ALERT_SENDER", "nights@example.org")
    with get_client(sync_client=True) as client:
        [place] = places(client, ["mailto:a@example.org, b@example.org"])
    kept: Any = Block.load(f"slack-webhook/{place.name}", _sync=True)
    kept.notify("held: too little data", subject="recsys: held", _sync=True)
    assert not place.webhook
    told = [said for said in mailbox.commands if said.lower().startswith("rcpt")]
    assert [said.split(":")[1] for said in told] == ["<a@example.org>", "<b@example.org>"]
    assert any("<nights@example.org>" in said for said in mailbox.commands)
    letter = mailbox.letters[0]
    assert "Subject: recsys: held" in letter
    assert "held: too little data" in letter


@pytest.mark.parametrize(("mode", "scheme"), [("starttls", "smtp"), ("tls", "smtps")])
def test_a_password_and_a_letter_arrive_over_tls(
    mode: Mode, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "mail.pem")
    user, password = "me@example.org", "p/w #?%:@&+ x"
    server = Mailbox(mode, certificate, user, password)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    written = "me%40example.org:p%2Fw%20%23%3F%25%3A%40%26%2B%20x"
    with mail_server(server):
        sender = Apprise()
        url = f"{scheme}://{written}@localhost:{server.port}"
        assert sender.add(_apprise_url(url, "nights@example.org", ["a@example.org"]))
        assert sender.notify("held: too little data", title="recsys: held")
        assert "held: too little data" in server.letters[0]
        # What comes before the encryption says nothing.
        assert [said.split()[0].upper() for said in server.unencrypted] in (
            [],
            ["EHLO", "STARTTLS"],
        )
        # One whose certificate nobody knows is sent neither password nor letter.
        monkeypatch.delenv("SSL_CERT_FILE")
        before = len(server.commands)
        assert not sender.notify("held: again", title="recsys: held")
        assert not any(said.startswith("AUTH") for said in server.commands[before:])
        assert len(server.letters) == 1


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("smtp://host", "mailto://host:25/?smtp=host&mode=insecure"),
        ("smtp://me%40x.org:p%2Fw@host", "mailtos://me%40x.org:p%2Fw@host:587/?mode=starttls"),
        ("smtps://me:a b@host:2465", "mailtos://me:a%20b@host:2465/?mode=ssl"),
    ],
)
def test_a_password_is_sent_over_tls_alone(server: str, url: str) -> None:
    made = _apprise_url(server, "n@x.org", ["a@x.org"])
    assert made.startswith(url.partition("?")[0])
    assert url.partition("?")[2].split("&")[-1] in made
    sender = Apprise.instantiate(made)
    assert sender.smtp_host == "host"
    assert sender.port == urlsplit(url).port
    assert sender.targets == [(False, "a@x.org")]


@pytest.mark.parametrize(
    ("people", "sender", "said"),
    [
        ("mailto:ann", "nights@example.org", "'ann' in mailto:ann is no e-mail address"),
        ("mailto:", "nights@example.org", "'' in mailto: is no e-mail address"),
        ("mailto:a@example.org, ben", "nights@example.org", "'ben' in mailto:a@example.org,ben"),
        ("mailto:a@example.org", "nights", "'nights' in RECSYS_ALERT_SENDER is no e-mail address"),
    ],
)
def test_an_address_that_no_letter_would_reach_is_one_line(
    people: str, sender: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_ALERT_SMTP", "smtp://host")
    monkeypatch.setenv("RECSYS_ALERT_SENDER", sender)
    with pytest.raises(ConfigError, match=said):
        places(NO_CLIENT, [people])


@pytest.mark.parametrize(
    "server",
    [
        "host",
        "smtp://u:secret@",
        "smtp://u:secret@host:port",
        "smtp://u:secret-ä@host",
        "smtps://u:secret-%C3%A4@host",
    ],
)
def test_what_is_no_smtp_server_is_one_line(server: str) -> None:
    with pytest.raises(ConfigError, match="RECSYS_ALERT_SMTP is") as refused:
        _apprise_url(server, "n@x.org", ["a@x.org"])
    assert "secret" not in str(refused.value)
