"""The page of a training run: its data, metrics beside those of baselines, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from recsys.evaluation.drift import Found
from recsys.evaluation.metric_names import (
    BEYOND,
    COLD,
    FOLD_IN,
    HEADLINE,
    METRICS,
    MODEL_LABELS,
    SECONDS,
    TAG_SUGGESTION,
)
from recsys.gallery.opened_models import OpenedModel
from recsys.tracking.runs import SEARCH_SPACE
from recsys.tracking.studies import StudyRun
from recsys.tracking.versions import PROMOTED, Version

OWN = "this model"
MODELS = ((OWN, OWN), *MODEL_LABELS.items())
UNSEEN = (COLD, FOLD_IN, TAG_SUGGESTION)
WIDTH, HEIGHT = 640, 260
BEGINS = 50  # where of a hundred the bar of what drifts begins to be too long
MOST_DRIFTING = 12
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 12, 34


@dataclass(frozen=True)
class Bar:
    """A value and its interval; `length`, `start` and `width` in hundredths of the largest end."""

    label: str
    mean: float
    low: float
    high: float
    length: float
    start: float
    width: float
    own: bool


@dataclass(frozen=True)
class Drifting:
    """A figure of the data beside earlier nights.

    `length` is how far its statistic is, in hundredths of the width, in which what drifts begins at
    `BEGINS`.
    """

    label: str
    tonight: str
    usual: str
    statistic: str
    length: float
    drifts: bool


@dataclass(frozen=True)
class Line:
    """A learning curve as points of an SVG polyline."""

    number: int
    points: str
    best: bool


@dataclass(frozen=True)
class Chart:
    """The learning curves, drawn.

    Parameters
    ----------
    lines : tuple of Line
        The winner's last.
    across, up : tuple of (float, str)
        Positions of the ticks, and their labels.
    best : tuple of (int, float)
        Epochs and precision of the winner's best.
    """

    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    best: tuple[int, float]


@dataclass(frozen=True)
class RunPage:
    """What the page of a run shows."""

    counts: list[tuple[str, str]]
    configuration: list[tuple[str, str]]
    made: str
    promoted: str
    why: str
    table: list[tuple[str, list[str]]]
    models: list[str]
    bars: list[Bar]
    newcomers: list[tuple[str, str]]
    search_space: str
    importance: list[Bar]
    drift: list[Drifting]
    nights: list[tuple[str, list[Bar]]]
    checks: list[tuple[str, bool, str]]
    chart: Chart | None
    mlflow: str
    run_name: str
    holdout: str


def run_page(
    opened: OpenedModel, version: Version | None, study: StudyRun | None, mlflow: str
) -> RunPage:
    """Collect what is known of the run that made a version.

    Parameters
    ----------
    opened : OpenedModel
    version : Version or None
        None for a bundle in a folder.
    study : StudyRun or None
        Its run, if that is still there.
    mlflow : str
        The address of MLflow's pages.
    """
    manifest = opened.recommender.manifest
    metrics = dict(study.metrics) if study else {}
    holdout = "holdout" if manifest.get("holdout") == "validation" else "test"
    measured = _measured(manifest, metrics, holdout)
    tags = dict(version.tags) if version else {}
    return RunPage(
        counts=_counts(opened),
        configuration=[(k, _short(v)) for k, v in manifest.get("configuration", {}).items()],
        made=_when(study.started) if study else "",
        promoted=tags.get(PROMOTED, "").replace("T", " ")[:16],
        why=tags.get(f"{PROMOTED}_why", ""),
        table=[(m.label, cells) for m in METRICS if (cells := _cells(measured, m.name))]
        + _beyond(measured, metrics)
        + _costs(measured, metrics, holdout),
        models=[title for name, title in MODELS if name in measured],
        bars=_bars(measured),
        newcomers=[(m.label, _value(metrics[m.name])) for m in UNSEEN if m.name in metrics],
        search_space=study.tags.get(SEARCH_SPACE, "") if study else "",
        importance=_importance(metrics),
        drift=_drift(study) if study else [],
        nights=_nights(study, version.number if version else "") if study else [],
        checks=[
            (name.removeprefix("gate/"), text.startswith("passed"), text.partition(": ")[2])
            for name, text in sorted(tags.items())
            if name.startswith("gate/")
        ],
        chart=_chart(study) if study else None,
        mlflow=_link(study, mlflow) if study else "",
        run_name=study.name if study else "",
        holdout=holdout,
    )


def _counts(opened: OpenedModel) -> list[tuple[str, str]]:
    bundle = opened.recommender.bundle
    found = [
        ("users", len(bundle.users)),
        ("trained items", bundle.trained),
        ("likes", len(bundle.seen.indices)),
        ("items known by tags alone", len(bundle.items) - bundle.trained),
    ]
    if bundle.item_features is not None:
        found.append(("tags and categories", len(bundle.item_features.vocabulary.features)))
    found.append(("components", bundle.factors.item_factors.shape[1]))
    return [(name, f"{value:,}") for name, value in found]


def _measured(
    manifest: Mapping[str, Any], metrics: Mapping[str, float], holdout: str
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Estimates by model and metric: this model's from its bundle, the others' from the run."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    if manifest.get("metrics"):
        found[OWN] = dict(manifest["metrics"])
    for model in MODEL_LABELS:
        prefix = f"{holdout}_{model}/"
        names = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
        if names:
            found[model] = {
                name: {
                    "mean": metrics[f"{prefix}{name}"],
                    "low": metrics.get(f"{prefix}{name}_low"),
                    "high": metrics.get(f"{prefix}{name}_high"),
                }
                for name in names
                if not name.endswith(("_low", "_high"))
            }
    return found


def _cells(measured: Mapping[str, Any], metric: str) -> list[str]:
    entries = [measured[name].get(metric) for name, _ in MODELS if name in measured]
    return [f"{entry['mean']:.4f}" if entry else "" for entry in entries] if any(entries) else []


def _beyond(
    measured: Mapping[str, Any], metrics: Mapping[str, float]
) -> list[tuple[str, list[str]]]:
    """What the lists of each model are beyond their precision; no rows of older runs."""
    sets = ["beyond" if name == OWN else f"beyond_{name}" for name, _ in MODELS if name in measured]
    lengths = sorted({name.rpartition("_at_")[2] for name in metrics if name.startswith("beyond/")})
    rows = []
    for k in lengths:
        for figure in BEYOND:
            found = [metrics.get(f"{one}/{figure.name}_at_{k}") for one in sets]
            if any(value is not None for value in found):
                cells = ["" if value is None else _value(value) for value in found]
                rows.append((f"{figure.label} at {k}", cells))
    return rows


def _costs(
    measured: Mapping[str, Any], metrics: Mapping[str, float], holdout: str
) -> list[tuple[str, list[str]]]:
    """What each model cost; no row where the run has no record of it."""
    found = []
    for name, _ in MODELS:
        if name in measured:
            prefix = holdout if name == OWN else f"{holdout}_{name}"
            seconds = metrics.get(f"{prefix}/cpu_seconds")
            found.append("" if seconds is None else f"{seconds:,.0f}")
    return [(SECONDS, found)] if any(found) else []


def _bars(measured: Mapping[str, Any]) -> list[Bar]:
    found = [
        (title, measured[name][HEADLINE], name == OWN)
        for name, title in MODELS
        if name in measured and HEADLINE in measured[name]
    ]
    return _drawn(found)


def _importance(metrics: Mapping[str, float]) -> list[Bar]:
    """The dimensions of the search space, the most important first; none of older runs."""
    prefix = f"{SEARCH_SPACE}/importance_"
    found = {
        name.removeprefix(prefix): {
            "mean": value,
            "low": metrics.get(f"{name}_low"),
            "high": metrics.get(f"{name}_high"),
        }
        for name, value in metrics.items()
        if name.startswith(prefix) and not name.endswith(("_low", "_high"))
    }
    ordered = sorted(found.items(), key=lambda one: (-(one[1]["mean"] or 0.0), one[0]))
    return _drawn([(name, entry, False) for name, entry in ordered])


def _drift(study: StudyRun) -> list[Drifting]:
    """What differs most from earlier nights, what drifts first."""
    rows = []
    for entry in study.drift:
        found = Found(**entry)
        share = min(abs(found.score) / found.limit, 100 / BEGINS) if found.limit else 0.0
        statistic = f"{found.statistic} {found.score:.2f}"
        length = BEGINS * share
        rows.append(
            Drifting(found.label, found.tonight, found.usual, statistic, length, found.drifts)
        )
    return sorted(rows, key=lambda row: (not row.drifts, -row.length))[:MOST_DRIFTING]


def _nights(study: StudyRun, number: str) -> list[tuple[str, list[Bar]]]:
    """Likes, users and items of this night and those that it was compared with."""
    if len(study.nights) < 2:
        return []
    return [
        (
            kind,
            _drawn(
                [
                    (f"version {version or number}", {"mean": sizes[kind]}, not version)
                    for version, sizes in study.nights.items()
                ]
            ),
        )
        for kind in ("likes", "users", "items")
    ]


def _drawn(found: Sequence[tuple[str, Mapping[str, Any], bool]]) -> list[Bar]:
    """Bars of labels, their estimates, and whether they are this model's own."""
    ends = [entry.get("high") or entry["mean"] for _, entry, _ in found]
    most = max(ends, default=0) or 1
    bars = []
    for title, entry, own in found:
        mean = entry["mean"]
        low, high = (entry[end] if entry.get(end) is not None else mean for end in ("low", "high"))
        length, start, width = (100 * value / most for value in (mean, low, high - low))
        bars.append(Bar(title, mean, low, high, length, start, width, own))
    return bars


