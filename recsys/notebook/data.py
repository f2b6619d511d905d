"""Interactions in a notebook: a table of them, its core, its split into training and holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.errors import InputError
from recsys.base.fields import is_last_part
from recsys.data import kcore, splits
from recsys.data.everyone import compressed_rows
from recsys.data.folds import known_places
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.split_files import FileFormat, likes_table, write_tables
from recsys.data.time_split import find_cuts, split_by_time


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
        To choose a model by; of other users than `test`, or from before it.
    before_test : InteractionData or None
        Of a split by time, all that is known before the test: what a model is fitted on that
        `test` measures, after `validation` has chosen it.
    """

    train: InteractionData
    test: InteractionData
    validation: InteractionData | None = None
    before_test: InteractionData | None = None

    def __iter__(self) -> Iterator[InteractionData]:
        parts = self.train, self.validation, self.test
        return iter([part for part in parts if part is not None])

    def save(self, folder: str | Path, file_format: FileFormat = "parquet") -> dict[str, Path]:
        """Write each part as a table of user and item, and weight where there is one.

        Parameters
        ----------
        folder : str or Path
        file_format : {"parquet", "csv"}

        Returns
        -------
        dict of str to Path
            `train`, `test`, and `validation` and `before_test` where there are any.
        """
        parts = self._named() | {"before_test": self.before_test}
        tables = {
            name: likes_table(part.interactions, part.matrix())
            for name, part in parts.items()
            if part is not None
        }
        return write_tables(Path(folder), tables, file_format)

    def _named(self) -> dict[str, InteractionData | None]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def __repr__(self) -> str:
        said = (f"{name} {len(part):,}" for name, part in self._named().items() if part is not None)
        return f"<SplitData: interactions in {', '.join(said)}>"


def split(
    data: InteractionData,
    *,
    n: int = 5,
    share: float = 0.2,
    by_time: bool = False,
    validation: bool | str | float = False,
    test: str | float | None = None,
    user_min: int = 1,
    item_min: int = 1,
    seed: int = 0,
) -> SplitData:
    """Hold out `n` interactions each of a share of the users, who have at least 2n of them.

    With `test`, all interactions are divided at a point in time instead, and none from after it is
    learned from, whoever it is of. `train` then has the users and items of before alone; `n` and
    `share` say nothing.

    Parameters
    ----------
    data : InteractionData
    n : int
        Interactions held out of each chosen user.
    share : float
        Of all users, for each holdout.
    by_time : bool
        Hold out each user's last n instead of n at random; needs a timestamp. What others did
        later is learned from all the same.
    validation : bool, str or float
        A second holdout, of other users; with `test`, the last part of what is before it, as long
        as `test` or of another length.
    test : str, float or None
        The last part of all interactions, which is held out: a share (0.1 or "10%"), a duration
        ("7d"), or a date, from which on it is.
    user_min, item_min : int
        With `test`, fewest interactions of a user and an item before it; fewer are not trained.
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
    if test is not None:
        return _split_by_time(data, validation, str(test), user_min, item_min, seed)
    if not isinstance(validation, bool):
        raise InputError(
            f"validation={validation!r} without test",
            "both, for a split by time",
            "give test as well, or say validation=True",
        )
    parts = splits.split(
        data.interactions, n=n, share=share, by_time=by_time, one_holdout=not validation, seed=seed
    )
    train, first, second = (
        _part(data, matrix) for matrix in (parts.train, parts.validation, parts.test)
    )
    return SplitData(train, second, first) if validation else SplitData(train, first)


def _split_by_time(
    data: InteractionData,
    validation: bool | str | float,
    test: str,
    user_min: int,
    item_min: int,
    seed: int,
) -> SplitData:
    own = data.interactions
    splits.require_timestamp(True, own.timestamp is not None)
    assert own.timestamp is not None
    for name, written in (("test", test), ("validation", validation)):
        if not isinstance(written, bool) and not is_last_part(str(written)):
            raise InputError(
                f"{name}={written!r}",
                "a share such as 0.1, a duration such as '7d', or a date such as '2026-01-31'",
                "write it as one of these",
            )
    before = test if isinstance(validation, bool) else str(validation)
    one = validation is False
    cuts = find_cuts(own.timestamp, before, test, "UTC", one_holdout=one)
    parts = split_by_time(own, cuts, user_min=user_min, item_min=item_min, seed=seed).parts
    train, first = (
        _known_part(data, parts.train, part) for part in (parts.train, parts.validation)
    )
    if one:
        return SplitData(train, first)
    known = parts.refit_train()
    refit, second = (_known_part(data, known, part) for part in (known, parts.test))
    return SplitData(train, second, first, refit)


def _known_part(
    data: InteractionData, known: sp.csr_matrix, part: sp.csr_matrix
) -> InteractionData:
    """A part of the interactions, of the users and items of the known ones, which it is among.

    What is hidden from users, or below the core, has no time, so that it is left out.
    """
    users, items = known_places(known)
    names = None if data.names is None else data.names.take(pa.array(items))
    own = _part(data, part).interactions
    renumbered = replace(
        own,
        user=np.searchsorted(users, own.user).astype(np.int32),
        item=np.searchsorted(items, own.item).astype(np.int32),
        users=own.users.select(users),
        items=own.items.select(items),
    )
    return InteractionData(renumbered, names)


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
