"""The stages that prepare data: ingest, threshold, split, encode, each from folder to folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base import config
from recsys.base.arrays import BoolArray, Int32Array
from recsys.base.redaction import redacted
from recsys.data import accounts, persistence
from recsys.data.accounts import count_similar_ids, similar_ids
from recsys.data.described import read_described
from recsys.data.everyone import all_likes, core_first
from recsys.data.features import FeatureTable
from recsys.data.features import encode as encode_features
from recsys.data.formats import text_format
from recsys.data.idmap import IdMap
from recsys.data.interactions import (
    Interactions,
    InteractionsRead,
    open_interactions,
    read_opened,
)
from recsys.data.kcore import Core, density, kcore
from recsys.data.large_cores import LargeCore, write_all_likes, write_kcore
from recsys.data.large_files import are_weighed
from recsys.data.large_splits import write_split
from recsys.data.large_tables import read_in_parts
from recsys.data.likes_log import Snapshot
from recsys.data.logged import with_log
from recsys.data.memory_bound import rows_of_a_part
from recsys.data.outcomes import Encoded, HeldOut, Ingested, Size, Thresholded
from recsys.data.sources import (
    LIKES_LOG,
    SOURCES,
    check_input,
    interaction_columns,
    interaction_rules,
    locate_data,
    sources_of,
)
from recsys.data.splits import split as split_interactions
from recsys.data.tables import OpenTable
from recsys.store.stages import Stage, stage, write_json

__all__ = [
    "check_input",
    "count_similar_ids",
    "encode",
    "ingest",
    "load_core",
    "locate_data",
    "sources_of",
    "split",
    "threshold",
]

# A core, and ids and names of the catalogue.
_CoreWritten = tuple[Core | LargeCore, tuple[pa.Array, pa.Array | None]]


@stage(Ingested, version=8, unkeyed=("data", "said", "memory"))
def ingest(
    folder: Path,
    data: config.Data,
    sources: dict[str, str],
    said: Snapshot | None = None,
    memory: int | None = None,
) -> Ingested:
    """Read, check and deduplicate the likes and the features; give everything an index.

    `sources` (see `sources_of`) names the product by content: a file that only moved is not read
    again. `said` is what the likes log had when `sources` were named. Likes that exceed `memory`
    (see `recsys.data.memory_bound`) are read in parts, to the same product.
    """
    opened = open_interactions(data.likes, interaction_columns(data), text_format(data))
    large = None if said is not None else _read_in_parts(folder, opened, data, memory)
    read = large or _read_at_once(folder, opened, data, said)
    users, items, names = read.users, read.items, read.names
    similar_users, similar_items = map(similar_ids, (users, items))
    notes = [
        *read.found.notes,
        *accounts.left_out(
            redacted(data.likes),
            read.found.rows,
            read.found.rejected,
            read.found.set_aside,
            data.largest_left_out,
        ),
        *similar_users[1],
        *similar_items[1],
    ]
    rejected, rows, sizes = dict(read.rejected), dict(read.rows), dict(read.sizes)
    read_as = list(read.found.read_as)
    owners: dict[config.Side, IdMap] = {"item": items, "user": users}
    for side, ids in owners.items():
        described = read_described(data, side, ids, said)
        if described is None:
            continue
        persistence.save_features(folder, side, described.features)
        rejected |= described.rejected
        rows |= described.rows
        notes += described.notes
        read_as += described.read_as
        sizes |= _feature_sizes(side, described.features, ids)
        if described.named is not None:
            names = _named(items, names, described.named)
            persistence.write_columns(
                folder / "item_names.parquet",
                **{name: described.named.column(name) for name in ("id", "name")},
            )
    persistence.write_columns(folder / "items.parquet", id=items.ids, name=names)
    return Ingested(
        users=len(users),
        items=len(items),
        interactions=read.interactions,
        rejected=rejected,
        sources={role: sources[role] for role in (*SOURCES, LIKES_LOG) if role in sources},
        rows=rows,
        notes=tuple(dict.fromkeys(notes)),
        read_as=tuple(read_as),
        log=None if said is None else said.reached,
        users_that_differ_in_case_or_space=similar_users[0] or None,
        items_that_differ_in_case_or_space=similar_items[0] or None,
        **sizes,
    )


@dataclass(frozen=True)
class _Likes:
    """Likes that were read and written, and what is said of them."""

    users: IdMap
    items: IdMap
    interactions: int
    names: pa.Array | None
    found: InteractionsRead
    rejected: Mapping[str, Mapping[str, int]]
    rows: Mapping[str, int]
    sizes: Mapping[str, int] = field(default_factory=dict)


def _read_in_parts(
    folder: Path, opened: OpenTable, data: config.Data, memory: int | None
) -> _Likes | None:
    """Likes that exceed the memory; None if all of them have to be read at once."""
    columns, rules = interaction_columns(data), interaction_rules(data)
    found = read_in_parts(opened, columns, rules, memory, folder)
    if found is None:
        return None
    persistence.save_users(folder, found.users)
    ids, left_out = (found.users, found.items), {"likes": found.left_out()}
    return _Likes(*ids, found.interactions, found.names, found, left_out, {"likes": found.rows})


def _read_at_once(
    folder: Path, opened: OpenTable, data: config.Data, said: Snapshot | None
) -> _Likes:
    """Likes of the files and of the likes log."""
    found = read_opened(opened, interaction_columns(data), interaction_rules(data))
    rejected: dict[str, Mapping[str, int]] = {"likes": found.left_out()}
    rows = {"likes": found.rows}
    interactions, names, outside = found.interactions, found.names, found.outside
    if said is not None:
        logged = with_log(interactions, names, said, data.missing, outside)
        interactions, names, outside = logged.interactions, logged.names, logged.outside
        rejected["likes"] = {**found.left_out(), **logged.removed}
        rejected[LIKES_LOG] = logged.rejected
        rows[LIKES_LOG] = len(said.entries)
    persistence.save_interactions(folder, interactions)
    persistence.save_outside(folder, outside)
    sizes = {
        name: len(pairs[0])
        for name in persistence.OUTSIDE
        if (pairs := getattr(outside, name)) is not None
    }
    ids, number = (interactions.users, interactions.items), len(interactions)
    return _Likes(*ids, number, names, found, rejected, rows, sizes)


def _feature_sizes(side: config.Side, features: FeatureTable, owners: IdMap) -> dict[str, int]:
    """Fields of `Ingested`."""
    known = int(pc.sum(pc.is_in(features.owners.ids, value_set=owners.ids)).as_py())
    return {
        f"{side}s_with_features": known,
        f"{side}_features": len(features.names),
        f"{side}_feature_pairs": len(features),
    }


def _named(items: IdMap, names: pa.Array | None, named: pa.Table) -> pa.Array:
    """The items' names: those of the likes, else those of the item table, else ''."""
    place = pc.index_in(items.ids, value_set=named.column("id"))
    theirs = pc.fill_null(named.column("name").combine_chunks().take(place), "")
    if names is None:
        return theirs
    return pc.if_else(pc.equal(names, ""), theirs, names)


