"""Described: what all tables of features say of items or users, read, checked and accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from recsys.base import config
from recsys.base.redaction import redacted
from recsys.data import accounts
from recsys.data.feature_pairs import FeatureTable, combined, too_many
from recsys.data.feature_sources import FeatureSource, open_feature_sources
from recsys.data.features import FeatureRows
from recsys.data.idmap import IdMap
from recsys.data.likes_log import Snapshot
from recsys.data.logged import without_forgotten


@dataclass(frozen=True)
class Described:
    """The features of items or users, of one table or of several.

    Parameters
    ----------
    features : FeatureTable
    rows : mapping of str to int
        Rows of each table.
    rejected : mapping of str to mapping of str to int
        Rows left out: by table, by reason.
    notes : tuple of str
        What a person should know.
    read_as : tuple of str
        What was found of how the tables are written.
    named : pyarrow.Table or None
        Columns id and name: each owner that has a name once, in order.
    """

    features: FeatureTable
    rows: Mapping[str, int]
    rejected: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    read_as: tuple[str, ...]
    named: pa.Table | None


def read_described(
    data: config.Data, side: config.Side, owners: IdMap, said: Snapshot | None = None
) -> Described | None:
    """Read the tables of one side's features; None if the configuration names none.

    Parameters
    ----------
    data : config.Data
    side : {"item", "user"}
    owners : IdMap
        Items or users of the interactions.
    said : Snapshot or None
        Of the likes log; users whom it forgets have no features.

    Raises
    ------
    InputError
        If a table cannot be read, too much of it is left out, or it describes none of the owners.
    """
    sources = open_feature_sources(data, side)
    if not sources:
        return None
    rows, rejected, notes, read = {}, {}, [], []
    for source in sources:
        found = source.read()
        if side == "user" and said is not None:
            found = replace(found, features=without_forgotten(found.features, said))
        notes += [*found.notes, *_checked(source, found, owners, data.largest_left_out)]
        rows[source.part], rejected[source.part] = found.rows, found.left_out()
        read.append(found)
    features = read[0].features
    if len(read) > 1:
        together = combined([found.features for found in read], data.feature_repeats)
        features = together.features
        if together.shared:
            weighs = "add up" if data.feature_repeats == "sum" else "count once"
            notes.append(
                f"{together.shared:,} features of {side}s are in several of the tables "
                f"{', '.join(source.name for source in sources)}, and {weighs} "
                f"(data.feature_repeats)"
            )
        if together.crowded:
            reason = too_many(side)
            rejected[f"{side} features"] = {reason: together.crowded}
            notes.append(f"{together.crowded:,} features of {side}s were left out ({reason})")
    return Described(
        features,
        rows,
        rejected,
        tuple(notes),
        tuple(said_of for found in read for said_of in found.read_as),
        named_once([found.named for found in read if found.named is not None]),
    )


def _checked(source: FeatureSource, found: FeatureRows, owners: IdMap, largest: float) -> list[str]:
    """What is to be said of a table beside the interactions, and of what was left out of it."""
    label, own = redacted(source.source), found.features.owners
    accounts.require_known(own, owners, label)
    return [
        *accounts.unmatched(own, owners, label),
        *accounts.left_out(label, found.rows, found.rejected, {}, largest),
    ]


def named_once(tables: Sequence[pa.Table]) -> pa.Table | None:
    """The commonest name of each owner, whatever the order of rows and tables.

    Parameters
    ----------
    tables : sequence of pyarrow.Table
        Columns id and name.

    Returns
    -------
    pyarrow.Table or None
        Sorted by id; None without any table.
    """
    if not tables:
        return None
    counted = pa.concat_tables(tables).group_by(["id", "name"]).aggregate([([], "count_all")])
    # Of names that are as common, the first in the order of the alphabet.
    order = [("id", "ascending"), ("count_all", "descending"), ("name", "ascending")]
    ordered = counted.sort_by(order)
    codes = ordered.column("id").combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    return ordered.take(pa.array(first)).select(["id", "name"])
