"""Comparing: the log of a comparison turned into rates, changes and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from recsys.base.arrays import Float64Array
from recsys.base.config import Online
from recsys.base.errors import NotFoundError
from recsys.online.arms import SIDES, Comparison
from recsys.online.online_log import DAY, OnlineLog, Tally
from recsys.online.sequential import Change, change_of, days_until, rate_of, sample_ratio_p

MISMATCH = 0.01
"""The p-value of the split below which a comparison says nothing."""
FORECAST = (0.01, 0.02, 0.05, 0.1)
"""Relative changes of which it is said when they would show."""
_RATES = ("exposure", "clicked", "liked", "hidden")


class Decision(StrEnum):
    """What a comparison has shown so far; the values are what people read."""

    WON = "won"
    LOST = "lost"
    UNDECIDED = "undecided"
    TOO_FEW = "too few users"
    MISMATCH = "sample ratio mismatch"
    SHADOW = "in the shadow"


@dataclass(frozen=True)
class Rate:
    """A rate with its always-valid interval; all None where nothing could be counted.

    Parameters
    ----------
    value, low, high : float or None
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Arm:
    """What happened to the recommendations of one version.

    Parameters
    ----------
    side : {"champion", "challenger"}
    version : str
    users, answers, shown, seen, clicked, liked, hidden : int
        Users and answers of an interleaved comparison are of both. The others are items.
    exposure, clicked_rate, liked_rate, hidden_rate : Rate
        Items seen of those shown; clicked, liked and hidden of those seen.
    """

    side: str
    version: str
    users: int
    answers: int
    shown: int
    seen: int
    clicked: int
    liked: int
    hidden: int
    exposure: Rate
    clicked_rate: Rate
    liked_rate: Rate
    hidden_rate: Rate


@dataclass(frozen=True)
class Segment:
    """The change among some of the users or questions; intervals hold for all segments together.

    Parameters
    ----------
    kind : {"query", "user"}
    name : str
    users : int
    change : Change or None
        None where there is too little to compare.
    """

    kind: str
    name: str
    users: int
    change: Change | None


@dataclass(frozen=True)
class Forecast:
    """When a change would show four times in five, with today's traffic.

    Parameters
    ----------
    change : float
        Relative.
    days : float
        From the beginning of the comparison.
    """

    change: float
    days: float


@dataclass(frozen=True)
class Shadow:
    """What the challenger would have shown beside the champion's lists.

    Parameters
    ----------
    answers, faults : int
        Answers with a shadow, and those that the challenger could not give.
    overlap : float
        Mean share of a list that is in the other as well.
    same_first : float
        Share of answers whose first item is the same.
    seconds : float
        Median time that the challenger took.
    """

    answers: int
    faults: int
    overlap: float
    same_first: float
    seconds: float


