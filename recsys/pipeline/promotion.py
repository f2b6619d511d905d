"""Promotion: whether a version becomes champion, and the event that announces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from recsys.base import config
from recsys.base.redaction import redacted
from recsys.evaluation.gate import Condition
from recsys.online.comparing import OnlineVerdict
from recsys.pipeline.online_trial import Settled, settle
from recsys.pipeline.outcomes import Judged
from recsys.pipeline.tracked import Tracked
from recsys.tracking.registry import Registry, whoami
from recsys.tracking.versions import CHAMPION, PROMOTED, ROLLED_BACK, Version

ANNOUNCED = "announced"  # tag: the last event of a version that was announced


class Ending(StrEnum):
    """What became of a version."""

    PROMOTED = "promoted"
    HELD = "held"
    SHRUNKEN = "shrunken"  # held because data are gone


@dataclass(frozen=True)
class Decision:
    """What becomes of a version, and why it is held if it is."""

    ending: Ending
    reasons: tuple[str, ...] = ()


def decide(
    judged: Judged, version: Version, champion: Version | None, online: Sequence[str] = ()
) -> Decision:
    """Whether a version becomes champion.

    Parameters
    ----------
    judged : Judged
        What the gate decided.
    version : Version
    champion : Version or None
        What others measure up to now (`Registry.standing`); it may have changed since the version
        was judged.
    online : sequence of str
        Why it is held online, where it has to win there.
    """
    reigning = champion.number if champion is not None else None
    if reigning == version.number:
        return Decision(Ending.PROMOTED)
    reasons = [reason.text for reason in judged.reasons]
    if ROLLED_BACK in version.tags:
        reasons.append(f"rolled back by hand: {version.tags.get(f'{ROLLED_BACK}_why', '')}")
    if reigning != judged.champion:
        reasons.append(_judged_against_another(judged.champion, reigning))
    reasons += online
    if not reasons:
        return Decision(Ending.PROMOTED)
    failed = {reason.condition for reason in judged.reasons}
    # Of other data under the same name nothing is missing.
    shrunken = Condition.DATA in failed and Condition.SAME not in failed
    return Decision(Ending.SHRUNKEN if shrunken else Ending.HELD, tuple(reasons))


def _judged_against_another(then: str | None, now: str | None) -> str:
    judged = "judged without a champion" if then is None else f"judged against version {then}"
    return f"{judged}, but {'none' if now is None else f'version {now}'} is champion now"


@dataclass(frozen=True)
class Announcement:
    """An event for programs that wait for a model: its name, and what it carries.

    Parameters
    ----------
    model, version : str
    event : {"promoted", "held"}
    reasons : tuple of str
        Why it was held, or promoted by hand.
    config : dict
        What a run of `recommend` has to be given to write lists of this model.
    online : dict or None
        What real users have shown of it (`recsys.online.OnlineVerdict` as plain values).
    """

    model: str
    version: str
    event: Literal["promoted", "held"]
    reasons: tuple[str, ...]
    config: dict[str, Any]
    online: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The event's name."""
        return f"recsys.champion.{self.event}"

    @property
    def resource(self) -> dict[str, str]:
        """What the event is about, under Prefect's names."""
        return model_resource(self.model)

    @property
    def payload(self) -> dict[str, Any]:
        """What the event carries."""
        return {
            "model": self.model,
            "version": self.version,
            "reasons": list(self.reasons),
            "config": self.config,
            **({} if self.online is None else {"online": self.online}),
        }


def model_resource(model: str) -> dict[str, str]:
    """A registered model as what an event is about, under Prefect's names."""
    return {"prefect.resource.id": f"recsys.model.{model}", "prefect.resource.name": model}


def announcement(
    model: str,
    version: str,
    event: Literal["promoted", "held"],
    reasons: Sequence[str],
    uri: str,
    batch: config.Batch,
) -> Announcement:
    """What is announced of a version.

    An address with a password in it is left out, because everybody can read events: the program
    that acts on the event has to know the address (MLFLOW_TRACKING_URI).

    Parameters
    ----------
    model, version : str
    event : {"promoted", "held"}
    reasons : sequence of str
    uri : str
        The registry's address.
    batch : config.Batch
    """
    tracking = {"model": model}
    if redacted(uri) == uri:
        tracking["uri"] = uri
    given = {"tracking": tracking, "batch": batch.model_dump()}
    return Announcement(model, version, event, tuple(reasons), given)


@dataclass(frozen=True)
class Promoted:
    """What became of a version, and whether it was champion before."""

    version: str
    decision: Decision
    reused: bool

    def counts(self) -> dict[str, Any]:
        """The version, whether it is champion, and why it is held."""
        return {
            "version": self.version,
            "champion": self.decision.ending is Ending.PROMOTED,
            "held": "; ".join(self.decision.reasons),
        }


def promote(
    tracked: Tracked,
    locks: Path,
    version: str,
    judged: Judged,
    batch: config.Batch,
    announce: Callable[[Announcement], None],
    online: config.Online | None = None,
) -> Promoted:
    """Make a version champion, or hold it, and announce which.

    Parameters
    ----------
    tracked : Tracked
    locks : Path
        Folder for a lock that runs on a tracking server share.
    version : str
    judged : Judged
        What the gate decided.
    batch : config.Batch
        For those who write lists when a version is promoted.
    announce : callable
        Is given the announcement, unless the version's last one was the same.
    online : Online or None
        Where the version has to win before it is promoted; None: nowhere.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    registry = tracked.registry()
    with registry.locked(locks):
        uri = tracked.tracking.uri

        def won(number: str, why: str, verdict: OnlineVerdict | None) -> None:
            said = announcement(tracked.model, number, "promoted", [why], uri, batch)
            announce(replace(said, online=None if verdict is None else verdict.as_dict()))
            registry.tag(number, {ANNOUNCED: "promoted"})

        trial = Settled() if online is None else settle(registry, version, judged, online, won)
        promoted = _move(registry, version, judged, trial)
        decision = promoted.decision
        event: Literal["promoted", "held"] = (
            "promoted" if decision.ending is Ending.PROMOTED else "held"
        )
        # The tag comes last: cut off between the two, an event is announced twice and never not.
        if registry.version(version).tags.get(ANNOUNCED) != event:
            said = announcement(tracked.model, version, event, decision.reasons, uri, batch)
            shown = None if trial.verdict is None else trial.verdict.as_dict()
            announce(replace(said, online=shown))
            registry.tag(version, {ANNOUNCED: event})
    return promoted


def _move(registry: Registry, number: str, judged: Judged, trial: Settled) -> Promoted:
    version, champion = registry.version(number), registry.at(CHAMPION)
    decision = decide(judged, version, registry.standing(), trial.reasons)
    reigned = champion is not None and champion.number == number
    if decision.ending is Ending.PROMOTED and not (reigned and PROMOTED in version.tags):
        against = f"version {judged.champion}" if judged.champion else "popularity"
        shown = f", {trial.verdict.found}" if trial.verdict is not None else ""
        registry.promote(number, by=whoami(), why=f"passed the gate against {against}{shown}")
    return Promoted(number, decision, reigned)
