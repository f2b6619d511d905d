"""Drift: how tonight's data differ from those of the last nights, by their profiles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from recsys.data.night_profile import OTHERS, SKETCHED, NightProfile
from recsys.evaluation.gate import Check, Condition
from recsys.evaluation.stability import (
    change_score,
    count_score,
    share_score,
    stability_by_chance,
    stability_index,
    stability_of_bins,
)

SIGMAS = 3.0
"""Standard deviations that a count or share may differ by, as on Shewhart's control charts."""
LEAST_SHARE = 0.01
"""Shares that differ by less than this are not worth a word, however rare they were."""
COMPARED = 20
"""Of the popular items, and of features, those that are told apart; the others are one bin."""
SINGLE = 3
"""Single features or days that are named, of those that drift."""
COMPLETE = 0.95
"""Share of a day's likes from which on the night that saw them first had the whole day."""
FEWEST_DAYS = 3

LABELS = {
    "likes": "likes",
    "users": "users",
    "items": "items",
    "likes_a_day": "likes a day",
    "likes_a_night": "likes more than the night before",
    "new_users": "new users",
    "lost_users": "lost users",
    "new_items": "new items",
    "lost_items": "lost items",
    "likes_a_user": "likes a user",
    "likes_an_item": "likes an item",
    "popular_items": "popular items",
    "tags": "tags",
    "user_features": "user features",
    "rejected_rows": "rows left out",
    "ages": "ages of likes",
}
"""How a person reads what is compared."""


@dataclass(frozen=True)
class Found:
    """What was found of one quantity.

    Parameters
    ----------
    name : str
        One of `LABELS`.
    about : str
        Which one, such as a day, a feature or a reason; '' for the whole.
    tonight, usual : str
        As a person reads them.
    statistic : {"PSI", "z"}
        The population stability index of a distribution, or standard deviations of a count or
        share.
    score : float
    limit : float
        What the score, or its size, is above where this drifts.
    drifts : bool
    """

    name: str
    about: str
    tonight: str
    usual: str
    statistic: str
    score: float
    limit: float
    drifts: bool

    @property
    def label(self) -> str:
        """What a person reads."""
        return f"{LABELS[self.name]} {self.about}".strip()

    @property
    def text(self) -> str:
        """In a sentence."""
        told = f"{self.statistic} {self.score:.2f}"
        return f"{self.label}: {self.tonight}, usually {self.usual} ({told})"


@dataclass(frozen=True)
class Limits:
    """From where on something drifts.

    Parameters
    ----------
    psi : float
        Population stability index of a distribution.
    factor : float
        How many times the usual, or the usual of tonight's, a count or share is. It has to differ
        by more than `SIGMAS` as well, as an index by more than by chance.
    """

    psi: float = 0.1
    factor: float = 1.5


def find_drift(
    tonight: NightProfile, history: Sequence[NightProfile], limits: Limits = Limits()
) -> list[Found]:
    """Compare tonight's data with those of earlier nights.

    Parameters
    ----------
    tonight : NightProfile
    history : sequence of NightProfile
        The nights before, the latest last. Those at the end that are of the same data are
        left out.
    limits : Limits

    Returns
    -------
    list of Found
        Empty where there is nothing to compare with.
    """
    before = distinct(history, tonight)
    if not before:
        return []
    parts: tuple[_Part, ...] = (
        _sizes, _days, _came_and_went, _left_out, _distributions, _features
    )  # fmt: skip
    return [found for part in parts for found in part(tonight, before, limits)]


_Part: TypeAlias = Callable[[NightProfile, Sequence[NightProfile], Limits], Iterable[Found]]


def distinct(history: Sequence[NightProfile], tonight: NightProfile) -> list[NightProfile]:
    """The nights of data that differ from those of the night after: data seen twice count once."""
    return [one for one, after in pairwise([*history, tonight]) if one != after]


