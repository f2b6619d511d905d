"""Settings in the terminal: all of them printed, and those that options give."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from recsys.base.errors import ConfigError


def settings() -> None:
    """Print every setting with its default, as TOML."""
    from recsys.base.settings import as_toml

    print(as_toml(), end="")


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Read settings given as `name=value`; a value that is not valid TOML is taken as text.

    Raises
    ------
    ConfigError
        If there is no equals sign.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(setting, "name=value", "as in search.trials=40")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):
            found[name.strip()] = value.strip()
    return found