@stage(Thresholded, version=4, unkeyed=("memory",))
def threshold(
    folder: Path, data: Stage[Ingested], minimums: config.Threshold, memory: int | None = None
) -> Thresholded:
    """Keep the k-core to be trained; users and items cut here are served behind those of the core.

    The catalogue and everybody's likes have all of them, those of the core first. Interactions that
    exceed `memory` (see `recsys.data.memory_bound`) are read in parts, to the same product.
    """
    ingested = Path(data.path)
    items = persistence.load_ids(ingested / "items.parquet", "item")
    source = ingested / "interactions.parquet"
    rows = rows_of_a_part(data.outcome.interactions, memory)
    if rows is None or are_weighed(source) or persistence.has_outside(ingested):
        core, (ids, names) = _core_at_once(folder, ingested, items, minimums)
    else:
        core, (ids, names) = _core_in_parts(folder, ingested, items, minimums, rows)
    persistence.write_columns(folder / "catalogue.parquet", id=ids, name=names)
    ledger = [asdict(entry) for entry in core.ledger]
    write_json(folder / "ledger.json", ledger)
    start, end = data.outcome, core.ledger[-1]
    return Thresholded(
        users=end.users,
        items=end.items,
        interactions=end.interactions,
        catalogue=len(ids),
        passes=len(ledger),
        start=_size(start.users, start.items, start.interactions),
        end=_size(end.users, end.items, end.interactions),
        log=data.outcome.log,
    )


