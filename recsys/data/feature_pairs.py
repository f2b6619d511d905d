"""Feature pairs: rows of owner, type and value as distinct pairs, of one table or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Float32Array, Float64Array, Int32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.columns import numbers, sorted_codes
from recsys.data.idmap import IdMap

# Computations on pairs of features grow with the square of their number on one item, and an item
# with so many is an error in the source.
MOST_FEATURES = 2_000
FeatureRepeats: TypeAlias = Literal["max", "sum"]


@dataclass(frozen=True, repr=False)
class FeatureTable:
    """Distinct (owner, feature) pairs; an owner is an item or a user.

    Parameters
    ----------
    owner : int32 (n,)
        Index into `owners`.
    feature : int32 (n,)
        Index into `names`.
    weight : float32 (n,)
    owners : IdMap
        Ids of everything that has a feature, sorted.
    names, types, values : pyarrow string arrays (n_features,)
        `tag_anime`, `tag`, `anime`: lower case, sorted by name.
    """

    owner: Int32Array
    feature: Int32Array
    weight: Float32Array
    owners: IdMap
    names: pa.Array
    types: pa.Array
    values: pa.Array

    def __len__(self) -> int:
        return len(self.owner)

    def __repr__(self) -> str:
        return (
            f"<FeatureTable: {len(self.owners):,} {self.owners.kind}s, {len(self.names):,} "
            f"features, {len(self):,} pairs>"
        )


@dataclass(frozen=True)
class CombinedFeatures:
    """What several tables say together.

    Parameters
    ----------
    features : FeatureTable
    shared : int
        Pairs that are in more than one of the tables.
    crowded : int
        Pairs left out, of owners that have too many.
    """

    features: FeatureTable
    shared: int
    crowded: int


def combined(tables: Sequence[FeatureTable], repeats: FeatureRepeats = "max") -> CombinedFeatures:
    """Several tables of features of the same kind of owner as one, in whatever order they come.

    Parameters
    ----------
    tables : sequence of FeatureTable
    repeats : {"max", "sum"}
        What a pair weighs that is in several of them.

    Raises
    ------
    InputError
        If there are none, or of items and of users; if two different (type, value) pairs would get
        one name, or every owner has too many.
    """
    kinds = sorted({table.owners.kind for table in tables})
    if len(kinds) != 1:
        raise InputError(
            f"features of {' and '.join(kinds) or 'nothing'}",
            "tables of features of items, or of users",
            "name them one after the other",
        )
    kind = kinds[0]
    rows = pa.concat_tables([_rows(table) for table in tables]).unify_dictionaries()
    features, crowded = distinct_pairs(rows, kind, repeats)
    if not len(features):
        raise InputError(
            f"all {kind}s have {too_many(kind)} in {len(tables)} tables together",
            f"a few features for each {kind}",
            "check which column is which",
        )
    shared = sum(len(table) for table in tables) - len(features) - crowded
    return CombinedFeatures(features, max(shared, 0), crowded)


def _rows(table: FeatureTable) -> pa.Table:
    """The pairs of a table as rows of owner, type, value and weight."""
    feature = pa.array(table.feature)
    return pa.table(
        {
            "owner": pa.DictionaryArray.from_arrays(pa.array(table.owner), table.owners.ids),
            "type": pa.DictionaryArray.from_arrays(feature, table.types),
            "value": pa.DictionaryArray.from_arrays(feature, table.values),
            "weight": table.weight,
        }
    )


def too_many(kind: str) -> str:
    """Why all features of an owner are left out."""
    return f"more than {MOST_FEATURES:,} features on one {kind}"


def distinct_pairs(
    table: pa.Table, kind: str, repeats: FeatureRepeats = "max"
) -> tuple[FeatureTable, int]:
    """The distinct pairs of a table, without those of owners that have too many.

    Parameters
    ----------
    table : pyarrow.Table
        With dictionary-encoded columns owner, type and value without missing ones, and perhaps
        weight.
    kind : {"item", "user"}
    repeats : {"max", "sum"}
        What a pair weighs that comes several times: the largest of its weights or their sum.

    Returns
    -------
    features : FeatureTable
    crowded : int
        Pairs left out; all of them if every owner has too many.
    """
    features = _distinct(table, kind, repeats)
    crowded = np.bincount(features.owner) > MOST_FEATURES
    if not crowded.any():
        return features, 0
    crowd = features.owners.ids.filter(pa.array(crowded))
    left = table.filter(pc.invert(pc.is_in(table.column("owner"), value_set=crowd)))
    return _distinct(left, kind, repeats), int(crowded[features.owner].sum())


def _lowered(column: pa.ChunkedArray) -> tuple[Int64Array, pa.Array]:
    """Codes (int64) of a column into its distinct lower-case values, and these."""
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    # As in the founding article, by Python's rule; Arrow's differs for some letters (Σ, İ).
    # A blank before a value is part of no value.
    values = [value.strip().lower() for value in encoded.dictionary.to_pylist()]
    lower = pa.array(values, pa.string()).dictionary_encode()
    of_value = lower.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return of_value[encoded.indices.to_numpy(zero_copy_only=False)], lower.dictionary


def _distinct(table: pa.Table, kind: str, repeats: FeatureRepeats) -> FeatureTable:
    owner, owners = sorted_codes(table.column("owner"), kind)
    type_code, type_values = _lowered(table.column("type"))
    value_code, value_values = _lowered(table.column("value"))
    pair, feature = np.unique(type_code * len(value_values) + value_code, return_inverse=True)
    types = type_values.take(pa.array(pair // max(len(value_values), 1)))
    values = value_values.take(pa.array(pair % max(len(value_values), 1)))
    names = pc.binary_join_element_wise(types, values, "_")
    order = pc.sort_indices(names).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    names, types, values = (part.take(pa.array(order)) for part in (names, types, values))
    _require_unambiguous(names, types, values)
    given = numbers(table.column("weight")) if "weight" in table.column_names else None
    key, weight = _weighed(owner * np.int64(len(names)) + rank[feature], given, repeats)
    owner, feature = (part.astype(np.int32) for part in np.divmod(key, max(len(names), 1)))
    return FeatureTable(owner, feature, weight, owners, names, types, values)


def _weighed(
    key: Int64Array, weight: Float64Array | None, repeats: FeatureRepeats
) -> tuple[Int64Array, Float32Array]:
    """Each key once, in order, and what it weighs, whatever the order of its rows."""
    if weight is None:
        distinct, counts = np.unique(key, return_counts=True)
        return distinct, np.where(repeats == "sum", counts, 1).astype(np.float32)
    order = np.lexsort((weight, key))
    key, weight = key[order], weight[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    together = np.add if repeats == "sum" else np.maximum
    weighed = together.reduceat(weight, first) if len(first) else weight
    return key[first], np.minimum(weighed, np.finfo(np.float32).max).astype(np.float32)


def _require_unambiguous(names: pa.Array, types: pa.Array, values: pa.Array) -> None:
    """Refuse two features with one name, which types with an underscore can lead to."""
    same = np.flatnonzero(np.asarray(pc.equal(names[1:], names[:-1])))
    if len(same):
        at = int(same[0])
        pairs = " and ".join(f"({types[i].as_py()}, {values[i].as_py()})" for i in (at, at + 1))
        raise InputError(
            f"{pairs} would both be called {names[at].as_py()!r}",
            "one name for each feature",
            "rename one of the feature types",
        )
