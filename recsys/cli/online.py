"""The command `recsys online`: what comparing two versions with real users has shown so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.options import AsJson, ConfigFile
from recsys.cli.servers import registered_name
from recsys.cli.settings import parse_settings


def online(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="a registered name"),
    ] = None,
    champion: Annotated[
        str | None, typer.Option(help="the version compared with, by its number")
    ] = None,
    challenger: Annotated[
        str | None, typer.Option(help="the version that is compared, by its number")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all comparisons that the log has, one a line")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="a folder to write the log into, as Parquet")
    ] = None,
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="a setting, as in --set online.metric=liked"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest comparison, or that of two versions."""
    from recsys.base.config_file import load_config
    from recsys.online.comparing import compare_online, find_comparison
    from recsys.online.describing import describe
    from recsys.online.online_log import configured_log

    given = parse_settings(settings or [])
    if model:
        given["tracking.model"] = registered_name(model)
    chosen = load_config(config, given)
    log = configured_log(chosen.online, chosen.model)
    if export is not None:
        from recsys.online.exporting import export_log

        counts = export_log(log, export)
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        print(json.dumps(counts) if as_json else f"{said} in {export}")
        return
    if every:
        found = [
            compare_online(log, one, chosen.online) for one, _ in log.comparisons(chosen.model)
        ]
        lines = [verdict.as_dict() if as_json else verdict.found for verdict in found]
        print(json.dumps(lines, indent=1) if as_json else "\n".join(map(str, lines)))
        return
    compared = find_comparison(log, chosen.model, champion, challenger)
    verdict = compare_online(log, compared, chosen.online)
    if as_json:
        print(json.dumps(verdict.as_dict(), indent=1))
        return
    print(describe(verdict), end="")
    if verdict.won:
        print(
            f"to promote it: recsys promote {verdict.challenger} --model {chosen.model} "
            "--why 'won online'"
        )
