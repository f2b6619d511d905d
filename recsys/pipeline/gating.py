"""Gating: evidence for and against a challenger, its verdict, and the churn, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.base import config
from recsys.base.arrays import Float64Array, Int32Array
from recsys.base.errors import RecsysError
from recsys.bundle import Bundle, bundle_digest, load_bundle
from recsys.data import persistence
from recsys.data.folds import final_fold
from recsys.data.outcomes import Encoded, HeldOut
from recsys.data.splits import not_ranked
from recsys.evaluation.churn import markdown, measure_churn
from recsys.evaluation.gate import NO_CHAMPION, Evidence, Verdict, judge
from recsys.evaluation.lists import (
    attainable_coverage,
    evenly_spaced,
    mean_list_overlap,
    top_lists,
)
from recsys.evaluation.metric_names import BLEND, LIGHTFM
from recsys.pipeline.fitting import refit
from recsys.pipeline.outcomes import Evaluated, Fitted, Judged, Reason, Rival
from recsys.ranking.metrics import precision_at_k
from recsys.store.stages import Stage, stage, write_json
from recsys.tracking.registry import Registry
from recsys.tracking.versions import BUNDLE

SAMPLED_USERS = 5_000  # users whose lists are made to measure coverage and variety


@stage(Judged, version=5, unkeyed=("champion_bundle",))
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
) -> Judged:
    """Judge the fitted bundle against popularity and the reigning champion.

    `champion` names the champion (its version and the digest of its bundle), `champion_bundle` is
    where it lies. Its configuration is refit on what today's winner was refit on, and measured on
    the same holdout: the champion itself has seen these likes, or others.
    """
    challenger = load_bundle(fitted.file("bundle"))
    rival = None if champion_bundle is None else load_bundle(champion_bundle)
    scores = _Scores.read(measured.file("per_user.parquet"))
    against, missing = None, NO_CHAMPION
    if rival is not None:
        against, missing = _compared(challenger, rival, scores, holdouts, features, seed)
    verdict = judge(_evidence(challenger, rival, scores, against, missing), options, seed)
    _save_scores(folder, challenger, scores, against)
    report = None
    if rival is not None:
        report = measure_churn(rival, challenger).as_dict()
        write_json(folder / "churn.json", report)
    about = {
        **verdict.as_dict(),
        "champion": None if champion is None else asdict(champion),
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
    )


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


def _compared(
    challenger: Bundle,
    rival: Bundle,
    scores: _Scores,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    seed: int,
) -> tuple[Float64Array | None, str]:
    """Scores of the champion's configuration on today's data, or why there are none."""
    configuration = rival.manifest["configuration"]
    if configuration == challenger.manifest["configuration"]:
        # The same configuration, data and seed: what a refit would give is there already.
        return scores.own, ""
    fold = final_fold(persistence.load_split(Path(holdouts.path)))
    known, heldout = fold.known, fold.heldout
    try:
        scorer = refit(known, configuration, features, seed, places=fold.places).scorer(known)
    except RecsysError as fault:
        return None, f"its configuration cannot be trained on today's data ({fault.found})"
    found = precision_at_k(scorer, heldout, not_ranked(known, heldout, fold.hidden), 5)
    assert len(found) == len(scores.users), "both were measured on the same holdout"
    return found, ""


def _evidence(
    challenger: Bundle,
    rival: Bundle | None,
    scores: _Scores,
    against: Float64Array | None,
    missing: str,
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
        against,
        missing,
        challenger.finite(),
        attainable_coverage(shown, challenger.trained),
        mean_list_overlap(unmasked, challenger.trained),
        challenger.manifest["counts"],
        None if rival is None else rival.manifest["counts"],
        None if rival is None else _shared(challenger, rival),
    )


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


def _save_scores(
    folder: Path, challenger: Bundle, scores: _Scores, against: Float64Array | None
) -> None:
    persistence.write_columns(
        folder / "per_user.parquet",
        user=challenger.users.ids.take(np.asarray(scores.users)),
        challenger=scores.own,
        popularity=scores.popularity,
        champion=against,
    )
