"""Parameters: configurations under the flat names that MLflow shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.models.configuration import HYBRID_NAMES
from recsys.tuning.space import Configuration


def grouped(configuration: Configuration) -> dict[str, Any]:
    """A configuration as parameters: what is done with features under `features/`.

    Neighbours keep their names, which stand together anyway.

    MLflow's parallel coordinates begin with the first names of the alphabet, and what only some
    trials have says nothing there.
    """
    apart = {n for n in HYBRID_NAMES if n != "strategy" and not n.startswith("neighbours")}
    return {(f"features/{n}" if n in apart else n): v for n, v in configuration.items()}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
