"""Features: side information read, named and encoded as a sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Int32Array, Int64Array, IntArray
from recsys.base.errors import InputError
from recsys.data.column_names import KNOWN, by_position, find_columns, find_known, plain
from recsys.data.columns import (
    Sieve,
    ValueFormat,
    numbers,
    positive,
    reasons,
)
from recsys.data.dialects import TextFormat
from recsys.data.feature_pairs import FeatureRepeats, distinct_pairs, too_many
from recsys.data.feature_pairs import FeatureTable as FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.ids import missing
from recsys.data.item_tables import CellRules, Cells, split_cells, widened
from recsys.data.tables import OpenTable, Source, TableRows, open_table, require_columns

Normalisation = Literal["none", "l1", "l2"]
# A long table has an owner, a type, a value and perhaps a weight.
_LONG_COLUMNS = 4
_NO_FEATURES = ("user", "rating")  # roles of columns that describe no item
_SHOWN = ("picture", "from", "until", "in_stock")  # of columns that say how and when it is shown


@dataclass(frozen=True)
class FeatureColumns:
    """Names of the columns in the source.

    A long table has a row for each owner and feature, in columns of types and values. A wide one
    has a row for each owner, and each of its columns is a type of features.

    Parameters
    ----------
    owner : str or None
        The item or user; None: found by names such as item_id and movieId.
    type, value : str or None
        Of a long table; None: found by their names, and without them the table is a wide one. A
        long table without a type has features of one type, which is called as the value.
    weight : str or None
        Of a long table; None if there is no such column.
    wide : tuple of str
        The columns of a wide table that are features; empty: all but those that identify.
    name : str or None
        Of a wide table: what an owner is called; None: found by its name; '' if it has none.
    separator : str or None
        Between several values in a cell; '' if cells hold one value; None: found in wide tables.
    texts : tuple of str
        Of a wide table: columns of text to be taken by its terms, besides those of long texts.
    term_min_items : int
        Fewest items that a term must be on.
    term_max_share : float
        Largest share of the items with a text that it may be on.
    types : mapping of str to str
        Of a wide table: what the features of a column are called, where not as the column.
    repeats : {"max", "sum"}
        What a feature weighs that an owner has several times.
    """

    owner: str | None = None
    type: str | None = None
    value: str | None = None
    weight: str | None = None
    wide: tuple[str, ...] = ()
    name: str | None = None
    separator: str | None = None
    texts: tuple[str, ...] = ()
    term_min_items: int = 5
    term_max_share: float = 0.3
    types: Mapping[str, str] = field(default_factory=dict)
    repeats: FeatureRepeats = "max"

    def given(self) -> list[str]:
        """The names of columns that were given."""
        named = (self.owner, self.type, self.value, self.weight, self.name, *self.wide, *self.texts)
        return [name for name in named if name]


@dataclass(frozen=True)
class EncodedFeatures:
    """Features encoded as a matrix.

    Parameters
    ----------
    matrix : csr_matrix float32 (n_owners, n_features)
    names, types, values : pyarrow string arrays (n_features,)
    support : int32 (n_features,)
        Number of counted owners with each feature; see `encode`.
    """

    matrix: sp.csr_matrix
    names: pa.Array
    types: pa.Array
    values: pa.Array
    support: Int32Array

    def with_first(self, owners: IntArray) -> EncodedFeatures:
        """The same features with some owners first, who alone count towards their support.

        The others follow in their order.
        """
        others = np.setdiff1d(np.arange(self.matrix.shape[0]), owners)
        matrix = self.matrix[np.concatenate([owners, others])].tocsr()
        counted = matrix.indices[: matrix.indptr[len(owners)]]
        support = np.bincount(counted, minlength=matrix.shape[1]).astype(np.int32)
        return replace(self, matrix=matrix, support=support)


@dataclass(frozen=True)
class FeatureRows:
    """What was read of a table of features, each of its rows accounted for.

    Parameters
    ----------
    features : FeatureTable
    rows : int
        Rows of the source.
    rejected : mapping of str to int
        Rows left out, by reason.
    crowded : mapping of str to int
        Features of owners that have too many, by reason.
    repeated : int
        Rows of a long table that say again what another does.
    notes : tuple of str
        What a person should know.
    read_as : tuple of str
        What was found of how the source is written.
    named : pyarrow.Table or None
        Of a wide table: columns id and name, for those owners that have a name.
    unnamed : tuple of str
        Its types that are called by the position of their column.
    """

    features: FeatureTable
    rows: int
    rejected: Mapping[str, int]
    crowded: Mapping[str, int]
    repeated: int
    notes: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    named: pa.Table | None = None
    unnamed: tuple[str, ...] = ()

    def left_out(self) -> dict[str, int]:
        """All rows that are no feature of their own, by reason."""
        every = {**self.rejected, **self.crowded, "duplicate": self.repeated}
        return {reason: count for reason, count in every.items() if count}


def read_features(
    source: Source,
    columns: FeatureColumns = FeatureColumns(),
    text: TextFormat = TextFormat(),
    kind: str = "item",
    values: ValueFormat = ValueFormat(),
) -> tuple[FeatureTable, dict[str, int]]:
    """Read a table of features; see `read_feature_table`, which says more of it.

    Returns
    -------
    features : FeatureTable
    left_out : dict of str to int
        Rows left out, by reason.
    """
    found = read_feature_table(source, columns, text, kind, values)
    return found.features, found.left_out()


def find_feature_columns(
    table: OpenTable, columns: FeatureColumns, kind: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The table's name of each column that is read, by ours, and the features of a wide table.

    Parameters
    ----------
    table : OpenTable
    columns : FeatureColumns
    kind : {"item", "user"}

    Raises
    ------
    InputError
        If there is no column of the owner, or one that was given is not there.
    """
    given = {kind: columns.owner, "type": columns.type, "value": columns.value}
    setting = f"data.feature_{kind}_column"
    found = find_columns(table.names, given, {kind: setting}, table.label)
    present = {"owner": by_position(str(found[kind]), table.names)}
    if columns.weight:
        present["weight"] = by_position(columns.weight, table.names)
    if not columns.wide and _is_long(table, columns, found):
        for ours in ("type", "value"):
            if found[ours] is not None:
                present[ours] = by_position(str(found[ours]), table.names)
        if "value" not in present:
            raise InputError(
                f"no column is known as the value of features among "
                f"{', '.join(map(repr, table.names[:20]))} ({table.label})",
                "one called such as value or tag",
                "say which it is in data.feature_value_column",
            )
        require_columns(table.names, present, table.label)
        return present, ()
    name = find_known(table.names, "name") if columns.name is None else columns.name
    if name and kind == "item":
        present["name"] = by_position(name, table.names)
    wide = tuple(by_position(own, table.names) for own in columns.wide)
    if not wide:
        identify = {*present.values(), *filter(None, _known(table, kind))}
        wide = tuple(own for own in table.names if own not in identify)
    wide = tuple(dict.fromkeys((*wide, *(by_position(own, table.names) for own in columns.texts))))
    every = {f"{own} ": own for own in wide}
    require_columns(table.names, present | every, table.label)
    return present, wide


