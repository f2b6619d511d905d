"""Interactions in a notebook: a table of them, its core, its split into training and holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.data import kcore, splits
from recsys.data.everyone import compressed_rows
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions


@dataclass(frozen=True, repr=False)
class InteractionData:
    """Who interacted with what: distinct pairs of user and item, with their ids.

    Parameters
    ----------
    interactions : Interactions
    names : pyarrow string array (n_items,) or None
        What the items are called.
    rejected : mapping of str to int
        Rows of the source that were left out, by reason.
    notes : tuple of str
        What is worth knowing of how it was read.
    hidden : pyarrow.Table or None
        Pairs that are never recommended, by their ids in columns user and item: disliked, or liked
        before the window.
    below : InteractionData or None
        What `kcore` left out, of all users and items that there were. It is not trained, but a
        recommender answers these users from it, and knows these items.
    """

    interactions: Interactions
    names: pa.Array | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hidden: pa.Table | None = None
    below: InteractionData | None = None

    @property
    def users(self) -> IdMap:
        """The users' ids, in the order of the matrix's rows."""
        return self.interactions.users

    @property
    def items(self) -> IdMap:
        """The items' ids, in the order of the matrix's columns."""
        return self.interactions.items

    def __len__(self) -> int:
        return len(self.interactions)

    def __bool__(self) -> bool:
        return True  # without interactions, too

    def __repr__(self) -> str:
        counts = self.interactions.counts()
        left_out = sum(self.rejected.values())
        return (
            f"<InteractionData: {counts['users']:,} users, {counts['items']:,} items, "
            f"{counts['interactions']:,} interactions (density {kcore.density(**counts):.3g} %)"
            + ("" if self.below is None else f", {len(self.below):,} below the core")
            + (f", {left_out:,} rows left out>" if left_out else ">")
        )

    def matrix(self) -> sp.csr_matrix:
        """The interactions as a matrix, float32 (n_users, n_items): one, or their weight."""
        return self.interactions.matrix()

    def liked(self, user: object) -> list[str]:
        """The ids of the items that a user has interactions with, in the order of `items`.

        Raises
        ------
        NotFoundError
            If the user is unknown.
        """
        own = self.interactions
        return self.items.take(np.sort(own.item[own.user == self.users.index(user)]))

    def kcore(self, user_min: int = 5, item_min: int = 5) -> InteractionData:
        """Leave users and items with too few interactions out of training.

        They are removed until nothing changes. What is left out is kept in `below`, and a
        recommender that is made of the core answers these users and items, too.

        Raises
        ------
        InputError
            If nothing is left.
        """
        core = kcore.kcore(self.interactions, user_min, item_min)
        names = None if self.names is None else self.names.take(pa.array(core.items))
        below = self._with_below(
            np.isin(self.interactions.user, core.users, invert=True)
            | np.isin(self.interactions.item, core.items, invert=True)
        )
        return replace(self, interactions=core.interactions, names=names, below=below)

    def everything(self) -> InteractionData:
        """The interactions with those below the core, of all users and items that there were."""
        return self if self.below is None else self._with_below(np.ones(len(self), dtype=bool))

    def _with_below(self, chosen: np.ndarray) -> InteractionData:
        """Some of the interactions, bool (n,), and those below the core, without weights."""
        own, below = self.interactions, self.below
        user, item = own.user[chosen], own.item[chosen]
        if below is None:
            pairs = replace(own, user=user, item=item, weight=None, timestamp=None)
            return InteractionData(pairs, self.names)
        user = np.concatenate([below.interactions.user, own.users.places_in(below.users)[user]])
        item = np.concatenate([below.interactions.item, own.items.places_in(below.items)[item]])
        order = np.lexsort((item, user))
        user, item = user[order].astype(np.int32), item[order].astype(np.int32)
        pairs = Interactions(user, item, None, None, below.users, below.items)
        return InteractionData(pairs, below.names)

    def hidden_rows(self, users: IdMap, items: IdMap) -> tuple[np.ndarray, np.ndarray] | None:
        """Which items are hidden from each user, as compressed rows; None if there are none.

        Parameters
        ----------
        users, items : IdMap
            Of a model, say; pairs of others are left out.
        """
        if self.hidden is None:
            return None
        user, item = (
            np.asarray(pc.fill_null(pc.index_in(self.hidden.column(name), value_set=ids.ids), -1))
            for name, ids in (("user", users), ("item", items))
        )
        known = (user >= 0) & (item >= 0)
        return compressed_rows(user[known], item[known], len(users)) if known.any() else None

    def aligned(self, users: IdMap, items: IdMap) -> sp.csr_matrix:
        """The matrix with rows and columns in another order; unknown ids are left out.

        Parameters
        ----------
        users, items : IdMap
            Of a model, say.

        Returns
        -------
        csr_matrix float32 (len(users), len(items))
        """
        own = self.interactions
        user = own.users.places_in(users)[own.user]
        item = own.items.places_in(items)[own.item]
        known = (user >= 0) & (item >= 0)
        weight = np.ones(len(own), np.float32) if own.weight is None else own.weight
        where = weight[known], (user[known], item[known])
        return sp.csr_matrix(where, shape=(len(users), len(items)), dtype=np.float32)


@dataclass(frozen=True, repr=False)
class SplitData:
    """Interactions to train on and those held out; iterating gives the parts that there are.

    Parameters
    ----------
    train, test : InteractionData
        Of the same users and items.
    validation : InteractionData or None
        To choose a model by; of other users than `test`.
    """

    train: InteractionData
    test: InteractionData
    validation: InteractionData | None = None

    def __iter__(self) -> Iterator[InteractionData]:
        parts = self.train, self.validation, self.test
        return iter([part for part in parts if part is not None])

    def __repr__(self) -> str:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        said = (f"{name} {len(part):,}" for name, part in parts.items() if part is not None)
        return f"<SplitData: interactions in {', '.join(said)}>"


def split(
    data: InteractionData,
    *,
    n: int = 5,
    share: float = 0.2,
    by_time: bool = False,
    validation: bool = False,
    seed: int = 0,
) -> SplitData:
    """Hold out `n` interactions each of a share of the users, who have at least 2n of them.

    Parameters
    ----------
    data : InteractionData
    n : int
        Interactions held out of each chosen user.
    share : float
        Of all users, for each holdout.
    by_time : bool
        Hold out each user's last n instead of n at random; needs a timestamp.
    validation : bool
        A second holdout, of other users.
    seed : int

    Returns
    -------
    SplitData
        ``train, test = split(data)``, or ``train, validation, test`` with `validation`.

    Raises
    ------
    InputError
        If too few users are eligible, or there is no timestamp to go by.
    """
    parts = splits.split(
        data.interactions, n=n, share=share, by_time=by_time, one_holdout=not validation, seed=seed
    )
    train, first, second = (
        _part(data, matrix) for matrix in (parts.train, parts.validation, parts.test)
    )
    return SplitData(train, second, first) if validation else SplitData(train, first)


def _part(data: InteractionData, matrix: sp.csr_matrix) -> InteractionData:
    """A part of the interactions, of all users and items."""
    pairs = matrix.tocoo()
    weight = None if data.interactions.weight is None else matrix.data
    own = data.interactions
    key = own.user.astype(np.int64) * len(own.items) + own.item
    place = np.searchsorted(key, pairs.row.astype(np.int64) * len(own.items) + pairs.col)
    timestamp = None if own.timestamp is None else own.timestamp[place]
    part = replace(own, user=pairs.row, item=pairs.col, weight=weight, timestamp=timestamp)
    return InteractionData(part, data.names, hidden=data.hidden, below=data.below)
