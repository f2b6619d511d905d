"""Promotion: whether a version becomes champion, and what a run ends in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from recsys.evaluation.gate import Condition
from recsys.pipeline.outcomes import Judged
from recsys.tracking.versions import ROLLED_BACK, Version


class Ending(StrEnum):
    """What became of a version."""

    PROMOTED = "promoted"
    HELD = "held"
    SHRUNKEN = "shrunken"  # held because data are missing: somebody has to look at the delivery


@dataclass(frozen=True)
class Decision:
    """What becomes of a version, and why it is held if it is."""

    ending: Ending
    reasons: tuple[str, ...] = ()


def decide(judged: Judged, version: Version, champion: Version | None) -> Decision:
    """Whether a version becomes champion.

    Parameters
    ----------
    judged : Judged
        What the gate decided.
    version : Version
    champion : Version or None
        The champion now; it may have changed since the version was judged.
    """
    reigning = champion.number if champion is not None else None
    if reigning == version.number:
        return Decision(Ending.PROMOTED)
    reasons = [reason.text for reason in judged.reasons]
    if ROLLED_BACK in version.tags:
        reasons.append(f"rolled back by hand: {version.tags.get(f'{ROLLED_BACK}_why', '')}")
    if reigning != judged.champion:
        reasons.append(
            f"judged against version {judged.champion}, but version {reigning} is champion now"
        )
    if not reasons:
        return Decision(Ending.PROMOTED)
    shrunken = any(reason.condition is Condition.DATA for reason in judged.reasons)
    return Decision(Ending.SHRUNKEN if shrunken else Ending.HELD, tuple(reasons))
