"""The online page: what comparing two versions with real users has shown so far."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.base.config import Online
from recsys.base.errors import NotFoundError
from recsys.online.comparing import Arm, OnlineVerdict, Rate, compare_online, find_comparison
from recsys.online.describing import describe_change, describe_rate, forecasts
from recsys.online.online_log import configured_log

_RATES = (
    ("exposure", "Seen of those shown"),
    ("clicked", "Clicked of those seen"),
    ("liked", "Liked of those seen"),
    ("hidden", "Hidden of those seen"),
)


@dataclass(frozen=True)
class OnlinePage:
    """A comparison for people.

    Parameters
    ----------
    verdict : OnlineVerdict or None
        None if nothing was compared yet.
    counts : tuple of (str, str, str)
        A count's name, the champion's and the challenger's.
    rates : tuple of (str, str, str, str)
        A rate's name, the champion's, the challenger's, and the change.
    segments : tuple of (str, str, str)
        A segment's name, its users, and the change.
    forecasts : tuple of str
        When which change would show.
    others : tuple of str
        Earlier comparisons, a line each.
    """

    verdict: OnlineVerdict | None
    counts: tuple[tuple[str, str, str], ...] = ()
    rates: tuple[tuple[str, str, str, str], ...] = ()
    segments: tuple[tuple[str, str, str], ...] = ()
    forecasts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def online_page(model: str, options: Online) -> OnlinePage:
    """The page of a model's newest comparison.

    Parameters
    ----------
    model : str
    options : Online

    Raises
    ------
    StorageError
        If the log cannot be read.
    """
    log = configured_log(options, model)
    try:
        newest = find_comparison(log, model)
        verdict = compare_online(log, newest, options)
    except NotFoundError:
        return OnlinePage(None)
    others = [compare_online(log, one, options).found for one, _ in log.comparisons(model)[1:11]]
    first, second = verdict.arms
    return OnlinePage(
        verdict,
        tuple(
            (name.capitalize(), f"{getattr(first, name):,}", f"{getattr(second, name):,}")
            for name in ("users", "answers", "shown", "seen", "clicked", "liked", "hidden")
        ),
        tuple(
            (
                label,
                describe_rate(_rate(first, name)),
                describe_rate(_rate(second, name)),
                describe_change(verdict.changes.get(name)),
            )
            for name, label in _RATES
        ),
        tuple(
            (f"{one.kind} {one.name}", f"{one.users:,}", describe_change(one.change))
            for one in verdict.segments
        ),
        tuple(forecasts(verdict)),
        tuple(others),
    )


def _rate(arm: Arm, name: str) -> Rate:
    found = arm.exposure if name == "exposure" else getattr(arm, f"{name}_rate")
    assert isinstance(found, Rate)
    return found
