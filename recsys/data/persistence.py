"""Persistence: interactions, matrices and features in a stage's folder, as Parquet and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys.base.arrays import Float64Array, Int32Array
from recsys.data.everyone import Everyone
from recsys.data.features import EncodedFeatures, FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.signals import Outside, Pairs
from recsys.data.splits import Split, TimeParts

OUTSIDE = ("earlier", "disliked")
DAYS = ("train_days", "validation_days")
TIME_PARTS = ("before_test", "of_new_users", "from_new_users", "new_items")


def write_columns(path: Path, **columns: object) -> None:
    """Write a Parquet file of the columns that are not None."""
    present = {name: column for name, column in columns.items() if column is not None}
    pq.write_table(pa.table(present), path, compression="zstd")


def save_interactions(folder: Path, interactions: Interactions) -> None:
    """Write interactions and the ids of their users; items are written by their owner."""
    write_columns(
        folder / "interactions.parquet",
        user=interactions.user,
        item=interactions.item,
        weight=interactions.weight,
        timestamp=interactions.timestamp,
    )
    save_users(folder, interactions.users)


def save_users(folder: Path, users: IdMap) -> None:
    """Write the ids of the users of interactions."""
    write_columns(folder / "users.parquet", id=users.ids)


def load_interactions(folder: Path, items: IdMap) -> Interactions:
    """Read interactions; the ids of their items come from another table."""
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


def save_everyone(folder: Path, everyone: Everyone) -> None:
    """Write the likes of all users, and the ids of these; items are those of the catalogue."""
    np.save(folder / "everyone_indptr.npy", everyone.indptr)
    np.save(folder / "everyone_indices.npy", everyone.indices)
    if everyone.hidden_indptr is not None and everyone.hidden_indices is not None:
        np.save(folder / "hidden_indptr.npy", everyone.hidden_indptr)
        np.save(folder / "hidden_indices.npy", everyone.hidden_indices)
    save_everyones_ids(folder, everyone.users)


def save_everyones_ids(folder: Path, users: IdMap) -> None:
    """Write the ids of all users, in the order of their likes."""
    write_columns(folder / "everyone.parquet", id=users.ids)


def load_everyone(folder: Path) -> Everyone:
    """Read the likes of all users."""
    indptr, indices = (
        np.load(folder / f"everyone_{part}.npy", mmap_mode="r") for part in ("indptr", "indices")
    )
    users = load_ids(folder / "everyone.parquet", "user")
    hidden = [
        np.asarray(np.load(path, mmap_mode="r"))
        for path in (folder / "hidden_indptr.npy", folder / "hidden_indices.npy")
        if path.exists()
    ]
    return Everyone(users, np.asarray(indptr), np.asarray(indices), *hidden)


def save_outside(folder: Path, outside: Outside) -> None:
    """Write the pairs that are no interactions, of which something is known."""
    for name in OUTSIDE:
        pairs: Pairs | None = getattr(outside, name)
        if pairs is not None:
            write_columns(folder / f"{name}.parquet", user=pairs[0], item=pairs[1])


def has_outside(folder: Path) -> bool:
    """Whether there are pairs that are no interactions."""
    return any((folder / f"{name}.parquet").exists() for name in OUTSIDE)


def load_outside(folder: Path) -> Outside:
    """Read the pairs that are no interactions."""
    found: dict[str, Pairs] = {}
    for name in OUTSIDE:
        if (folder / f"{name}.parquet").exists():
            table = pq.read_table(folder / f"{name}.parquet")
            found[name] = table.column("user").to_numpy(), table.column("item").to_numpy()
    return Outside(**found)


def load_ids(path: Path, kind: str) -> IdMap:
    """Read an id map; `kind` is what the ids name, for messages."""
    return IdMap(_column(pq.read_table(path, columns=["id"]), "id"), kind)


def load_names(path: Path) -> pa.Array | None:
    """Read the items' names; None if the source had none."""
    if "name" not in pq.read_schema(path).names:
        return None
    return _column(pq.read_table(path, columns=["name"]), "name")