def drift_checks(found: Sequence[Found], nights: int, holds: Collection[str]) -> list[Check]:
    """What the gate says of drift: a condition for each quantity that drifts, or one for all.

    Parameters
    ----------
    found : sequence of Found
    nights : int
        How many were compared with.
    holds : collection of str
        Of what it holds the challenger; the rest is said and passes.
    """
    if not nights:
        return [Check(Condition.DRIFT, True, "no earlier nights", "data as in earlier nights")]
    checks = [
        Check(
            Condition.DRIFT,
            one.name not in holds,
            f"{one.tonight} ({one.statistic} {one.score:.2f})",
            f"about {one.usual}"
            + ("" if one.name in holds else "; a warning, which does not hold"),
            one.label,
        )
        for one in found
        if one.drifts
    ]
    wanted = f"as in the last {_nights(nights)}"
    return checks or [Check(Condition.DRIFT, True, f"none in {len(found)} figures", wanted)]


def drift_metrics(found: Sequence[Found]) -> dict[str, float]:
    """What was found, under MLflow's names.

    Returns
    -------
    dict of str to float
        `drift/tags_psi`, `drift/likes_z` and so on, the farthest of each name, and how many
        quantities drift (`drift/found`).
    """
    if not found:
        return {}
    metrics: dict[str, float] = {}
    for one in found:
        name = f"drift/{one.name}_{one.statistic.lower()}"
        if abs(one.score) >= abs(metrics.get(name, 0.0)):
            metrics[name] = one.score
    return metrics | {"drift/found": float(sum(one.drifts for one in found))}


def as_dicts(found: Sequence[Found]) -> list[dict[str, Any]]:
    """What was found, ready for JSON."""
    return [asdict(one) for one in found]


def _nights(nights: int) -> str:
    return "night" if nights == 1 else f"{nights} nights"


def _sizes(
    tonight: NightProfile, before: Sequence[NightProfile], limits: Limits
) -> Iterator[Found]:
    """How many likes, users and items there are, and how many likes more than the night before."""
    for name in ("likes", "users", "items"):
        yield _of_count(
            name, "", getattr(tonight, name), [getattr(p, name) for p in before], limits
        )
    if tonight.days is not None or len(before) <= FEWEST_DAYS:
        return
    totals = [profile.likes for profile in (*before, tonight)]
    *usual, now = np.diff(totals).tolist()
    middle = median(usual)
    # Where as much goes as comes, the usual change is none: then a hundredth of all is the scale.
    far = abs(now - middle) > (limits.factor - 1) * max(abs(middle), LEAST_SHARE * totals[-2])
    yield _judged(
        "likes_a_night", "", f"{now:+,}", f"{middle:+,.0f}", change_score(now, usual), far
    )


def _days(tonight: NightProfile, before: Sequence[NightProfile], limits: Limits) -> list[Found]:
    """Likes on the days that are new, each compared with the same days of the weeks before.

    The newest day counts where nights so far had the whole of it.
    """
    seen = [profile.days for profile in before if profile.days]
    if not (seen and tonight.days):
        return []
    newest = max(tonight.days)
    whole = _newest_day_is_whole([*seen, tonight.days])
    last = max(max(days) for days in seen)
    known = {day: likes for days in seen for day, likes in days.items() if whole or day < max(days)}
    new = [day for day in tonight.days if (day > last if whole else last <= day < newest)]
    found = []
    for day in new:
        usual = _like_this_day(day, known)
        if len(usual) >= FEWEST_DAYS:
            found.append(_of_count("likes_a_day", day, tonight.days[day], usual, limits))
    return _farthest(found) or found[-1:]


def _newest_day_is_whole(nights: Sequence[Mapping[str, int]]) -> bool:
    """Whether nights usually know all likes of their newest day, by what the next one has of it."""
    shares = [
        earlier[max(earlier)] / later[max(earlier)]
        for earlier, later in pairwise(nights)
        if later.get(max(earlier))
    ]
    return bool(shares) and median(shares) >= COMPLETE


def _like_this_day(day: str, known: Mapping[str, int]) -> list[int]:
    """The likes on the same day of other weeks, where there are enough weeks, else on all days."""
    same = [n for other, n in known.items() if _weekday(other) == _weekday(day)]
    return same if len(same) >= FEWEST_DAYS else list(known.values())


def _weekday(day: str) -> int:
    return date.fromisoformat(day).weekday()