def unnamed_types(table: OpenTable, columns: FeatureColumns, wide: Sequence[str]) -> list[str]:
    """Which types of a wide table are called by the position of their column and nothing else."""
    if list(table.names) != [str(place) for place, _ in enumerate(table.names, start=1)]:
        return []
    return [own for own in wide if own not in columns.types]


def refuse_one_place(unnamed: Sequence[tuple[str, Sequence[str]]], remedy: str) -> None:
    """Refuse tables whose columns would be one type of features for their position alone.

    Parameters
    ----------
    unnamed : sequence of (str, sequence of str)
        The name of each table, and its types that are called by their position.
    remedy : str
        How a type is named; it may have {place} in it.

    Raises
    ------
    InputError
        If two tables have such a type in common.
    """
    first: dict[str, str] = {}
    for label, types in unnamed:
        for place in types:
            if place in first:
                raise InputError(
                    f"column {place} of {first[place]} and column {place} of {label} would be one "
                    "type of features, for their position",
                    "what each of them is called",
                    remedy.format(place=place),
                )
            first[place] = label


def _known(table: OpenTable, kind: str) -> list[str | None]:
    """Columns that are known to describe nothing by themselves."""
    roles = [role for role in _NO_FEATURES if role != kind] + ["item"] * (kind == "user")
    if find_known(table.names, "user") and find_known(table.names, "item"):
        # When and how somebody gave a tag says nothing of the item.
        roles += ["time", "event"]
    shown = {name for role in _SHOWN for name in KNOWN[role]}
    found = [find_known(table.names, role) for role in roles]
    return [*found, *(own for own in table.names if plain(own) in shown)]


