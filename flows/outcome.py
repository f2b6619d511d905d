"""The outcome of a training run: what it leaves behind, as a program reads it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from recsys.base.config import Config
from recsys.store.stages import Stage


class Outcome(BaseModel):
    """What a training run leaves behind; `held` says why the version is not the champion."""

    model: str
    version: str
    held: list[str]
    bundle: str
    verdict: str
    report: str
    leaderboard: list[dict[str, Any]]
    strategies: dict[str, Any]
    counts: dict[str, dict[str, Any]]


def outcome(
    config: Config, version: str, held: list[str], report: str, stages: dict[str, Stage]
) -> Outcome:
    """Gathered from the stages, by their names."""
    measured = stages["evaluate"]
    return Outcome(
        model=config.model,
        version=version,
        held=held,
        bundle=f"{stages['fit'].path}/bundle",
        verdict=stages["gate"].path,
        report=report,
        leaderboard=measured.read_json("leaderboard.json"),
        strategies=measured.read_json("strategies.json"),
        counts={name: stage.counts for name, stage in stages.items()},
    )
