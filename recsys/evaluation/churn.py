"""Churn: how much of what users see changes when one model replaces another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.base.arrays import Float64Array, Int64Array, IntArray
from recsys.bundle import Bundle
from recsys.evaluation.lists import evenly_spaced, jaccard_overlap, top_lists
from recsys.ranking.metrics import percentiles

SHOWN = 3  # items named for each user, of those that are new and those that are gone


@dataclass(frozen=True)
class Changed:
    """A user whose list changed much, with the best of the items that are gone and that are new.

    Parameters
    ----------
    user : str
    overlap : float
        Jaccard index of the two lists.
    went, came : tuple of str
        Names of items.
    """

    user: str
    overlap: float
    went: tuple[str, ...]
    came: tuple[str, ...]


@dataclass(frozen=True)
class Churn:
    """The lists of the users that both models know, before and after.

    Parameters
    ----------
    n : int
        Length of the lists.
    users : int
        How many users were compared.
    overlap : float or None
        Mean list overlap: the Jaccard index of a user's two lists, on average over users. None
        without users in common.
    coverage : (float, float)
        Share of its trained items that each model shows to some user.
    popularity : (float, float)
        Mean popularity percentile of what each shows, both by the interactions of the new model's
        data; an item that is gone counts as 0.
    new_users, gone_users, new_items, gone_items : int
        Users, and trained items, that only one model knows.
    most_changed : tuple of Changed
    """

    n: int
    users: int
    overlap: float | None
    coverage: tuple[float, float]
    popularity: tuple[float, float]
    new_users: int
    gone_users: int
    new_items: int
    gone_items: int
    most_changed: tuple[Changed, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report, ready for JSON."""
        return asdict(self)


def measure_churn(
    before: Bundle, after: Bundle, *, n: int = 10, most: int = 10, users: int = 10_000
) -> Churn:
    """Compare what two models show; users and items are matched by their ids.

    Parameters
    ----------
    before, after : Bundle
    n : int
        Length of the lists.
    most : int
        How many of the most changed users are named.
    users : int
        How many users are compared at most, evenly spaced over those in common.
    """
    user_before = after.users.places_in(before.users)
    common = np.flatnonzero(user_before >= 0)
    compared = common[evenly_spaced(len(common), users)]
    old = top_lists(before, user_before[compared], n).items
    new = top_lists(after, compared, n).items
    item_after = before.items.places_in(after.items)
    # An item that is gone gets an index that no item of the new model has.
    gone = np.arange(len(before.items)) + len(after.items)
    translated = np.where(old >= 0, np.where(item_after >= 0, item_after, gone)[old], -1)
    shared = jaccard_overlap(translated, new)
    popular = _popularity(after, len(before.items))
    kept_items = int(np.count_nonzero(_trained_indices(before, after) >= 0))
    lists = _Lists(before, after, compared, old, translated, new)
    return Churn(
        n,
        len(compared),
        float(shared.mean()) if len(compared) else None,
        (_coverage(old, before.trained), _coverage(new, after.trained)),
        (_mean_of(popular, translated), _mean_of(popular, new)),
        new_users=len(after.users) - len(common),
        gone_users=len(before.users) - len(common),
        new_items=after.trained - kept_items,
        gone_items=before.trained - kept_items,
        most_changed=tuple(lists.changed(row, shared) for row in lists.order(shared)[:most]),
    )


def markdown(report: Mapping[str, Any], champion: str) -> str:
    """A churn report as Markdown.

    Parameters
    ----------
    report : mapping
        As `Churn.as_dict` returns it.
    champion : str
        The version that was compared with.
    """
    lines = [f"## Against version {champion}", "", summary(report), ""]
    if report["most_changed"]:
        lines += ["| user | overlap | went | came |", "| --- | ---: | --- | --- |"]
    for changed in report["most_changed"]:
        went, came = (_table_cell(", ".join(changed[part])) for part in ("went", "came"))
        lines.append(
            f"| {_table_cell(changed['user'])} | {changed['overlap']:.2f} | {went} | {came} |"
        )
    return "\n".join(lines)


def summary(report: Mapping[str, Any]) -> str:
    """A churn report (as `Churn.as_dict` returns it) in one or two sentences."""
    moved = ", ".join(
        f"{report[f'{when}_{what}']:,} {what} {said}"
        for what in ("users", "items")
        for when, said in (("new", "new"), ("gone", "gone"))
    )
    if report["overlap"] is None:
        return f"No user in common; {moved}."
    coverage, popularity = report["coverage"], report["popularity"]
    return (
        f"Top {report['n']} of {report['users']:,} users overlap by {report['overlap']:.2f}; "
        f"coverage {coverage[0]:.3f} to {coverage[1]:.3f}, "
        f"popularity percentile {popularity[0]:.3f} to {popularity[1]:.3f}; {moved}."
    )


@dataclass(frozen=True)
class _Lists:
    """The lists of the users compared; `translated` are the old ones in the new model's indices."""

    before: Bundle
    after: Bundle
    users: Int64Array
    old: IntArray
    translated: IntArray
    new: IntArray

    def order(self, shared: Float64Array) -> Int64Array:
        """Rows in ascending order of overlap; of equals, the most active user first."""
        likes = np.diff(self.after.seen.indptr)[self.users]
        return np.lexsort((self.users, -likes, shared))

    def changed(self, row: int, shared: Float64Array) -> Changed:
        """What changed in the list of one row."""
        old, new = self.translated[row], self.new[row]
        went = self.old[row][(old >= 0) & ~np.isin(old, new)][:SHOWN]
        came = new[(new >= 0) & ~np.isin(new, old)][:SHOWN]
        return Changed(
            self.after.users.id(self.users[row]),
            float(shared[row]),
            tuple(_name(self.before, item) for item in went),
            tuple(_name(self.after, item) for item in came),
        )


def _trained_indices(one: Bundle, other: Bundle) -> Int64Array:
    """The index of each trained item among the other's trained items, -1 if it is not there."""
    found = one.items.places_in(other.items)[: one.trained]
    return np.where(found < other.trained, found, -1)


def _popularity(after: Bundle, n_gone: int) -> Float64Array:
    """Popularity percentiles of the trained items, then zeros for the others and those gone."""
    likes = np.bincount(after.seen.indices, minlength=len(after.items))[: after.trained]
    rest = len(after.items) - after.trained + n_gone
    return np.concatenate((percentiles(likes), np.zeros(rest)))


def _coverage(lists: IntArray, trained: int) -> float:
    return len(np.unique(lists[lists >= 0])) / max(1, trained)


def _mean_of(values: Float64Array, lists: IntArray) -> float:
    shown = lists[lists >= 0]
    return float(values[shown].mean()) if len(shown) else 0.0


def _name(bundle: Bundle, item: int) -> str:
    name: pa.Scalar | None = None if bundle.names is None else bundle.names[int(item)]
    return (name.as_py() if name is not None else None) or bundle.items.id(item)


def _table_cell(text: str) -> str:
    """Text that does not end a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
