"""The report of a backtest: figures of each fold, a plot over time, and its runs in MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.evaluation.backtests import CHOICE
from recsys.evaluation.metric_names import HEADLINE, METRICS, MODEL_LABELS, leaderboard_metrics
from recsys.pipeline.backtesting import Backtest, FoldStages
from recsys.pipeline.report import Report, Section, Table, write
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.stages import write_json
from recsys.tracking.runs import KIND, STUDY, Tracker
from recsys.tuning.figures import as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {CHOICE: "the pipeline's choice", **MODEL_LABELS}


@dataclass(frozen=True)
class WrittenBacktest:
    """Where a backtest lies: its folder, its page, and its run in MLflow ('' without one)."""

    folder: str
    page: str
    run_id: str = ""
    reused: bool = False

    def counts(self) -> dict[str, Any]:
        """The page and the run."""
        return {"page": self.page, "run": self.run_id}


def write_backtest(made: Backtest, title: str, folder: Path) -> WrittenBacktest:
    """Write `backtest.json`, `.html`, `.md` and `.png` into a folder, which is made.

    Parameters
    ----------
    made : Backtest
    title : str
        Of the data.
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "backtest.json", made.figures)
    page = write(report_of(made.figures, title), folder, "backtest")[0]
    draw(made.figures).savefig(folder / "backtest.png", dpi=110)
    return WrittenBacktest(str(folder), str(page))


