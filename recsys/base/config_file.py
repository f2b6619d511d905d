"""Configuration file: settings read from TOML and options, and what is wrong with them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from recsys.base.config import Config
from recsys.base.errors import ConfigError

UNION_MEMBERS = ("Range", "Choice", "bool", "int", "float", "str")
MISLEADING = ("missing", "extra_forbidden", "model_type")


def load_config(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a TOML file and apply overrides given as dotted names.

    Parameters
    ----------
    path : Path or None
        None for the defaults.
    overrides : dict
        Such as {"search.trials": 40}; they go before the file.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or a value is not allowed; names the first fault.
    """
    values = {} if path is None else _read_toml(path)
    for name, value in (overrides or {}).items():
        _require_text(name)
        _assign(values, name.split("."), value)
    try:
        return Config.model_validate(values)
    except ValidationError as fault:
        raise _explain(fault, str(path or "the options")) from fault


def _require_text(name: str) -> None:
    """Refuse a name with bytes of the command line that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as fault:
        raise ConfigError(
            f"a setting is called {name!r}, which is no text in UTF-8",
            "a name in `recsys settings`",
            "check how it is written",
        ) from fault


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise ConfigError(
            f"{path} cannot be read ({fault.strerror})", "a TOML file", "check the path"
        ) from fault
    except RecursionError as fault:
        raise ConfigError(
            f"{path} is nested too deeply", "a TOML file", "correct the file"
        ) from fault
    except ValueError as fault:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ConfigError(
            f"{path} is not TOML ({fault})", "a TOML file", "correct the file"
        ) from fault


def _assign(values: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(
                f"{'.'.join(names)} reaches into {name}, which is a value",
                "a section",
                "see `recsys settings`",
            )
    values[names[-1]] = value


def _explain(fault: ValidationError, source: str) -> ConfigError:
    found_faults = fault.errors(include_url=False)
    # A dimension that is a wrong choice is no range either, which is said first and helps nobody.
    telling = [one for one in found_faults if one["type"] not in MISLEADING]
    # A name that is written wrong is missing under the right one as well.
    strange = [one for one in found_faults if one["type"] == "extra_forbidden"]
    first = (telling or strange or found_faults)[0]
    # Pydantic names the branches of a union too; a person looks for the names in the file.
    parts = [str(part) for part in first["loc"] if "[" not in str(part)]
    where = ".".join(part for part in parts if part not in UNION_MEMBERS) or "the configuration"
    found = "" if isinstance(first["input"], dict) else f" (found {first['input']!r})"
    if first["type"] == "extra_forbidden":
        return _unknown(where, source)
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] in ("model_type", "model_attributes_type"):
        names = _names_in(parts)
        such = f", such as {'.'.join([*parts, names[0]])}" if names else ""
        said = f"a section with settings of its own{such}"
    said = said.partition(", unable to parse")[0]
    return ConfigError(
        f"{source}: {where}{found}",
        said[0].lower() + said[1:],
        "see `recsys settings`",
    )


def _unknown(where: str, source: str) -> ConfigError:
    """A setting that does not exist, with those of its section that are named most like it."""
    *sections, name = where.split(".")
    names = _names_in(sections)
    near = [".".join([*sections, found]) for found in get_close_matches(name, names)]
    expected = f"perhaps {', '.join(near)}" if near else "one of `recsys settings`"
    return ConfigError(f"{source}: {where} is no setting", expected, "see `recsys settings`")


def _names_in(sections: Sequence[str]) -> list[str]:
    """The names of the settings in a section; none where there is no such section."""
    section: Any = Config
    for name in sections:
        if not name.isdigit():  # as the place in a list of sections is
            fields = getattr(section, "model_fields", {})
            section = _section_in(fields[name].annotation) if name in fields else None
    return list(getattr(section, "model_fields", {}))


def _section_in(annotation: Any) -> Any:
    """The first section in a type, such as that of a list, or of what may be left out."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
