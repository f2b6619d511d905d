"""Experiments beside the nightly run: a learning curve, prepared, drawn and logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.base.config import Config
from recsys.base.errors import ConfigError
from recsys.data import persistence
from recsys.data.folds import search_fold
from recsys.data.outcomes import HeldOut, Thresholded
from recsys.data.sources import locate_data
from recsys.data.split_files import FileFormat, write_split
from recsys.evaluation.metric_names import CURVE, OBJECTIVE, TRAIN_CURVE
from recsys.models.lightfm import DivergedError
from recsys.pipeline import preparation
from recsys.pipeline.preparation import load_core
from recsys.pipeline.splitting import hold_out
from recsys.store.stages import Stage, write_json
from recsys.tracking.runs import open_tracker
from recsys.tuning.curve import CurvePoint, draw, learning_curve
from recsys.tuning.problems import Problem


def prepare_holdouts(config: Config) -> Stage[HeldOut]:
    """Ingest, threshold and split, without any server."""
    return _prepare(config)[1]


def export_split(config: Config, folder: Path, file_format: FileFormat) -> dict[str, Any]:
    """Write the split of a configuration as files of likes with their ids, and what it is.

    Parameters
    ----------
    config : Config
    folder : Path
    file_format : {"parquet", "csv"}

    Returns
    -------
    dict
        `files`, the path of each part, and `counts`; `split.json` in the folder has them, the
        settings and the seed too.
    """
    config = config.effective()
    core, holdouts = _prepare(config)
    parts = persistence.load_split(Path(holdouts.path))
    written = write_split(folder, load_core(core), parts, file_format)
    found = {
        "files": {name: path.name for name, path in written.items()},
        "counts": holdouts.counts(),
        "settings": config.split.model_dump(mode="json"),
        "threshold": config.threshold.model_dump(mode="json"),
        "seed": config.seed,
        "fingerprint": core.digest,
    }
    write_json(folder / "split.json", found)
    return found


def _prepare(config: Config) -> tuple[Stage[Thresholded], Stage[HeldOut]]:
    interim = Path(config.storage.interim)
    data = locate_data(config.dataset, config.data)
    sources, memory = preparation.sources_of(data), config.storage.memory
    ingested = preparation.ingest(interim, data, sources, memory=memory)
    core = preparation.threshold(interim, ingested, config.threshold, memory)
    return core, hold_out(lambda stage, *args: stage(interim, *args), ingested, core, config)


def log_curve(
    config: Config, configuration: Mapping[str, Any], epochs: Sequence[int]
) -> tuple[list[CurvePoint], Path]:
    """A configuration's learning curve as one MLflow run, and the figure's path.

    Raises
    ------
    ConfigError
        If there is no epoch to measure at, or the configuration diverges.
    RecsysError
        As preparing and tracking do.
    """
    if not epochs:
        raise ConfigError("no epoch to measure at", "every at most epochs", "lower --every")
    config = config.effective()
    fold = search_fold(persistence.load_split(Path(prepare_holdouts(config).path)))
    tracker = open_tracker(config.tracking, config.experiment)  # before what takes long
    masked = config.protocol == "standard"
    problem = Problem(
        fold.known,
        fold.heldout,
        seed=config.seed,
        masked=masked,
        hidden=fold.hidden,
        times=fold.times,
    )
    try:
        points = learning_curve(problem, configuration, epochs)
    except DivergedError as fault:
        raise ConfigError(
            f"this configuration diverged ({fault})",
            "factors that stay finite",
            "lower its learning rate",
        ) from fault
    figure = Path("data/output/curve.png")
    draw(points, problem.k, figure)
    curves = [(TRAIN_CURVE, p.train, p.epoch) for p in points]
    curves += [(CURVE, p.validation, p.epoch) for p in points]
    best = max(point.validation for point in points)
    tracker.log_run(
        f"learning curve, seed {config.seed}",
        {"kind": "curve"},
        configuration,
        [*curves, (OBJECTIVE, best, 0)],
        [figure],
    )
    return points, figure
