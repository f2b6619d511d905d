"""What each model of a leaderboard cost: CPU seconds of its search and of its fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.evaluation.metric_names import BLEND, LIGHTFM
from recsys.store.stages import Stage
from recsys.tuning.trials import Study, is_closed_form

_PREFIX = "model/"  # before a model's name among the seconds of a stage


def model_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by model, named as a stage keeps them beside its product."""
    return {f"{_PREFIX}{name}": round(value, 2) for name, value in seconds.items()}


def searched_seconds(study: Study) -> dict[str, float]:
    """The CPU seconds that the trials of a study took, and its races, by model.

    Finished trials, such as a blend, repeat the seconds of the trials that they are made from.
    """
    found = dict(study.race_seconds)
    for trial in study.trials:
        if trial.finishes is None:
            name = str(trial.configuration["model"]) if is_closed_form(trial) else LIGHTFM
            found[name] = found.get(name, 0.0) + trial.seconds
    return found


def timed_leaderboard(chosen: Stage[Any], measured: Stage[Any]) -> list[dict[str, Any]]:
    """The leaderboard, each model with the `seconds` of its search and fit where they are known.

    Parameters
    ----------
    chosen : Stage[Chosen]
        A search; the champion's configuration, taken over, cost none.
    measured : Stage[Evaluated]
    """
    searched, fitted = (_of_models(stage) for stage in (chosen, measured))
    board: list[dict[str, Any]] = measured.read_json("leaderboard.json")
    for entry in board:
        name = entry["model"]
        if name in fitted:
            parts = _parts(entry) if name == BLEND else (name,)
            entry["seconds"] = round(
                fitted[name] + sum(searched.get(part, 0.0) for part in parts), 1
            )
    return board


def _parts(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that a blend is made from."""
    return LIGHTFM, str(entry["configuration"].get("neighbours", ""))


def _of_models(stage: Stage[Any]) -> dict[str, float]:
    return {
        name.removeprefix(_PREFIX): value
        for name, value in stage.seconds.items()
        if name.startswith(_PREFIX)
    }
