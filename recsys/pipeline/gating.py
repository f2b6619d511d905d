"""Gating: evidence for and against a challenger, its verdict, and the churn, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.arrays import Float64Array, Int32Array
from recsys.base.errors import RecsysError
from recsys.bundle import Bundle, bundle_digest, load_bundle
from recsys.data import persistence
from recsys.data.outcomes import Encoded, HeldOut
from recsys.data.splits import not_ranked
from recsys.evaluation.churn import markdown, measure_churn
from recsys.evaluation.gate import (
    NO_CHAMPION,
    Evidence,
    Verdict,
    compared,
    judge,
    reference_level,
)
from recsys.evaluation.gone import find_gone
from recsys.evaluation.lists import (
    attainable_coverage,
    evenly_spaced,
    mean_list_overlap,
    top_lists,
)
from recsys.evaluation.metric_names import BLEND, LIGHTFM
from recsys.models.configuration import with_current_names
from recsys.pipeline.fitting import refit
from recsys.pipeline.outcomes import Evaluated, Fitted, Judged, Reason, Reference, Rival
from recsys.ranking.metrics import precision_at_k
from recsys.store.stages import Stage, stage, write_json
from recsys.tracking.registry import Registry
from recsys.tracking.versions import BUNDLE

OWN_CONFIGURATION = "the champion's own configuration"
SAMPLED_USERS = 5_000  # users whose lists are made to measure coverage and variety


@stage(Judged, version=7, unkeyed=("champion_bundle", "workers"))
def gate(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    champion: Rival | None,
    options: config.Gate,
    seed: int,
    champion_bundle: Path | None = None,
    reference: Reference | None = None,
    workers: int = 1,
) -> Judged:
    """Judge the fitted bundle against popularity, the reigning champion, and the best so far.

    `champion` names the champion (its version and the digest of its bundle), `champion_bundle` is
    where it lies. Its configuration is refit on what today's winner was refit on, and measured on
    the same holdout: the champion itself has seen these likes, or others. So is that of the
    `reference`, side by side with `workers`.
    """
    challenger = load_bundle(fitted.file("bundle"))
    rival = None if champion_bundle is None else load_bundle(champion_bundle)
    scores = _Scores.read(measured.file("per_user.parquet"))
    rivals = _Rivals.measured(
        challenger, rival, reference, scores, _Refits(holdouts, features, seed), workers
    )
    tags = {
        side: persistence.load_feature_names(Path(features.path), side) for side in ("item", "user")
    }
    verdict = judge(_evidence(challenger, rival, scores, rivals, tags), options)
    _save_scores(folder, challenger, scores, rivals)
    report = None
    if rival is not None:
        report = measure_churn(rival, challenger).as_dict()
        write_json(folder / "churn.json", report)
    about = {
        **verdict.as_dict(),
        "champion": None if champion is None else asdict(champion),
        "reference": None if reference is None else reference.version,
        "holdout": measured.outcome.holdout,
    }
    write_json(folder / "verdict.json", about)
    text = as_text(verdict, report, champion)
    (folder / "verdict.md").write_text(text, encoding="utf-8")
    return Judged(
        verdict.passed,
        tuple(Reason(check.name, str(check)) for check in verdict.failed),
        champion.version if champion else None,
        report["overlap"] if report else None,
        None if reference is None else reference.version,
        rivals.beaten(scores, options),
    )


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


def find_rival(registry: Registry, fitted: Stage[Fitted]) -> tuple[Rival | None, Path | None]:
    """The version that a fitted bundle has to measure up to, and the folder of its bundle."""
    version = registry.rival(bundle_digest(load_bundle(fitted.file("bundle")).manifest))
    if version is None:
        return None, None
    return Rival(version.number, version.tags.get(BUNDLE, "")), registry.bundle(version.number)


def as_text(verdict: Verdict, report: Mapping[str, Any] | None, champion: Rival | None) -> str:
    """Verdict and churn in Markdown."""
    parts = [verdict.markdown()]
    if report is not None and champion is not None:
        parts.append(markdown(report, champion.version))
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Scores:
    """precision_at_5 of the test users, as the evaluation left it."""

    users: Int32Array
    own: Float64Array
    popularity: Float64Array

    @staticmethod
    def read(path: Path) -> _Scores:
        table = pq.read_table(path)
        winner = BLEND if BLEND in table.column_names else LIGHTFM
        users, own, popularity = (
            table.column(name).to_numpy() for name in ("user", winner, "popularity")
        )
        return _Scores(users, own, popularity)


_Scored: TypeAlias = tuple[Float64Array | None, str]  # scores, or why there are none


@dataclass(frozen=True)
class _Refits:
    """What configurations are refit on and measured on tonight."""

    holdouts: Stage[HeldOut]
    features: Stage[Encoded]
    seed: int

    def scores(self, configuration: Mapping[str, Any]) -> _Scored:
        """precision_at_5 of the test users, or why a configuration has none."""
        parts = persistence.load_split(Path(self.holdouts.path))
        known, heldout = parts.final()
        try:
            scorer = refit(known, configuration, self.features, self.seed).scorer(known)
        except RecsysError as fault:
            return None, f"its configuration cannot be trained on today's data ({fault.found})"
        return precision_at_k(scorer, heldout, not_ranked(known, heldout, parts.hidden), 5), ""


@dataclass(frozen=True)
class _Rivals:
    """precision_at_5 of the champion's and the reference's configurations, or why there is none."""

    champion: Float64Array | None
    missing: str
    reference: Float64Array | None
    no_reference: str

    @staticmethod
    def measured(
        challenger: Bundle,
        rival: Bundle | None,
        reference: Reference | None,
        scores: _Scores,
        refits: _Refits,
        workers: int,
    ) -> _Rivals:
        """Measure each configuration that differs from the challenger's, once."""
        own = _trained(challenger.manifest["configuration"])
        champions = None if rival is None else _trained(rival.manifest["configuration"])
        best = None if reference is None else _trained(reference.configuration)
        if best is not None and own == champions:
            # Held, the same configuration would go on serving, fitted to older data.
            best, why = None, OWN_CONFIGURATION
        else:
            why = NO_CHAMPION if rival is None else "not asked for"
        # The same configuration, data and seed: what a refit would give is there already.
        found: list[tuple[dict[str, Any], _Scored]] = [(own, (scores.own, ""))]
        wanted = [one for one in (champions, best) if one is not None and one != own]
        wanted = [one for place, one in enumerate(wanted) if one not in wanted[:place]]
        with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
            found += zip(wanted, pool.map(refits.scores, wanted), strict=True)
        results = [
            next((scored for configuration, scored in found if configuration == one), (None, said))
            for one, said in ((champions, NO_CHAMPION), (best, why))
        ]
        for result, _ in results:
            assert result is None or len(result) == len(scores.users), "one holdout for all"
        (against, missing), (compared_with, no_reference) = results
        return _Rivals(against, missing, compared_with, no_reference)

    def beaten(self, scores: _Scores, limits: config.Gate) -> bool:
        """Whether the challenger is shown to be better than the reference, or there is none."""
        ahead = compared(scores.own, self.reference, reference_level(limits))
        if ahead is None:
            return self.no_reference != OWN_CONFIGURATION
        return ahead.low > 0


