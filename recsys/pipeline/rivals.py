"""Rivals: the configurations that a challenger is compared with, refit and measured tonight."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.arrays import Float64Array
from recsys.base.errors import RecsysError, StorageError, WorkerError
from recsys.base.events import Note, emit
from recsys.bundle import Bundle, bundle_digest, load_bundle
from recsys.data.folds import Fold
from recsys.data.outcomes import Encoded
from recsys.data.splits import not_ranked
from recsys.evaluation.gate import NO_CHAMPION, compared, reference_level
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.segments import ks_of
from recsys.models.configuration import with_current_names
from recsys.models.spreading import Spread
from recsys.pipeline.fitting import refit
from recsys.pipeline.further_users import FurtherUsers
from recsys.pipeline.outcomes import Fitted, Reference, Rival
from recsys.ranking.metrics import Evaluation, evaluate
from recsys.store.stages import Stage
from recsys.tracking.registry import Registry
from recsys.tracking.versions import BUNDLE

OWN_CONFIGURATION = "the champion's own configuration"
NOBODY: Float64Array = np.empty(0)
# What was measured, or why nothing was, and precision_at_5 of further users.
_Found: TypeAlias = tuple[Evaluation | None, str, Float64Array]


def find_rival(registry: Registry, fitted: Stage[Fitted]) -> tuple[Rival | None, Path | None]:
    """The version that a fitted bundle has to measure up to, and the folder of its bundle."""
    version = registry.rival(bundle_digest(load_bundle(fitted.file("bundle")).manifest))
    if lost := registry.not_standing():
        emit(Note(lost))
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
    further : FurtherUsers or None
        Users beyond those of the fold, where its own say too little.
    spread : Spread or None
        Over which machines they are refit; None for this one.
    """

    fold: Fold
    features: Stage[Encoded]
    own: Evaluation
    seed: int
    further: FurtherUsers | None = None
    spread: Spread | None = None

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
                spread=self.spread,
            )
            scorer = model.scorer(known)
            further = NOBODY if self.further is None else self.further.measure(configuration)
        except (StorageError, WorkerError):
            raise  # of machines, which says nothing of the configuration
        except RecsysError as fault:
            why = f"its configuration cannot be trained on today's data ({fault.found})"
            return None, why, NOBODY
        without = not_ranked(known, heldout, fold.hidden)
        found = evaluate(scorer, heldout, known=without, ks=ks_of(self.own))
        assert len(found.users) == len(self.own.users), "both were measured on the same holdout"
        return found, "", further


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
    champion_further, reference_further : float64 (n,)
        precision_at_5 of further users.
    """

    champion: Evaluation | None
    missing: str
    reference: Evaluation | None
    no_reference: str
    champion_further: Float64Array = field(default_factory=NOBODY.copy)
    reference_further: Float64Array = field(default_factory=NOBODY.copy)

    @property
    def champion_scores(self) -> Float64Array | None:
        """precision_at_5 of the champion's configuration for every user that was tested."""
        return _scores(self.champion, self.champion_further)

    @property
    def reference_scores(self) -> Float64Array | None:
        """The same of the reference's."""
        return _scores(self.reference, self.reference_further)

    def beaten(self, own: Float64Array, limits: config.Gate) -> bool:
        """Whether the challenger is shown to be better than the reference, or there is none.

        Parameters
        ----------
        own : float64 (n,)
            precision_at_5 of the challenger's for every user that was tested.
        limits : config.Gate
        """
        ahead = compared(own, self.reference_scores, reference_level(limits))
        if ahead is None:
            return self.no_reference != OWN_CONFIGURATION
        return ahead.low > 0


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
    further = NOBODY if refits.further is None else refits.further.own
    found: list[tuple[dict[str, Any], _Found]] = [(own, (refits.own, "", further))]
    wanted = [one for one in (champions, best) if one is not None and one != own]
    wanted = [one for place, one in enumerate(wanted) if one not in wanted[:place]]
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        found += zip(wanted, pool.map(refits.measure, wanted), strict=True)
    (against, missing, more), (compared_with, no_reference, of_reference) = (
        next(
            (measured for configuration, measured in found if configuration == one),
            (None, said, NOBODY),
        )
        for one, said in ((champions, NO_CHAMPION), (best, why))
    )
    return Rivals(against, missing, compared_with, no_reference, more, of_reference)


def _scores(found: Evaluation | None, further: Float64Array) -> Float64Array | None:
    return None if found is None else np.concatenate([found.per_user[HEADLINE], further])


def _trained(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration known users are ranked by, under the names of this release."""
    current = with_current_names(configuration)
    return {name: value for name, value in current.items() if name != "cold_blending"}
