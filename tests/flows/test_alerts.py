"""Places for alerts: what an address becomes, and what is refused before anything is made."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from flows.alerts import EVENTS, Place, _block, automations, places
from recsys.base.errors import ConfigError

NO_CLIENT: Any = None


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
        ("mailto:a@example.org", "SENDGRID_API_KEY or RECSYS_ALERT_SENDER is not set"),
    ],
)
def test_what_is_no_place_is_one_line(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SENDGRID_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=said) as refused:
        places(NO_CLIENT, [address])
    assert "secret" not in str(refused.value)


def test_each_kind_has_an_automation_of_its_own_for_a_place() -> None:
    told = automations("recsys", Place("team", uuid4(), webhook=False))
    assert [each.name for each in told] == [f"recsys: alert team of {kind}" for kind in EVENTS]
    texts = [each.actions[0].body for each in told]  # type: ignore[union-attr]
    assert texts[0].splitlines()[0] == "{{ flow_run.name }}"
    assert "event.payload.drifts" in texts[-1]
