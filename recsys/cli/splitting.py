"""The command `recsys split`: what a run learns from and is measured on, as files of likes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from recsys.base.config_file import load_config
from recsys.base.errors import ConfigError
from recsys.cli.options import AsJson, ConfigFile
from recsys.cli.settings import parse_settings


def split(
    folder: Annotated[Path, typer.Argument(help="for train, validation and test")],
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="any setting, as in --set split.method=time"),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="parquet or csv")] = "parquet",
    as_json: AsJson = False,
) -> None:
    """Write each part of a split as a table of user and item, and weight and time if known."""
    from recsys.data.sources import check_input
    from recsys.pipeline.experiments import export_split

    if file_format not in ("parquet", "csv"):
        raise ConfigError(f"--format {file_format}", "parquet or csv", "choose one of them")
    chosen = load_config(config, parse_settings(settings or []))
    check_input(chosen.dataset, chosen.data, chosen.effective().split)
    found = export_split(chosen, folder, "csv" if file_format == "csv" else "parquet")
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for name, file in found["files"].items():
        print(f"{name}: {folder / file}")
