"""The gate: whether a challenger may become champion, judged from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from recsys.base.arrays import Float64Array
from recsys.base.config import Gate, Guard
from recsys.evaluation.gone import Gone
from recsys.evaluation.non_inferiority import PairedDifference, level_of_each, paired_difference

NO_CHAMPION = "no champion yet"


class Condition(StrEnum):
    """What a challenger is judged by; the values are what people read."""

    POPULARITY = "beats popularity"
    CHAMPION = "no worse than the champion"
    REFERENCE = "no worse than the reference"
    USERS = "enough users to tell"
    FINITE = "finite numbers"
    COVERAGE = "coverage"
    VARIETY = "variety"
    DATA = "data all there"
    SAME = "the same data"
    GUARD = "guard rail"
    EXPECTATION = "expectation"
    DRIFT = "drift"


@dataclass(frozen=True)
class Check:
    """A condition, and whether the challenger meets it.

    Parameters
    ----------
    name : Condition
    passed : bool
    found, wanted : str
        What was measured and what was required, as a person reads it.
    about : str
        Which one, of a condition that there are several of.
    """

    name: Condition
    passed: bool
    found: str
    wanted: str
    about: str = ""

    @property
    def label(self) -> str:
        """The condition as a person reads it, and which one."""
        return f"{self.name} {self.about}" if self.about else str(self.name)

    def __str__(self) -> str:
        return f"{self.label}: {self.found}, wanted {self.wanted}"


@dataclass(frozen=True)
class Verdict:
    """All checks; the challenger passes if each does."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may become champion."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The conditions that failed; none for a challenger that passes."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def reasons(self) -> list[str]:
        """The failed conditions, a sentence each."""
        return [str(check) for check in self.failed]

    def as_dict(self) -> dict[str, Any]:
        """The verdict, ready for JSON."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """The verdict of what `as_dict` returned."""
        checks = (Check(**check) for check in values["checks"])
        return cls(tuple(replace(check, name=Condition(check.name)) for check in checks))

    def markdown(self) -> str:
        """The checks as a Markdown table."""
        lines = ["| | check | found | wanted |", "| --- | --- | --- | --- |"]
        for check in self.checks:
            mark = "passed" if check.passed else "**failed**"
            lines.append(f"| {mark} | {check.label} | {check.found} | {check.wanted} |")
        return "\n".join(lines)


@dataclass(frozen=True)
class Guarded:
    """A guard rail, and the figures that it is judged by.

    Parameters
    ----------
    guard : Guard
    own, champion : float64 (n,), float, or None
        Of the users concerned, or of all lists together; None where there is nothing to compare.
    missing : str
        Why there is not.
    unknown : bool
        Whether that is because there is no such segment.
    """

    guard: Guard
    own: Float64Array | float | None
    champion: Float64Array | float | None
    missing: str = ""
    unknown: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a challenger is judged on.

    Parameters
    ----------
    own, popularity : float64 (n,)
        precision_at_5 of the test users, and of those of further folds, of the challenger's
        configuration and of popularity.
    champion : float64 (n,) or None
        That of the champion's configuration, refit on the same data; None if there is none.
    missing : str
        Why there is none.
    reference : float64 (n,) or None
        That of the best configuration so far, refit on the same data; None if there is nothing to
        compare with.
    no_reference : str
        Why there is nothing.
    guarded : tuple of Guarded
        The owner's guard rails.
    expected : tuple of Check
        What was found of the owner's expectations.
    drifted : tuple of Check
        What was found of tonight's data against those of earlier nights.
    finite : bool
        Whether all numbers of the challenger are finite.
    coverage : float
        Attainable coverage: the number of different items in its lists, as a share of what they
        could have at most.
    list_overlap : float
        Mean list overlap: the share of a list that two users have in common.
    gone : mapping or None
        What of the champion's data is not there tonight, by id; None without a champion.
    more_likes : float
        The number of interactions that the challenger was trained on, relative to the champion's,
        minus one.
    shared : mapping or None
        The shares of the champion's users and items that the challenger knows.
    """

    own: Float64Array
    popularity: Float64Array
    champion: Float64Array | None
    missing: str
    finite: bool
    coverage: float
    list_overlap: float
    gone: Mapping[str, Gone] | None = None
    more_likes: float = 0.0
    shared: Mapping[str, float] | None = None
    reference: Float64Array | None = None
    no_reference: str = NO_CHAMPION
    guarded: tuple[Guarded, ...] = ()
    expected: tuple[Check, ...] = ()
    drifted: tuple[Check, ...] = ()


