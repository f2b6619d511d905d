"""Servers in the terminal: answers over HTTP, and the gallery."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.base.environment import tracking_uri
from recsys.base.errors import ConfigError
from recsys.cli.models import is_bundle
from recsys.cli.options import ConfigFile, Model
from recsys.cli.settings import parse_settings
from recsys.tracking.local import require_version
from recsys.tracking.versions import CHAMPION, ModelAddress

if TYPE_CHECKING:
    from recsys.serving.observing import Observing


class LogForm(StrEnum):
    """How requests are logged."""

    LINES = "lines"
    JSON = "json"


def serve(
    model: Annotated[
        str,
        typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="a registered name"),
    ] = "sample",
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines ask, too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8000,
    body: Annotated[int, typer.Option(min=1, help="bytes of a request, at most")] = 1 << 20,
    seconds: Annotated[float, typer.Option(min=0.1, help="for a request, at most")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="processes that answer")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="of each process that answers")] = 2,
    only: Annotated[
        Path | None,
        typer.Option(
            help="a file of the items that may be shown: ids, or a table with item, from, until, "
            "in_stock; read again when it changes"
        ),
    ] = None,
    likes: Annotated[
        Path | None,
        typer.Option(help="the file of fresh likes, by default data/likes/MODEL.sqlite"),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="a TOML file of house rules, read again when it changes"),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="the file of what was shown, by default data/answers/MODEL.sqlite"),
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--list", help="a list that questions may name: NAME=FILE, as for --only"),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.1, help="seconds between two looks at which version is champion")
    ] = 30.0,
    log: Annotated[
        LogForm | None,
        typer.Option(help="a line for each request on standard error, as text or JSON"),
    ] = None,
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="a setting, as in --set online.mode=split"),
    ] = None,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="print the OpenAPI description, and end")
    ] = False,
) -> None:
    """Answer questions over HTTP with the champion until interrupted."""
    if openapi:
        from recsys.serving.http import openapi as described

        print(json.dumps(described(), indent=1))
        return
    name = registered_name(model)
    require_version(tracking_uri(), ModelAddress(name, alias=CHAMPION))
    from recsys.serving.limits import Limits
    from recsys.serving.opening import open_champion

    lists = _named_files(named or [])
    observing = _observing(config, settings or [], log)
    first = CHAMPION if observing.online is None else observing.online.champion
    opened = partial(open_champion, name, only, likes, rules, answers, lists, every, first)
    limits = Limits(body, seconds, threads)

    def ready(version: str, address: str) -> None:
        print(f"{model} version {version} answers at {address}", flush=True)

    if workers > 1:
        from recsys.serving.workers import Work, serve_with_workers

        serve_with_workers(Work(opened, name, limits, observing), host, port, workers, ready)
    else:
        from recsys.serving.server import serve

        serve(opened(), model, host, port, limits, ready, observing)


def gallery(
    model: Model = "sample",
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="a setting, as in --set gallery.pictures=sketchfab"),
    ] = None,
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one")] = 8600,
    rules: Annotated[
        Path | None,
        typer.Option(help="a TOML file of house rules, by default that of batch.rules"),
    ] = None,
) -> None:
    """Serve pages about what the champion has learned until interrupted."""
    from recsys.base.config_file import load_config

    chosen = load_config(config, parse_settings(settings or []))
    if not is_bundle(model):
        require_version(chosen.tracking.uri, ModelAddress(model, alias=CHAMPION))
    from recsys.gallery.launch import serve

    serve(model, chosen, host, port, rules)


def _observing(config: Path | None, settings: list[str], log: LogForm | None) -> Observing:
    """What a server records, as its options say."""
    from recsys.serving.observing import Observing

    online = None
    if config is not None or settings:
        from recsys.base.config_file import load_config

        online = load_config(config, parse_settings(settings)).online
    return Observing(online, None if log is None else log.value)


def _named_files(named: list[str]) -> dict[str, Path]:
    found = {}
    for one in named:
        name, _, file = one.partition("=")
        if not name or not file:
            raise ConfigError(f"--list {one}", "NAME=FILE", "name the list and its file")
        found[name] = Path(file)
    return found


def registered_name(model: str) -> str:
    """Check that a text can be the name of a registered model.

    Raises
    ------
    ConfigError
        If it is an address, a path, or has characters that no name has.
    """
    from recsys.base.fields import unsafe_characters

    if unsafe_characters(model) or not model.strip(" ."):
        raise ConfigError(
            f"model {model!r}", "the name of a registered model", "see those in the MLflow UI"
        )
    return model
