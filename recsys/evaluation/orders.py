"""Orders: which models change places where the same data are split in another way."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from recsys.evaluation.metric_names import BLEND, HEADLINE, LIGHTFM, MODEL_LABELS


def means_of_run(metrics: Mapping[str, float]) -> dict[str, float]:
    """Each model's mean on the test, from the metrics of a study's run in MLflow.

    Parameters
    ----------
    metrics : mapping of str to float
        As `recsys.evaluation.metric_names.leaderboard_metrics` names them. The winner has no name
        there: it is the blend where LightFM stands beside it.

    Returns
    -------
    dict of str to float
        By model, best first; empty if nothing was measured on a test.
    """
    own = metrics.get(f"test/{HEADLINE}")
    if own is None:
        return {}
    named = {model: f"test_{model}/{HEADLINE}" for model in MODEL_LABELS}
    found = {model: metrics[name] for model, name in named.items() if name in metrics}
    found[BLEND if LIGHTFM in found else LIGHTFM] = own
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def swapped(here: Mapping[str, float], there: Mapping[str, float]) -> list[tuple[str, str]]:
    """Pairs of models of which the first is ahead here, and the second there; best first."""
    common = [model for model in sorted(here, key=lambda m: -here[m]) if model in there]
    return [
        (first, second)
        for first, second in combinations(common, 2)
        if here[first] > here[second] and there[first] < there[second]
    ]


def disagreement(
    here: Mapping[str, float], there: Mapping[str, float], method: str, when: str
) -> str:
    """Where two splits disagree on the order of the models, in one sentence.

    Parameters
    ----------
    here, there : mapping of str to float
        Means by model, on this split and on the other.
    method : str
        How the other one was split.
    when : str
        The run that it is from.

    Returns
    -------
    str
        '' where fewer than two models are on both.
    """
    common = [model for model in here if model in there]
    if len(common) < 2:
        return ""
    pairs = swapped(here, there)
    named = f"split.method = {method!r} (the run of {when})"
    if not pairs:
        return f"The models have the same order as with {named}."
    said = ", ".join(f"{MODEL_LABELS[a]} before {MODEL_LABELS[b]}" for a, b in pairs[:5])
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    n_pairs = len(common) * (len(common) - 1) // 2
    return (
        f"{len(pairs)} of {n_pairs} pairs of models are in another order than with {named}: "
        f"here {said}{more}."
    )
