"""Features: side information read, named and encoded as a sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Int32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.columns import (
    label,
    numbers,
    positive,
    present,
    reasons,
    sorted_codes,
    valid_rows,
)
from recsys.data.idmap import IdMap
from recsys.data.tables import Source, TextFormat, read_table

# Computations on pairs of features grow with the square of their number on one item, and an item
# with so many is an error in the source.
MOST_FEATURES = 2_000
Normalisation = Literal["none", "l1", "l2"]
CHECKS = {
    "owner": ("no owner", present),
    "type": ("no type", present),
    "value": ("no value", present),
    "weight": ("weight not a positive number", positive),
}


@dataclass(frozen=True)
class FeatureColumns:
    """Names of the columns in the source; None if it has no such column."""

    owner: str = "mid"
    type: str = "type"
    value: str = "value"
    weight: str | None = None

    def present(self) -> dict[str, str]:
        """The source's name of each column that it has, by ours."""
        named = {"owner": self.owner, "type": self.type, "value": self.value, "weight": self.weight}
        return {ours: theirs for ours, theirs in named.items() if theirs}


@dataclass(frozen=True)
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


def read_features(
    source: Source,
    columns: FeatureColumns = FeatureColumns(),
    text: TextFormat = TextFormat(),
    kind: str = "item",
) -> tuple[FeatureTable, dict[str, int]]:
    """Read a long table of features: owner, type, value and, if there is one, weight.

    All rows of an item (or user) with more than 2,000 features are left out.

    Returns
    -------
    features : FeatureTable
    rejected : dict of str to int
        Rows left out, by reason.

    Raises
    ------
    InputError
        As `recsys.data.tables.read_table`; when no row is left; when two different (type, value)
        pairs would get one name.
    """
    table, malformed = read_table(source, columns.present(), ("owner", "type", "value"), text)
    keep, rejected = valid_rows(table, CHECKS)
    rejected = {"wrong number of fields": malformed, **rejected}
    if not keep.any():
        raise InputError(
            f"{label(source)} has no usable row ({reasons(rejected)})",
            f"rows of {kind}, type and value",
            "check the columns and the delimiter, or leave the features out",
        )
    table = table if keep.all() else table.filter(pa.array(keep))
    features = _distinct(table, kind)
    rejected["duplicate"] = table.num_rows - len(features)
    crowded = np.bincount(features.owner) > MOST_FEATURES
    if crowded.any():
        reason = f"more than {MOST_FEATURES:,} features on one {kind}"
        rejected[reason] = int(crowded[features.owner].sum())
        if crowded.all():
            raise InputError(
                f"{label(source)} has no usable row ({reasons(rejected)})",
                f"a few features for each {kind}",
                "check which column is which",
            )
        crowd = features.owners.ids.filter(pa.array(crowded))
        kept = table.filter(pc.invert(pc.is_in(table.column("owner"), value_set=crowd)))
        features = _distinct(kept, kind)
    return features, {reason: count for reason, count in rejected.items() if count}


def _lowered(column: pa.ChunkedArray) -> tuple[Int64Array, pa.Array]:
    """Codes (int64) of a column into its distinct lower-case values, and these."""
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    # As in the founding article, by Python's rule; Arrow's differs for some letters (Σ, İ).
    values = [value.lower() for value in encoded.dictionary.to_pylist()]
    lower = pa.array(values, pa.string()).dictionary_encode()
    of_value = lower.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return of_value[encoded.indices.to_numpy(zero_copy_only=False)], lower.dictionary


def _distinct(table: pa.Table, kind: str) -> FeatureTable:
    owner, owners = sorted_codes(table.column("owner"), kind)
    type_code, type_values = _lowered(table.column("type"))
    value_code, value_values = _lowered(table.column("value"))
    pair, feature = np.unique(type_code * len(value_values) + value_code, return_inverse=True)
    types = type_values.take(pa.array(pair // len(value_values)))
    values = value_values.take(pa.array(pair % len(value_values)))
    names = pc.binary_join_element_wise(types, values, "_")
    order = pc.sort_indices(names).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    names, types, values = (part.take(pa.array(order)) for part in (names, types, values))
    _require_unambiguous(names, types, values)
    key, first = np.unique(owner * np.int64(len(names)) + rank[feature], return_index=True)
    weight = np.ones(len(key), dtype=np.float32)
    if "weight" in table.column_names:
        weight = numbers(table.column("weight")).astype(np.float32)[first]
    owner, feature = (part.astype(np.int32) for part in np.divmod(key, len(names)))
    return FeatureTable(owner, feature, weight, owners, names, types, values)


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
