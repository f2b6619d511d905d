"""Registered versions: their addresses, aliases and tags; known without MLflow."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from recsys.base.errors import NotFoundError
from recsys.base.redaction import redacted

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
BUNDLE_PATH = "artifacts/bundle"  # in the folder of a registered model
BUNDLE, JUDGED_AGAINST = "bundle", "judged_against"
JUDGED_REFERENCE = "judged_against_reference"  # tag: the reference that a version was compared with
REFERENCE = "reference"  # tag: the reference from then on, where the version becomes champion
GATE, GATE_HELD = "gate", "held"  # tag: what the gate decided
DRIFT_PROFILE = "drift_profile"  # tag: digest of the profile of the data that a version was made of
PROFILE_FILE = "drift/profile.json"  # among the files of its run
FOUND_FILE, NIGHTS_FILE = "drift/drift.json", "drift/nights.json"  # what drifts; sizes of nights
SHOWN = 10  # names of models in a message
PROMOTED, ROLLED_BACK, ROLLED_BACK_TO = "promoted", "rolled_back", "rolled_back_to"

_OF_DATA = ("gate/drift", "gate/data all there", "gate/the same data")  # tags of conditions
_ADDRESS = re.compile(r"models:/(?P<model>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>[0-9]+))")


class LostBundleError(NotFoundError):
    """A version is registered, and its files are not there as they were registered."""


@dataclass(frozen=True)
class Version:
    """A registered version.

    Parameters
    ----------
    number : str
    run_id : str
        The run that made it.
    tags : dict of str to str
    location : str
        Where the registry says that its files are; empty if it was not asked.
    created : int or None
        Milliseconds since 1970; None if it was not asked.
    model_id : str or None
        MLflow's id of the model that was registered.
    """

    number: str
    run_id: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    location: str = ""
    created: int | None = None
    model_id: str | None = None


@dataclass(frozen=True)
class ModelAddress:
    """A registered version by its alias or its number, one of which is None.

    Parameters
    ----------
    model : str
    alias, number : str or None
    """

    model: str
    alias: str | None = None
    number: str | None = None

    @classmethod
    def parse(cls, address: str) -> ModelAddress | None:
        """An address such as "models:/NAME@ALIAS" or "models:/NAME/VERSION".

        Returns
        -------
        ModelAddress or None
            None for other addresses that MLflow may know, such as "models:/NAME/latest".
        """
        found = _ADDRESS.fullmatch(address)
        if found is None or (found["alias"] or "").lower() == "latest":
            return None
        return cls(found["model"], found["alias"], found["number"])

    def __str__(self) -> str:
        return f"models:/{self.model}" + (f"@{self.alias}" if self.alias else f"/{self.number}")


def held_for_data(version: Version) -> bool:
    """Whether the gate held a version because its data were not as those before."""
    return any(
        name.startswith(_OF_DATA) and text.startswith("failed")
        for name, text in version.tags.items()
    )


def missing_version(
    address: str, uri: str, models: Sequence[str] = (), previous: str | None = None
) -> NotFoundError:
    """The error for a version that a registry does not have.

    Parameters
    ----------
    address, uri : str
    models : sequence of str
        The names of the models that the registry has, where they are known.
    previous : str or None
        Of a model whose champion is gone, the number of the version before it, if that is there.
    """
    if previous is not None:
        return NotFoundError(
            f"no model {address} in {redacted(uri)}: its version or alias was deleted",
            f"a champion; version {previous}, the one before it, is there",
            "make that champion again ({}), or another one ({})".format(*_commands(address)),
        )
    named = ", ".join(models[:SHOWN]) + (", …" if len(models) > SHOWN else "")
    return NotFoundError(
        f"no model {address} in {redacted(uri)}",
        f"a version of {named}" if named else "a registered model with that alias or version",
        "name it (--model in the terminal), or train one first (recsys train)",
    )


def lost_bundle(address: str, uri: str, expected: str, damage: str = "") -> LostBundleError:
    """The error for a version whose files are gone, or damaged.

    Parameters
    ----------
    address, uri : str
    expected : str
        Where the registry says that the files are.
    damage : str
        What is wrong with them; empty if they are gone.
    """
    state = f"damaged ({damage})" if damage else "gone"
    return LostBundleError(
        f"{address} is registered in {redacted(uri)}, and its files are {state}",
        redacted(expected),
        "put the files back, or make another version champion ({}, {})".format(*_commands(address)),
    )


def _commands(address: str) -> tuple[str, str]:
    """The commands that make another version of a model champion, to be completed."""
    named = ModelAddress.parse(address)
    model = "" if named is None else f" --model {shlex.quote(named.model)}"
    return f"recsys rollback{model} --why …", f"recsys promote VERSION{model} --why …"
