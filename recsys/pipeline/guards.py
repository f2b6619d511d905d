"""Guard rails: the owner's metrics on the owner's segments, of the challenger and the champion."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.base import config
from recsys.evaluation.gate import Guarded
from recsys.evaluation.segments import Segment, Segments
from recsys.pipeline.rivals import Rivals
from recsys.ranking.metrics import Evaluation


def guard_rails(
    guards: Sequence[config.Guard], segments: Segments, own: Evaluation, rivals: Rivals
) -> tuple[Guarded, ...]:
    """What each guard rail is judged by.

    Parameters
    ----------
    guards : sequence of config.Guard
    segments : Segments
    own : Evaluation
        The challenger's.
    rivals : Rivals
        Of which the champion counts.
    """
    return tuple(_guarded(guard, segments, own, rivals) for guard in guards)


def _guarded(guard: config.Guard, segments: Segments, own: Evaluation, rivals: Rivals) -> Guarded:
    segment: Segment | None = None
    if guard.segment is not None:
        segment = segments.named(guard.segment)
        if segment is None:
            known = ", ".join(one.name for one in segments.standard())
            return Guarded(guard, None, None, f"nothing is held out of it; there are {known}", True)
    champion = rivals.champion
    if champion is None:
        return Guarded(guard, None, None, rivals.missing)
    if guard.of_catalogue:
        return Guarded(guard, own.catalogue[guard.metric], champion.catalogue[guard.metric])
    values = [
        (one.per_user if segment is None else segment.per_user(one))[guard.metric]
        for one in (own, champion)
    ]
    return Guarded(guard, values[0], values[1])
