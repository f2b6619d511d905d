"""Settings written out as TOML: each with its default and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from recsys.base.config import Config, Data


def as_toml() -> str:
    """All settings with their defaults as TOML; those without a default are commented out."""
    example = Data(likes="likes.psv")
    lines = list(_values(Config(), skip=("data",)))
    lines += ["", "# Your own files, instead of a named data set. `likes` is needed.", "[data]"]
    lines += _values(example)
    for name in Config.model_fields:
        section = getattr(Config(), name)
        if isinstance(section, BaseModel):
            lines += ["", *_section(name, section)]
    return "\n".join(lines) + "\n"


def _section(name: str, section: BaseModel) -> Iterator[str]:
    about = (type(section).__doc__ or "").strip().splitlines()[0]
    yield f"# {about}"
    yield f"[{name}]"
    tables = {key for key in type(section).model_fields if isinstance(getattr(section, key), dict)}
    yield from _values(section, skip=tuple(tables))
    for table in sorted(tables, reverse=True):
        yield ""
        yield f"[{name}.{table}]"
        for key, value in getattr(section, table).items():
            yield f"{key} = {_literal(value)}"


def _values(section: BaseModel, skip: tuple[str, ...] = ()) -> Iterator[str]:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if name in skip or isinstance(value, BaseModel):
            continue
        about = f"  # {info.description}" if info.description else ""
        if value is None:
            yield f"# {name} ={about}"
        elif value == [] and _of_sections(info.annotation):
            # Written as an empty list, it could not be continued by [[section.name]].
            yield f"# {name} = []{about}"
        else:
            yield f"{name} = {_literal(value)}{about}"


def _of_sections(annotation: Any) -> bool:
    """Whether a list is one of sections, which TOML writes as tables of their own."""
    parts = get_args(annotation)
    return any(isinstance(part, type) and issubclass(part, BaseModel) for part in parts)


def _literal(value: Any) -> str:
    if isinstance(value, BaseModel):
        parts = value.model_dump(exclude_none=True, exclude_defaults=True)
        inside = ", ".join(f"{name} = {_literal(part)}" for name, part in parts.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(part) for part in value) + "]"
    # JSON's numbers, text and booleans are TOML's as well.
    return json.dumps(value)
