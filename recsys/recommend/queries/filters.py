"""Filters: what an answer may consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray
from recsys.base.errors import InputError
from recsys.data.idmap import IdMap
from recsys.models.side import SideInformation
from recsys.recommend.queries.feature_lookup import Feature, FeatureLookup
from recsys.recommend.queries.view import BundleView, carriers
from recsys.recommend.queries.wording import listed, shortened


@dataclass(frozen=True)
class Filters:
    """What an answer may consist of; by default anything that the user has not seen.

    Parameters
    ----------
    must, must_not : sequence of feature
        Features that every row of the answer has, all of them, or does not have, none of them.
    exclude : sequence
        Ids to leave out.
    include_seen : bool
        Also what the user likes already; for an audience, those who like the item already.
    include_untrained : bool or None
        Also items known by their features alone. By default not for users, whose lists are
        measured on trained items, but for everything found by similarity.
    only : sequence or None
        Ids of which the answer is made, in any number; None for all. Beside it, an availability
        that the recommender was given counts as well.
    lists : sequence of str
        Names of lists that the recommender was given: every row is on all of them.
    """

    must: Sequence[Feature] = ()
    must_not: Sequence[Feature] = ()
    exclude: Sequence[object] = ()
    include_seen: bool = False
    include_untrained: bool | None = None
    only: Sequence[object] | None = None
    lists: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("must", "must_not", "exclude", "only", "lists"):
            if isinstance(getattr(self, name), str):
                raise InputError(
                    f"{name} = {getattr(self, name)!r}", "a list", "put it into square brackets"
                )


ANY = Filters()


@dataclass(frozen=True)
class Allowed:
    """Which rows may be answered.

    Parameters
    ----------
    mask : bool (n,) or None
        None where all of them may.
    notes : tuple of str
    """

    mask: BoolArray | None
    notes: tuple[str, ...] = ()


def allowed_items(view: BundleView, filters: Filters) -> Allowed:
    """The items that features and ids let pass; trained or not and seen or not are not in it.

    Raises
    ------
    NotFoundError
        If a feature to be had, or a list, is unknown.
    InputError
        If the model knows no features and some are asked for.
    """
    found = _allowed(filters, view.bundle.items, view.bundle.item_features, view.item_lookup)
    mask = found.mask
    for more in (view.available(), *(view.on_list(name) for name in filters.lists)):
        if more is not None:
            mask = more if mask is None else mask & more
    return Allowed(mask, found.notes)


def allowed_users(view: BundleView, filters: Filters) -> Allowed:
    """The same for users."""
    return _allowed(filters, view.bundle.users, view.bundle.user_features, view.user_lookup)


def _allowed(
    filters: Filters, ids: IdMap, side: SideInformation | None, lookup: FeatureLookup | None
) -> Allowed:
    if not (filters.must or filters.must_not or filters.exclude or filters.only is not None):
        return Allowed(None)
    mask = np.ones(len(ids), bool)
    notes: list[str] = []
    if filters.only is not None:
        named = pa.array([str(external) for external in filters.only], pa.string())
        mask = np.array(pc.is_in(ids.ids, value_set=named))
        strange = named.filter(pc.invert(pc.is_in(named, value_set=ids.ids))).to_pylist()
        if strange:
            what = listed(f"unknown {ids.kind}", len(strange))
            notes.append(f"{what} among those allowed: {shortened(strange, len(strange))}")
    unknown_ids = [str(other) for other in filters.exclude if other not in ids]
    if unknown_ids:
        what = listed(f"unknown {ids.kind}", len(unknown_ids))
        notes.append(f"{what} to leave out: {shortened(unknown_ids, len(unknown_ids))}")
    mask[[ids.index(known) for known in filters.exclude if known in ids]] = False
    if filters.must or filters.must_not:
        if side is None or lookup is None:
            raise InputError(
                f"a filter by features of {ids.kind}s, of which this model knows none",
                f"a model trained with {ids.kind} features",
                "leave the filter out, or train with features",
            )
        # An unknown feature that must be there is no slip to pass over: nothing has it.
        for feature in filters.must:
            mask &= carriers(side.profiles, lookup.find(feature))
        known, unknown = lookup.known(filters.must_not)
        for index in known:
            mask &= ~carriers(side.profiles, index)
        if unknown:
            notes.append(lookup.note(unknown))
    return Allowed(mask, tuple(notes))
