"""The stages that prepare data: ingest, threshold, split, encode, each from folder to folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base import config
from recsys.base.arrays import Int32Array
from recsys.base.redaction import redacted
from recsys.data import accounts, persistence
from recsys.data.accounts import count_similar_ids, similar_ids
from recsys.data.described import read_described
from recsys.data.everyone import all_likes, core_first
from recsys.data.features import FeatureTable
from recsys.data.features import encode as encode_features
from recsys.data.formats import text_format
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions, read_interaction_table
from recsys.data.kcore import Core, density, kcore
from recsys.data.likes_log import Snapshot
from recsys.data.logged import with_log
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


@stage(Ingested, version=8, unkeyed=("data", "said"))
def ingest(
    folder: Path, data: config.Data, sources: dict[str, str], said: Snapshot | None = None
) -> Ingested:
    """Read, check and deduplicate the likes and the features; give everything an index.

    `sources` (see `sources_of`) names the product by content: a file that only moved is not read
    again. `said` is what the likes log had when `sources` were named.
    """
    found = read_interaction_table(
        data.likes, interaction_columns(data), text_format(data), interaction_rules(data)
    )
    rejected: dict[str, Mapping[str, int]] = {"likes": found.left_out()}
    rows = {"likes": found.rows}
    interactions, names, outside = found.interactions, found.names, found.outside
    if said is not None:
        logged = with_log(interactions, names, said, data.missing, outside)
        interactions, names, outside = logged.interactions, logged.names, logged.outside
        rejected["likes"] = {**found.left_out(), **logged.removed}
        rejected[LIKES_LOG] = logged.rejected
        rows[LIKES_LOG] = len(said.entries)
    similar_users, similar_items = map(similar_ids, (interactions.users, interactions.items))
    notes = [
        *found.notes,
        *accounts.left_out(
            redacted(data.likes), found.rows, found.rejected, found.set_aside, data.largest_left_out
        ),
        *similar_users[1],
        *similar_items[1],
    ]
    read_as = list(found.read_as)
    sizes: dict[str, int] = {}
    persistence.save_interactions(folder, interactions)
    persistence.save_outside(folder, outside)
    sizes |= {
        name: len(pairs[0])
        for name in persistence.OUTSIDE
        if (pairs := getattr(outside, name)) is not None
    }
    owners: dict[config.Side, IdMap] = {"item": interactions.items, "user": interactions.users}
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
            names = _named(interactions.items, names, described.named)
            persistence.write_columns(
                folder / "item_names.parquet",
                **{name: described.named.column(name) for name in ("id", "name")},
            )
    persistence.write_columns(folder / "items.parquet", id=interactions.items.ids, name=names)
    return Ingested(
        **interactions.counts(),
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


@stage(Thresholded, version=4)
def threshold(folder: Path, data: Stage[Ingested], minimums: config.Threshold) -> Thresholded:
    """Keep the k-core to be trained; users and items cut here are served behind those of the core.

    The catalogue and everybody's likes have all of them, those of the core first.
    """
    ingested = Path(data.path)
    items = persistence.load_ids(ingested / "items.parquet", "item")
    interactions = persistence.load_interactions(ingested, items)
    core = kcore(interactions, minimums.user_min, minimums.item_min)
    persistence.save_interactions(folder, core.interactions)
    ids, names, item_place = _catalogue(ingested, items, core)
    persistence.write_columns(folder / "catalogue.parquet", id=ids, name=names)
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
    ledger = [asdict(entry) for entry in core.ledger]
    write_json(folder / "ledger.json", ledger)
    return Thresholded(
        **core.interactions.counts(),
        catalogue=len(ids),
        passes=len(ledger),
        start=_size(interactions),
        end=_size(core.interactions),
        log=data.outcome.log,
    )


def _size(interactions: Interactions) -> Size:
    counts = interactions.counts()
    return Size(**counts, density=round(density(**counts), 4))


def _catalogue(
    ingested: Path, items: IdMap, core: Core
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


@stage(HeldOut, version=5)
def split(
    folder: Path, data: Stage[Ingested], core: Stage[Thresholded], holdout: config.Split, seed: int
) -> HeldOut:
    """Hold interactions out for validation and test, and choose the cold items."""
    interactions = load_core(core)
    features = persistence.load_features(Path(data.path), "item")
    with_features = None
    if features is not None:
        with_features = np.asarray(pc.is_in(interactions.items.ids, value_set=features.owners.ids))
    parts = split_interactions(
        interactions,
        n=holdout.n,
        share=holdout.share,
        by_time=holdout.method == "last",
        one_holdout=holdout.holdouts == "one",
        with_features=with_features,
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
    folder = Path(core.path)
    catalogue = persistence.load_ids(folder / "catalogue.parquet", "item")
    items = IdMap(catalogue.ids.slice(0, core.outcome.items), "item")
    return persistence.load_interactions(folder, items)


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
