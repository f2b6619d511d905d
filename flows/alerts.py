"""Alerts: who is told when a run needs a person, as blocks and automations of Prefect.

Prefect's server sends them, so they come also when no worker is left. An address is a secret: it is
kept in a block, which Prefect encrypts and does not show.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import CallWebhook, SendNotification
from prefect.exceptions import ObjectNotFound

from flows.state_names import HELD, SHRUNKEN, STAGE_FAILED
from recsys.base.errors import ConfigError
from recsys.base.redaction import redacted

Kind = Literal["held", "shrunken", "failed", "silent", "late", "drifted"]
# Prefect's names of what happened. Silent and stuck runs are those that automations crash.
EVENTS: dict[Kind, tuple[str, ...]] = {
    "held": (f"prefect.flow-run.{HELD}",),
    "shrunken": (f"prefect.flow-run.{SHRUNKEN}",),
    "failed": tuple(f"prefect.flow-run.{name}" for name in ("Failed", STAGE_FAILED, "TimedOut")),
    "silent": ("prefect.flow-run.Crashed",),
    "late": ("prefect.flow-run.Late",),
    "drifted": ("recsys.data.drifted",),
}
SENDGRID_KEY, SENDER = "SENDGRID_API_KEY", "RECSYS_ALERT_SENDER"
SMTP = "RECSYS_ALERT_SMTP"  # environment: the server that sends e-mail, with its password
SLACK = "hooks.slack.com"
WEBHOOK = "webhook"  # Prefect's name of the type of blocks that take JSON
# Expressions of Prefect's templates.
_NAME, _STATE, _PAGE = "flow_run.name", "flow_run.state.name", "flow_run | ui_url"
_SAID, _DRIFTS = "flow_run.state.message or ''", "event.payload.drifts | join('; ')"


@dataclass(frozen=True)
class Place:
    """Where alerts go: a block of Prefect.

    Parameters
    ----------
    name : str
        Of the block, the same for the same address.
    block : UUID
    webhook : bool
        Whether it takes JSON; others take a subject and a text.
    """

    name: str
    block: UUID
    webhook: bool


def places(client: SyncPrefectClient, addresses: Sequence[str]) -> list[Place]:
    """The blocks for some addresses, made where they are not there yet.

    Parameters
    ----------
    client : SyncPrefectClient
    addresses : sequence of str
        A web address that takes JSON, or that of a Slack channel; ``mailto:`` and people's
        addresses with commas between, which the SMTP server of RECSYS_ALERT_SMTP or SendGrid
        sends to; or ``block:TYPE/NAME``, a notification or webhook block that there is.

    Raises
    ------
    ConfigError
        If one is none of these, such a block is not there, or e-mail cannot be sent.
    """
    return [_place(client, address) for address in addresses]


def _place(client: SyncPrefectClient, address: str) -> Place:
    scheme, _, rest = address.partition(":")
    if scheme == "block":
        return _there(client, rest)
    block = _block(address, scheme, rest)
    name = f"recsys-alert-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    found: Any = block.save(name, overwrite=True, _sync=True)
    return Place(name, found, block.get_block_type_slug() == WEBHOOK)


def _block(address: str, scheme: str, rest: str) -> Any:
    """The block of an address, not saved."""
    from prefect.blocks import notifications
    from prefect.blocks.webhook import Webhook
    from pydantic import SecretStr

    if scheme == "mailto":
        return _mail([one.strip() for one in rest.split(",")])
    host = urlsplit(address).hostname or ""
    if scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"alerts cannot be sent to {redacted(address)}",
            "an address such as https://…, mailto:… or block:TYPE/NAME",
            "check how it is written",
        )
    if host == SLACK:
        return notifications.SlackWebhook(url=SecretStr(address))
    headers: Any = {"Content-Type": "application/json"}
    return Webhook(url=SecretStr(address), headers=headers)


def _mail(people: Sequence[str]) -> Any:
    """The block that sends e-mail to some addresses, by SMTP or by SendGrid."""
    from apprise.utils.parse import is_email
    from prefect.blocks import notifications
    from pydantic import SecretStr

    server, key, sender = (os.environ.get(name) for name in (SMTP, SENDGRID_KEY, SENDER))
    if not sender or not (server or key):
        raise ConfigError(
            f"alerts to {', '.join(people)} need a server that sends e-mail and the address it "
            f"sends from, and {SENDER} is not set, or neither {SMTP} nor {SENDGRID_KEY}",
            f"{SMTP}=smtp://user:password@host or a key of SendGrid, and {SENDER}",
            "set them, or make a notification block in Prefect and name it as block:TYPE/NAME",
        )
    # What is none, Apprise leaves out without a word, and nobody would ever be told.
    is_address: Callable[[str], object] = is_email
    mailto = f"mailto:{','.join(people)}"
    for where, address in (*((mailto, one) for one in people), (SENDER, sender)):
        if not is_address(address):
            raise ConfigError(
                f"{address!r} in {where} is no e-mail address",
                "one such as night@example.org, with commas between several",
                "correct it",
            )
    if server:
        # Prefect has no type of blocks for SMTP. This one hands an address that is not Slack's to
        # Apprise, which sends e-mail, and keeps it as a secret; a type of our own would have to be
        # installed where Prefect's server is.
        return notifications.SlackWebhook(url=SecretStr(_apprise_url(server, sender, people)))
    assert key is not None
    return notifications.SendgridEmail(
        api_key=SecretStr(key), sender_email=sender, to_emails=list(people)
    )


def _apprise_url(server: str, sender: str, people: Sequence[str]) -> str:
    """Apprise's address of an SMTP server, of smtp:// (STARTTLS with a password) or smtps://.

    A password goes over an encrypted connection only.
    """
    parts = urlsplit(server)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise ConfigError(
            f"{SMTP} is {redacted(server)}",
            "smtp://user:password@host:port, or smtps:// for TLS from the beginning",
            "correct it; special characters in a password are written as %2F",
        )
    if not unquote(f"{parts.username}{parts.password}").isascii():
        raise ConfigError(
            f"{SMTP} is {redacted(server)}, with letters beyond ASCII in its user or password",
            "a user and a password in ASCII, as Python's SMTP client cannot send others",
            "set another password for this user",
        )
    mode = "ssl" if parts.scheme == "smtps" else "starttls" if parts.password else "insecure"
    port = port or {"ssl": 465, "starttls": 587, "insecure": 25}[mode]
    who = ""
    if parts.username:
        named = [quote(unquote(one), safe="") for one in (parts.username, parts.password or "")]
        who = f"{named[0]}:{named[1]}@"
    options = {"smtp": host, "from": sender, "to": ",".join(people), "mode": mode}
    scheme = "mailto" if mode == "insecure" else "mailtos"
    return f"{scheme}://{who}{host}:{port}/?{urlencode({**options, 'format': 'text'})}"


def _there(client: SyncPrefectClient, named: str) -> Place:
    """A block that somebody made."""
    kind, _, name = named.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind)
    except ObjectNotFound as fault:
        raise ConfigError(
            f"Prefect has no block {named}",
            "the type and the name of a block, as in block:sendgrid-email/operators",
            "make it under Blocks in Prefect, or check its name",
        ) from fault
    return Place(f"{kind}-{name}", found.id, kind == WEBHOOK)


def tagged(tag: str) -> ResourceSpecification:
    """What is related to a run with this tag, for triggers."""
    return ResourceSpecification.model_validate(
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
    )


def automations(tag: str, place: Place) -> list[AutomationCore]:
    """An automation for each kind of alert: runs with this tag, told to this place."""
    return [_automation(kind, tag, place) for kind in EVENTS]


def prefix(tag: str) -> str:
    """What the names of all automations of alerts begin with."""
    return f"{tag}: alert"


def _automation(kind: Kind, tag: str, place: Place) -> AutomationCore:
    about = "recsys.model.*" if kind == "drifted" else "prefect.flow-run.*"
    return AutomationCore(
        name=f"{prefix(tag)} {place.name} of {kind}",
        description=f"Tells {place.name} of a run that is {kind}.",
        tags=[tag],
        trigger=EventTrigger(
            match=ResourceSpecification.model_validate({"prefect.resource.id": about}),
            match_related=tagged(tag),
            for_each={"prefect.resource.id"},
            expect=set(EVENTS[kind]),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[_action(kind, place)],
    )


def _action(kind: Kind, place: Place) -> CallWebhook | SendNotification:
    message = _DRIFTS if kind == "drifted" else _SAID
    if place.webhook:
        parts = {"run": _NAME, "state": _STATE, "message": message, "page": _PAGE}
        said = ", ".join(f'"{name}": {{{{ ({part}) | tojson }}}}' for name, part in parts.items())
        payload = f'{{"alert": "{kind}", {said}}}'
        return CallWebhook(block_document_id=place.block, payload=payload)
    lines = (f"{{{{ {part} }}}}" for part in (_NAME, message, _PAGE))
    return SendNotification(
        block_document_id=place.block, subject=f"recsys: {kind}", body="\n".join(lines)
    )