def _came_and_went(
    tonight: NightProfile, before: Sequence[NightProfile], limits: Limits
) -> Iterator[Found]:
    """Users and items that are new since the night before, and those that are gone, as shares."""
    for kind in ("user", "item"):
        nights = (*before, tonight)
        sketches = [getattr(profile, f"{kind}_sketch") for profile in nights]
        gone = [profile.forgotten if kind == "user" else 0 for profile in nights]
        changes = [
            new_and_lost(*pair, forgotten=deleted)
            for pair, deleted in zip(pairwise(sketches), pairwise(gone), strict=True)
        ]
        *earlier, now = changes
        for place, change in enumerate(("new", "lost")):
            usual = [pair[place] for pair in earlier]
            if usual:
                observed = min(len(sketches[-2]), len(sketches[-1]))
                yield _of_share(f"{change}_{kind}s", "", now[place], usual, observed, limits)


def new_and_lost(
    before: Sequence[str],
    after: Sequence[str],
    size: int = SKETCHED,
    forgotten: tuple[int, int] = (0, 0),
) -> tuple[float, float]:
    """The shares of a set that an earlier one has not, and of the earlier one that it has not.

    Parameters
    ----------
    before, after : sequence of str
        Sketches, see `recsys.data.night_profile.sketch`. A sketch of the full size knows nothing
        beyond its largest hash, so the sets are compared as far as that.
    size : int
        Of a full sketch.
    forgotten : (int, int)
        Hashes that were deleted from each, which it was full with. What one of them has and the
        other forgot counts as new or lost: next to nothing of 512.
    """
    bounds = [
        one[-1]
        for one, deleted in zip((before, after), forgotten, strict=True)
        if one and len(one) + deleted >= size
    ]
    old, new = (
        {text for text in one if not bounds or text <= min(bounds)} for one in (before, after)
    )
    return len(new - old) / max(1, len(new)), len(old - new) / max(1, len(old))


def _left_out(
    tonight: NightProfile, before: Sequence[NightProfile], limits: Limits
) -> Iterator[Found]:
    """The share of the rows of each file that are left out, for each reason."""
    for part, rows in tonight.rows.items():
        earlier = [profile for profile in before if profile.rows.get(part)]
        if not rows or not earlier:
            continue
        everything = [profile.left_out.get(part, {}) for profile in (*earlier, tonight)]
        for reason in dict.fromkeys(reason for counted in everything for reason in counted):
            share = everything[-1].get(reason, 0) / rows
            usual = [
                counted.get(reason, 0) / profile.rows[part]
                for counted, profile in zip(everything, earlier, strict=False)
            ]
            yield _of_share("rejected_rows", f"of {part}: {reason}", share, usual, rows, limits)


def _distributions(
    tonight: NightProfile, before: Sequence[NightProfile], limits: Limits
) -> Iterator[Found]:
    """How likes are spread over users, over items, and over ages."""
    bins: tuple[tuple[str, str, Callable[[int], str]], ...] = (
        ("likes_a_user", "users", _power_of_two),
        ("likes_an_item", "items", _power_of_two),
        ("ages", "users", _age),
    )
    for name, counted, label in bins:
        now = getattr(tonight, name)
        earlier = [profile for profile in before if getattr(profile, name)]
        if not now or not earlier:
            continue
        longest = max(len(now), *(len(getattr(profile, name)) for profile in earlier))
        histograms = [_padded(getattr(profile, name), longest) for profile in (*earlier, tonight)]
        observed = [getattr(profile, counted) for profile in (*earlier, tonight)]
        labels = [label(place) for place in range(longest)]
        yield _of_distribution(name, labels, histograms, observed, limits)


def _features(
    tonight: NightProfile, before: Sequence[NightProfile], limits: Limits
) -> Iterator[Found]:
    """Which items and features likes go to, and single features that many more or fewer go to."""
    for name, attribute in (
        ("popular_items", "popular"), ("tags", "tags"), ("user_features", "user_features")
    ):  # fmt: skip
        now = _counted(tonight, attribute)
        earlier = [profile for profile in before if _counted(profile, attribute)]
        if not now or not earlier:
            continue
        nights = [_counted(profile, attribute) for profile in (*earlier, tonight)]
        compared = _told_apart(nights)
        histograms = [_of_named(counts, compared) for counts in nights]
        observed = [profile.users for profile in (*earlier, tonight)]
        labels = [*compared, "others"]
        yield _of_distribution(name, labels, histograms, observed, limits)
        if name != "popular_items":
            yield from _single(name, labels, histograms, min(observed), limits)


