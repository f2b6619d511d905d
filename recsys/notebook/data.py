"""Interactions in a notebook: read from a DataFrame or a file, thresholded, split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.data import datasets, features, interactions, kcore, splits
from recsys.data.dialects import TextFormat
from recsys.data.everyone import compressed_rows
from recsys.data.features import FeatureColumns, FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.interactions import InteractionColumns, Interactions
from recsys.data.repeats import Repeats
from recsys.data.signals import InteractionRules, NegativeWeights, Outside
from recsys.data.tables import Source
from recsys.data.weights import Damping


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
        user = np.concatenate([below.interactions.user, _places(own.users, below.users)[user]])
        item = np.concatenate([below.interactions.item, _places(own.items, below.items)[item]])
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
        user = _places(own.users, users)[own.user]
        item = _places(own.items, items)[own.item]
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


@dataclass(frozen=True, repr=False)
class LoadedDataset:
    """A named data set, read.

    Parameters
    ----------
    title : str
    interactions : InteractionData
    features, user_features : FeatureTable or None
        Of items and of users.
    """

    title: str
    interactions: InteractionData
    features: FeatureTable | None = None
    user_features: FeatureTable | None = None

    def __repr__(self) -> str:
        described = "" if self.features is None else f", {len(self.features.names):,} features"
        return f"<LoadedDataset {self.title!r}: {self.interactions!r}{described}>"


def read_interactions(
    source: Source,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    name: str | int | None = None,
    weight: str | int | None = None,
    timestamp: str | int | None = None,
    delimiter: str | None = None,
    rating: str | None = None,
    liked_from: float | None = None,
    event: str | None = None,
    event_weights: Mapping[str, float | str] | None = None,
    repeats: Repeats = "sum",
    weights: Damping = "auto",
    disliked_to: float | None = None,
    negative_weights: NegativeWeights = "leave_out",
    since: str | None = None,
    until: str | None = None,
    half_life: str | None = None,
) -> InteractionData:
    """Read interactions from a table in memory or a file.

    Parameters
    ----------
    source : table, matrix, path or URL
        A row for each interaction: a table of pandas, Polars or Arrow, or a file of text, JSON
        lines, Parquet or Arrow, compressed or not; or a SciPy matrix of users by items.
    user, item, name : str, int or None
        The columns of the users, the items, and the items' names: their names, or their numbers
        from 1 in a file without a header. Where they are not given, they
        are known by names such as user, user_id, userId, uid, item, itemId, movieId, mid.
    weight, timestamp : str, int or None
        Columns that are read only if they are given.
    delimiter : str or None
        Of a text file; found in it where it is not given.
    rating : str or None
        The column of ratings; known by its name where it is not given; '' if every row is a like.
    liked_from : float or None
        The lowest rating that is a like.
    event : str or None
        The column of the kinds of event; known by its name where it is not given.
    event_weights : mapping of str to (float or str), or None
        What each kind weighs, 0 to leave it out; "dislike" and "cancels purchase" are no likes.
    repeats : {"sum", "last", "max", "count"}
        The weight of a pair that occurs several times.
    weights : {"auto", "as_given", "log1p", "none"}
        What becomes of weights: damped by their logarithm if they span more than a factor of 100,
        as they are, damped in any case, or all alike.
    disliked_to : float or None
        The highest rating that is a dislike.
    negative_weights : {"leave_out", "refund", "dislike"}
        What a negative weight says.
    since, until : str or None
        The window of time that counts: dates, or durations before the latest, such as "365d".
    half_life : str or None
        The duration in which a weight is halved, such as "90d".

    Returns
    -------
    InteractionData

    Raises
    ------
    InputError
        If a column is not found, the file cannot be read, or no row is usable.
    """
    of = {"user": user, "item": item, "name": name, "weight": weight, "timestamp": timestamp}
    numbered = {ours: None if column is None else str(column) for ours, column in of.items()}
    columns = InteractionColumns(**numbered, rating=rating, event=event)
    if weight is None and sp.issparse(source):
        columns = replace(columns, weight="weight")
    rules = InteractionRules(
        repeats=repeats,
        liked_from=liked_from,
        event_weights=event_weights,
        damping=weights,
        disliked_to=disliked_to,
        negative_weights=negative_weights,
        since=since,
        until=until,
        half_life=half_life,
    )
    return _read(source, columns, TextFormat(delimiter), rules)


def read_features(
    source: Source,
    *,
    owner: str | None = None,
    type: str | None = None,
    value: str | None = None,
    weight: str | None = None,
    delimiter: str | None = None,
    kind: str = "item",
    columns: Sequence[str] = (),
    separator: str | None = None,
) -> FeatureTable:
    """Read features of items (or users) from a table.

    A long table has a row for each item and feature, a wide one a row for each item.

    Parameters
    ----------
    source : table, path or URL
        See `read_interactions`.
    owner, type, value : str or None
        The columns of the item, of a feature's type (`tag`) and of its value (`anime`); known by
        their names where they are not given. A table without columns of type and value is wide.
    weight : str or None
        Read only if it is given.
    delimiter : str or None
        Of a text file; found in it where it is not given.
    kind : {"item", "user"}
        Whose features they are.
    columns : sequence of str
        Of a wide table, those that are features; all that describe items if none is given.
    separator : str or None
        Between several values in a cell; found in wide tables where it is not given.

    Raises
    ------
    InputError
        If a column is not found, the file cannot be read, or no row is usable.
    """
    named = FeatureColumns(owner, type, value, weight, tuple(columns), separator=separator)
    return features.read_features(source, named, TextFormat(delimiter), kind)[0]


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


def load_dataset(name: str = "sample", root: str | Path = datasets.DEFAULT_ROOT) -> LoadedDataset:
    """Read a named data set; downloaded and verified on first use where it is not bundled.

    Parameters
    ----------
    name : str
        `recsys datasets` lists them; "sample" is bundled.
    root : str or Path
        The folder that downloads are kept in.

    Raises
    ------
    NotFoundError
        If there is no data set of that name.
    DownloadError
        If it cannot be downloaded whole.
    """
    located = datasets.locate(name, Path(root))
    schema = located.dataset.schema
    text = TextFormat(schema.delimiter, escape=schema.escape)
    columns = InteractionColumns(
        schema.user_column,
        schema.item_column,
        schema.name_column,
        schema.weight_column,
        schema.timestamp_column,
        schema.rating_column,
    )
    found: dict[str, FeatureTable | None] = {}
    for kind, path, owner in (
        ("item", located.features, schema.feature_item_column),
        ("user", located.user_features, schema.feature_user_column),
    ):
        named = FeatureColumns(
            owner, schema.feature_type_column, schema.feature_value_column,
            schema.feature_weight_column,
        )  # fmt: skip
        found[kind] = (
            None if path is None else features.read_features(str(path), named, text, kind)[0]
        )
    likes = _read(str(located.likes), columns, text)
    return LoadedDataset(located.dataset.title, likes, found["item"], found["user"])


def _read(
    source: Source,
    columns: InteractionColumns,
    text: TextFormat,
    rules: InteractionRules = InteractionRules(),
) -> InteractionData:
    found = interactions.read_interaction_table(source, columns, text, rules)
    notes = (*found.read_as, *found.notes)
    hidden = _hidden(found.interactions, found.outside)
    return InteractionData(found.interactions, found.names, found.left_out(), notes, hidden)


def _hidden(own: Interactions, outside: Outside) -> pa.Table | None:
    """The pairs outside of the interactions, by their ids."""
    pairs = [each for each in (outside.earlier, outside.disliked) if each is not None]
    if not pairs:
        return None
    user, item = (pa.array(np.concatenate(part)) for part in zip(*pairs, strict=True))
    return pa.table({"user": own.users.ids.take(user), "item": own.items.ids.take(item)})


def _part(data: InteractionData, matrix: sp.csr_matrix) -> InteractionData:
    """A part of the interactions, of all users and items."""
    pairs = matrix.tocoo()
    weight = None if data.interactions.weight is None else matrix.data
    part = replace(data.interactions, user=pairs.row, item=pairs.col, weight=weight, timestamp=None)
    return InteractionData(part, data.names, hidden=data.hidden, below=data.below)


def _places(own: IdMap, others: IdMap) -> np.ndarray:
    """Where each id is in another map (int64); -1 where it is not."""
    return np.asarray(pc.fill_null(pc.index_in(own.ids, value_set=others.ids), -1), np.int64)
