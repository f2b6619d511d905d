"""Metric names: what is shown of a model, how a person reads it, and what MLflow calls it.

A name in MLflow is `set/metric`: the set says on what the metric was measured (`val`, `test`,
`cold`), a suffix of the set of which model (`test_popularity`). '@' is not legal there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The metric that is optimised, and by which models are compared.
HEADLINE = "precision_at_5"
# What the pipeline trains, on a leaderboard: LightFM, and its scores with neighbours' added.
LIGHTFM, BLEND = "lightfm", "blend"
# How a person reads the models of a leaderboard, in the order in which pages show them.
MODEL_LABELS = {
    BLEND: "blend",
    LIGHTFM: "LightFM",
    "ease": "EASE",
    "rp3beta": "RP3beta",
    "itemknn": "ItemKNN",
    "als": "ALS",
    "bpr": "BPR",
    "popularity": "popularity",
}

# Metrics of a trial in MLflow: what the search optimises, its learning curve, the CPU seconds.
OBJECTIVE = f"val/{HEADLINE}"
CURVE = f"curve/{HEADLINE}"
TRAIN_CURVE = f"curve/train_{HEADLINE}"
CURVE_SECONDS = "curve/seconds"


@dataclass(frozen=True)
class Metric:
    """A metric's name in figures and files, how a person reads it, and its head in a terminal.

    Those without a `short` head are left to wider pages.
    """

    name: str
    label: str
    short: str = ""


# Of every model and version, in the order in which they are shown.
METRICS = (
    Metric(HEADLINE, "precision at 5"),
    Metric("recall_at_10", "recall at 10", "recall@10"),
    Metric("ndcg_at_10", "ndcg at 10", "ndcg@10"),
    Metric("map_at_10", "map at 10"),
    Metric("auc", "auc"),
    Metric("coverage_at_10", "coverage at 10"),
)
# As the founding article measures: known likes stay in the ranking. Reported, never optimised.
UNMASKED = Metric(f"{HEADLINE}_unmasked", "precision at 5, likes left in")
# What a model cost, beside its metrics.
SECONDS = "CPU seconds of search and fit"
# Of rankings of cold items.
COLD_METRICS = (HEADLINE, "recall_at_20", "ndcg_at_10")

COLD = Metric(f"cold/{HEADLINE}", "precision at 5 of items nobody has liked, by their tags")
FOLD_IN = Metric(
    "foldin/share_of_trained", "what a new user with a few likes gets, as a share of a known one"
)
TAG_SUGGESTION = Metric(
    "suggestion_neighbours/recall_at_10", "a hidden tag among the first 10 suggested"
)


@dataclass(frozen=True)
class Figure:
    """A figure beyond precision: its name, how a person reads it, and which way it is better.

    Parameters
    ----------
    name, label : str
    priced : bool
        Whether it is said what more of it costs in precision.
    lower : bool
        Whether less of it is better.
    known : bool
        Whether the leaderboard has it as well.
    """

    name: str
    label: str
    priced: bool = False
    lower: bool = False
    known: bool = False


# Of lists, beyond their precision, in the order in which they are shown.
BEYOND = (
    Figure("precision", "precision", known=True),
    Figure("novelty", "novelty (bits)", priced=True),
    Figure("tag_diversity", "tag diversity", priced=True),
    Figure("vector_diversity", "vector diversity", priced=True),
    Figure("serendipity", "serendipity", priced=True),
    Figure("miscalibration", "miscalibration", priced=True, lower=True),
    Figure("coverage", "coverage", known=True),
    Figure("gini", "Gini", lower=True, known=True),
    Figure("head_share", "places of the head"),
    Figure("middle_share", "places of the middle"),
    Figure("tail_share", "places of the tail", priced=True),
    Figure("item_exposure_gap", "exposure gap of items", lower=True),
    Figure("tag_exposure_gap", "exposure gap of tags", lower=True),
)


# Of users below the core, one of whose few likes is hidden.
FEW_LIKES_SETS = {
    "model": "few_likes",
    "popularity": "few_likes_popularity",
    "itemknn": "few_likes_itemknn",
}
# What the answers of all users go by, as a person reads it.
BASES = {
    "trained": "trained",
    "by_likes": "by a few likes",
    "by_features": "by features",
    "by_popularity": "by popularity",
}


def answered_text(answered: Mapping[str, int]) -> str:
    """How many users are answered from what, in one line."""
    return ", ".join(f"{answered[name]:,} {label}" for name, label in BASES.items())


def set_name(holdout: str) -> str:
    """The set under which MLflow has the metrics of a holdout, "validation" or "test".

    With one holdout only, the search has seen it; `val` is what the search itself measured.
    """
    return "holdout" if holdout == "validation" else "test"


def winner_of(board: Sequence[Mapping[str, Any]]) -> str:
    """The model of a leaderboard that is registered: the blend where there is one."""
    return BLEND if any(entry["model"] == BLEND for entry in board) else LIGHTFM


def leaderboard_metrics(board: Sequence[Mapping[str, Any]], holdout: str) -> dict[str, float]:
    """A leaderboard's figures under MLflow's names.

    Parameters
    ----------
    board : sequence of mappings
        As `recsys.evaluation.holdouts.as_leaderboard` returns it.
    holdout : {"validation", "test"}

    Returns
    -------
    dict of str to float
        Means, such as `test/precision_at_5` of the pipeline's own model and
        `test_als/precision_at_5` of a baseline; of the headline metric the ends of its interval
        too (`test/precision_at_5_low`, `test/precision_at_5_high`).
    """
    found: dict[str, float] = {}
    for entry in board:
        measured_on = set_name(holdout)
        if entry["model"] != winner_of(board):
            measured_on += f"_{entry['model']}"
        for name, estimate in entry["metrics"].items():
            found[f"{measured_on}/{name}"] = estimate["mean"]
            if name == HEADLINE:
                for end in ("low", "high"):
                    found[f"{measured_on}/{name}_{end}"] = estimate[end]
        if "seconds" in entry:
            found[f"{measured_on}/cpu_seconds"] = entry["seconds"]
    return found


def strategy_metrics(compared: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, float]:
    """What features and fold-in are good for, under MLflow's names.

    Parameters
    ----------
    compared : mapping
        As `recsys.evaluation.comparison.compare` returns it, with the `winner` among the
        strategies. Parts that were not measured are missing.
    seconds : mapping of str to float
        CPU seconds that each strategy's training took.

    Returns
    -------
    dict of str to float
        `cold/…` are the winner's figures, `cold_content/…` those of another model.
    """
    found: dict[str, float] = {}
    for name, metrics in compared.get("cold", {}).get("models", {}).items():
        measured_on = "cold" if name == compared["winner"] else f"cold_{name}"
        for metric, estimate in metrics.items():
            found[f"{measured_on}/{metric}"] = estimate["mean"]
    for name, entry in compared.get("warm", {}).items():
        found[f"strategy_{name}/{HEADLINE}"] = entry[HEADLINE]["mean"]
        if name in seconds:
            found[f"strategy_{name}/cpu_seconds"] = seconds[name]
    if foldin := compared.get("foldin"):
        found[FOLD_IN.name] = foldin["share"]
    for name, value in compared.get("suggestion", {}).items():
        if isinstance(value, float):
            found[f"suggestion_{name}/recall_at_10"] = value
    return found


def few_likes_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """How users with few likes are served, under MLflow's names.

    Parameters
    ----------
    figures : mapping
        As `recsys.evaluation.few_likes.measure_few_likes` returns it.

    Returns
    -------
    dict of str to float
        `few_likes/hit_rate_at_10`, `few_likes_popularity/…` and `few_likes_itemknn/…` where it was
        measured, and the shares of users answered from what (`answered/by_likes`, …).
    """
    answered = figures["answered"]
    total = max(1, sum(answered.values()))
    found = {f"answered/{name}": count / total for name, count in answered.items()}
    for name, measured_on in FEW_LIKES_SETS.items():
        if name in figures:
            found[f"{measured_on}/hit_rate_at_10"] = figures[name]["mean"]
    return found


def newcomer_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """How users and items that came after a cut in time are served, under MLflow's names.

    Parameters
    ----------
    figures : mapping
        As `recsys.evaluation.newcomers` measures them, with the `winner` among the models and its
        `strategy`; empty where nothing was cut by time.

    Returns
    -------
    dict of str to float
        `new_users/precision_at_5` and `new_items/precision_at_5` of the winner,
        `new_users_popularity/…` and `new_items_content/…` of others.
    """
    found: dict[str, float] = {}
    for part, own in (("users", "winner"), ("items", "strategy")):
        for name, metrics in (figures.get(part) or {}).get("models", {}).items():
            measured_on = f"new_{part}" if name == figures[own] else f"new_{part}_{name}"
            for metric, estimate in metrics.items():
                found[f"{measured_on}/{metric}"] = estimate["mean"]
    return found


def repeated_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """Figures of repeated holdouts under MLflow's names.

    Returns
    -------
    dict of str to float
        `repeated/precision_at_5` of the winner with the ends of its interval, `repeated_ease/…` of
        others, and how many folds and users there were.
    """
    found = {"repeated/folds": float(figures["folds"]), "repeated/users": float(figures["users"])}
    for name in ("half_width", "half_width_of_these"):
        if figures.get(name) is not None:
            found[f"repeated/{name}"] = figures[name]
    for name, estimate in figures["models"].items():
        own = name == "choice"
        found[f"{'repeated' if own else f'repeated_{name}'}/{HEADLINE}"] = estimate["mean"]
        if own:
            found |= {f"repeated/{HEADLINE}_{end}": estimate[end] for end in ("low", "high")}
    return found


def repeated_text(figures: Mapping[str, Any]) -> str:
    """What repeated holdouts found, in one sentence; '' where there were none."""
    if not figures:
        return ""
    own = figures["models"]["choice"]
    these = figures.get("half_width_of_these")
    also = "" if these is None else f", of these very users {these:.1%}"
    return (
        f"precision at 5 over {figures['folds']} folds, {figures['users']:,} users: "
        f"{own['mean']:.4f} ({own['low']:.4f}..{own['high']:.4f}, half-width "
        f"{figures['half_width']:.1%}{also}); {figures['ended']}"
    )


def newcomer_rows(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float], str]]:
    """The same for people: what was measured, the winner's precision at 5, and that of others."""
    rows: list[tuple[str, Mapping[str, float], str]] = []
    for part, own, about in (
        ("users", "winner", "{users:,} users who came after the cut, by their first likes"),
        ("items", "strategy", "{items:,} items that came after the cut, by their features"),
    ):
        measured = figures.get(part)
        if not measured:
            continue
        means = {name: entry[HEADLINE] for name, entry in measured["models"].items()}
        others = ", ".join(
            f"{MODEL_LABELS.get(name, name)} {entry['mean']:.4f}"
            for name, entry in means.items()
            if name != figures[own]
        )
        rows.append((about.format(**measured), means[figures[own]], others))
    return rows