def _is_long(table: OpenTable, columns: FeatureColumns, found: Mapping[str, str | None]) -> bool:
    """Whether types and values are in columns of their own."""
    if columns.type or columns.value or columns.weight:
        return True
    value = found["value"]
    if found["type"] is None or value is None:
        return False
    certain = plain(value) in ("value", "featurevalue", "feature")
    return certain or len(table.names) <= _LONG_COLUMNS


def read_feature_table(
    source: Source,
    columns: FeatureColumns = FeatureColumns(),
    text: TextFormat = TextFormat(),
    kind: str = "item",
    values: ValueFormat = ValueFormat(),
) -> FeatureRows:
    """Read a table of features, long (owner, type, value, perhaps weight) or wide.

    All features of an item (or user) with more than 2,000 of them are left out.

    Parameters
    ----------
    source : path, URL or object
        See `recsys.data.tables.open_table`.
    columns : FeatureColumns
    text : TextFormat
    kind : {"item", "user"}
        Whose features they are.
    values : ValueFormat

    Raises
    ------
    InputError
        As `open_table`; when no row is left; when two different (type, value) pairs would get one
        name.
    """
    opened = open_table(source, text, columns.given())
    present, wide = find_feature_columns(opened, columns, kind)
    if wide or "value" not in present:
        return _read_wide(opened, present, wide, columns, kind, values)
    found = opened.read(present, ("owner", "type", "value"))
    if "type" not in present:
        one = np.zeros(found.table.num_rows, np.int32)
        types = pa.DictionaryArray.from_arrays(pa.array(one), pa.array([present["value"]]))
        found = replace(found, table=found.table.append_column("type", types))
    found = replace(found, notes=found.said_of_types(values.one_type))
    sieve = Sieve(found.table.num_rows)
    sieve.rejected["wrong number of fields"] = found.malformed
    for ours in ("owner", "type", "value"):
        sieve.require(f"no {ours}", ~missing(found.table.column(ours), values.missing))
    if "weight" in present:
        named = f"the column {present['weight']} of {opened.label}"
        weight = numbers(found.table.column("weight"), values, named)
        sieve.require("weight not a positive number", positive(weight))
        place = found.table.column_names.index("weight")
        found = replace(found, table=found.table.set_column(place, "weight", pa.array(weight)))
    table = found.table.filter(pa.array(sieve.keep))
    split, notes = split_cells(table, columns.separator, present["value"], opened.label)
    kept = table.num_rows if split is table else 0
    said = (*found.notes, *notes)
    return _feature_rows(
        opened, found, split, sieve, kind, said, kept=kept, repeats=columns.repeats
    )


def _read_wide(
    opened: OpenTable,
    present: Mapping[str, str],
    wide: tuple[str, ...],
    columns: FeatureColumns,
    kind: str,
    values: ValueFormat,
) -> FeatureRows:
    """Read a table of which each column is a type of features."""
    cells = {f"{own} ": own for own in wide}
    ids = [name for name in ("owner", "name") if name in present]
    found = opened.read({**present, **cells}, ids)
    found = replace(found, notes=found.said_of_types(values.one_type))
    sieve = Sieve(found.table.num_rows)
    sieve.rejected["wrong number of fields"] = found.malformed
    sieve.require("no owner", ~missing(found.table.column("owner"), values.missing))
    table = found.table.filter(pa.array(sieve.keep))
    named = None
    if "name" in present:
        with_name = pa.array(~missing(table.column("name"), values.missing))
        pairs = table.select(["owner", "name"]).filter(with_name)
        named = pa.table(
            {
                ours: pairs.column(own).cast(pa.string())
                for ours, own in (("id", "owner"), ("name", "name"))
            }
        )
    called = {by_position(own, opened.names): given for own, given in columns.types.items()}
    described = [Cells(own, table.column(f"{own} "), called.get(own, own)) for own in wide]
    cell_rules = CellRules(
        columns.separator,
        tuple(by_position(own, opened.names) for own in columns.texts),
        columns.term_min_items,
        columns.term_max_share,
    )
    long, notes = widened(table.column("owner"), described, cell_rules, values, opened.label)
    said = (*found.notes, *notes)
    rows = _feature_rows(opened, found, long, sieve, kind, said, kept=0, repeats=columns.repeats)
    return replace(rows, named=named, unnamed=tuple(unnamed_types(opened, columns, wide)))


