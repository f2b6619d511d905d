"""View: a bundle and what is derived from it, once, when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray, Float32Array, Int32Array, Int64Array, IntArray
from recsys.base.errors import NotFoundError
from recsys.bundle import Bundle
from recsys.data.answers_log import AnswersLog
from recsys.data.likes_log import Entry, FreshEntries, FreshLikes, LogPosition
from recsys.models.content import Profiles
from recsys.models.side import SideInformation
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import entries_of, owners_of
from recsys.recommend.availability import Availability, HasAvailability, now
from recsys.recommend.queries.feature_lookup import FeatureLookup
from recsys.recommend.queries.scoring import inverse_lengths

if TYPE_CHECKING:  # the recommender needs no pydantic
    from recsys.recommend.house_rules import HasRules


@dataclass(frozen=True)
class BundleView:
    """A bundle, ready to be asked.

    Parameters
    ----------
    bundle : Bundle
    availability : HasAvailability or None
        Which items may be shown at the moment; None for all of them.
    fresh : FreshEntries or None
        What users have said since the model was trained: a likes log, or a snapshot of one.
    rules : HasRules or None
        How the lists of users are made beside the scores; see `recsys.recommend.house_rules`.
    answers : AnswersLog or None
        What users were shown, for rules that hide it.
    lists : mapping of str to HasAvailability
        Lists of items by name, for `Filters.lists`.
    """

    bundle: Bundle
    availability: HasAvailability | None = None
    fresh: FreshEntries | None = None
    rules: HasRules | None = None
    answers: AnswersLog | None = None
    lists: Mapping[str, HasAvailability] = field(default_factory=dict)

    @property
    def factors(self) -> Factors:
        """The factors of all users and of the whole catalogue."""
        return self.bundle.factors

    @property
    def vectors(self) -> Float32Array:
        """Item vectors, float32 (n_items, d)."""
        return self.bundle.factors.item_factors

    @cached_property
    def trained(self) -> Factors:
        """The factors with trained items alone."""
        factors, n = self.factors, self.bundle.trained
        return Factors(
            factors.user_factors, factors.item_factors[:n],
            factors.user_biases, factors.item_biases[:n],
        )  # fmt: skip

    def neighbours_for(self, trained: bool) -> Neighbours | None:
        """The neighbours as they count for users that were trained, or were not."""
        return self.bundle.neighbours if trained else self.bundle.untrained.neighbours

    def neighbour_scores(self, liked: IntArray, trained: bool) -> Float32Array | None:
        """What the neighbours add to the trained items' scores for these likes; None without."""
        neighbours = self.neighbours_for(trained)
        return None if neighbours is None or not len(liked) else neighbours.scores(liked)

    def user_vectors(self, users: IntArray) -> Float32Array:
        """Vectors of users, trained or made of their likes and features: float32 (n, d)."""
        trained = users < self.bundle.trained_users
        found = np.empty((len(users), self.vectors.shape[1]), np.float32)
        found[trained] = self.factors.user_factors[users[trained]]
        if not trained.all():
            found[~trained] = self.bundle.untrained.vectors(users[~trained]).vectors
        return found

    @cached_property
    def untrained_basis(self) -> IntArray:
        """What answers go by for each user that was not trained: int8 (n,)."""
        bundle = self.bundle
        return bundle.untrained.basis(np.arange(bundle.trained_users, len(bundle.users)))

    @cached_property
    def inverse_lengths(self) -> Float32Array:
        """One over the length of every item's vector, 0 for none: float32 (n_items,).

        Cosines are products of vectors as they are, scaled by these: no copy of the catalogue.
        """
        return inverse_lengths(self.vectors)

    @cached_property
    def inverse_feature_lengths(self) -> Float32Array:
        """The same for the vectors of item features: float32 (n_features,)."""
        side = self.bundle.item_features
        return (
            np.empty(0, np.float32)
            if side is None
            else inverse_lengths(side.mapping.feature_factors)
        )

    @property
    def likes(self) -> Int64Array:
        """How many users like each item: int64 (n_items,)."""
        return self.bundle.likes

    def neighbour_weights_of(self, item: int, trained: bool) -> Float32Array:
        """What each liked item adds to the score of one item: float32 (n_items,)."""
        weights = np.zeros(len(self.bundle.items), np.float32)
        neighbours = self.neighbours_for(trained)
        if neighbours is not None:
            speakers, said = neighbours.column(item)
            weights[speakers] = said
        return weights

    def add_neighbour_scores_of_users(self, item: int, scores: Float32Array) -> None:
        """Add what all users' likes say of one item to their scores, float32 (n_users,)."""
        seen, bound = self.bundle.seen, self.bundle.trained_users
        middle = int(seen.indptr[bound])
        parts = slice(0, middle), slice(middle, len(seen.indices))
        for trained, part in zip((True, False), parts, strict=True):
            if self.neighbours_for(trained) is None or part.start == part.stop:
                continue
            weights = self.neighbour_weights_of(item, trained)
            liked = seen.indices[part]
            entries = entries_of(liked, weights != 0)
            owners = self._users_at(part.start + entries)
            np.add.at(scores, owners, weights[liked[entries]])

    def likers_of(self, item: int) -> Int64Array:
        """Who likes one item, found without the rows of all the others: int64 (n,)."""
        return self._users_at(np.flatnonzero(self.bundle.seen.indices == item))

    def _users_at(self, entries: Int64Array) -> Int64Array:
        return owners_of(self.bundle.seen, entries)

    @cached_property
    def item_lookup(self) -> FeatureLookup | None:
        """The vocabulary of item features."""
        side = self.bundle.item_features
        return None if side is None else FeatureLookup(side.vocabulary)

    @cached_property
    def user_lookup(self) -> FeatureLookup | None:
        """The vocabulary of user features."""
        side = self.bundle.user_features
        return None if side is None else FeatureLookup(side.vocabulary)

    def fresh_of(self, user: object) -> FreshLikes:
        """What a user has said since the model was trained."""
        return FreshLikes() if self.fresh is None else self.fresh.of(str(user), self.known_position)

    def fresh_of_item(self, item: int) -> list[Entry]:
        """What users have said of an item since the model was trained."""
        if self.fresh is None:
            return []
        return self.fresh.of_item(self.bundle.items.id(item), self.known_position)

    @cached_property
    def known_position(self) -> LogPosition | None:
        """How far the training has read a likes log; None if it has read none."""
        read = self.bundle.manifest.get("likes_log")
        return None if read is None else LogPosition(str(read["log"]), int(read["position"]))

    def is_forgotten(self, user: object) -> bool:
        """Whether a user asked to be forgotten, after the model was trained."""
        return self.fresh is not None and self.fresh.are_forgotten([str(user)])[0]

    def forgotten_users(self) -> Int64Array:
        """The users of the bundle who asked to be forgotten: int64 (n,)."""
        if self.fresh is None:
            return np.empty(0, np.int64)
        mark = self.fresh.mark()
        if self._forgotten.get("mark") != mark:
            ids = self.bundle.users.ids.to_pylist()
            found = np.flatnonzero(self.fresh.are_forgotten(ids))
            self._forgotten.update(mark=mark, users=found)
        users: Int64Array = self._forgotten["users"]
        return users

    @cached_property
    def rules_cache(self) -> dict[str, Any]:
        """Where `recsys.recommend.queries.ruled` keeps the rules as they are for this model."""
        return {}

    @cached_property
    def fresh_cache(self) -> dict[str, Any]:
        """Where `recsys.recommend.queries.fresh_users` keeps what it has found."""
        return {}

    @cached_property
    def _forgotten(self) -> dict[str, Any]:
        """Who was forgotten when it was last looked, and when that was."""
        return {}

    def available(self) -> BoolArray | None:
        """Which items may be shown at the moment: bool (n_items,); None for all of them."""
        return None if self.availability is None else self._open_items("", self.availability)

    def on_list(self, name: str) -> BoolArray:
        """Which items are on a list of a name at the moment: bool (n_items,).

        Raises
        ------
        NotFoundError
            If there is no such list.
        """
        if name not in self.lists:
            known = ", ".join(sorted(self.lists)) or "none is known"
            raise NotFoundError(f"no list {name!r}", f"one of the lists ({known})", "choose one")
        return self._open_items(name, self.lists[name])

    def _open_items(self, name: str, source: HasAvailability) -> BoolArray:
        table = source.current()
        places = self._places.get(name)
        if places is None or places[0] is not table:
            found = pc.fill_null(pc.index_in(table.items, value_set=self.bundle.items.ids), -1)
            places = self._places[name] = table, np.asarray(found, np.int64)
        chosen = places[1][table.open_at(now())]
        mask = np.zeros(len(self.bundle.items), bool)
        mask[chosen[chosen >= 0]] = True
        return mask

    @cached_property
    def _places(self) -> dict[str, tuple[Availability, Int64Array]]:
        """Where the items of lists stand in the catalogue; that of availability is ""."""
        return {}

    def features_of(self, item: int) -> Int32Array:
        """The features of an item of the catalogue: int32 (n,)."""
        side = self.bundle.item_features
        if side is None:
            return np.empty(0, np.int32)
        indptr = side.profiles.indptr
        return side.profiles.indices[indptr[item] : indptr[item + 1]]

    def ids(self, items: IntArray) -> list[str]:
        """Ids of items."""
        return self.bundle.items.take(np.asarray(items))

    def names(self, items: IntArray) -> list[str]:
        """Names of items; the id where there is none."""
        return self.ids_and_names(items)[1]

    def ids_and_names(self, items: IntArray) -> tuple[list[str], list[str]]:
        """Ids of items, and their names; the id where there is none."""
        ids = self.ids(items)
        names = self.bundle.name_texts
        if names is None:
            return ids, ids
        asked = np.asarray(items).tolist()
        return ids, [names[item] or own for item, own in zip(asked, ids, strict=True)]


def carriers(profiles: Profiles, feature: int) -> BoolArray:
    """Which rows have a feature: bool (n,)."""
    mask = np.zeros(profiles.n_items, bool)
    mask[owners_of(profiles, np.flatnonzero(profiles.indices == feature))] = True
    return mask


def side_of(side: SideInformation | None, row: int) -> tuple[Int32Array, Float32Array]:
    """Features, int32 (n,), and their weights, float32 (n,), of one row; none without a side."""
    if side is None:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    start, stop = side.profiles.indptr[row : row + 2]
    return side.profiles.indices[start:stop], side.profiles.data[start:stop]
