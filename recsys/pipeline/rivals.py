"""Rivals: the configurations that a challenger is compared with, refit and measured tonight."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.errors import RecsysError
from recsys.bundle import Bundle, bundle_digest, load_bundle
from recsys.data.folds import Fold
from recsys.data.outcomes import Encoded
from recsys.data.splits import not_ranked
from recsys.evaluation.gate import NO_CHAMPION, compared, reference_level
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.segments import ks_of
from recsys.models.configuration import with_current_names
from recsys.pipeline.fitting import refit
from recsys.pipeline.outcomes import Fitted, Reference, Rival
from recsys.ranking.metrics import Evaluation, evaluate
from recsys.store.stages import Stage
from recsys.tracking.registry import Registry
from recsys.tracking.versions import BUNDLE

OWN_CONFIGURATION = "the champion's own configuration"
_Found: TypeAlias = tuple[Evaluation | None, str]  # what was measured, or why nothing was


def find_rival(registry: Registry, fitted: Stage[Fitted]) -> tuple[Rival | None, Path | None]:
    """The version that a fitted bundle has to measure up to, and the folder of its bundle."""
    version = registry.rival(bundle_digest(load_bundle(fitted.file("bundle")).manifest))
    if version is None:
        return None, None
    return Rival(version.number, version.tags.get(BUNDLE, "")), registry.bundle(version.number)


def find_reference(
    registry: Registry, fitted: Stage[Fitted], options: config.Gate
) -> Reference | None:
    """The best configuration so far; None where there is none, or none is wanted."""
    if not options.reference_nights:
        return None
    version = registry.reference(bundle_digest(load_bundle(fitted.file("bundle")).manifest))
    if version is None:
        return None
    return Reference(version.number, dict(registry.manifest(version.number)["configuration"]))


@dataclass(frozen=True)
class Refits:
    """What configurations are refit on and measured on tonight, as the winner was.

    Parameters
    ----------
    fold : Fold
    features : Stage
    own : Evaluation
        The winner's, on the fold.
    seed : int
    """

    fold: Fold
    features: Stage[Encoded]
    own: Evaluation
    seed: int

    def measure(self, configuration: Mapping[str, Any]) -> _Found:
        """What a configuration is measured at, or why it is not."""
        fold = self.fold
        known, heldout = fold.known, fold.heldout
        try:
            model = refit(
                known,
                configuration,
                self.features,
                self.seed,
                places=fold.places,
                times=fold.times,
            )
            scorer = model.scorer(known)
        except RecsysError as fault:
            return None, f"its configuration cannot be trained on today's data ({fault.found})"
        without = not_ranked(known, heldout, fold.hidden)
        found = evaluate(scorer, heldout, known=without, ks=ks_of(self.own))
        assert len(found.users) == len(self.own.users), "both were measured on the same holdout"
        return found, ""


@dataclass(frozen=True)
class Rivals:
    """The champion's and the reference's configurations, measured, or why they are not.

    Parameters
    ----------
    champion : Evaluation or None
    missing : str
        Why the champion's was not measured.
    reference : Evaluation or None
    no_reference : str
    """

    champion: Evaluation | None
    missing: str
    reference: Evaluation | None
    no_reference: str

    def beaten(self, own: Evaluation, limits: config.Gate) -> bool:
        """Whether the challenger is shown to be better than the reference, or there is none."""
        if self.reference is None:
            return self.no_reference != OWN_CONFIGURATION
        other = self.reference.per_user[HEADLINE]
        ahead = compared(own.per_user[HEADLINE], other, reference_level(limits))
        return ahead is not None and ahead.low > 0


def measure_rivals(
    challenger: Bundle,
    champion: Bundle | None,
    reference: Reference | None,
    refits: Refits,
    workers: int,
) -> Rivals:
    """Measure each configuration that differs from the challenger's, once, side by side.

    Parameters
    ----------
    challenger : Bundle
    champion : Bundle or None
    reference : Reference or None
    refits : Refits
    workers : int
        Threads, each of which refits one configuration.
    """
    own = _trained(challenger.manifest["configuration"])
    champions = None if champion is None else _trained(champion.manifest["configuration"])
    best = None if reference is None else _trained(reference.configuration)
    why = NO_CHAMPION if champion is None else "not asked for"
    if best is not None and own == champions:
        # Held, the same configuration would go on serving, fitted to older data.
        best, why = None, OWN_CONFIGURATION
    # The same configuration, data and seed: what a refit would give is there already.
    found: list[tuple[dict[str, Any], _Found]] = [(own, (refits.own, ""))]
    wanted = [one for one in (champions, best) if one is not None and one != own]
    wanted = [one for place, one in enumerate(wanted) if one not in wanted[:place]]
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        found += zip(wanted, pool.map(refits.measure, wanted), strict=True)
    (against, missing), (compared_with, no_reference) = (
        next((measured for configuration, measured in found if configuration == one), (None, said))
        for one, said in ((champions, NO_CHAMPION), (best, why))
    )
    return Rivals(against, missing, compared_with, no_reference)


def _trained(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration known users are ranked by, under the names of this release."""
    current = with_current_names(configuration)
    return {name: value for name, value in current.items() if name != "cold_blending"}