def _trained(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration known users are ranked by, under the names of this release."""
    current = with_current_names(configuration)
    return {name: value for name, value in current.items() if name != "cold_blending"}


def _evidence(
    challenger: Bundle,
    rival: Bundle | None,
    scores: _Scores,
    rivals: _Rivals,
    tags: Mapping[str, pa.Array | None],
) -> Evidence:
    users = evenly_spaced(challenger.trained_users, SAMPLED_USERS)
    # A tenth of a small catalogue at most: longer lists would overlap by chance.
    n = max(1, min(10, challenger.trained // 10))
    shown = top_lists(challenger, users, n).items
    # Masking alone makes equal lists differ; what the model would show everybody does not.
    unmasked = top_lists(challenger, users, n, masked=False).items
    return Evidence(
        scores.own,
        scores.popularity,
        rivals.champion,
        rivals.missing,
        challenger.finite(),
        attainable_coverage(shown, challenger.trained),
        mean_list_overlap(unmasked, challenger.trained),
        None if rival is None else find_gone(rival, challenger, tags),
        0.0 if rival is None else _more_likes(challenger, rival),
        None if rival is None else _shared(challenger, rival),
        rivals.reference,
        rivals.no_reference,
    )


def _more_likes(challenger: Bundle, rival: Bundle) -> float:
    """The change in the number of interactions that were trained, as a share."""
    now, before = (one.manifest["counts"]["interactions"] for one in (challenger, rival))
    return float(now / max(1, before) - 1)


def _shared(challenger: Bundle, rival: Bundle) -> dict[str, float]:
    """The shares of the champion's trained users and items that the challenger knows."""
    both = {
        "users": (rival.users.ids.slice(0, rival.trained_users), challenger.users.ids),
        "items": (rival.items.ids.slice(0, rival.trained), challenger.items.ids),
    }
    return {
        side: pc.sum(pc.is_in(old, value_set=new)).as_py() / max(1, len(old))
        for side, (old, new) in both.items()
    }


def _save_scores(folder: Path, challenger: Bundle, scores: _Scores, rivals: _Rivals) -> None:
    persistence.write_columns(
        folder / "per_user.parquet",
        user=challenger.users.ids.take(np.asarray(scores.users)),
        challenger=scores.own,
        popularity=scores.popularity,
        champion=rivals.champion,
        reference=rivals.reference,
    )
