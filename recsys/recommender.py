"""The recommender: a portable bundle of arrays, Parquet and JSON, and the questions it answers.

Loading and asking need NumPy and PyArrow only: no LightFM, no MLflow, nothing of the training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.checksums import damage, record
from recsys.errors import InputError, NotFoundError
from recsys.factors import Factors
from recsys.idmap import IdMap
from recsys.ranking import top_k

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
FACTORS = ("user_factors", "item_factors", "user_biases", "item_biases")


@dataclass(frozen=True)
class Seen:
    """Known interactions of all users in compressed rows (the arrays of a CSR matrix)."""

    indptr: NDArray[np.integer]
    indices: NDArray[np.int32]

    def of(self, user: int) -> NDArray[np.int32]:
        return self.indices[self.indptr[user] : self.indptr[user + 1]]


@dataclass(frozen=True)
class Ranked:
    """One row of an answer."""

    id: str
    name: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Recommender:
    """Everything that is needed to answer for one trained model.

    Parameters
    ----------
    factors : Factors
    users, items : IdMap
    names : pyarrow string array (n_items,) or None
    seen : Seen
        What every user has liked already.
    manifest : mapping
        Schema version, data fingerprint, configuration, seed, metrics, counts, versions.
    """

    factors: Factors
    users: IdMap
    items: IdMap
    names: pa.Array | None
    seen: Seen
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, where: str | Path) -> Recommender:
        """Open a bundle, memory-mapped.

        Parameters
        ----------
        where : str or Path
            A folder, or "models:/NAME@ALIAS" or "models:/NAME/VERSION" of an MLflow registry
            (which needs MLflow installed).

        Raises
        ------
        InputError
            If the folder is no bundle, a file of it is damaged, or its schema is a newer one.
        NotFoundError, RegistryError
            If the registry does not have the model, or does not answer.
        """
        if str(where).startswith("models:/"):
            from recsys.serving import download

            where = download(str(where))
        return _load(Path(where))

    def name(self, index: int) -> str:
        """The item's name; its id where it has none."""
        name = "" if self.names is None else self.names[int(index)].as_py()
        return name or self.items.id(index)

    def recommend(self, user: object, n: int = 10, *, include_seen: bool = False) -> list[Ranked]:
        """The n items the user is most likely to like, without those seen unless asked for.

        Raises
        ------
        NotFoundError
            If the user is unknown.
        """
        index = np.array([self.users.index(user)], dtype=np.int32)
        top = top_k(self.factors, index, n, known=None if include_seen else self.seen)
        return self._rows(top.items[0], top.scores[0])

    def similar(self, item: object, n: int = 10) -> list[Ranked]:
        """The n items whose vectors have the highest cosine to the item's, biases left out.

        Raises
        ------
        NotFoundError
            If the item is unknown.
        """
        index = self.items.index(item)
        cosine = self._directions @ self._directions[index]
        cosine[index] = -np.inf
        n = min(n, len(cosine) - 1)
        best = np.argpartition(-cosine, n - 1)[:n] if n else np.empty(0, np.int64)
        best = best[np.lexsort((best, -cosine[best]))]
        return self._rows(best, cosine[best])

    def liked(self, user: object) -> list[Ranked]:
        """What the user has liked, by the model's score."""
        index = self.users.index(user)
        items = self.seen.of(index)
        factors = self.factors
        scores = factors.item_factors[items] @ factors.user_factors[index]
        scores = scores + factors.item_biases[items] + factors.user_biases[index]
        order = np.argsort(-scores, kind="stable")
        return self._rows(items[order], scores[order])

    def popular(self, n: int = 10) -> list[Ranked]:
        """The n most liked items with their numbers of likes."""
        likes = np.bincount(self.seen.indices, minlength=len(self.items))
        best = np.lexsort((np.arange(len(likes)), -likes))[:n]
        return self._rows(best, likes[best])

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        """Item vectors of length one; an item without a direction has the zero vector."""
        vectors = self.factors.item_factors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    def _rows(self, items: NDArray[np.integer], scores: NDArray[Any]) -> list[Ranked]:
        return [
            Ranked(self.items.id(item), self.name(item), float(score))
            for item, score in zip(items, scores, strict=True)
            if item >= 0
        ]


def save_bundle(
    folder: Path,
    factors: Factors,
    users: IdMap,
    items: IdMap,
    names: pa.Array | None,
    seen: Seen,
    about: Mapping[str, Any],
) -> None:
    """Write a bundle into an empty folder; `about` goes into its manifest.

    Raises
    ------
    InputError
        If the factors are not finite: such a model must not come as far as a registry.
    """
    if not factors.finite():
        raise InputError(
            "the model has numbers that are not finite",
            "finite factors and biases",
            "train again with smaller learning rates",
        )
    for part in FACTORS:
        np.save(folder / f"{part}.npy", np.ascontiguousarray(getattr(factors, part)))
    np.save(folder / "seen_indptr.npy", seen.indptr)
    np.save(folder / "seen_indices.npy", seen.indices)
    pq.write_table(pa.table({"id": users.ids}), folder / "users.parquet", compression="zstd")
    columns = {"id": items.ids} if names is None else {"id": items.ids, "name": names}
    pq.write_table(pa.table(columns), folder / "items.parquet", compression="zstd")
    manifest = {"schema_version": SCHEMA_VERSION, **about, "files": record(folder)}
    text = json.dumps(manifest, indent=1, default=str)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _load(folder: Path) -> Recommender:
    manifest = _read_manifest(folder)
    if damaged := damage(folder, manifest["files"]):
        raise InputError(
            f"{folder} is damaged ({damaged})",
            "the files as they were written",
            "copy or register the bundle again",
        )
    arrays = {part: _array(folder, part) for part in (*FACTORS, "seen_indptr", "seen_indices")}
    items = pq.read_table(folder / "items.parquet")
    users = pq.read_table(folder / "users.parquet")
    return Recommender(
        Factors(*(arrays[part] for part in FACTORS)),
        IdMap(_one_chunk(users.column("id")), "user"),
        IdMap(_one_chunk(items.column("id")), "item"),
        _one_chunk(items.column("name")) if "name" in items.column_names else None,
        Seen(arrays["seen_indptr"], arrays["seen_indices"]),
        manifest,
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}", "a bundle", "check the path")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(manifest["schema_version"])
        files: object = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"{folder} has no readable {MANIFEST}", "a bundle", "check the path"
        ) from fault
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{folder} has schema version {version}",
            f"at most {SCHEMA_VERSION}",
            "use a newer version of this package",
        )
    if not isinstance(files, dict) or {f"{part}.npy" for part in FACTORS} - set(files):
        raise InputError(f"{path} does not list a bundle's files", "a bundle", "register it again")
    return manifest


def _array(folder: Path, part: str) -> NDArray[Any]:
    return np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    chunk = column.combine_chunks()
    return chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk


def bundle_digest(manifest: Mapping[str, Any]) -> str:
    """One hash for a bundle's content (32 hex digits)."""
    text = json.dumps(manifest["files"], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
