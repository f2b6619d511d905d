"""Online trial: a version that passed the gate has to win with real users before it is champion.

The alias `challenger` stays with the version on trial until that is settled, whatever is registered
in the nights between, so that servers go on comparing the same two versions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recsys.base.config import Online
from recsys.base.errors import NotFoundError, RecsysError
from recsys.online.comparing import Decision, OnlineVerdict, compare_online, find_comparison
from recsys.online.online_log import configured_log
from recsys.pipeline.outcomes import Judged
from recsys.tracking.registry import Registry, whoami
from recsys.tracking.versions import CHAMPION, ROLLED_BACK, Version

ONLINE = "online"  # tag: what became of a version online
WAITING, WON, LOST = "on trial", "won", "lost"


@dataclass(frozen=True)
class Settled:
    """What the trial means for tonight's version.

    Parameters
    ----------
    reasons : tuple of str
        Why it is held, if it is.
    verdict : OnlineVerdict or None
        Of tonight's version, if it was on trial.
    """

    reasons: tuple[str, ...] = ()
    verdict: OnlineVerdict | None = None


Announce = Callable[[str, str, OnlineVerdict | None], None]
"""Given a version that became champion, why, and its verdict."""


def settle(
    registry: Registry, number: str, judged: Judged, options: Online, announce: Announce
) -> Settled:
    """Look how the trial stands, and promote the version on trial if it has won.

    Parameters
    ----------
    registry : Registry
        Locked by the caller.
    number : str
        Tonight's version.
    judged : Judged
        What the gate decided of it.
    options : Online
    announce : callable

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    champion = registry.at(CHAMPION)
    if champion is None or champion.number == number:
        return Settled()
    if champion.tags.get(ONLINE) == WAITING:  # cut off after it was promoted
        announce(champion.number, champion.tags.get("promoted_why", ""), None)
        registry.tag(champion.number, {ONLINE: WON})
    tried = _on_trial(registry, champion)
    verdict, unread = (None, "")
    if tried is not None:
        verdict, unread = _verdict(options, registry.model, champion.number, tried.number)
    if tried is not None and verdict is not None and verdict.settled:
        registry.tag(tried.number, {f"{ONLINE}_why": verdict.found})
        if verdict.decision is Decision.LOST:
            registry.tag(tried.number, {ONLINE: LOST})
            tried = None
        elif tried.number == number:
            registry.tag(number, {ONLINE: WON})
            return Settled((), verdict)
        else:
            registry.promote(tried.number, by=whoami(), why=verdict.found)
            announce(tried.number, verdict.found, verdict)
            registry.tag(tried.number, {ONLINE: WON})
            registry.challenge(number)
            return Settled((f"version {tried.number} has won online and is champion now",))
    return _of_tonight(registry, number, judged, champion, tried, verdict, unread)


def _of_tonight(
    registry: Registry,
    number: str,
    judged: Judged,
    champion: Version,
    tried: Version | None,
    verdict: OnlineVerdict | None,
    unread: str,
) -> Settled:
    """Why tonight's version waits; it goes on trial if it may and no other one is."""
    if tried is not None:
        registry.challenge(tried.number)
        so_far = unread or (verdict.found if verdict else "no answers yet")
        if tried.number == number:
            return Settled((f"has not won online yet: {so_far}",), verdict)
        return Settled((f"version {tried.number} is compared online first: {so_far}",))
    state = registry.version(number).tags
    if state.get(ONLINE) == WON:
        return Settled()
    if state.get(ONLINE) == LOST:
        return Settled((f"lost online: {state.get(f'{ONLINE}_why', '')}",))
    if judged.reasons or judged.champion != champion.number:
        return Settled()  # held anyhow, and on no trial
    registry.tag(number, {ONLINE: WAITING})
    registry.challenge(number)
    why = f"passed, and has to win online against version {champion.number} first (gate.online)"
    return Settled((why,))


def _on_trial(registry: Registry, champion: Version) -> Version | None:
    """The version that is compared with the champion, if one is."""
    return next(
        (
            version
            for version in registry.versions()
            if version.tags.get(ONLINE) == WAITING
            and ROLLED_BACK not in version.tags
            and version.number != champion.number
        ),
        None,
    )


def _verdict(
    options: Online, model: str, champion: str, challenger: str
) -> tuple[OnlineVerdict | None, str]:
    """What the log says of two versions; or why it says nothing."""
    try:
        log = configured_log(options, model)
        compared = find_comparison(log, model, champion, challenger)
        return compare_online(log, compared, options), ""
    except NotFoundError:
        return None, ""
    except RecsysError as fault:  # a log that is away holds a version, and fails no night
        return None, str(fault)