def _feature_rows(
    opened: OpenTable,
    found: TableRows,
    table: pa.Table,
    sieve: Sieve,
    kind: str,
    notes: tuple[str, ...],
    *,
    kept: int,
    repeats: FeatureRepeats,
) -> FeatureRows:
    """The features of a long table without missing values; `kept` rows of it are the source's."""
    rejected = dict(sieve.rejected)
    if not table.num_rows:
        raise InputError(
            f"{opened.label} has no usable row ({reasons(rejected)})"
            + "".join(f"; {note}" for note in notes),
            f"rows of {kind}, type and value, or a row for each {kind} with a column for each type",
            "check the columns and the delimiter, or leave the features out",
        )
    features, crowded = distinct_pairs(table, kind, repeats)
    left_out = {too_many(kind): crowded} if crowded else {}
    if not len(features):
        raise InputError(
            f"{opened.label} has no usable row ({reasons(rejected | left_out)})",
            f"a few features for each {kind}",
            "check which column is which",
        )
    repeated = max(kept - len(features) - crowded, 0)
    counted = {reason: count for reason, count in rejected.items() if count}
    return FeatureRows(features, found.rows, counted, left_out, repeated, notes, found.read_as)


def encode(
    features: FeatureTable,
    owners: IdMap,
    *,
    counted: int | None = None,
    min_support: int = 1,
    normalisation: Normalisation = "l2",
    weight: float = 1.0,
) -> EncodedFeatures:
    """Encode features as a matrix: one row per owner, one column per feature.

    Parameters
    ----------
    features : FeatureTable
    owners : IdMap
        The rows, in this order; owners of `features` that are not among them are left out.
    counted : int or None
        Number of owners, from the first, that count towards a feature's support. The others
        are items below the threshold, from which the model cannot learn a feature.
    min_support : int
        Features on fewer counted owners are left out.
    normalisation : {"none", "l1", "l2"}
        Norm to which rows are scaled.
    weight : float
        Factor on all values, after the normalisation.

    Returns
    -------
    EncodedFeatures

    Raises
    ------
    InputError
        If no feature belongs to any of the owners, or none has the support.
    """
    counted = len(owners) if counted is None else counted
    row = pc.index_in(features.owners.ids, value_set=owners.ids)
    row = np.asarray(pc.fill_null(row, -1))[features.owner]
    inside = row >= 0
    of_counted = inside & (row < counted)
    support = np.bincount(features.feature[of_counted], minlength=len(features.names))
    kept = np.flatnonzero(support >= max(min_support, 1))
    if not len(kept):
        raise _no_feature(features, owners, int(support.max(initial=0)), min_support)
    rows = inside & np.isin(features.feature, kept)
    matrix = _one_hot(row[rows], features.feature[rows], features.weight[rows], kept, len(owners))
    if normalisation != "none":
        from sklearn.preprocessing import normalize

        matrix = normalize(matrix, norm=normalisation, copy=False)
    if weight != 1.0:
        matrix = matrix * np.float32(weight)
    names, types, values = (
        part.take(pa.array(kept)) for part in (features.names, features.types, features.values)
    )
    return EncodedFeatures(matrix, names, types, values, support[kept].astype(np.int32))


def _one_hot(
    row: Int32Array,
    feature: Int32Array,
    weight: Float32Array,
    kept: Int64Array,
    n_rows: int,
) -> sp.csr_matrix:
    """The features of each owner in one row: csr_matrix float32 (n_rows, n_kept)."""
    # Importing scikit-learn takes longer than checking a run's input, which needs this module.
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(categories=[kept], dtype=np.float32)
    one_hot = encoder.fit_transform(feature[:, None])
    where = (weight, (row, np.arange(len(row))))
    gather = sp.csr_matrix(where, shape=(n_rows, len(row)), dtype=np.float32)
    matrix = (gather @ one_hot).tocsr()
    matrix.sort_indices()
    return matrix


def with_identity(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The features with an identity matrix before them: csr_matrix float32 (n, n + n_features)."""
    eye = sp.identity(matrix.shape[0], format="csr", dtype=np.float32)
    return sp.hstack((eye, matrix), format="csr", dtype=np.float32)


def _no_feature(features: FeatureTable, owners: IdMap, best: int, min_support: int) -> InputError:
    if best:
        return InputError(
            f"no feature is on {min_support} or more {owners.kind}s (the commonest is on {best})",
            "at least one",
            "lower encode.min_support",
        )
    return InputError(
        f"none of the {len(features.owners):,} {owners.kind}s with features (such as "
        f"{features.owners.id(0)!r}) is among the {len(owners):,} {owners.kind}s (such as "
        f"{owners.id(0)!r})",
        f"features of known {owners.kind}s",
        "check that both files use the same ids, or leave the features out",
    )
