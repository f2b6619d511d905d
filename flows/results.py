"""What a training run leaves behind, as a program reads it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from recsys.pipeline.evaluation import newcomers_of
from recsys.pipeline.model_seconds import timed_leaderboard
from recsys.pipeline.outcomes import TrainingStages
from recsys.pipeline.promotion import Decision, Ending
from recsys.pipeline.tuning import search_space_of


class TrainingResult(BaseModel):
    """What a training run leaves behind.

    `ending` says what became of the version, `held` why it is not the champion.
    """

    model: str
    version: str
    ending: Ending
    held: list[str]
    bundle: str
    verdict: str
    report: str
    leaderboard: list[dict[str, Any]]
    strategies: dict[str, Any]
    few_likes: dict[str, Any]
    diversity: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    beyond: dict[str, Any] = {}
    newcomers: dict[str, Any] = {}
    repeated: dict[str, Any] = {}
    search_space: dict[str, Any] = {}
    counts: dict[str, dict[str, Any]]

    @property
    def decision(self) -> Decision:
        """What became of the version, and why."""
        return Decision(self.ending, tuple(self.held))

    @property
    def notes(self) -> list[str]:
        """What a person should know of the data."""
        return list(self.counts.get("ingest", {}).get("notes", ()))

    @classmethod
    def of(
        cls, model: str, version: str, decision: Decision, report: str, stages: TrainingStages
    ) -> TrainingResult:
        """Gather the result from the stages."""
        repeated = stages.repeated
        return cls(
            model=model,
            version=version,
            ending=decision.ending,
            held=list(decision.reasons),
            bundle=str(stages.fitted.file("bundle")),
            verdict=stages.verdict.path,
            report=report,
            leaderboard=timed_leaderboard(stages.chosen, stages.measured),
            strategies=stages.measured.read_json("strategies.json"),
            few_likes=stages.fitted.read_json("few_likes.json"),
            diversity=stages.measured.read_json("diversity.json"),
            segments=stages.measured.read_json("segments.json"),
            beyond=stages.measured.read_json("beyond.json"),
            newcomers=newcomers_of(stages.measured),
            search_space=search_space_of(stages.chosen),
            repeated={} if repeated is None else repeated.read_json("repeated.json"),
            counts=stages.counts(),
        )