def _core_at_once(
    folder: Path, ingested: Path, items: IdMap, minimums: config.Threshold
) -> _CoreWritten:
    """Write the core and everybody's likes; returns ids and names of the catalogue as well."""
    interactions = persistence.load_interactions(ingested, items)
    core = kcore(interactions, minimums.user_min, minimums.item_min)
    persistence.save_interactions(folder, core.interactions)
    ids, names, item_place = _catalogue(ingested, items, core)
    users, user_place = core_first(interactions.users, core.users, _described(ingested, "user"))
    everyone = all_likes(
        interactions,
        IdMap(users, "user"),
        user_place,
        item_place,
        persistence.load_outside(ingested),
        (len(core.users), len(core.items)),
    )
    persistence.save_everyone(folder, everyone)
    return core, (ids, names)


def _core_in_parts(
    folder: Path, ingested: Path, items: IdMap, minimums: config.Threshold, rows: int
) -> _CoreWritten:
    """As `_core_at_once`, with so many interactions in memory at a time."""
    source = ingested / "interactions.parquet"
    users = persistence.load_ids(ingested / "users.parquet", "user")
    shape, least = (len(users), len(items)), (minimums.user_min, minimums.item_min)
    core = write_kcore(source, folder / source.name, shape, least, rows)
    persistence.save_users(folder, users.select(core.users))
    ids, names, item_place = _catalogue(ingested, items, core)
    everyone, user_place = core_first(users, core.users, _described(ingested, "user"))
    sizes = len(core.users), len(everyone)
    write_all_likes(source, folder, user_place, item_place, sizes, rows)
    persistence.save_everyones_ids(folder, IdMap(everyone, "user"))
    return core, (ids, names)


def _size(users: int, items: int, interactions: int) -> Size:
    return Size(users, items, interactions, round(density(users, items, interactions), 4))


def _catalogue(
    ingested: Path, items: IdMap, core: Core | LargeCore
) -> tuple[pa.Array, pa.Array | None, Int32Array]:
    """Ids and names of the catalogue, the core's items first; and where each item stands in it."""
    ids, place = core_first(items, core.items, _described(ingested, "item"))
    names = persistence.load_names(ingested / "items.parquet")
    if names is None:
        return ids, None, place
    own = names.take(pa.array(np.argsort(place)))
    unliked = _names_of_unliked(ingested, ids.slice(len(items)))
    return ids, pa.concat_arrays([own, unliked]), place


def _described(ingested: Path, side: config.Side) -> IdMap | None:
    """The users or items that have features; None if there are no features of that side."""
    features = persistence.load_features(ingested, side)
    return None if features is None else features.owners


def _names_of_unliked(ingested: Path, unliked: pa.Array) -> pa.Array:
    """What items are called that nobody likes; their ids where their table has no names."""
    if not (ingested / "item_names.parquet").exists():
        return unliked
    named = persistence.read_names(ingested / "item_names.parquet")
    place = pc.index_in(unliked, value_set=named.column("id"))
    return pc.coalesce(named.column("name").combine_chunks().take(place), unliked)


@stage(HeldOut, version=5, unkeyed=("memory",))
def split(
    folder: Path,
    data: Stage[Ingested],
    core: Stage[Thresholded],
    holdout: config.Split,
    seed: int,
    memory: int | None = None,
) -> HeldOut:
    """Hold interactions out for validation and test, and choose the cold items.

    Interactions that exceed `memory` (see `recsys.data.memory_bound`) are read in parts, to the
    same product, if they have no weights.
    """
    rows = rows_of_a_part(core.outcome.interactions, memory)
    weighed = are_weighed(core.file("interactions.parquet"))
    if rows is not None and not weighed and not core.file("hidden_indptr.npy").exists():
        return _split_in_parts(folder, data, core, holdout, seed, rows)
    interactions = load_core(core)
    parts = split_interactions(
        interactions,
        n=holdout.n,
        share=holdout.share,
        by_time=holdout.method == "last",
        one_holdout=holdout.holdouts == "one",
        with_features=items_with_features(data, interactions.items),
        cold_share=holdout.cold_share,
        seed=seed,
    )
    parts = replace(parts, hidden=hidden_of_core(core))
    persistence.save_split(folder, parts)
    return HeldOut(
        train=parts.train.nnz,
        validation=parts.validation.nnz,
        validation_users=int((np.diff(parts.validation.indptr) > 0).sum()),
        test=parts.test.nnz,
        test_users=int((np.diff(parts.test.indptr) > 0).sum()),
        cold_items=len(parts.cold_items),
        tied=parts.tied,
    )


