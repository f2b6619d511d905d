"""Splitting: the method of the configuration as a stage, and the splits that are not by user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base import config
from recsys.data import persistence
from recsys.data.formats import text_format
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions, read_interaction_table
from recsys.data.outcomes import HeldOut, HeldOutByFiles, HeldOutByTime, Ingested, Thresholded
from recsys.data.sources import (
    interaction_columns,
    interaction_rules,
    locate_data,
    reading_key,
)
from recsys.data.split_files import split_as_given
from recsys.data.splits import require_timestamp
from recsys.data.tables import fingerprint
from recsys.data.time_split import Cuts, find_cuts, shown
from recsys.data.time_split import split_by_time as split_interactions
from recsys.pipeline import preparation
from recsys.pipeline.preparation import hidden_of_core, items_with_features, load_core
from recsys.store.stages import Stage, stage

# Makes the product of a stage from its arguments: at once, or as a task.
Run = Callable[..., Stage[Any]]


def hold_out(
    run: Run, data: Stage[Ingested], core: Stage[Thresholded], settings: config.Config
) -> Stage[HeldOut]:
    """Split as the configuration says.

    Parameters
    ----------
    run : callable
        Called with a stage function and its arguments, without the folder.
    data, core : Stage
    settings : config.Config
    """
    holdout, seed = settings.split, settings.seed
    if holdout.method == "time":
        timezone = "UTC" if settings.data is None else settings.data.timezone
        cuts = by_time(core, holdout, timezone)
        return run(
            split_by_time, data, core, cuts, holdout.fewest, holdout, settings.threshold, seed
        )
    if holdout.method == "files":
        reading = locate_data(settings.dataset, settings.data)
        sources = sources_of_split(reading, holdout)
        return run(split_by_files, data, core, sources, reading, holdout, seed)
    return run(preparation.split, data, core, holdout, seed, settings.storage.memory)


def by_time(core: Stage[Thresholded], holdout: config.Split, timezone: str) -> Cuts:
    """Where the configuration cuts the interactions of a core.

    Raises
    ------
    InputError
        If there is no timestamp, or a part is empty.
    """
    time = load_core(core).timestamp
    require_timestamp(True, time is not None)
    assert time is not None
    one = holdout.holdouts == "one"
    return find_cuts(time, holdout.validation, holdout.test, timezone, one_holdout=one)


@stage(HeldOutByTime, version=2, name="split")
def split_by_time(
    folder: Path,
    data: Stage[Ingested],
    core: Stage[Thresholded],
    cuts: Cuts,
    fewest: int,
    holdout: config.Split,
    minimums: config.Threshold,
    seed: int,
) -> HeldOutByTime:
    """Divide the likes at points in time, each part with the core of what was known then."""
    interactions = load_core(core)
    found = split_interactions(
        interactions,
        cuts,
        user_min=minimums.user_min,
        item_min=minimums.item_min,
        n=holdout.n,
        fewest=fewest,
        with_features=items_with_features(data, interactions.items),
        cold_share=holdout.cold_share,
        seed=seed,
    )
    parts = replace(found.parts, hidden=_liked_earlier(data, interactions))
    persistence.save_split(folder, parts)
    assert parts.time is not None
    return HeldOutByTime(
        **counts_of(parts.train, parts.validation, parts.test),
        cold_items=len(parts.cold_items),
        refit=int(parts.time.before_test.nnz),
        validation_from=shown(cuts.validation),
        test_from=None if cuts.test is None else shown(cuts.test),
        test_until=None if cuts.end is None else shown(cuts.end),
        **{f"newcomer_{name}": count for name, count in asdict(found.newcomers).items()},
    )


def sources_of_split(reading: config.Data, holdout: config.Split) -> dict[str, str]:
    """What a split by files is made of: fingerprints, and how the files are to be read.

    Raises
    ------
    InputError
        If a file is missing.
    """
    files = {role: getattr(holdout, f"{role}_file") for role in ("validation", "test")}
    found = {role: fingerprint(source) for role, source in files.items() if source}
    return found | {"format": reading_key(reading)}


@stage(HeldOutByFiles, version=2, unkeyed=("reading",), name="split")
def split_by_files(
    folder: Path,
    data: Stage[Ingested],
    core: Stage[Thresholded],
    sources: dict[str, str],
    reading: config.Data,
    holdout: config.Split,
    seed: int,
) -> HeldOutByFiles:
    """Hold out the likes that files name; `sources` name the product by their content."""
    interactions = load_core(core)
    files = [holdout.validation_file, holdout.test_file]
    validation, test = (None if source is None else read_part(source, reading) for source in files)
    assert test is not None
    found = split_as_given(
        interactions,
        validation,
        test,
        n=holdout.n,
        share=holdout.share,
        one_holdout=holdout.holdouts == "one",
        with_features=items_with_features(data, interactions.items),
        cold_share=holdout.cold_share,
        seed=seed,
    )
    parts = replace(found.parts, hidden=hidden_of_core(core))
    persistence.save_split(folder, parts)
    return HeldOutByFiles(
        **counts_of(parts.train, parts.validation, parts.test),
        cold_items=len(parts.cold_items),
        unknown=found.unknown,
    )


def read_part(source: str, reading: config.Data) -> Interactions:
    """A file of held-out likes, read as those of the configuration are."""
    columns, rules = interaction_columns(reading), interaction_rules(reading)
    return read_interaction_table(source, columns, text_format(reading), rules).interactions


def counts_of(
    train: sp.csr_matrix, validation: sp.csr_matrix, test: sp.csr_matrix
) -> dict[str, int]:
    """Fields of `HeldOut`."""
    return {
        "train": int(train.nnz),
        "validation": int(validation.nnz),
        "validation_users": int((np.diff(validation.indptr) > 0).sum()),
        "test": int(test.nnz),
        "test_users": int((np.diff(test.indptr) > 0).sum()),
    }


def _liked_earlier(data: Stage[Ingested], core: Interactions) -> sp.csr_matrix | None:
    """Ones for what was liked before the window; when something was disliked is not known."""
    folder = Path(data.path)
    earlier = persistence.load_outside(folder).earlier
    if earlier is None:
        return None
    users: IdMap = persistence.load_ids(folder / "users.parquet", "user")
    items: IdMap = persistence.load_ids(folder / "items.parquet", "item")
    user = users.places_in(core.users)[earlier[0]]
    item = items.places_in(core.items)[earlier[1]]
    known = (user >= 0) & (item >= 0)
    ones = np.ones(int(known.sum()), np.float32), (user[known], item[known])
    return sp.csr_matrix(ones, shape=(len(core.users), len(core.items)))
