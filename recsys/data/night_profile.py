"""The profile of a night's data: counts, and hashes of ids, that later nights are compared with.

References
----------
.. [1] K. Beyer et al., On synopses for distinct-value estimation under multiset operations, SIGMOD
   2007: the k smallest hashes of a set, from which overlaps are estimated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.base.arrays import Float64Array, Int64Array, IntArray
from recsys.data.features import FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.splits import days_of

SCHEMA = 1
NAMED = 200
"""Items, and features, that are kept by name: those with most likes."""
SKETCHED = 512
"""Ids of users, and of items, that are kept as hashes."""
DAYS = 36
"""Days that are counted one by one: five weeks, and the day on which the newest like was."""
AGES = (1.0, 7.0, 30.0, 90.0, 365.0)
"""Ages in days that likes are counted between, from the newest one."""


@dataclass(frozen=True)
class NightProfile:
    """What a night's data are like.

    Parameters
    ----------
    likes, users, items : int
    likes_a_user, likes_an_item : tuple of int
        How many have 1 like, 2 to 3, 4 to 7, and so on by powers of two.
    popular : mapping of str to int
        The likes of the most liked items, by id.
    user_sketch, item_sketch : tuple of str
        The smallest hashes of ids, ascending [1]_; those of all, where there are few.
    left_out : mapping of str to mapping of str to int
        Rows left out, by file, by reason.
    rows : mapping of str to int
        Rows of each file.
    tags, user_features : mapping of str to int or None
        Likes of items with a feature, and users with one, of the commonest and of all `others`;
        None where there are no features.
    days : mapping of str to int or None
        Likes on each of the last days ("2026-11-27", UTC); None where times are not known.
    ages : tuple of int or None
        Likes by their age, between the bounds of `AGES`.
    forgotten : int
        Users whose hash was deleted from `user_sketch` since, see `without_users`.
    """

    likes: int
    users: int
    items: int
    likes_a_user: tuple[int, ...]
    likes_an_item: tuple[int, ...]
    popular: Mapping[str, int]
    user_sketch: tuple[str, ...]
    item_sketch: tuple[str, ...]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] | None = None
    user_features: Mapping[str, int] | None = None
    days: Mapping[str, int] | None = None
    ages: tuple[int, ...] | None = None
    forgotten: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The profile, ready for JSON."""
        values = asdict(self)
        if not self.forgotten:
            del values["forgotten"]  # which releases before do not know
        return {"schema": SCHEMA, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NightProfile | None:
        """The profile of what `as_dict` returned; None if another release wrote it differently."""
        if values.get("schema") != SCHEMA:
            return None
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "schema"
        }
        return cls(**given)


def profile_of(
    interactions: Interactions,
    item_features: FeatureTable | None = None,
    user_features: FeatureTable | None = None,
    left_out: Mapping[str, Mapping[str, int]] | None = None,
    rows: Mapping[str, int] | None = None,
) -> NightProfile:
    """Count what a night's data are like.

    Parameters
    ----------
    interactions : Interactions
        All that was read, before the k-core.
    item_features, user_features : FeatureTable or None
    left_out, rows : mapping or None
        See `NightProfile`.
    """
    of_users = np.bincount(interactions.user, minlength=len(interactions.users))
    of_items = np.bincount(interactions.item, minlength=len(interactions.items))
    days = days_of(interactions)
    return NightProfile(
        likes=len(interactions),
        users=len(of_users),
        items=len(of_items),
        likes_a_user=_by_powers_of_two(of_users),
        likes_an_item=_by_powers_of_two(of_items),
        popular=_most(interactions.items.ids, of_items),
        user_sketch=sketch(interactions.users.ids.to_pylist()),
        item_sketch=sketch(interactions.items.ids.to_pylist()),
        left_out={part: dict(counted) for part, counted in (left_out or {}).items()},
        rows=dict(rows or {}),
        tags=_with_features(item_features, interactions.items, of_items),
        user_features=_with_features(user_features, interactions.users, np.minimum(of_users, 1)),
        days=None if days is None else _last_days(days),
        ages=None if days is None else _ages(days),
    )


def sketch(ids: Iterable[str], size: int = SKETCHED) -> tuple[str, ...]:
    """The smallest hashes of distinct ids, 16 hex digits each, ascending."""
    return tuple(heapq.nsmallest(size, map(_hash, ids)))


def without_users(values: Mapping[str, Any], users: Iterable[str]) -> Mapping[str, Any]:
    """A profile as `as_dict` returned it, without the hashes of some users.

    Parameters
    ----------
    values : mapping
    users : iterable of str
        Their ids.

    Returns
    -------
    mapping
        The same one where it has none of them.
    """
    gone = {_hash(user) for user in users}.intersection(values.get("user_sketch", ()))
    if not gone:
        return values
    left = [text for text in values["user_sketch"] if text not in gone]
    forgotten = values.get("forgotten", 0) + len(gone)
    return {**values, "user_sketch": left, "forgotten": forgotten}


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _by_powers_of_two(likes: IntArray) -> tuple[int, ...]:
    """How many of positive numbers are 1, 2 to 3, 4 to 7, …."""
    exponents = np.frexp(likes[likes > 0].astype(np.float64))[1] - 1
    return tuple(np.bincount(exponents).tolist())


def _most(ids: pa.Array, counts: IntArray) -> dict[str, int]:
    """The ids with the largest counts, those first; of equals, the first ones."""
    first = np.argsort(-counts, kind="stable")[:NAMED]
    names = ids.take(pa.array(first)).to_pylist()
    return {
        name: count for name, count in zip(names, counts[first].tolist(), strict=True) if count > 0
    }


def _with_features(
    features: FeatureTable | None, owners: IdMap, counts: IntArray
) -> dict[str, int] | None:
    """What owners with each feature count together: of the most, and of all others."""
    if features is None:
        return None
    place = features.owners.places_in(owners)
    of_owner: Int64Array = np.where(place >= 0, counts[np.maximum(place, 0)], 0)
    weights = of_owner[features.owner].astype(np.float64)
    found = np.bincount(features.feature, weights, minlength=len(features.names)).astype(np.int64)
    named = _most(features.names, found)
    return named | {OTHERS: int(found.sum()) - sum(named.values())}


OTHERS = ""
"""The name of all features together that are not kept by name."""


def _last_days(days: Float64Array) -> dict[str, int]:
    """Likes on each of the last days, those without likes among them."""
    whole = np.floor(days).astype(np.int64)
    newest = int(whole.max())
    oldest = max(int(whole.min()), newest - DAYS + 1)
    counts = np.bincount(whole[whole >= oldest] - oldest, minlength=newest - oldest + 1)
    first = date(1970, 1, 1) + timedelta(days=oldest)
    return {
        (first + timedelta(days=place)).isoformat(): count
        for place, count in enumerate(counts.tolist())
    }


def _ages(days: Float64Array) -> tuple[int, ...]:
    """Likes between the bounds of ages, from the newest one back."""
    place = np.searchsorted(AGES, days.max() - days, side="right")
    return tuple(np.bincount(place, minlength=len(AGES) + 1).tolist())