def judge(evidence: Evidence, limits: Gate) -> Verdict:
    """Check every condition.

    Parameters
    ----------
    evidence : Evidence
    limits : Gate

    Raises
    ------
    ValueError
        If the scores are not of the same users, or there are none.
    """
    against_champion = compared(evidence.own, evidence.champion, limits.level)
    against_reference = compared(evidence.own, evidence.reference, reference_level(limits))
    told = [found for found in (against_champion, against_reference) if found is not None]
    return Verdict(
        (
            beats_popularity(evidence.own, evidence.popularity, limits),
            no_worse(Condition.CHAMPION, against_champion, limits, evidence.missing),
            no_worse(Condition.REFERENCE, against_reference, limits, evidence.no_reference),
            enough_users(told, limits),
            Check(Condition.FINITE, evidence.finite, "all" if evidence.finite else "not", "all"),
            Check(
                Condition.COVERAGE,
                evidence.coverage >= limits.coverage,
                f"{evidence.coverage:.2%} of what lists could show",
                f"at least {limits.coverage:.2%}",
            ),
            Check(
                Condition.VARIETY,
                evidence.list_overlap <= limits.list_overlap,
                f"two users share {evidence.list_overlap:.0%} of a list",
                f"at most {limits.list_overlap:.0%}",
            ),
            not_shrunken(evidence.gone, evidence.more_likes, limits),
            same_data(evidence.shared, limits),
            *(guard_rail(guarded, limits) for guarded in evidence.guarded),
            *evidence.expected,
            *evidence.drifted,
        )
    )


def compared(
    own: Float64Array, other: Float64Array | None, level: float
) -> PairedDifference | None:
    """The challenger's scores against another's of the same users; None if there are none."""
    return None if other is None else paired_difference(own, other, level)


def reference_level(limits: Gate) -> float:
    """The level of one comparison with the reference, which holds for several nights together."""
    return level_of_each(limits.level, max(1, limits.reference_nights))


def beats_popularity(own: Float64Array, popularity: Float64Array, limits: Gate) -> Check:
    """Check that the challenger is significantly better than popularity.

    Parameters
    ----------
    own, popularity : float64 (n,)
        precision_at_5 of the same users.
    limits : Gate
    """
    ahead = paired_difference(own, popularity, limits.level)
    return Check(
        Condition.POPULARITY,
        ahead.low > limits.popularity_margin,
        _as_text(ahead),
        f"lower end above {limits.popularity_margin:g}",
    )


def no_worse(
    name: Condition, ahead: PairedDifference | None, limits: Gate, missing: str = NO_CHAMPION
) -> Check:
    """Check that the challenger loses less than a margin against another configuration.

    Not to be significantly worse is no such proof: the fewer users there are, the worse a model
    may be without its showing.

    Parameters
    ----------
    name : Condition
    ahead : PairedDifference or None
        The challenger against the champion's configuration, or the reference's; None if there is
        none to be compared with.
    limits : Gate
    missing : str
        Why there is none.
    """
    loss = limits.champion_loss
    if ahead is None:
        return Check(name, True, missing, f"lower end above {-loss:.1%} of its mean")
    found = f"{_as_text(ahead)}, {_share(ahead.mean, ahead)} of {ahead.other:.4f}"
    wanted = f"lower end above {-ahead.margin(loss):.4f}, which is {-loss:.1%}"
    return Check(name, ahead.non_inferior(loss), found, wanted)


def enough_users(told: Sequence[PairedDifference], limits: Gate) -> Check:
    """Check that there are enough users to tell whether the challenger loses less than the margin.

    Parameters
    ----------
    told : sequence of PairedDifference
        What the challenger was compared with; may be empty.
    limits : Gate
    """
    name, loss = Condition.USERS, limits.champion_loss
    if not told:
        return Check(name, True, "nothing to compare with", f"users that tell {loss:.1%}")
    noticed = max(told, key=lambda ahead: ahead.detectable)
    if not noticed.detectable:
        found = f"no difference for any of {noticed.users:,} users"
        return Check(name, True, found, f"users that tell {loss:.1%}")
    undecided = [ahead for ahead in told if ahead.undecided(loss)]
    needed = [ahead.users_needed(loss) for ahead in undecided or told]
    enough = "more" if None in needed else f"about {max(n or 0 for n in needed):,}"
    found = (
        f"{noticed.users:,} users would show a loss of "
        f"{_share(noticed.detectable, noticed, sign='')} four nights in five"
    )
    if undecided:
        found += ", too few to tell"
    return Check(name, not undecided, found, f"{enough} users for {loss:.1%} of an equal model")


