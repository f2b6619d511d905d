"""Gating: evidence for and against a challenger, its verdict, and the churn, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.base import config
from recsys.base.arrays import Float64Array, IntArray
from recsys.bundle import Bundle, load_bundle
from recsys.data import persistence
from recsys.data.folds import Fold, final_fold
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.evaluation.churn import markdown, measure_churn
from recsys.evaluation.gate import Evidence, Verdict, judge
from recsys.evaluation.gone import find_gone
from recsys.evaluation.lists import (
    attainable_coverage,
    evenly_spaced,
    mean_list_overlap,
    top_lists,
)
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.segments import gains_and_losses
from recsys.pipeline.drifting import checks_of
from recsys.pipeline.expected import expected_checks
from recsys.pipeline.fitting import open_spread
from recsys.pipeline.further_users import FurtherUsers, load_further_users
from recsys.pipeline.guards import guard_rails
from recsys.pipeline.measurements import load_evaluation, load_segments
from recsys.pipeline.outcomes import (
    Drifted,
    Evaluated,
    Fitted,
    Judged,
    Reason,
    Reference,
    Repeated,
    Rival,
)
from recsys.pipeline.rivals import Refits, Rivals, measure_rivals
from recsys.ranking.metrics import Evaluation
from recsys.recommend.expectations import Expectations
from recsys.recommend.house_rules import HouseRules
from recsys.store.stages import Stage, stage, write_json

SAMPLED_USERS = 5_000  # users whose lists are made to measure coverage and variety


@stage(Judged, version=15, unkeyed=("champion_bundle", "workers", "machines"))
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
    expectations: Expectations | None = None,
    rules: HouseRules | None = None,
    core: Stage[Thresholded] | None = None,
    repeated: Stage[Repeated] | None = None,
    drifted: Stage[Drifted] | None = None,
    machines: config.Fit | None = None,
) -> Judged:
    """Judge the fitted bundle against popularity, the reigning champion, and the best so far.

    `champion` names the champion (its version and the digest of its bundle), `champion_bundle` is
    where it lies. Its configuration is refit on what today's winner was refit on, and measured on
    the same holdout: the champion itself has seen these likes, or others. So is that of the
    `reference`, side by side with `workers`. Where the test holdout said too little, they are
    compared on all users of the folds that were `repeated` on the `core`. Refits are spread over
    `machines`, if there are any. The owner's
    `expectations` are asked of the bundle, under the house `rules`. What `drifted` holds it where
    the owner says so.
    """
    challenger = load_bundle(fitted.file("bundle"))
    rival = None if champion_bundle is None else load_bundle(champion_bundle)
    fold = final_fold(persistence.load_split(Path(holdouts.path)))
    own = load_evaluation(measured, fold)
    with open_spread(machines, folder) as spread:
        further = None
        if core is not None:
            further = load_further_users(repeated, core, holdouts, features, seed, spread)
        refits = Refits(fold, features, own, seed, further, spread)
        rivals = measure_rivals(challenger, rival, reference, refits, workers)
    segments = load_segments(fold, features)
    guarded = guard_rails(options.guard, segments, own, rivals)
    tags = {
        side: persistence.load_feature_names(Path(features.path), side) for side in ("item", "user")
    }
    popularity = pq.read_table(measured.file("per_user.parquet"), columns=["popularity"])
    scores = _Scores.of(fold, own, popularity.column(0).to_numpy(), rivals, further)
    evidence = _evidence(challenger, rival, scores, rivals, tags)
    verdict = judge(
        replace(
            evidence,
            guarded=guarded,
            expected=expected_checks(challenger, expectations, rules),
            drifted=checks_of(drifted, options.drift_holds),
        ),
        options,
    )
    _save_scores(folder, challenger, scores)
    if rivals.champion is not None and rivals.champion is not own:
        gains = gains_and_losses(segments.standard(), own, rivals.champion)
        write_json(folder / "segments.json", gains)
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
        rivals.beaten(scores.own, options),
    )


def as_text(verdict: Verdict, report: Mapping[str, Any] | None, champion: Rival | None) -> str:
    """Verdict and churn in Markdown."""
    parts = [verdict.markdown()]
    if report is not None and champion is not None:
        parts.append(markdown(report, champion.version))
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Scores:
    """precision_at_5 of the users of the core that were tested, those of further folds last."""

    users: IntArray
    own: Float64Array
    popularity: Float64Array
    champion: Float64Array | None
    reference: Float64Array | None

    @staticmethod
    def of(
        fold: Fold,
        own: Evaluation,
        popularity: Float64Array,
        rivals: Rivals,
        further: FurtherUsers | None,
    ) -> _Scores:
        users, values = fold.users_of_core(own.users), own.per_user[HEADLINE]
        if further is not None:
            users = np.concatenate([users, further.users])
            values = np.concatenate([values, further.own])
            popularity = np.concatenate([popularity, further.popularity])
        return _Scores(users, values, popularity, rivals.champion_scores, rivals.reference_scores)


def _evidence(
    challenger: Bundle,
    rival: Bundle | None,
    scores: _Scores,
    rivals: Rivals,
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
        scores.champion,
        rivals.missing,
        challenger.finite(),
        attainable_coverage(shown, challenger.trained),
        mean_list_overlap(unmasked, challenger.trained),
        None if rival is None else find_gone(rival, challenger, tags),
        0.0 if rival is None else _more_likes(challenger, rival),
        None if rival is None else _shared(challenger, rival),
        scores.reference,
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


def _save_scores(folder: Path, challenger: Bundle, scores: _Scores) -> None:
    persistence.write_columns(
        folder / "per_user.parquet",
        user=challenger.users.ids.take(np.asarray(scores.users)),
        challenger=scores.own,
        popularity=scores.popularity,
        champion=scores.champion,
        reference=scores.reference,
    )
