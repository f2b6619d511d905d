"""The bundle: a trained model as arrays, Parquet and JSON in a folder, checked when it is opened.

Reading needs NumPy and PyArrow only: no LightFM, no MLflow, nothing of the training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.arrays import AnyArray, Int32Array, Int64Array, IntArray
from recsys.base.arrow import Texts, read_parquet, to_int32
from recsys.base.errors import InputError, NotFoundError
from recsys.data.idmap import IdMap
from recsys.models.configuration import with_current_names
from recsys.models.content import Profiles
from recsys.models.foldin import FoldIn, learn_foldin, learn_item_foldin
from recsys.models.mapping import Mapping as FeatureMapping
from recsys.models.side import SideInformation, Vocabulary
from recsys.models.untrained import (
    PickedRows,
    UntrainedUsers,
    UntrainedWeights,
    feature_share,
    fold_in_items,
    scaled_neighbours,
)
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, Neighbours, blended
from recsys.ranking.screening import Screening
from recsys.store.checksums import file_checksums, find_damage, seal

if TYPE_CHECKING:  # opening a bundle needs neither SciPy nor LightFM
    from recsys.data.everyone import Everyone
    from recsys.data.interactions import Interactions
    from recsys.models.hybrid import HybridModel

SCHEMA_VERSION = 6  # with hidden items, which an older reader would recommend
WITHOUT_HIDDEN = 5  # with users that were not trained, for whom an older reader has no vector
SEALED = 3  # from this version on, a manifest has a checksum of itself
MANIFEST = "manifest.json"
FACTORS = ("user_factors", "item_factors", "user_biases", "item_biases")
SIDES = ("user", "item")
NEIGHBOURS = ("indptr", "indices", "weights")
WEIGHTS = ("neighbours", "untrained_neighbours")


class DamagedBundleError(InputError):
    """A bundle is not as it was written."""


@dataclass(frozen=True)
class Seen:
    """Known interactions of all users, as the arrays of a CSR matrix.

    Parameters
    ----------
    indptr : int (n_users + 1,)
    indices : int32 (m,)
        Items, row after row.
    """

    indptr: IntArray
    indices: Int32Array

    def of(self, user: int) -> Int32Array:
        """The items a user has interacted with: int32 (n,)."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]