def guard_rail(guarded: Guarded, limits: Gate) -> Check:
    """Check that a figure that the owner cares about loses less than its margin.

    Of a metric of each user the lower end of the interval counts, as for the champion. A metric of
    all lists together has no interval, so its own value counts; of `gini` and
    `popularity_percentile`, less is better.

    Parameters
    ----------
    guarded : Guarded
    limits : Gate
    """
    guard, name = guarded.guard, Condition.GUARD
    wanted = f"lower end above {0 - guard.margin:.1%} of the champion's"
    own, champion = guarded.own, guarded.champion
    if own is None or champion is None:
        return Check(name, not guarded.unknown, guarded.missing, wanted, guard.label)
    if isinstance(own, float) or isinstance(champion, float):
        less_is_better = not guard.metric.startswith("coverage")
        before = float(champion)
        lost = (float(own) - before) * (1 if less_is_better else -1)
        return Check(
            name,
            lost <= guard.margin * abs(before),
            f"{float(own):.4f}, the champion's {before:.4f}",
            f"at most {guard.margin:.1%} {'above' if less_is_better else 'below'} it",
            guard.label,
        )
    ahead = paired_difference(own, champion, limits.level)
    found = f"{_as_text(ahead)}, {_share(ahead.mean, ahead)} of {ahead.other:.4f}"
    if ahead.undecided(guard.margin):
        found += ", too few to tell"
    return Check(name, ahead.non_inferior(guard.margin), found, wanted, guard.label)


def label_of(check: Mapping[str, Any]) -> str:
    """The label of a check as `Verdict.as_dict` has it, of an earlier release too."""
    return f"{check['name']} {check.get('about', '')}".strip()


def not_shrunken(gone: Mapping[str, Gone] | None, more_likes: float, limits: Gate) -> Check:
    """Check that not much is gone of what the champion was made from.

    A model of half a delivery, or of ids that are written in another way, trains and measures
    well, so that only this shows it.

    Parameters
    ----------
    gone : mapping of str to Gone, or None
        See `recsys.evaluation.gone.find_gone`; None if there is no champion.
    more_likes : float
        The change in the number of interactions, as a share of the champion's.
    limits : Gate
    """
    name, wanted = Condition.DATA, f"at most {limits.shrink:.0%} gone, by their ids"
    if gone is None:
        return Check(name, True, NO_CHAMPION, wanted)
    passed = more_likes >= -limits.shrink and all(
        part.share <= limits.shrink for part in gone.values()
    )
    found = [f"{kind} {part}" for kind, part in gone.items()]
    return Check(name, passed, ", ".join([*found, f"interactions {more_likes:+.1%}"]), wanted)


def same_data(shared: Mapping[str, float] | None, limits: Gate) -> Check:
    """Check that these are data of the same users or items as the champion's.

    Two files of the same name, of two shops, would otherwise take turns as one model.

    Parameters
    ----------
    shared : mapping of str to float, or None
        The shares of the champion's `users` and `items` that the challenger knows; None if there
        is no champion.
    limits : Gate
    """
    name = Condition.SAME
    wanted = f"{limits.shared:.0%} of either; other data need a name of their own, tracking.model"
    if shared is None:
        return Check(name, True, NO_CHAMPION, wanted)
    found = " and ".join(f"{part:.0%} of the champion's {side}" for side, part in shared.items())
    return Check(name, max(shared.values()) >= limits.shared, f"{found} are known", wanted)


def _as_text(ahead: PairedDifference) -> str:
    return (
        f"ahead by {ahead.mean:+.4f} ({ahead.low:+.4f} to {ahead.high:+.4f}), {ahead.users:,} users"
    )


def _share(amount: float, ahead: PairedDifference, sign: str = "+") -> str:
    """An amount as a share of the other model's mean."""
    return f"{amount / abs(ahead.other):{sign}.1%}" if ahead.other else f"{amount:{sign}.4f}"