def publish_backtest(
    made: Backtest, tracked: Tracked, details: RunDetails, folder: Path
) -> WrittenBacktest:
    """Write a backtest, and log it as a run in MLflow with a child for each fold.

    The same folds again are the same run.

    Parameters
    ----------
    made : Backtest
    tracked : Tracked
    details : RunDetails
    folder : Path

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    written = write_backtest(made, details.title, folder)
    text = json.dumps(made.figures, sort_keys=True)
    tracker, key = tracked.tracker(), hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    known = tracker.find_study(key, "backtest")
    if known is not None and known.data.params:
        return replace(written, run_id=str(known.info.run_id), reused=True)
    name = f"backtest, {len(made.folds)} folds of {made.figures['every']}, seed {details.seed}"
    tags = {KIND: "backtest", STUDY: key, "search": made.figures["search"]}
    parent = tracker.open_run(tags, name, (KIND, STUDY))
    for place, fold in enumerate(made.folds, start=1):
        _log_fold(tracker, parent, f"{key}-{place}", made.figures["folds"][place - 1], fold)
    tracker.log(parent, metrics_of(made.figures))
    files = [Path(written.folder) / f"backtest.{kind}" for kind in ("json", "html", "md", "png")]
    tracker.attach(parent, files, "report")
    # Last: with its parameters a run is whole.
    tracker.log(parent, params=details.params)
    tracker.client.set_terminated(parent, "FINISHED")
    return replace(written, run_id=parent)


def _log_fold(
    tracker: Tracker, parent: str, key: str, figures: Mapping[str, Any], fold: FoldStages
) -> None:
    tags = {
        KIND: "backtest fold",
        STUDY: key,
        "mlflow.parentRunId": parent,
        "from": figures["from"],
        "until": figures["until"],
    }
    run_id = tracker.open_run(tags, f"fold {figures['fold']}: {figures['from']}", (KIND, STUDY))
    found = leaderboard_metrics(fold.measured.read_json("leaderboard.json"), "test")
    counts = ("known", "likes", "users", "new_users", "new_items")
    found |= {f"fold/{name}": float(figures[name]) for name in counts}
    tracker.log(
        run_id, [(name, value, 0) for name, value in found.items()], figures["configuration"]
    )
    tracker.client.set_terminated(run_id, "FINISHED")


def metrics_of(figures: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """What the parent run in MLflow has: name, value and step, which is the fold.

    `test/precision_at_5` of all folds together with the ends of its interval, `test_ease/…` of
    another model, and `fold/precision_at_5`, `fold_ease/…` of each fold as a curve.
    """
    found: list[tuple[str, float, int]] = []
    for model, estimate in figures["all"]["models"].items():
        measured_on = "test" if model == CHOICE else f"test_{model}"
        found.append((f"{measured_on}/{HEADLINE}", estimate["mean"], 0))
        if model == CHOICE:
            found += [(f"test/{HEADLINE}_{end}", estimate[end], 0) for end in ("low", "high")]
    for fold in figures["folds"]:
        for model, metrics in _with_choice(fold).items():
            measured_on = "fold" if model == CHOICE else f"fold_{model}"
            found.append((f"{measured_on}/{HEADLINE}", metrics[HEADLINE]["mean"], fold["fold"]))
    return found


def _with_choice(fold: Mapping[str, Any]) -> dict[str, Any]:
    """The models of a fold, the winner under the name of the choice as well."""
    return {CHOICE: fold["models"][fold["winner"]], **fold["models"]}


def report_of(figures: Mapping[str, Any], title: str) -> Report:
    """The backtest as a page."""
    every, folds, together = figures["every"], figures["folds"], figures["all"]
    own = together["models"][CHOICE]
    verdict = (
        f"Over {len(folds)} folds of {every}, the pipeline's choice has a precision at 5 of "
        f"{_estimate(own)}."
    )
    how = {
        "once": "The configuration was searched before the first fold and fitted again in each.",
        "each": "The configuration was searched before each fold.",
    }[figures["search"]]
    text = (
        f"{how} Each fold is fitted on what was known before it, and measured on the likes of the "
        f"{every} after. Intervals are 95 %, users resampled with all of their folds.",
        _order_text(figures),
    )
    sections = (
        Section(
            "All folds", text, (("", _all_table(together, len(folds))),), as_svg(draw(figures))
        ),
        Section("Each fold", (), (("precision at 5", _fold_table(folds)),)),
        Section("What the choice reached", (), (("", _metric_table(folds)),)),
        Section("What was chosen", (), (("", _choice_table(folds)),)),
    )
    return Report(f"backtest of {title}", verdict, False, sections)


def _order_text(figures: Mapping[str, Any]) -> str:
    """In which folds the order of the models is another one."""
    orders = [
        sorted(fold["models"], key=lambda m: -fold["models"][m][HEADLINE]["mean"])
        for fold in figures["folds"]
    ]
    best = [LABELS.get(order[0], order[0]) for order in orders]
    if len(set(best)) == 1:
        return f"{best[0]} is best in every fold."
    named = ", ".join(f"{name} in {best.count(name)}" for name in dict.fromkeys(best))
    return f"The folds disagree on the best model: {named} of {len(best)}."


def _all_table(together: Mapping[str, Any], n_folds: int) -> Table:
    models = sorted(together["models"], key=lambda m: -together["models"][m]["mean"])
    rows = tuple(
        (
            LABELS.get(name, name),
            _estimate(together["models"][name]),
            _estimate(together["ahead"].get(name), "+.4f"),
            f"{together['folds_behind'][name]} of {n_folds}" if name != CHOICE else "",
        )
        for name in models
    )
    return Table(("", "precision at 5", "choice ahead by", "folds better than the choice"), rows)


def _fold_table(folds: list[Mapping[str, Any]]) -> Table:
    models = list(folds[0]["models"])
    rows = tuple(
        (
            fold["from"],
            f"{fold['users']:,}",
            f"{fold['likes']:,}",
            *(_estimate(fold["models"].get(name, {}).get(HEADLINE)) for name in models),
        )
        for fold in folds
    )
    return Table(("from", "users", "likes", *(LABELS.get(name, name) for name in models)), rows)


def _metric_table(folds: list[Mapping[str, Any]]) -> Table:
    rows = []
    for fold in folds:
        own = fold["models"][fold["winner"]]
        newcomers = fold["of_new_users"].get(fold["winner"])
        new = "" if newcomers is None else f"{newcomers['mean']:.4f}, {fold['new_users']:,} users"
        rows.append((fold["from"], *(_estimate(own.get(m.name)) for m in METRICS), new))
    labels = (metric.label for metric in METRICS)
    return Table(("from", *labels, "precision at 5 of new users"), tuple(rows))


def _choice_table(folds: list[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            fold["from"],
            LABELS.get(fold["winner"], fold["winner"]),
            ", ".join(f"{name}={_short(v)}" for name, v in fold["configuration"].items()),
        )
        for fold in folds
    )
    return Table(("from", "model", "configuration"), rows)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _estimate(entry: Mapping[str, float] | None, style: str = ".4f") -> str:
    if not entry:
        return ""
    if entry.get("low") is None:
        return f"{entry['mean']:{style}}"
    return f"{entry['mean']:{style}} ({entry['low']:{style}}..{entry['high']:{style}})"


def draw(figures: Mapping[str, Any]) -> Figure:
    """Precision of every model over the folds, the choice with its interval."""
    from matplotlib.figure import Figure  # takes long to import

    folds = figures["folds"]
    drawing = Figure(figsize=(9, 4.5), layout="constrained")
    axis = drawing.add_subplot()
    places = list(range(len(folds)))
    own = [fold["models"][fold["winner"]][HEADLINE] for fold in folds]
    low, high = ([entry[end] for entry in own] for end in ("low", "high"))
    axis.fill_between(places, low, high, alpha=0.2, color="tab:blue", linewidth=0)
    for place, name in enumerate(folds[0]["models"], start=1):
        if name == folds[0]["winner"] and all(fold["winner"] == name for fold in folds):
            continue
        values = [fold["models"].get(name, {}).get(HEADLINE, {}).get("mean") for fold in folds]
        label = LABELS.get(name, name)
        axis.plot(places, values, marker=".", linewidth=1, color=f"C{place}", label=label)
    means = [entry["mean"] for entry in own]
    axis.plot(places, means, marker="o", linewidth=2.5, color="tab:blue", label=LABELS[CHOICE])
    axis.set_xticks(places, [str(fold["from"])[:10] for fold in folds], rotation=30, ha="right")
    axis.set(ylabel="precision at 5", xlabel="first day of the fold")
    axis.set_ylim(bottom=0)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return drawing
