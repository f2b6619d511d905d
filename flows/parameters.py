"""Parameters that Prefect stores of a run: everybody who sees the run reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.base.errors import ConfigError
from recsys.base.redaction import redacted

_HIDDEN = "***@"  # in the place of a user and a password


def require_no_passwords(where: str, value: Any, name: str = "") -> None:
    """Refuse a password in an address among parameters, however deep.

    A program that starts a flow itself hands over a configuration, whose JSON has none. What a
    server is told, it has to pass on as it is.

    Parameters
    ----------
    where : str
        For the message: the file or the command that they come from.
    value : any
        As read from JSON or YAML.
    name : str
        The dotted name of the value, so far.

    Raises
    ------
    ConfigError
        Names the parameter, without the password.
    """
    if isinstance(value, Mapping):
        for part, inner in value.items():
            require_no_passwords(where, inner, f"{name}.{part}" if name else str(part))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            require_no_passwords(where, inner, f"{name}.{number}")
    elif isinstance(value, str) and _HIDDEN in redacted(value) and _HIDDEN not in value:
        raise ConfigError(
            f"{where}: {name} has a user or a password in it ({redacted(value)})",
            "none, as Prefect stores parameters and shows them",
            "set MLFLOW_TRACKING_URI for the worker, or a password file of the database",
        )
