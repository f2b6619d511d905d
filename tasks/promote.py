"""Promote: the challenger becomes champion if the gate let it pass; otherwise it is held."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TypeVar, cast

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from recsys.config import Config
from recsys.progress import StageDone, StageStarted, tell
from recsys.registry import PROMOTED, ROLLED_BACK, Registry, whoami
from recsys.serving import CHAMPION
from recsys.stages import Stage

T = TypeVar("T")
# The name of the state a run ends in whose challenger was held. It is of the type Completed: the
# night did its work and a retry would change nothing; an automation acts on the name.
HELD = "Held"


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def _promote(config: Config, number: str, verdict: Stage) -> tuple[list[str], bool]:
    """Why the version is held, if it is; and whether it was champion before."""
    registry = Registry(config.tracking.uri, config.model, config.tracking.patience)
    with registry.alone(Path(config.storage.interim)):
        reasons, reigned = _moved(registry, number, verdict)
    _show(config.model, number, verdict, reasons)
    return reasons, reigned


def _moved(registry: Registry, number: str, verdict: Stage) -> tuple[list[str], bool]:
    version, champion = registry.version(number), registry.at(CHAMPION)
    reigned = champion is not None and champion.number == number
    before, judged = (champion.number if champion else None), verdict.counts["champion"]
    reasons: list[str] = list(verdict.counts["reasons"])
    if ROLLED_BACK in version.tags:
        reasons.append(f"rolled back by hand: {version.tags.get(f'{ROLLED_BACK}_why', '')}")
    if before != judged:
        reasons.append(f"judged against version {judged}, but version {before} is champion now")
    if reigned:
        reasons = []
    if not reasons and not (reigned and PROMOTED in version.tags):
        why = f"passed the gate against {f'version {judged}' if judged else 'popularity'}"
        registry.promote(number, by=whoami(), why=why)
    return reasons, reigned


def _show(model: str, number: str, verdict: Stage, reasons: list[str]) -> None:
    title = f"# {model} version {number}: {'held' if reasons else 'champion'}"
    why = "".join(f"- {reason}\n" for reason in reasons)
    text = verdict.file("verdict.md").read_text(encoding="utf-8")
    key = re.sub("[^a-z0-9]+", "-", f"verdict-{model}".lower()).strip("-")
    create_markdown_artifact(f"{title}\n\n{why}\n{text}", key, description="the gate's verdict")


def promote(config: Config, number: str, verdict: Stage) -> list[str]:
    """Why the version is held; empty where it is the champion now."""
    tell(StageStarted("promote"))
    start = time.monotonic()
    reasons, reigned = _promote(config, number, verdict)
    counts = {"version": number, "champion": not reasons, "held": "; ".join(reasons)}
    tell(StageDone("promote", reigned, time.monotonic() - start, counts))
    return reasons


def ended(outcome: T, reasons: list[str]) -> T:
    """What the flow returns: its outcome, as a state named Held if there are reasons to."""
    if not reasons:
        return outcome
    # Prefect unpacks a state that a flow returns: to the caller it is the outcome again.
    return cast("T", Completed(name=HELD, message="; ".join(reasons), data=outcome))