def _single(
    name: str,
    labels: Sequence[str],
    histograms: Sequence[Sequence[float]],
    observed: int,
    limits: Limits,
) -> list[Found]:
    """Single features that drift: one of many may double while the mix hardly changes."""
    shares = [np.asarray(one) / max(1.0, sum(one)) for one in histograms]
    found = [
        _of_share(
            name, labels[place], shares[-1][place], [one[place] for one in shares[:-1]],
            observed, limits,
        )
        for place in range(len(labels) - 1)
    ]  # fmt: skip
    return _farthest(found)


def _farthest(found: Sequence[Found]) -> list[Found]:
    """The few that drift most."""
    return sorted((one for one in found if one.drifts), key=lambda one: -abs(one.score))[:SINGLE]


def _counted(profile: NightProfile, attribute: str) -> dict[str, int]:
    """The likes of popular items or of features by name, and of all others together."""
    counts = dict(getattr(profile, attribute) or {})
    if attribute == "popular":
        counts[OTHERS] = profile.likes - sum(counts.values())
    return counts


def _told_apart(nights: Sequence[Mapping[str, int]]) -> list[str]:
    """The names with most counts of all nights together, those with most first.

    Those of the earlier nights alone would all have been large by chance, in part.
    """
    total: dict[str, int] = {}
    for counts in nights:
        for name, count in counts.items():
            if name != OTHERS:
                total[name] = total.get(name, 0) + count
    return sorted(total, key=lambda name: (-total[name], name))[:COMPARED]


def _of_named(counts: Mapping[str, int], names: Sequence[str]) -> list[float]:
    """The counts of names, and of all else; names that a night did not keep are among these."""
    named = [float(counts.get(name, 0)) for name in names]
    return [*named, sum(counts.values()) - sum(named)]


def _padded(counts: Sequence[int], length: int) -> list[float]:
    return [*map(float, counts), *[0.0] * (length - len(counts))]


def _of_distribution(
    name: str,
    labels: Sequence[str],
    histograms: Sequence[Sequence[float]],
    observed: Sequence[int],
    limits: Limits,
) -> Found:
    """A distribution by the index against the mean of the earlier nights; the last is tonight's."""
    now = np.asarray(histograms[-1], np.float64)
    usual = np.mean(np.asarray(histograms[:-1], np.float64), axis=0)
    filled = (now > 0) | (usual > 0)
    now, usual = now[filled], usual[filled]
    score = stability_index(usual, now)
    chance = stability_by_chance(len(now), min(observed[:-1]), observed[-1])
    farthest = int(np.argmax(stability_of_bins(usual, now)))
    shares = [float(one[farthest] / max(1.0, one.sum())) for one in (now, usual)]
    label = [text for text, kept in zip(labels, filled, strict=True) if kept][farthest]
    limit = max(limits.psi, chance)
    return Found(
        name, "", f"{shares[0]:.1%} {label}", f"{shares[1]:.1%}", "PSI", score, limit,
        score > limit,
    )  # fmt: skip


def _of_count(name: str, about: str, now: float, before: Sequence[float], limits: Limits) -> Found:
    usual = median(before)
    far = _far(now + 1, usual + 1, limits)
    shown = f"{now:,.0f}", f"{usual:,.0f}"
    return _judged(name, about, *shown, count_score(now, before), far)


def _of_share(
    name: str, about: str, now: float, before: Sequence[float], observed: float, limits: Limits
) -> Found:
    usual = float(median(before))
    far = abs(now - usual) >= LEAST_SHARE and _far(now, usual, limits)
    score = share_score(now, before, observed)
    return _judged(name, about, f"{now:.1%}", f"{usual:.1%}", score, far)


def _far(now: float, usual: float, limits: Limits) -> bool:
    return max(now, usual) > limits.factor * min(now, usual)


def _judged(name: str, about: str, now: str, usual: str, score: float, far: bool) -> Found:
    return Found(name, about, now, usual, "z", score, SIGMAS, far and abs(score) > SIGMAS)


def _power_of_two(place: int) -> str:
    low, high = 2**place, 2 ** (place + 1) - 1
    return f"with {low:,}" if low == high else f"with {low:,} to {high:,}"


def _age(place: int) -> str:
    names = "a day", "a week", "30 days", "90 days", "a year"
    return f"younger than {names[place]}" if place < len(names) else "older than a year"