@dataclass(frozen=True)
class Bundle:
    """Everything that a recommender needs of one trained model.

    Parameters
    ----------
    factors : Factors
        Of the trained users, and of the whole catalogue: trained items first, then those known by
        features or by a few likes; an item with neither has the zero vector.
    users, items : IdMap
        All of them, the trained ones first.
    names : pyarrow string array (n_items,) or None
    seen : Seen
        The interactions of every user, trained or not.
    manifest : mapping
        Data fingerprint, configuration, seed, metrics, counts, versions; read from a folder, the
        schema version and the files with their checksums as well.
    trained : int
        The number of trained items, which come first.
    hidden : Seen or None
        Items that are never recommended to each user: disliked, or liked before the window of time
        that was trained.
    item_features, user_features : SideInformation or None
    user_foldin : FoldIn or None
        From the vectors of a user's items to the user's.
    item_foldin : FoldIn or None
        From the vectors of an item's users to the item's.
    neighbours : Neighbours or None
        Of the trained items: what the likes of a user add to the scores of the factors.
    untrained_weights : UntrainedWeights
        How much likes count for users that were not trained.
    untrained_neighbours : Neighbours or None
        Those of users that were not trained, where others suit them better than `neighbours`.
    """

    factors: Factors
    users: IdMap
    items: IdMap
    names: pa.Array | None
    seen: Seen
    manifest: Mapping[str, Any]
    trained: int
    item_features: SideInformation | None = None
    user_features: SideInformation | None = None
    user_foldin: FoldIn | None = None
    item_foldin: FoldIn | None = None
    neighbours: Neighbours | None = None
    untrained_weights: UntrainedWeights = field(default_factory=UntrainedWeights)
    untrained_neighbours: Neighbours | None = None
    hidden: Seen | None = None

    @property
    def trained_users(self) -> int:
        """The number of trained users, which come first."""
        return self.factors.n_users

    @cached_property
    def untrained(self) -> UntrainedUsers:
        """What makes vectors of the other users, from their likes and features."""
        weights = self.untrained_weights
        return UntrainedUsers(
            self.factors.item_factors,
            self.seen,
            self.user_foldin,
            self.user_features,
            scaled_neighbours(self.untrained_neighbours or self.neighbours, weights.neighbours),
            weights,
        )

    def hidden_from(self, user: int) -> Int32Array:
        """The items that are never recommended to a user: int32 (n,)."""
        return np.empty(0, np.int32) if self.hidden is None else self.hidden.of(user)

    @cached_property
    def not_listed(self) -> Seen:
        """What lists of users are without: what each likes, and what is hidden from them."""
        if self.hidden is None:
            return self.seen
        both = self.seen, self.hidden
        counts = sum(np.diff(rows.indptr) for rows in both)
        owners = [np.repeat(np.arange(len(self.users)), np.diff(rows.indptr)) for rows in both]
        items = np.concatenate([rows.indices for rows in both])
        order = np.lexsort((items, np.concatenate(owners)))
        return Seen(np.concatenate([[0], np.cumsum(counts)]), items[order])

    @cached_property
    def likes(self) -> Int64Array:
        """How many users like each item, trained or not: int64 (n_items,)."""
        return np.bincount(self.seen.indices, minlength=len(self.items))

    @cached_property
    def screening(self) -> Screening:
        """Bounds of the scores of items, for queries of a single user."""
        return Screening(self.factors.item_factors, self.factors.item_biases)

    @cached_property
    def name_texts(self) -> Texts | None:
        """What each item is called; empty where it has no name."""
        return None if self.names is None else Texts(self.names)

    @property
    def scorer(self) -> Factors | Blended:
        """What ranks the catalogue for the users that were trained."""
        return blended(self.factors, self.neighbours, self.seen)

    def finite(self) -> bool:
        """Whether every number that scores are made of is finite."""
        both = self.neighbours, self.untrained_neighbours
        return self.factors.finite() and all(part is None or part.finite() for part in both)


def assemble(
    model: HybridModel,
    interactions: Interactions,
    items: IdMap,
    names: pa.Array | None,
    about: Mapping[str, Any],
    everyone: Everyone | None = None,
) -> Bundle:
    """The bundle of a trained model: with it the whole catalogue and the fold-ins.

    Parameters
    ----------
    model : HybridModel
    interactions : Interactions
        What it was trained on.
    items : IdMap
        Of the catalogue: the trained items first. Behind them only those are kept that the model
        has a vector for from their features.
    names : pyarrow string array (len(items),) or None
    about : mapping
        What the manifest says.
    everyone : Everyone or None
        The likes of all users and items that were read; by default those of `interactions`. With
        it the whole catalogue is kept.
    """
    matrix = interactions.matrix()
    factors, side = model.catalogue(), model.item
    item_foldin = learn_item_foldin(model.own, matrix)
    users, seen, hidden = interactions.users, Seen(matrix.indptr, matrix.indices), None
    if everyone is not None:
        if everyone.hidden_indptr is not None and everyone.hidden_indices is not None:
            hidden = Seen(everyone.hidden_indptr, everyone.hidden_indices)
        users, seen = everyone.users, Seen(everyone.indptr, everyone.indices)
        factors, side = _with_liked_items(model, factors, item_foldin, seen, len(items))
    return Bundle(
        factors,
        users,
        IdMap(items.ids.slice(0, factors.n_items), "item"),
        None if names is None else names.slice(0, factors.n_items),
        seen,
        about,
        trained=model.factors.n_items,
        item_features=side,
        user_features=model.user,
        user_foldin=learn_foldin(model.factors, matrix),
        item_foldin=item_foldin,
        neighbours=model.neighbours,
        hidden=hidden,
    )


