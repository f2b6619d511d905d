"""Commands that move the champion by hand: promote and rollback."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import RegisteredModel, say
from flows.quiet import silence
from recsys.base.environment import tracking_uri
from recsys.base.errors import NotFoundError, RegistryError
from recsys.cli.options import AsJson
from recsys.tracking.local import require_version
from recsys.tracking.versions import CHAMPION, PREVIOUS, ModelAddress

if TYPE_CHECKING:
    from recsys.tracking.registry import Registry

Why = Annotated[str, typer.Option("--why", help="for those who come after you")]


def promote(
    version: Annotated[str, typer.Argument(help="the version's number")],
    why: Why,
    model: RegisteredModel = "sample",
    as_json: AsJson = False,
) -> None:
    """Make a version champion whatever the gate said of it."""
    _require_one_of(ModelAddress(model, number=version))
    registry, user = _registry(model)
    from recsys.bundle import load_bundle

    load_bundle(registry.bundle(version))  # what cannot be loaded would answer nobody
    before = registry.promote(version, by=user, why=why)
    replaced = before.number if before is not None and before.number != version else None
    text = f"version {version} of {model} is champion"
    text += f", version {replaced} previous" if replaced else ""
    _announce(registry, version, why)
    say({"model": model, "champion": version, "previous": replaced}, text, as_json)


def rollback(why: Why, model: RegisteredModel = "sample", as_json: AsJson = False) -> None:
    """Make the previous champion champion again."""
    _require_one_of(ModelAddress(model, alias=CHAMPION), ModelAddress(model, alias=PREVIOUS))
    registry, user = _registry(model)
    replaced, restored = registry.rollback(by=user, why=why)
    number = None if replaced is None else replaced.number
    instead = "a champion that was deleted" if number is None else number
    text = f"version {restored.number} of {model} is champion again, instead of {instead}"
    _announce(registry, restored.number, why)
    outcome = {"model": model, "champion": restored.number, "previous": number}
    say(outcome, text, as_json)


def _require_one_of(first: ModelAddress, *others: ModelAddress) -> None:
    """Refuse at once where a local registry has none of these; the error is about the first."""
    try:
        require_version(tracking_uri(), first)
    except NotFoundError:
        # Whoever deletes a champion's version deletes its alias, and `previous` is left.
        for address in others:
            with suppress(NotFoundError):
                require_version(tracking_uri(), address)
                return
        raise


def _registry(model: str) -> tuple[Registry, str]:
    """The registry of a model, and the user who asks."""
    from recsys.base.config import Tracking
    from recsys.tracking.registry import open_registry, whoami

    # Who asks by hand waits for no server: its outage is said at once.
    return open_registry(Tracking(patience=0), model), whoami()


def _announce(registry: Registry, version: str, why: str) -> None:
    """Tell the Prefect server's automations, if there is a server."""
    if not os.environ.get("PREFECT_API_URL"):
        return
    silence()
    from flows.prefect_api import require_api

    try:
        require_api(os.environ["PREFECT_API_URL"])
    except RegistryError as fault:
        # The champion has moved, which is what was asked for.
        print(f"warning: nobody is told of it: {fault}", file=sys.stderr)
        return
    from recsys.base.config import Batch
    from recsys.pipeline.promotion import announcement
    from tasks.promote import announce

    event = announcement(registry.model, version, "promoted", [why], registry.uri, Batch())
    announce(event)