def read_names(path: Path) -> pa.Table:
    """Read the names that an item table gives items: columns id and name, each id once."""
    return pq.read_table(path, columns=["id", "name"])


def save_features(folder: Path, side: str, features: FeatureTable) -> None:
    """Write the features of one side ("item", "user")."""
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
    """Read the features of one side ("item", "user"); None if there are none."""
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


def save_encoded(folder: Path, side: str, encoded: EncodedFeatures) -> None:
    """Write the encoded features of one side."""
    save_matrix(folder / f"{side}_features.npz", encoded.matrix)
    write_columns(
        folder / f"{side}_vocabulary.parquet",
        name=encoded.names,
        type=encoded.types,
        value=encoded.values,
        support=encoded.support,
    )


def load_encoded(folder: Path, side: str) -> EncodedFeatures | None:
    """Read the encoded features of one side; None if there are none."""
    if not (folder / f"{side}_features.npz").exists():
        return None
    table = pq.read_table(folder / f"{side}_vocabulary.parquet")
    return EncodedFeatures(
        load_matrix(folder / f"{side}_features.npz"),
        _column(table, "name"),
        _column(table, "type"),
        _column(table, "value"),
        table.column("support").to_numpy(),
    )


def load_feature_names(folder: Path, side: str) -> pa.Array | None:
    """The names of the encoded features of one side, such as tag_anime; None if there are none."""
    path = folder / f"{side}_vocabulary.parquet"
    return _column(pq.read_table(path, columns=["name"]), "name") if path.exists() else None


def save_split(folder: Path, parts: Split) -> None:
    """Write the matrices of a split, its cold items, and when its interactions were."""
    for name in ("train", "validation", "test"):
        save_matrix(folder / f"{name}.npz", getattr(parts, name))
    np.save(folder / "cold_items.npy", parts.cold_items)
    if parts.hidden is not None:
        save_matrix(folder / "hidden.npz", parts.hidden)
    for name in DAYS:
        if (days := getattr(parts, name)) is not None:
            np.save(folder / f"{name}.npy", days)
    if parts.time is not None:
        for name in TIME_PARTS:
            save_matrix(folder / f"{name}.npz", getattr(parts.time, name))
        if parts.time.before_test_days is not None:
            np.save(folder / "before_test_days.npy", parts.time.before_test_days)


def load_split(folder: Path) -> Split:
    """Read a split as `save_split` wrote it."""
    train, validation, test = (
        load_matrix(folder / f"{name}.npz") for name in ("train", "validation", "test")
    )
    path = folder / "hidden.npz"
    hidden = load_matrix(path) if path.exists() else None
    time = None
    if (folder / "before_test.npz").exists():
        matrices = {name: load_matrix(folder / f"{name}.npz") for name in TIME_PARTS}
        days = _days_if_known(folder, "before_test_days")
        time = TimeParts(**matrices, before_test_days=days)
    return Split(
        train,
        validation,
        test,
        load_cold_items(folder),
        hidden=hidden,
        time=time,
        train_days=_days_if_known(folder, "train_days"),
        validation_days=_days_if_known(folder, "validation_days"),
    )


def _days_if_known(folder: Path, name: str) -> Float64Array | None:
    path = folder / f"{name}.npy"
    return np.load(path) if path.exists() else None


def load_cold_items(folder: Path) -> Int32Array:
    """Read the items of a split that are measured without any interaction."""
    return np.load(folder / "cold_items.npy")


def save_matrix(path: Path, matrix: sp.csr_matrix) -> None:
    """Write a sparse matrix, uncompressed."""
    sp.save_npz(path, matrix, compressed=False)


def load_matrix(path: Path) -> sp.csr_matrix:
    """Read a sparse matrix."""
    return sp.load_npz(path)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