def _chart(study: StudyRun) -> Chart | None:
    """Draw all curves over a logarithmic axis of epochs, the winner's in front."""
    curves = [curve for curve in study.curves if curve.points]
    if not curves:
        return None
    best = str(study.tags.get("best_trial", ""))
    first = max(1, min(epoch for curve in curves for epoch, _ in curve.points))
    last = max(first + 1, max(epoch for curve in curves for epoch, _ in curve.points))
    top = max(value for curve in curves for _, value in curve.points) * 1.06 or 1.0

    def x(epoch: float) -> float:
        share = math.log(max(epoch, first) / first) / math.log(last / first)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM), 1)

    lines = [
        Line(c.number, " ".join(f"{x(e)},{y(v)}" for e, v in c.points), str(c.number) == best)
        for c in curves
    ]
    winners = [curve for curve in curves if str(curve.number) == best] or curves
    peak = max((point for curve in winners for point in curve.points), key=lambda p: p[1])
    doubled = [2**k for k in range(12) if first <= 2**k <= last]
    step = _step(top)
    return Chart(
        tuple(sorted(lines, key=lambda line: line.best)),
        tuple((x(epoch), str(epoch)) for epoch in doubled),
        tuple((y(k * step), f"{k * step:.2f}") for k in range(int(top / step) + 1)),
        peak,
    )


def _step(top: float) -> float:
    """A round distance between ticks, of which three to seven fit."""
    raw = top / 5
    size = 10 ** math.floor(math.log10(raw))
    return float(next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw))


def _link(study: StudyRun, mlflow: str) -> str:
    experiment, run = quote(study.experiment_id, safe=""), quote(study.run_id, safe="")
    return f"{mlflow.rstrip('/')}/#/experiments/{experiment}/runs/{run}"


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _value(value: float) -> str:
    return f"{value:.4f}"
