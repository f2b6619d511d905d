"""Drift: tonight's data profiled, and compared with the profiles of earlier nights, as a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from recsys.bundle import bundle_digest, load_bundle
from recsys.data import persistence
from recsys.data.night_profile import NightProfile, profile_of
from recsys.data.outcomes import Ingested
from recsys.evaluation.drift import Found, Limits, as_dicts, distinct, drift_checks, find_drift
from recsys.evaluation.gate import Check
from recsys.pipeline.outcomes import Drifted, EarlierNight, Fitted
from recsys.store.stages import Stage, stage, write_json
from recsys.tracking.registry import Registry
from recsys.tracking.versions import PROFILE_FILE

PROFILE, FOUND, NIGHTS = "profile.json", "drift.json", "nights.json"


def find_nights(registry: Registry, fitted: Stage[Fitted], most: int) -> tuple[EarlierNight, ...]:
    """The profiles of the last nights before a fitted bundle, the latest last.

    Those whose profile is not among the files of its run any more are left out.

    Parameters
    ----------
    registry : Registry
    fitted : Stage
    most : int
    """
    digest = bundle_digest(load_bundle(fitted.file("bundle")).manifest)
    versions = registry.nights_before(digest, most)
    profiles = [registry.read_json(version, PROFILE_FILE) for version in versions]
    return tuple(
        EarlierNight(version.number, profile)
        for version, profile in zip(versions, profiles, strict=True)
        if profile is not None
    )


@stage(Drifted, version=1)
def drift(
    folder: Path, data: Stage[Ingested], nights: tuple[EarlierNight, ...], limits: Limits
) -> Drifted:
    """Profile tonight's data, as they were read, and compare them with earlier `nights`."""
    ingested = Path(data.path)
    items = persistence.load_ids(ingested / "items.parquet", "item")
    tonight = profile_of(
        persistence.load_interactions(ingested, items),
        persistence.load_features(ingested, "item"),
        persistence.load_features(ingested, "user"),
        data.outcome.rejected,
        data.outcome.rows,
    )
    text = json.dumps(tonight.as_dict(), ensure_ascii=False)
    (folder / PROFILE).write_text(text, encoding="utf-8")
    # What another release wrote in another way is no night to compare with.
    known = {
        night.version: profile
        for night in nights
        if (profile := NightProfile.from_dict(night.profile)) is not None
    }
    before = distinct(list(known.values()), tonight)
    found = find_drift(tonight, before, limits)
    write_json(folder / FOUND, as_dicts(found))
    totals = {
        version: {name: getattr(profile, name) for name in ("likes", "users", "items")}
        for version, profile in {**known, "": tonight}.items()
        if not version or any(profile is one for one in before)
    }
    write_json(folder / NIGHTS, totals)
    return Drifted(
        len(before),
        len(found),
        tuple(one.text for one in found if one.drifts),
        hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
    )


def load_found(drifted: Stage[Drifted]) -> list[Found]:
    """What the stage found, of every figure that it compared."""
    return [Found(**one) for one in drifted.read_json(FOUND)]


def checks_of(drifted: Stage[Drifted] | None, holds: Collection[str]) -> tuple[Check, ...]:
    """What the gate says of drift; nothing where it was not looked for."""
    if drifted is None:
        return ()
    return tuple(drift_checks(load_found(drifted), drifted.outcome.nights, holds))