def _split_in_parts(
    folder: Path,
    data: Stage[Ingested],
    core: Stage[Thresholded],
    holdout: config.Split,
    seed: int,
    rows: int,
) -> HeldOut:
    items = _core_items(core)
    found = write_split(
        core.file("interactions.parquet"),
        folder,
        persistence.load_ids(core.file("users.parquet"), "user"),
        items,
        n=holdout.n,
        share=holdout.share,
        by_time=holdout.method == "last",
        one_holdout=holdout.holdouts == "one",
        with_features=items_with_features(data, items),
        cold_share=holdout.cold_share,
        seed=seed,
        rows=rows,
    )
    return HeldOut(
        train=found.train.interactions,
        validation=found.validation.interactions,
        validation_users=found.validation.users,
        test=found.test.interactions,
        test_users=found.test.users,
        cold_items=found.cold_items,
        tied=found.tied,
    )


def items_with_features(data: Stage[Ingested], items: IdMap) -> BoolArray | None:
    """Which items have features: bool (n_items,); None where there are no features."""
    features = persistence.load_features(Path(data.path), "item")
    if features is None:
        return None
    return np.asarray(pc.is_in(items.ids, value_set=features.owners.ids))


def hidden_of_core(core: Stage[Thresholded]) -> sp.csr_matrix | None:
    """What is hidden from users of the core among its items; None if nothing is."""
    everyone = persistence.load_everyone(Path(core.path))
    if everyone.hidden_indptr is None or everyone.hidden_indices is None:
        return None
    indptr = everyone.hidden_indptr[: core.outcome.users + 1]
    indices = everyone.hidden_indices[: indptr[-1]]
    rows = np.ones(len(indices), np.float32), indices, indptr
    whole = sp.csr_matrix(rows, shape=(core.outcome.users, core.outcome.catalogue))
    hidden = whole[:, : core.outcome.items]
    return hidden if hidden.nnz else None


def load_core(core: Stage[Thresholded]) -> Interactions:
    """The thresholded interactions; the first items of the catalogue are theirs."""
    return persistence.load_interactions(Path(core.path), _core_items(core))


def _core_items(core: Stage[Thresholded]) -> IdMap:
    catalogue = persistence.load_ids(core.file("catalogue.parquet"), "item")
    return IdMap(catalogue.ids.slice(0, core.outcome.items), "item")


@stage(Encoded, version=5)
def encode(
    folder: Path, data: Stage[Ingested], core: Stage[Thresholded], options: config.Encode
) -> Encoded:
    """Features as sparse matrices, one row for each item of the catalogue and for everybody.

    The rows are normalised; their weight is applied where they are trained, once.
    """
    sizes: dict[str, int] = {}
    trained = {"item": core.outcome.items, "user": core.outcome.users}
    owners = {
        "item": persistence.load_ids(Path(core.path) / "catalogue.parquet", "item"),
        "user": persistence.load_everyone(Path(core.path)).users,
    }
    for side, ids in owners.items():
        features = persistence.load_features(Path(data.path), side)
        if features is None:
            continue
        encoded = encode_features(
            features,
            ids,
            counted=trained[side],
            min_support=options.min_support,
            normalisation=options.normalisation,
        )
        persistence.save_encoded(folder, side, encoded)
        sizes[f"{side}_features"] = encoded.matrix.shape[1]
        sizes[f"{side}_feature_pairs"] = int(encoded.matrix.nnz)
        sizes[f"core_{side}_feature_pairs"] = int(encoded.matrix.indptr[trained[side]])
    return Encoded(options.normalisation, options.weight, options.identity, **sizes)
