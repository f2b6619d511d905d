"""The command that looks at an installation: doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flows.quiet import silence
from recsys.base.config_file import load_config
from recsys.cli.options import AsJson, ConfigFile
from recsys.cli.settings import parse_settings


def doctor(
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="any setting, as in --set tracking.model=shop"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at everything that a night and a server need; say what is wrong, and what to do."""
    chosen = load_config(config, parse_settings(settings or []))
    silence()
    from flows.doctor import examine
    from recsys.pipeline.checkup import Finding

    where = "the defaults" if config is None else str(config)
    found = [Finding("configuration", True, f"{where}, model {chosen.model}")]
    if not as_json:
        print(found[0], flush=True)
    for finding in examine(chosen):
        found.append(finding)
        if not as_json:
            print(finding, flush=True)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    raise typer.Exit(next((one.exit_code for one in found if one.ok is False), 0))