@dataclass(frozen=True)
class OnlineVerdict:
    """What a comparison has shown so far.

    Parameters
    ----------
    mode : {"split", "shadow", "interleave"}
    champion, challenger : str
        Numbers of the versions.
    metric : {"clicked", "liked"}
        What decides.
    level : float
    decision : Decision
    users : int
        Users with at least one answer.
    days : float
        From the first answer to the last.
    says_seen : bool
        Whether anybody posts what was seen; otherwise all that was shown counts as seen.
    arms : tuple of Arm
        The champion and the challenger.
    changes : dict of str to Change or None
        Of the rates: exposure, clicked, liked, hidden.
    ratio_p : float or None
        The p-value that users were split by the share; None where they are not split.
    forecasts : tuple of Forecast
    segments : tuple of Segment
    shadow : Shadow or None
    """

    mode: str
    champion: str
    challenger: str
    metric: str
    level: float
    decision: Decision
    users: int
    days: float
    says_seen: bool
    arms: tuple[Arm, Arm]
    changes: dict[str, Change | None]
    ratio_p: float | None
    forecasts: tuple[Forecast, ...]
    segments: tuple[Segment, ...]
    shadow: Shadow | None = None

    @property
    def won(self) -> bool:
        """Whether the challenger was shown to be better."""
        return self.decision is Decision.WON

    @property
    def settled(self) -> bool:
        """Whether it was shown which one is better."""
        return self.decision in (Decision.WON, Decision.LOST)

    @property
    def change(self) -> Change | None:
        """The change that decides."""
        return self.changes.get(self.metric)

    @property
    def found(self) -> str:
        """The verdict in one line, for the gate and for people."""
        who = f"version {self.challenger} against version {self.champion}"
        if self.decision is Decision.SHADOW:
            return f"{who}: {self.decision}, which nobody is shown"
        found = f"{who}: {self.decision}, {self.users:,} users in {self.days:.1f} days"
        if (change := self.change) is not None:
            found += (
                f", {self.metric} {change.relative:+.1%} ({change.low:+.1%} to {change.high:+.1%})"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain values, ready for JSON."""
        return {**asdict(self), "decision": str(self.decision), "found": self.found}


def find_comparison(
    log: OnlineLog, model: str, champion: str | None = None, challenger: str | None = None
) -> Comparison:
    """The newest comparison of a model in a log, or of two of its versions.

    Parameters
    ----------
    log : OnlineLog
    model : str
    champion, challenger : str or None
        Numbers of versions; None for any.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    for one, _ in log.comparisons(model):
        if champion in (None, one.champion) and challenger in (None, one.challenger):
            return one
    who = f"version {challenger or 'any'} against version {champion or 'any'}"
    raise NotFoundError(
        f"no comparison of {model} in the log" + (f", {who}" if champion or challenger else ""),
        "answers of two versions, which a server gives where online.mode is set",
        "turn it on (recsys serve --set online.mode=split), or name the log (online.log)",
    )


@dataclass(frozen=True)
class _Counts:
    """Sums of each user in both arms: float64 (n_users, 2)."""

    shown: Float64Array
    seen: Float64Array
    clicked: Float64Array
    liked: Float64Array
    hidden: Float64Array

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> _Counts:
        """The sums of tallies, users in the order in which they come."""
        users = {name: place for place, name in enumerate(dict.fromkeys(t.user for t in tallies))}
        places = np.fromiter((users[one.user] for one in tallies), np.int64, len(tallies))

        def summed(of: Callable[[Tally], tuple[int, int]]) -> Float64Array:
            found = np.zeros((len(users), 2))
            values = np.array([of(one) for one in tallies], np.float64).reshape(-1, 2)
            np.add.at(found, places, values)
            return found

        return cls(
            summed(lambda one: one.shown),
            summed(lambda one: one.seen),
            summed(lambda one: one.clicked),
            summed(lambda one: one.liked),
            summed(lambda one: one.hidden),
        )

    def rate(self, name: str) -> tuple[Float64Array, Float64Array]:
        """Events and exposures of a rate."""
        return (self.seen, self.shown) if name == "exposure" else (getattr(self, name), self.seen)

    def change(self, name: str, options: Online, share: int = 1) -> Change | None:
        """The change of a rate, at a level that holds for as many as `share` together."""
        level = 1 - (1 - options.level) / share
        return change_of(*self.rate(name), options.effect, level)


def compare_online(log: OnlineLog, comparison: Comparison, options: Online) -> OnlineVerdict:
    """Judge a comparison from its log.

    Parameters
    ----------
    log : OnlineLog
    comparison : Comparison
    options : Online
        Metric, level, effect and how many users it takes.

    Raises
    ------
    NotFoundError
        If nothing is in the log.
    StorageError
        If the log cannot be read.
    """
    period = log.period(comparison)
    if period is None:
        raise NotFoundError(
            f"no answers of version {comparison.challenger} against {comparison.champion}",
            "a comparison in the log",
            "turn it on (online.mode) and wait for users",
        )
    days = max((period[1] - period[0]) / DAY, 1e-6)
    tallies, says_seen = log.tallies(comparison)
    counts = _Counts.of(tallies)
    users = _users(tallies, comparison)
    changes = {name: counts.change(name, options) for name in _RATES}
    ratio = _ratio(users, comparison)
    shadowed = comparison.mode == "shadow"
    change = None if shadowed else changes[options.metric]
    return OnlineVerdict(
        comparison.mode,
        comparison.champion,
        comparison.challenger,
        options.metric,
        options.level,
        Decision.SHADOW if shadowed else _decide(users, ratio, change, options),
        len({one.user for one in tallies}),
        days,
        says_seen,
        (
            _arm(0, comparison, tallies, users, counts, options),
            _arm(1, comparison, tallies, users, counts, options),
        ),
        {} if shadowed else changes,
        ratio,
        () if change is None else _forecasts(change, days, options),
        () if shadowed else _segments(tallies, options),
        _shadow(log, comparison) if shadowed else None,
    )


def _users(tallies: Sequence[Tally], comparison: Comparison) -> tuple[int, int]:
    """Users of both arms; of an interleaved comparison everybody is in both."""
    if comparison.mode == "interleave":
        everybody = len({one.user for one in tallies})
        return everybody, everybody
    first, second = (len({one.user for one in tallies if one.arm == side}) for side in SIDES)
    return first, second


def _ratio(users: tuple[int, int], comparison: Comparison) -> float | None:
    if comparison.mode != "split" or not 0 < comparison.share < 1:
        return None
    return sample_ratio_p(*users, comparison.share)


def _decide(
    users: tuple[int, int], ratio: float | None, change: Change | None, options: Online
) -> Decision:
    if ratio is not None and ratio < MISMATCH:
        return Decision.MISMATCH
    if min(users) < options.least_users:
        return Decision.TOO_FEW
    if change is None or not change.decided:
        return Decision.UNDECIDED
    return Decision.WON if change.low > 0 else Decision.LOST


def _arm(
    place: int,
    comparison: Comparison,
    tallies: Sequence[Tally],
    users: tuple[int, int],
    counts: _Counts,
    options: Online,
) -> Arm:
    side = SIDES[place]

    def rate(name: str) -> Rate:
        events, exposures = (column[:, place] for column in counts.rate(name))
        there = exposures > 0
        found = rate_of(events[there], exposures[there], options.effect, options.level)
        return Rate() if found is None else Rate(*found)

    names = ("shown", "seen", "clicked", "liked", "hidden")
    totals = {name: int(getattr(counts, name)[:, place].sum()) for name in names}
    return Arm(
        side,
        getattr(comparison, side),
        users[place],
        sum(one.answers for one in tallies if one.arm in (side, "both")),
        **totals,
        exposure=rate("exposure"),
        clicked_rate=rate("clicked"),
        liked_rate=rate("liked"),
        hidden_rate=rate("hidden"),
    )


def _forecasts(change: Change, days: float, options: Online) -> tuple[Forecast, ...]:
    wanted = sorted({*FORECAST, options.effect})
    return tuple(
        Forecast(one, days_until(one, change.variance, days, options.effect, options.level))
        for one in wanted
    )


def _segments(tallies: Sequence[Tally], options: Online) -> tuple[Segment, ...]:
    """Changes by kind of question and of user; segments of one are left out, being all."""
    found: list[tuple[str, str, list[Tally]]] = []
    for kind, attribute in (("query", "query"), ("user", "segment")):
        groups: dict[str, list[Tally]] = {}
        for one in tallies:
            groups.setdefault(getattr(one, attribute), []).append(one)
        if len(groups) > 1:
            found += [(kind, name, groups[name]) for name in sorted(groups)]
    return tuple(
        Segment(
            kind,
            name,
            len({one.user for one in group}),
            _Counts.of(group).change(options.metric, options, len(found)),
        )
        for kind, name, group in found
    )


def _shadow(log: OnlineLog, comparison: Comparison) -> Shadow:
    rows = log.shadowed(comparison)
    told = [(shown, other) for shown, other, _, fault in rows if not fault]
    overlaps = [
        len({*shown} & {*other}) / max(len(shown), len(other)) if shown or other else 1.0
        for shown, other in told
    ]
    return Shadow(
        len(rows),
        len(rows) - len(told),
        float(np.mean(overlaps)) if told else 0.0,
        float(np.mean([shown[:1] == other[:1] for shown, other in told])) if told else 0.0,
        float(np.median([seconds for _, _, seconds, _ in rows])) if rows else 0.0,
    )
