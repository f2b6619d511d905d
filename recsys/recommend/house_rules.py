"""House rules: how the lists of users are made beside the scores, as a TOML file.

Rules are applied in this order, whatever their order in the file: what is excluded or was shown
lately is left out; scores are boosted and buried; the list is chosen, best first, with as much
diversity as is asked for and at most so many items of a tag; new or rare items take the last
places, if there are too few of them; pinned items take theirs.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from recsys.base.errors import InputError, NotFoundError
from recsys.base.fields import Section
from recsys.recommend.watched import Watched

Id = Annotated[str, Field(min_length=1, max_length=1000)]
Amount = Annotated[float, Field(gt=0, le=100)]
_Form = TypeVar("_Form", bound=BaseModel)


class _ForUsers(Section):
    """A rule for everybody, or for users with one of some features."""

    users: list[Id] = Field([], description="Features of users; default: everybody.")


class _OfItems(_ForUsers):
    """A rule about some items."""

    tags: list[Id] = Field([], description="Features of items, one of which they have.")
    items: list[Id] = Field([], description="Ids of items.")

    @model_validator(mode="after")
    def _about_something(self) -> _OfItems:
        if not self.tags and not self.items:
            raise ValueError("tags or items that the rule is about")
        return self


class Exclude(_OfItems):
    """Items that are not shown."""


class Boost(_OfItems):
    """Items whose scores are raised."""

    by: Amount = Field(0.5, description="In standard deviations of the user's scores.")


class Bury(_OfItems):
    """Items whose scores are lowered."""

    by: Amount = Field(0.5, description="In standard deviations of the user's scores.")


class AtMost(_ForUsers):
    """A bound on the items of a list that have a tag."""

    n: Annotated[int, Field(ge=0, le=1000)] = Field(description="Items, at most.")
    tag: Id = Field(description="A feature of items.")


class AtLeast(_ForUsers):
    """New or rare items that a list has."""

    n: Annotated[int, Field(ge=1, le=1000)] = Field(description="Items, at least.")
    kind: Literal["new", "rare"] = Field(
        description="'new': not trained, for too few likes, with a vector of features or of who "
        "likes them. 'rare': trained, and liked by few."
    )
    likes: Annotated[int, Field(ge=0)] = Field(20, description="Of a rare item, at most.")


class Pin(_ForUsers):
    """An item that has a place of its own."""

    item: Id = Field(description="Its id.")
    place: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="From 1.")


class HideShown(Section):
    """What was shown lately is not shown again."""

    days: Annotated[int, Field(ge=1, le=366)] = Field(
        description="Items that were shown on one of so many days before today are left out."
    )


class Diversity(Section):
    """Lists of items that differ (maximal marginal relevance)."""

    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Of an item's likeness to those before it, against its score: 0 by score alone."
    )


class HouseRules(Section):
    """All rules of a file; by default none."""

    exclude: list[Exclude] = Field([])
    hide_shown: HideShown | None = None
    boost: list[Boost] = Field([])
    bury: list[Bury] = Field([])
    diversity: Diversity | None = None
    at_most: list[AtMost] = Field([])
    at_least: list[AtLeast] = Field([])
    pin: list[Pin] = Field([])

    @model_validator(mode="after")
    def _one_to_a_place(self) -> HouseRules:
        places = [pin.place for pin in self.pin if not pin.users]
        if len(set(places)) < len(places):
            raise ValueError("one item pinned to a place, not several")
        return self

    def described(self) -> str:
        """How many rules of each kind there are, in the order in which they are applied."""
        counts = {
            "excludes": len(self.exclude),
            "hide_shown": int(self.hide_shown is not None),
            "boosts": len(self.boost),
            "buries": len(self.bury),
            "diversity": int(self.diversity is not None),
            "at_most": len(self.at_most),
            "at_least": len(self.at_least),
            "pins": len(self.pin),
        }
        return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "no rule"

    def current(self) -> HouseRules:
        """Themselves, which do not change; see `WatchedRules`."""
        return self


class HasRules(Protocol):
    """Whatever says which rules hold at the moment."""

    def current(self) -> HouseRules:
        """The rules as they are now."""
        ...


class WatchedRules(Watched[HouseRules]):
    """The rules of a file, read again when the file changes.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError, NotFoundError
        If they cannot be read to begin with.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, read_rules, "the house rules stay")


def read_rules(path: str | Path) -> HouseRules:
    """Read the rules of a TOML file.

    Raises
    ------
    InputError
        If it is no TOML, or a rule is not as it has to be.
    NotFoundError
        If there is no such file.
    """
    return read_checked(path, HouseRules, "house rules", "rule")


def read_checked(path: str | Path, form: type[_Form], what: str, kind: str) -> _Form:
    """Read a TOML file of the owner's that has to be of a form.

    Parameters
    ----------
    path : str or Path
    form : subclass of BaseModel
    what, kind : str
        The file's content and one entry of it, for messages: "house rules" and "rule".

    Raises
    ------
    InputError
        If it is no TOML, or an entry is not as it has to be.
    NotFoundError
        If there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"no file {file}", what, "check the path")
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InputError(f"{file} is no TOML ({fault})", what, "correct it") from fault
    try:
        return form.model_validate(given)
    except ValidationError as fault:
        raise explained(file, fault, kind) from fault


def explained(file: Path, fault: ValidationError, kind: str) -> InputError:
    """What is wrong with a file of rules, or of whatever `kind` its entries are."""
    first = fault.errors(include_url=False)[0]
    where = (
        ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        or f"the {kind}s"
    )
    if first["type"] == "extra_forbidden":
        return InputError(f"{file}: {where} is no {kind}", "one of the documentation", "rename it")
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = "" if isinstance(first["input"], dict) else f" (found {first['input']!r})"
    return InputError(f"{file}: {where}{found}", said[0].lower() + said[1:], "correct it")