def _with_liked_items(
    model: HybridModel, factors: Factors, foldin: FoldIn, seen: Seen, n_items: int
) -> tuple[Factors, SideInformation | None]:
    """The whole catalogue: items that were not trained get vectors from trained users' likes too.

    As for an item that comes later, the share of the features is blending / (blending + likes).
    """
    trained, side = model.factors.n_items, model.item
    vectors = np.zeros((n_items, factors.n_components), np.float32)
    vectors[: factors.n_items] = factors.item_factors
    biases = np.zeros(n_items, np.float32)
    biases[: factors.n_items] = factors.item_biases
    likers = _untrained_likers(seen, factors.n_users, trained, n_items)
    liked = np.flatnonzero(likers.counts)
    if len(liked):
        own = fold_in_items(model.own, foldin, PickedRows.of(likers, liked))
        mapped = vectors[trained + liked]
        share = np.zeros(len(liked), np.float32)
        if side is not None:
            share = feature_share(side, likers.counts[liked]) * mapped.any(axis=1)
            shares = side.share.copy()
            shares[trained + liked] = share
            side = replace(side, share=shares)
        vectors[trained + liked] = own + share[:, None] * (mapped - own)
    return replace(factors, item_factors=vectors, item_biases=biases), side


def _untrained_likers(seen: Seen, users: int, trained: int, n_items: int) -> PickedRows:
    """Which trained users like each item behind the trained ones."""
    entries = np.flatnonzero(seen.indices[: seen.indptr[users]] >= trained)
    owners = np.searchsorted(seen.indptr, entries, side="right") - 1
    items = seen.indices[entries] - trained
    counts = np.bincount(items, minlength=n_items - trained)
    order = np.argsort(items, kind="stable")
    return PickedRows(np.concatenate([[0], np.cumsum(counts)]), owners[order])


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle into an empty folder.

    Raises
    ------
    InputError
        If the factors or weights are not finite, so that such a model is never registered.
    """
    if not bundle.finite():
        raise InputError(
            "the model has numbers that are not finite",
            "finite factors and biases",
            "train again with smaller learning rates",
        )
    for name, array in _arrays(bundle).items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))
    _write_table(folder / "users.parquet", {"id": bundle.users.ids})
    columns = {"id": bundle.items.ids}
    if bundle.names is not None:
        columns["name"] = bundle.names
    _write_table(folder / "items.parquet", columns)
    sides: dict[str, dict[str, float | str]] = {}
    for side in SIDES:
        information: SideInformation | None = getattr(bundle, f"{side}_features")
        if information is None:
            continue
        words = information.vocabulary
        _write_table(
            folder / f"{side}_vocabulary.parquet",
            {
                "name": words.features.ids,
                "type": words.types,
                "value": words.values,
                "support": pa.array(words.support),
            },
        )
        sides[side] = {
            "length": information.mapping.length,
            "strength": information.blending,
            "norm": information.profiles.norm,
        }
    manifest = {
        **bundle.manifest,
        "schema_version": SCHEMA_VERSION if bundle.hidden is not None else WITHOUT_HIDDEN,
        "trained_items": bundle.trained,
        "side_information": sides,
        "untrained_weights": asdict(bundle.untrained_weights),
        "files": file_checksums(folder),
    }
    plain = json.loads(json.dumps(manifest, default=str))
    text = json.dumps({**plain, "seal": seal(plain)}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _arrays(bundle: Bundle) -> dict[str, AnyArray]:
    """Every array under the name of its file."""
    found: dict[str, AnyArray] = {part: getattr(bundle.factors, part) for part in FACTORS}
    found |= {"seen_indptr": bundle.seen.indptr, "seen_indices": bundle.seen.indices}
    if bundle.hidden is not None:
        found |= {f"hidden_{part}": getattr(bundle.hidden, part) for part in ("indptr", "indices")}
    for side in SIDES:
        information: SideInformation | None = getattr(bundle, f"{side}_features")
        if information is not None:
            profiles, mapping = information.profiles, information.mapping
            found |= {
                f"{side}_feature_factors": mapping.feature_factors,
                f"{side}_feature_biases": mapping.feature_biases,
                f"{side}_feature_weights": profiles.idf,
                f"{side}_profiles_indptr": profiles.indptr,
                f"{side}_profiles_indices": profiles.indices,
                f"{side}_profiles_data": profiles.data,
                f"{side}_share": information.share,
            }
        foldin: FoldIn | None = getattr(bundle, f"{side}_foldin")
        if foldin is not None:
            found[f"{side}_foldin"] = foldin.matrix
    for name in WEIGHTS:
        neighbours: Neighbours | None = getattr(bundle, name)
        if neighbours is not None:
            found |= {f"{name}_{part}": getattr(neighbours, part) for part in NEIGHBOURS}
    return found


def _write_table(path: Path, columns: Mapping[str, pa.Array]) -> None:
    pq.write_table(pa.table(dict(columns)), path, compression="zstd")


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle, its arrays memory-mapped.

    Raises
    ------
    InputError
        If the folder is no bundle, one of its files is damaged, or its schema is newer.
    NotFoundError
        If there is no such folder.
    """
    manifest = _read_manifest(folder)
    try:
        if damaged := _difference(folder, manifest):
            raise DamagedBundleError(
                f"{folder} is damaged ({damaged})",
                "the files as they were written",
                "copy or register the bundle again",
            )
        return _open(folder, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as fault:
        raise InputError(
            f"{folder} is no bundle ({type(fault).__name__}: {fault})",
            "the files of a bundle",
            "copy or register it again",
        ) from fault


def read_bundle_manifest(folder: Path) -> dict[str, Any]:
    """Read what a bundle says of itself, without opening or checking its arrays and tables.

    Configurations that an earlier release wrote come under the names of this one.

    Raises
    ------
    InputError
        If the folder has no readable manifest, its schema is a newer one, or it is not as it was
        written.
    NotFoundError
        If there is no such folder.
    """
    manifest = _read_manifest(folder)
    if not _sealed_as_written(manifest):
        raise DamagedBundleError(
            f"{folder} is damaged ({MANIFEST} does not match its seal)",
            "the manifest as it was written",
            "copy or register the bundle again",
        )
    return _with_current_names(manifest)


def find_bundle_damage(folder: Path) -> str | None:
    """Compare all files of a bundle with its manifest; None if they are as they were written.

    Raises
    ------
    InputError, NotFoundError
        As `read_bundle_manifest`.
    """
    return _difference(folder, _read_manifest(folder))


def _difference(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """Which file is not listed, or differs from what was written; None if there is none."""
    return _unlisted(folder, manifest) or _damaged(folder, manifest)


def _damaged(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """Which file differs from what was written; None if all are intact."""
    if damaged := find_damage(folder, manifest["files"]):
        return damaged
    return None if _sealed_as_written(manifest) else f"{MANIFEST} does not match its seal"


def _sealed_as_written(manifest: Mapping[str, Any]) -> bool:
    sealed = "seal" in manifest or int(manifest["schema_version"]) >= SEALED
    return not sealed or manifest.get("seal") == seal(manifest)


def _unlisted(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """A file without a checksum in the manifest; None if there is none."""
    listed = {MANIFEST, *manifest["files"]}
    for path in sorted(folder.iterdir()):
        if path.name not in listed and not path.is_dir():
            return f"{path.name} is not in its manifest"
    return None


def _open(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    items = read_parquet(folder / "items.parquet")
    users = read_parquet(folder / "users.parquet")
    return Bundle(
        Factors(*(_array(folder, part) for part in FACTORS)),
        IdMap(_one_chunk(users.column("id")), "user"),
        IdMap(_one_chunk(items.column("id")), "item"),
        _one_chunk(items.column("name")) if "name" in items.column_names else None,
        Seen(_array(folder, "seen_indptr"), _array(folder, "seen_indices")),
        _with_current_names(manifest),
        # Before there was side information, every item in a bundle was a trained one.
        int(manifest.get("trained_items", items.num_rows)),
        item_features=_side(folder, "item", manifest),
        user_features=_side(folder, "user", manifest),
        user_foldin=_foldin(folder, "user", manifest),
        item_foldin=_foldin(folder, "item", manifest),
        neighbours=_neighbours(folder, "neighbours", manifest),
        untrained_neighbours=_neighbours(folder, "untrained_neighbours", manifest),
        untrained_weights=UntrainedWeights(**manifest.get("untrained_weights", {})),
        hidden=_hidden(folder, manifest),
    )


def _with_current_names(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest, its configurations as this release names their hyper-parameters."""
    found = dict(manifest)
    if "configuration" in found:
        found["configuration"] = with_current_names(found["configuration"])
    if "started_from" in found:
        found["started_from"] = [with_current_names(one) for one in found["started_from"]]
    return found


def _side(folder: Path, side: str, manifest: Mapping[str, Any]) -> SideInformation | None:
    numbers = manifest.get("side_information", {}).get(side)
    if numbers is None:
        return None
    table = read_parquet(folder / f"{side}_vocabulary.parquet")
    name, kind, value = (_one_chunk(table.column(part)) for part in ("name", "type", "value"))
    support = to_int32(_one_chunk(table.column("support")))
    profiles = Profiles(
        _array(folder, f"{side}_profiles_indptr"),
        _array(folder, f"{side}_profiles_indices"),
        _array(folder, f"{side}_profiles_data"),
        _array(folder, f"{side}_feature_weights"),
        str(numbers["norm"]),
    )
    mapping = FeatureMapping(
        _array(folder, f"{side}_feature_factors"),
        _array(folder, f"{side}_feature_biases"),
        float(numbers["length"]),
    )
    words = Vocabulary(IdMap(name, "feature"), kind, value, support)
    share = _array(folder, f"{side}_share")
    return SideInformation(words, profiles, mapping, share, float(numbers["strength"]))


def _foldin(folder: Path, side: str, manifest: Mapping[str, Any]) -> FoldIn | None:
    if f"{side}_foldin.npy" not in manifest["files"]:
        return None
    return FoldIn(_array(folder, f"{side}_foldin"))


def _hidden(folder: Path, manifest: Mapping[str, Any]) -> Seen | None:
    if "hidden_indptr.npy" not in manifest["files"]:
        return None
    return Seen(_array(folder, "hidden_indptr"), _array(folder, "hidden_indices"))


def _neighbours(folder: Path, name: str, manifest: Mapping[str, Any]) -> Neighbours | None:
    if f"{name}_weights.npy" not in manifest["files"]:
        return None
    return Neighbours(*(_array(folder, f"{name}_{part}") for part in NEIGHBOURS))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}", "a bundle", "check the path")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(manifest["schema_version"])
        files: object = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DamagedBundleError(
            f"{folder} has no readable {MANIFEST}", "a bundle", "check the path"
        ) from fault
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{folder} has schema version {version}",
            f"at most {SCHEMA_VERSION}",
            "use a newer version of this package",
        )
    if not isinstance(files, dict) or {f"{part}.npy" for part in FACTORS} - set(files):
        raise DamagedBundleError(
            f"{path} does not list a bundle's files", "a bundle", "register it again"
        )
    return manifest


def _array(folder: Path, part: str) -> AnyArray:
    # A plain array over the mapped file: results of operations on a memmap are memmaps as well.
    return np.asarray(np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    chunk = column.combine_chunks()
    return chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk


def bundle_digest(manifest: Mapping[str, Any]) -> str:
    """One hash for a bundle's content (32 hex digits)."""
    text = json.dumps(manifest["files"], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
