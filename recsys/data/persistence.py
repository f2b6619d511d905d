"""How interactions, matrices and features lie in a stage's folder: Parquet and plain arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys.base.arrays import Int32Array
from recsys.data.features import Encoded, FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.splits import Split


def write_columns(path: Path, **columns: object) -> None:
    """A Parquet file of the columns that are not None."""
    present = {name: column for name, column in columns.items() if column is not None}
    pq.write_table(pa.table(present), path, compression="zstd")


def save_interactions(folder: Path, interactions: Interactions) -> None:
    write_columns(
        folder / "interactions.parquet",
        user=interactions.user,
        item=interactions.item,
        weight=interactions.weight,
        timestamp=interactions.timestamp,
    )
    write_columns(folder / "users.parquet", id=interactions.users.ids)


def load_interactions(folder: Path, items: IdMap) -> Interactions:
    """The interactions of a folder; their items are owned by a table of another name there."""
    table = pq.read_table(folder / "interactions.parquet")
    # Copied: Arrow's own memory is read-only, and LightFM asks for arrays it could write to.
    columns = {name: table.column(name).to_numpy().copy() for name in table.column_names}
    return Interactions(
        columns["user"],
        columns["item"],
        columns.get("weight"),
        columns.get("timestamp"),
        load_ids(folder / "users.parquet", "user"),
        items,
    )


def load_ids(path: Path, kind: str) -> IdMap:
    return IdMap(_column(pq.read_table(path, columns=["id"]), "id"), kind)


def load_names(path: Path) -> pa.Array | None:
    """The items' names; None where the source had none."""
    if "name" not in pq.read_schema(path).names:
        return None
    return _column(pq.read_table(path, columns=["name"]), "name")


def save_features(folder: Path, side: str, features: FeatureTable) -> None:
    write_columns(
        folder / f"{side}_features.parquet",
        owner=features.owner,
        feature=features.feature,
        weight=features.weight,
    )
    write_columns(folder / f"{side}_feature_owners.parquet", id=features.owners.ids)
    write_columns(
        folder / f"{side}_feature_names.parquet",
        name=features.names,
        type=features.types,
        value=features.values,
    )


def load_features(folder: Path, side: str) -> FeatureTable | None:
    """The features of one side ("item", "user"); None where there are none."""
    if not (folder / f"{side}_features.parquet").exists():
        return None
    pairs = pq.read_table(folder / f"{side}_features.parquet")
    names = pq.read_table(folder / f"{side}_feature_names.parquet")
    return FeatureTable(
        pairs.column("owner").to_numpy(),
        pairs.column("feature").to_numpy(),
        pairs.column("weight").to_numpy(),
        load_ids(folder / f"{side}_feature_owners.parquet", side),
        *(_column(names, part) for part in ("name", "type", "value")),
    )


def save_encoded(folder: Path, side: str, encoded: Encoded) -> None:
    save_matrix(folder / f"{side}_features.npz", encoded.matrix)
    write_columns(
        folder / f"{side}_vocabulary.parquet",
        name=encoded.names,
        type=encoded.types,
        value=encoded.values,
        support=encoded.support,
    )


def load_encoded(folder: Path, side: str) -> Encoded | None:
    """The encoded features of one side; None where there are none."""
    if not (folder / f"{side}_features.npz").exists():
        return None
    table = pq.read_table(folder / f"{side}_vocabulary.parquet")
    return Encoded(
        load_matrix(folder / f"{side}_features.npz"),
        _column(table, "name"),
        _column(table, "type"),
        _column(table, "value"),
        table.column("support").to_numpy(),
    )


def save_split(folder: Path, parts: Split) -> None:
    for name in ("train", "validation", "test"):
        save_matrix(folder / f"{name}.npz", getattr(parts, name))
    np.save(folder / "cold_items.npy", parts.cold_items)


def load_split(folder: Path) -> Split:
    train, validation, test = (
        load_matrix(folder / f"{name}.npz") for name in ("train", "validation", "test")
    )
    return Split(train, validation, test, load_cold_items(folder))


def load_cold_items(folder: Path) -> Int32Array:
    """The items of a split that are measured as if nobody had liked them."""
    return np.load(folder / "cold_items.npy")


def save_matrix(path: Path, matrix: sp.csr_matrix) -> None:
    sp.save_npz(path, matrix, compressed=False)


def load_matrix(path: Path) -> sp.csr_matrix:
    return sp.load_npz(path)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
