"""Fitting: the winner's configuration trained on all interactions, as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.arrays import IntArray
from recsys.bundle import assemble, save_bundle
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.outcomes import Encoded, Thresholded
from recsys.data.splits import times_of
from recsys.evaluation.few_likes import measure_few_likes
from recsys.evaluation.metric_names import winner_of
from recsys.models.clusters import open_cluster
from recsys.models.hybrid import HybridModel, fit_hybrid
from recsys.models.itemknn import ItemKnn
from recsys.models.model import model_from_dict
from recsys.models.spreading import Spread
from recsys.pipeline.outcomes import Chosen, Evaluated, Fitted
from recsys.pipeline.preparation import load_core
from recsys.store.exchange import Exchange
from recsys.store.scratch import scratch_folder
from recsys.store.stages import Stage, stage, write_json
from recsys.tuning.problems import load_sides


def refit(
    interactions: sp.csr_matrix,
    configuration: Mapping[str, Any],
    features: Stage[Encoded],
    seed: int,
    threads: int | None = None,
    *,
    places: Mapping[str, IntArray | None] = MappingProxyType({}),
    times: InteractionTimes | None = None,
    spread: Spread | None = None,
) -> HybridModel:
    """Train a configuration on interactions.

    Parameters
    ----------
    interactions : csr_matrix (n_users, n_items)
    configuration : mapping
        Hyper-parameters and those of features, the number of `epochs` among them.
    features : Stage
        Of `encode`.
    seed : int
    threads : int or None
        None for all that are free.
    places : mapping of str to (int array or None)
        See `recsys.tuning.problems.load_sides`.
    times : InteractionTimes or None
        When the interactions were, for a configuration with a half-life or a window.
    spread : Spread or None
        Over which machines it is trained; None for this one.

    Raises
    ------
    InputError
        If training diverges, or age counts and there are no times.
    """
    values = {name: value for name, value in configuration.items() if name != "epochs"}
    sides = load_sides(features, interactions.shape, places)
    epochs = configuration["epochs"]
    return fit_hybrid(
        interactions, values, epochs, seed, sides, threads, times=times, spread=spread
    )


SPREAD = ".spread_fit_"
"""What names of marks begin with, in the folder of products: one of each fit that is spread."""


@contextmanager
def open_spread(options: config.Fit | None, folder: Path) -> Iterator[Spread | None]:
    """Where fits are spread, if they are; what they have in the folder is removed by itself.

    Raises
    ------
    ConfigError
        If no cluster answers.
    """
    if options is None or options.cluster is None:
        yield None
        return
    exchange = Exchange(options.exchange or str(folder.resolve()))

    def abandoned(name: str) -> None:
        exchange.below(name.removeprefix(".")).clear()

    # What a fit that was killed has left in the exchange goes with the mark that it left here.
    with (
        open_cluster(options.cluster) as cluster,
        scratch_folder(folder.parent, SPREAD, abandon=abandoned) as mark,
    ):
        own = mark.name.removeprefix(".")
        try:
            # Vectors go beside the folder: over NFS, files without a name have one while open.
            yield Spread(cluster, exchange.below(own), folder.parent)
        finally:
            abandoned(own)


@stage(Fitted, version=16, unkeyed=("versions",))
def fit(
    folder: Path,
    core: Stage[Thresholded],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    options: config.Fit,
    seed: int,
    versions: Mapping[str, str],
) -> Fitted:
    """Train the winner's configuration on all interactions and write the portable bundle.

    How much likes count for users who are not trained is chosen and measured on the likes of such
    users, which no fit has seen (`few_likes.json`).
    """
    interactions = load_core(core)
    matrix = interactions.matrix()
    configuration = chosen.outcome.trained
    # How far cold items are blended with their features was chosen on items withheld from a fit.
    if blending := measured.read_json("strategies.json").get("cold_blending"):
        configuration["cold_blending"] = blending
    # Sums differ in their last bits with the number of BLAS threads, and a model that is made again
    # would be another version. LightFM's own threads are not among them.
    with threadpool_limits(1, user_api="blas"), open_spread(options, folder) as spread:
        times = times_of(interactions)
        model = refit(
            matrix, configuration, features, seed, options.threads, times=times, spread=spread
        )
    board = measured.read_json("leaderboard.json")
    winner = next(entry for entry in board if entry["model"] == winner_of(board))
    about = {
        "model": winner["model"],
        "data_fingerprint": core.digest,
        "configuration": configuration,
        "started_from": list(chosen.outcome.started_from),
        "seed": seed,
        "counts": interactions.counts(),
        "metrics": winner["metrics"],
        "holdout": measured.outcome.holdout,
        "library_versions": dict(versions),
    }
    if core.outcome.log is not None:
        about["likes_log"] = asdict(core.outcome.log)
    (folder / "bundle").mkdir()
    catalogue = Path(core.path) / "catalogue.parquet"
    with threadpool_limits(1, user_api="blas"):
        items = persistence.load_ids(catalogue, "item")
        names = persistence.load_names(catalogue)
        everyone = persistence.load_everyone(Path(core.path))
        bundle = assemble(model, interactions, items, names, about, everyone)
        tuned = chosen.outcome.closed_forms.get(ItemKnn.name, {"model": ItemKnn.name})
        knn = model_from_dict(tuned)
        assert isinstance(knn, ItemKnn)
        served, few_likes = measure_few_likes(bundle, knn, seed=seed)
    bundle = served.applied_to(bundle)
    write_json(folder / "few_likes.json", few_likes)
    save_bundle(folder / "bundle", bundle)
    return Fitted(
        **interactions.counts(),
        components=model.factors.n_components,
        catalogue=len(bundle.items),
    )