def diversity_metrics(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What diverse lists cost and gain, under MLflow's names.

    Parameters
    ----------
    figures : sequence of mapping
        As `recsys.evaluation.diversity.measure_diversity` returns them.

    Returns
    -------
    dict of str to float
        `diversity_0.2/precision_at_5`, `diversity_0.2/intra_list_diversity`, … for each weight.
    """
    return {
        f"diversity_{one['weight']:g}/{name}": one[name]
        for one in figures
        for name in ("precision_at_5", "intra_list_diversity")
    }


def beyond_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """What lists are beyond their precision, under MLflow's names.

    Parameters
    ----------
    figures : mapping
        As `recsys.evaluation.beyond_precision.measure_beyond_precision` returns them.

    Returns
    -------
    dict of str to float
        `beyond/novelty_at_10` and so on of the winner, `beyond_ease/…` of others; without what
        the leaderboard has.
    """
    found: dict[str, float] = {}
    for model, values in figures.get("models", {}).items():
        measured_on = "beyond" if model == figures["winner"] else f"beyond_{model}"
        for figure in BEYOND:
            if figure.name in values and not figure.known:
                name = f"{measured_on}/{figure.name}_at_{figures['k']}"
                found[name] = values[figure.name]["mean"]
    return found


def shown_beyond(figures: Mapping[str, Any]) -> list[Figure]:
    """The figures that are shown of every model; diversity of tags, or of vectors without tags."""
    own = figures["models"][figures["winner"]]
    second = "vector_diversity" if "tag_diversity" in own else ""
    return [
        figure
        for figure in BEYOND
        if figure.name in own and figure.name != second and (figure.priced or figure.known)
    ]


def beyond_text(figures: Mapping[str, Any]) -> str:
    """What the winner's lists are beyond their precision, in one line; '' where nothing was."""
    if not figures:
        return ""
    own = figures["models"][figures["winner"]]
    parts = [
        f"{figure.label} {own[figure.name]['mean']:.3f}"
        for figure in shown_beyond(figures)
        if not figure.known
    ]
    return f"beyond precision at {figures['k']}: {', '.join(parts)}"


def price_text(figures: Mapping[str, Any]) -> str:
    """What more of each would cost in precision, in one line; '' where the winner is best."""
    if not figures:
        return ""
    labels = {figure.name: figure.label for figure in shown_beyond(figures)}
    parts = []
    for price in figures["prices"]:
        if price["figure"] in labels:
            model = MODEL_LABELS.get(price["model"], price["model"])
            change = f"{price['precision']['mean']:+.4f}"
            parts.append(f"{labels[price['figure']]} {price['value']:.3f} of {model} ({change})")
    if not parts:
        return ""
    return f"the best of each, and its change of precision at {figures['k']}: {', '.join(parts)}"


def mlflow_name(text: str) -> str:
    """Text as a part of a metric's or tag's name, with the letters that MLflow allows."""
    return re.sub(r"[^\w.\- ]", "_", text)[:200]


def segment_metrics(figures: Sequence[Mapping[str, Any]], winner: str) -> dict[str, float]:
    """How good the winner is on each segment, under MLflow's names.

    Parameters
    ----------
    figures : sequence of mapping
        As `recsys.evaluation.segments.measure_segments` returns them.
    winner : str
        A model of the leaderboard.

    Returns
    -------
    dict of str to float
        `segment_users_with_5_to_9_likes/precision_at_5` and so on.
    """
    return {
        f"{_segment_set(one['segment'])}/{metric}": estimate["mean"]
        for one in figures
        for metric, estimate in one["models"][winner].items()
    }


def gain_metrics(compared: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What users of each segment gain against the champion, under MLflow's names.

    Parameters
    ----------
    compared : sequence of mapping
        As `recsys.evaluation.segments.gains_and_losses` returns them.

    Returns
    -------
    dict of str to float
        `segment_users_with_5_to_9_likes/precision_at_5_ahead_of_champion` and so on.
    """
    return {
        f"{_segment_set(one['segment'])}/{one['metric']}_ahead_of_champion": one["mean"]
        for one in compared
    }


def _segment_set(name: str) -> str:
    return mlflow_name(f"segment_{name}").replace(" ", "_")


def diversity_text(figures: Sequence[Mapping[str, float]], weight: float = 0.2) -> str:
    """What one weight of diversity costs and gains, in one line; '' where it was not measured."""
    chosen = {one["weight"]: one for one in figures}
    if weight not in chosen or 0.0 not in chosen:
        return ""
    plain, diverse = chosen[0.0], chosen[weight]
    names = ("precision at 5", "precision_at_5"), ("intra-list diversity", "intra_list_diversity")
    parts = [f"{label} {plain[name]:.4f} → {diverse[name]:.4f}" for label, name in names]
    return f"diversity {weight:g} in house rules: {', '.join(parts)}"


def metric_tags(metrics: Mapping[str, Mapping[str, float]], holdout: str) -> dict[str, str]:
    """A model's metrics as tags of a registered version, for a person to read.

    Parameters
    ----------
    metrics : mapping
        Of each metric, `mean`, `low` and `high`, as a bundle's manifest has them.
    holdout : {"validation", "test"}

    Returns
    -------
    dict of str to str
        `test/precision_at_5` and the others of `METRICS` that were measured, and the headline's
        `interval`.
    """
    headline = metrics[HEADLINE]
    tags = {
        f"{set_name(holdout)}/{metric.name}": f"{metrics[metric.name]['mean']:.4f}"
        for metric in METRICS
        if metric.name in metrics
    }
    return tags | {"interval": f"{headline['low']:.4f} to {headline['high']:.4f}"}
