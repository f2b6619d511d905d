"""Expectations: what an owner expects of a model's answers, as a TOML file, and checking it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from recsys.base.arrays import BoolArray, Int64Array, IntArray
from recsys.base.errors import InputError, RecsysError
from recsys.base.fields import Section
from recsys.evaluation.lists import top_lists
from recsys.models.side import SideInformation
from recsys.recommend.house_rules import Id, read_checked
from recsys.recommend.queries.feature_lookup import FeatureLookup
from recsys.recommend.queries.view import carriers
from recsys.recommend.recommender import Recommender

BLOCK = 2_000  # users whose lists are made at once
Length = Annotated[int, Field(ge=1, le=1000)]


class Similar(Section):
    """Items that are expected among those like an item."""

    item: Id = Field(description="Its id.")
    contains: Annotated[list[Id], Field(min_length=1)] = Field(description="Ids of items.")
    first: Length = Field(10, description="Length of the list that they are all in.")

    def __str__(self) -> str:
        return f"similar to {self.item}: {', '.join(self.contains)} in the first {self.first}"


class Never(Section):
    """Tags that nobody gets, or no user with one of some features."""

    tags: Annotated[list[Id], Field(min_length=1)] = Field(
        description="Features of items, none of which is on a list."
    )
    users: list[Id] = Field([], description="Features of users; default: everybody.")
    first: Length = Field(10, description="Length of the lists.")

    def __str__(self) -> str:
        whom = f"a user with {' or '.join(self.users)}" if self.users else "anybody"
        return f"never {' or '.join(self.tags)} in the first {self.first} for {whom}"


class AtLeast(Section):
    """A user who gets so many items."""

    user: Id = Field(description="The user's id.")
    n: Length = Field(description="Items, at least.")

    def __str__(self) -> str:
        return f"at least {self.n} items for {self.user}"


class Tagged(Section):
    """Items sorted by a tag, most of which have it."""

    tag: Id = Field(description="A feature of items.")
    have: Length = Field(description="Items that have it, at least.")
    first: Length = Field(20, description="Length of the list.")

    @model_validator(mode="after")
    def _reachable(self) -> Tagged:
        if self.have > self.first:
            raise ValueError(f"no more than the {self.first} of the list")
        return self

    def __str__(self) -> str:
        return f"{self.have} of the first {self.first} for {self.tag} have it"


class Expectations(Section):
    """All expectations of a file; by default none."""

    similar: list[Similar] = Field([])
    never: list[Never] = Field([])
    at_least: list[AtLeast] = Field([])
    tag: list[Tagged] = Field([])

    def __len__(self) -> int:
        return sum(len(part) for part in (self.similar, self.never, self.at_least, self.tag))


@dataclass(frozen=True)
class Found:
    """What was found of an expectation.

    Parameters
    ----------
    expected : str
        In words.
    met : bool
    found : str
    """

    expected: str
    met: bool
    found: str


def read_expectations(path: str | Path) -> Expectations:
    """Read the expectations of a TOML file.

    Raises
    ------
    InputError
        If it is no TOML, or an expectation is not as it has to be.
    NotFoundError
        If there is no such file.
    """
    return read_checked(path, Expectations, "expectations", "expectation")


def check_expectations(recommender: Recommender, expectations: Expectations) -> list[Found]:
    """Ask a model what is expected of it; its house rules count, if it has any.

    What names an id or a feature that the model does not know is not met.

    Parameters
    ----------
    recommender : Recommender
    expectations : Expectations

    Returns
    -------
    list of Found
        In the order of the kinds: similar, never, at_least, tag.
    """
    questions: list[tuple[Section, Callable[[], tuple[bool, str]]]] = [
        *((one, partial(_similar, recommender, one)) for one in expectations.similar),
        *((one, partial(_never, recommender, one)) for one in expectations.never),
        *((one, partial(_at_least, recommender, one)) for one in expectations.at_least),
        *((one, partial(_tagged, recommender, one)) for one in expectations.tag),
    ]
    results = []
    for expected, ask in questions:
        try:
            met, found = ask()
        except RecsysError as fault:
            met, found = False, fault.found
        results.append(Found(str(expected), met, found))
    return results


def _similar(recommender: Recommender, expected: Similar) -> tuple[bool, str]:
    for item in expected.contains:
        recommender.items.index(item)
    places = {
        row.id: place
        for place, row in enumerate(recommender.similar_items(expected.item, expected.first), 1)
    }
    missing = [item for item in expected.contains if item not in places]
    if missing:
        return False, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there"
    return True, ", ".join(f"{item} in place {places[item]}" for item in expected.contains)


def _never(recommender: Recommender, expected: Never) -> tuple[bool, str]:
    bundle = recommender.bundle
    refused = _having(bundle.item_features, expected.tags, "items", len(bundle.items))
    users = np.arange(len(bundle.users))
    if expected.users:
        chosen = _having(bundle.user_features, expected.users, "users", len(bundle.users))
        users = np.flatnonzero(chosen)
    count, first = 0, ""
    for block, lists in _lists(recommender, users, expected.first):
        shown = (lists >= 0) & refused[lists]
        hit = shown.any(axis=1)
        if hit.any() and not first:
            row = int(np.argmax(hit))
            item = int(lists[row][shown[row]][0])
            first = f"{bundle.users.id(block[row])} gets {bundle.items.id(item)}"
        count += int(hit.sum())
    if count:
        return False, f"{count:,} of {len(users):,} users do; {first}"
    return True, f"none of {len(users):,} users does"


def _lists(
    recommender: Recommender, users: Int64Array, n: int
) -> Iterator[tuple[Int64Array, IntArray]]:
    """The items on the lists of users, block by block: int (m, n), padded with -1."""
    for start in range(0, len(users), BLOCK):
        block = users[start : start + BLOCK]
        if recommender.rules is None:
            yield block, top_lists(recommender.bundle, block, n).items
            continue
        lists = np.full((len(block), n), -1)
        answers = recommender.recommend_many(recommender.users.take(block), n)
        for place, answer in enumerate(answers):
            items = recommender.items.indices([row.id for row in answer])
            lists[place, : len(items)] = items
        yield block, lists


def _at_least(recommender: Recommender, expected: AtLeast) -> tuple[bool, str]:
    found = len(recommender.recommend(expected.user, expected.n))
    return found >= expected.n, f"{found} items"


def _tagged(recommender: Recommender, expected: Tagged) -> tuple[bool, str]:
    bundle = recommender.bundle
    has = _having(bundle.item_features, [expected.tag], "items", len(bundle.items))
    rows = recommender.items_for_tag(expected.tag, expected.first)
    found = int(has[recommender.items.indices([row.id for row in rows])].sum())
    return found >= expected.have, f"{found} of {len(rows)}"


def _having(side: SideInformation | None, features: list[str], owners: str, size: int) -> BoolArray:
    """Which items, or users, have one of some features: bool (size,).

    Raises
    ------
    InputError
        If the model knows no features of these owners.
    NotFoundError
        If a feature is unknown.
    """
    if side is None:
        raise InputError(
            f"the model knows no features of {owners}", "some", "train with a table of features"
        )
    lookup, mask = FeatureLookup(side.vocabulary), np.zeros(size, bool)
    for feature in features:
        found = carriers(side.profiles, lookup.find(feature))
        mask[: len(found)] |= found
    return mask
