"""Describing: a verdict in words and columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recsys.online.comparing import Arm, OnlineVerdict, Rate
from recsys.online.sequential import Change

_LONGEST_FORECAST = 10_000.0  # days beyond which nobody waits


def describe(verdict: OnlineVerdict) -> str:
    """The verdict as text, several lines."""
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: OnlineVerdict) -> Iterator[str]:
    yield verdict.found
    yield ""
    yield from columns([_HEAD, *(_row(arm) for arm in verdict.arms)])
    if not verdict.says_seen:
        yield "nothing was posted as seen: all that was shown counts as seen"
    if verdict.shadow is not None:
        yield from ("", _shadow(verdict))
        return
    yield ""
    for name, change in verdict.changes.items():
        yield f"{name}: {describe_change(change)}"
    if verdict.ratio_p is not None:
        yield f"users as they should be split: {_p(verdict.ratio_p)}"
    yield from forecasts(verdict)
    for segment in verdict.segments:
        found = describe_change(segment.change)
        yield f"{segment.kind} {segment.name!r}, {segment.users:,} users: {found}"
    yield (
        f"intervals and p-values are always valid, at {verdict.level:.0%}: they may be looked at "
        "whenever you like"
    )


def describe_change(change: Change | None) -> str:
    """A change with its interval and p-value."""
    if change is None:
        return "too little to compare"
    high = f"{change.high:+.1%}" if change.high < 100 else "any"
    return f"{change.relative:+.1%} ({change.low:+.1%} to {high}), {_p(change.p)}"


def describe_rate(rate: Rate) -> str:
    """A rate with its interval."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.value:.2%} ({rate.low:.2%} to {min(rate.high, 1.0):.2%})"


def forecasts(verdict: OnlineVerdict) -> list[str]:
    """When which change would show, a sentence each."""
    return [
        f"with today's traffic a change of {one.change:.0%} shows "
        + (
            f"in {one.days:,.1f} days, four times in five"
            if one.days < _LONGEST_FORECAST
            else "never"
        )
        for one in verdict.forecasts
    ]


_HEAD = ("", "version", "users", "answers", "shown", "seen", "clicked", "liked", "hidden")


def _row(arm: Arm) -> tuple[str, ...]:
    return (
        arm.side,
        arm.version,
        f"{arm.users:,}",
        f"{arm.answers:,}",
        f"{arm.shown:,}",
        f"{arm.seen:,} {describe_rate(arm.exposure)}",
        f"{arm.clicked:,} {describe_rate(arm.clicked_rate)}",
        f"{arm.liked:,} {describe_rate(arm.liked_rate)}",
        f"{arm.hidden:,} {describe_rate(arm.hidden_rate)}",
    )


def _shadow(verdict: OnlineVerdict) -> str:
    one = verdict.shadow
    assert one is not None
    return (
        f"{one.answers:,} answers with a shadow, {one.faults:,} of which the challenger could not "
        f"give; {one.overlap:.0%} of a list is in both, the first item is the same in "
        f"{one.same_first:.0%}; median {1000 * one.seconds:.1f} ms"
    )


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of text with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
