"""The sections of a training run's report, gathered from the products of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsys.data.outcomes import Size
from recsys.evaluation.churn import summary
from recsys.evaluation.gate import label_of
from recsys.evaluation.metric_names import (
    HEADLINE,
    METRICS,
    MODEL_LABELS,
    SECONDS,
    UNMASKED,
    answered_text,
    newcomer_rows,
    price_text,
    repeated_text,
    shown_beyond,
    winner_of,
)
from recsys.evaluation.segments import AGES, gains_text, headline_of
from recsys.pipeline.drift_report import drift_section
from recsys.pipeline.evaluation import newcomers_of
from recsys.pipeline.model_seconds import timed_leaderboard
from recsys.pipeline.outcomes import (
    Adopted,
    Chosen,
    Evaluated,
    Fitted,
    Judged,
    Repeated,
    TrainingStages,
)
from recsys.pipeline.report import Link, Report, Section, Table
from recsys.pipeline.tuning import search_space_of
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.store.stages import Stage
from recsys.tuning.figures import learning_curves_svg, understanding_svg
from recsys.tuning.understanding import LEVEL, Understanding


def build(
    title: str,
    model: str,
    version: str,
    held: Sequence[str],
    stages: TrainingStages,
    links: Sequence[Link] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Gather the report from the products of the stages.

    Parameters
    ----------
    title : str
        The data set and the day.
    model, version : str
        What was registered.
    held : sequence of str
        Why the version is not champion; empty where it is.
    stages : TrainingStages
    links : sequence of Link
    notes : sequence of str
        What else is to be said of the figures.
    """
    verdict = f"{model} version {version} is champion."
    if held:
        verdict = f"{model} version {version} was held: {'; '.join(held)}."
    sections = (
        _result(stages.chosen, stages.measured, notes),
        _repeated(stages.repeated),
        _gate(stages.verdict),
        _segments(stages),
        _newcomers(stages.measured),
        _after_the_cut(stages),
        _everyone(stages.fitted),
        _beyond(stages.measured),
        _diversity(stages.measured),
        search_section(stages.chosen),
        search_space_section(stages.chosen),
        _data(stages),
        drift_section(stages.drifted),
        _answers(Recommender.load(stages.fitted.file("bundle"))),
    )
    kept = tuple(section for section in sections if section is not None)
    return Report(title, verdict, bool(held), kept, tuple(links))


def _result(chosen: Stage[Chosen], measured: Stage[Evaluated], notes: Sequence[str]) -> Section:
    board = timed_leaderboard(chosen, measured)
    winner = winner_of(board)
    shown = [m for m in (*METRICS, UNMASKED) if m.name in board[0]["metrics"]]
    rows = tuple(
        (
            MODEL_LABELS.get(entry["model"], entry["model"]),
            _estimate(entry["metrics"][HEADLINE]),
            _estimate(entry.get("behind_by"), "+.4f"),
            *(_estimate(entry["metrics"].get(metric.name)) for metric in shown[1:]),
            f"{entry['seconds']:,.1f}" if "seconds" in entry else "",
        )
        for entry in board
    )
    ahead = f"{MODEL_LABELS[winner]} ahead by"
    columns = ("", shown[0].label, ahead, *(metric.label for metric in shown[1:]), SECONDS)
    held_out = measured.outcome.holdout
    text = (
        f"Measured once on the {held_out} holdout, known likes left out of the ranking; "
        "in brackets the 95 % bootstrap interval over users."
    )
    return Section("How good it is", (text, *notes), (("", Table(columns, rows)),))


def _repeated(repeated: Stage[Repeated] | None) -> Section | None:
    if repeated is None:
        return None
    figures = repeated.read_json("repeated.json")
    models, ahead = figures["models"], figures["ahead"]
    rows = tuple(
        (
            MODEL_LABELS.get(figures["winner"] if name == "choice" else name, name),
            _estimate(models[name]),
            _estimate(ahead.get(name), "+.4f"),
        )
        for name in sorted(models, key=lambda name: -models[name]["mean"])
    )
    header = ("", "precision at 5", f"{MODEL_LABELS[figures['winner']]} ahead by")
    text = repeated_text(figures)
    return Section(
        "Over more users", (f"{text[0].upper()}{text[1:]}.",), (("", Table(header, rows)),)
    )


def _estimate(entry: Mapping[str, float] | None, style: str = ".4f") -> str:
    if entry is None:
        return ""
    mean = f"{entry['mean']:{style}}"
    if entry.get("low") is None:
        return mean
    return f"{mean} ({entry['low']:{style}}..{entry['high']:{style}})"


def _gate(verdict: Stage[Judged]) -> Section:
    judged = verdict.read_json("verdict.json")
    rows = tuple(
        (
            "passed" if check["passed"] else "FAILED",
            label_of(check),
            check["found"],
            check["wanted"],
        )
        for check in judged["checks"]
    )
    tables = [("", Table(("", "condition", "found", "wanted"), rows))]
    text: list[str] = []
    if verdict.file("churn.json").exists():
        churn = verdict.read_json("churn.json")
        text.append(f"Against version {judged['champion']['version']}: {summary(churn)}")
        changed = tuple(
            (
                entry["user"],
                f"{entry['overlap']:.2f}",
                ", ".join(entry["went"]),
                ", ".join(entry["came"]),
            )
            for entry in churn["most_changed"][:5]
        )
        if changed:
            columns = ("user", "overlap", "went", "came")
            tables.append(("for whom most changes", Table(columns, changed)))
    return Section("What the gate found", tuple(text), tuple(tables))


def _segments(stages: TrainingStages) -> Section | None:
    figures = stages.measured.read_json("segments.json")
    if not figures:
        return None
    winner = winner_of(stages.measured.read_json("leaderboard.json"))
    against = stages.verdict.file("segments.json")
    compared = stages.verdict.read_json("segments.json") if against.exists() else []
    gains = {one["segment"]: one for one in compared}
    text = [
        "Measured on the same holdout; in brackets Student's 95 % interval over users. The head, "
        "the middle and the tail of the items have a third of the known likes each."
    ]
    if any(one["segment"].endswith(AGES) for one in figures):
        text.append("Users and items are new or old by when their first known like was.")
    if compared:
        text.append(f"Against the champion, {gains_text(compared)}.")
    tables = []
    for side, caption in _SIDES:
        chosen = [one for one in figures if one["side"] == side]
        columns = [side, "tested users", MODEL_LABELS[winner], "best of the others"]
        if gains:
            columns.append("ahead of the champion by")
        rows = tuple(_segment_row(one, winner, gains) for one in chosen)
        if rows:
            tables.append((caption, Table(tuple(columns), rows)))
    return Section("For whom", tuple(text), tuple(tables))


_SIDES = (
    ("users", "users: precision at 5"),
    ("items", "items: share of the held-out likes of them that are among the first 5"),
)


def _segment_row(
    figures: Mapping[str, Any], winner: str, gains: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    metric = headline_of(figures["side"])
    values = {name: found[metric] for name, found in figures["models"].items()}
    own = values.pop(winner)
    best = max(values, key=lambda name: values[name]["mean"])
    row = (
        figures["segment"],
        f"{figures['users']:,}",
        _estimate(own),
        f"{MODEL_LABELS.get(best, best)} {values[best]['mean']:.4f}",
    )
    return (*row, _estimate(gains.get(figures["segment"]), "+.4f")) if gains else row


def _newcomers(measured: Stage[Evaluated]) -> Section | None:
    compared = measured.read_json("strategies.json")
    rows: list[tuple[str, ...]] = []
    if cold := compared.get("cold"):
        rows += [
            (f"{cold['items']:,} cold items, ranked by {name}", _estimate(entry[HEADLINE]))
            for name, entry in cold["models"].items()
        ]
    if foldin := compared.get("foldin"):
        rows.append((f"{foldin['users']:,} new users, by some likes", f"{foldin['foldin']:.4f}"))
        rows.append(("the same users, trained", f"{foldin['trained']:.4f}"))
    tables = [("precision at 5", Table(("", ""), tuple(rows)))] if rows else []
    if asked := compared.get("suggestion"):
        found = tuple(
            (name.replace("_", "-"), f"{value:.4f}")
            for name, value in asked.items()
            if isinstance(value, float)
        )
        caption = f"one {asked['type']} hidden from {asked['items']:,} items: recall at 10"
        tables.append((caption, Table(("", ""), found)))
    return Section("Never seen before", (), tuple(tables)) if tables else None


def _after_the_cut(stages: TrainingStages) -> Section | None:
    rows = tuple(
        (about, _estimate(own), others)
        for about, own, others in newcomer_rows(newcomers_of(stages.measured))
    )
    if not rows:
        return None
    told = stages.holdouts.outcome.told()
    header = ("precision at 5", "the winner", "others")
    return Section("After the cut", told, (("", Table(header, rows)),))


def _everyone(fitted: Stage[Fitted]) -> Section:
    figures = fitted.read_json("few_likes.json")
    answered = figures["answered"]
    text = f"{sum(answered.values()):,} users are answered: {answered_text(answered)}."
    rows = tuple(
        (label, _estimate(figures[name]))
        for name, label in (("model", "the model"), *_FEW_LIKES_BASELINES)
        if name in figures
    )
    if not rows:
        return Section("Every user", (text,))
    caption = f"hit rate at 10, {figures['users']:,} users with 2 to 4 likes, one of them hidden"
    return Section("Every user", (text,), ((caption, Table(("", ""), rows)),))


_FEW_LIKES_BASELINES = tuple((name, MODEL_LABELS[name]) for name in ("itemknn", "popularity"))


def _diversity(measured: Stage[Evaluated]) -> Section | None:
    figures = measured.read_json("diversity.json")
    if not figures:
        return None
    rows = tuple(
        (
            f"{one['weight']:g}",
            f"{one['precision_at_5']:.4f}",
            f"{one['intra_list_diversity']:.4f}",
        )
        for one in figures
    )
    caption = f"lists of five for {figures[0]['users']:,} users of the holdout"
    header = ("weight of diversity", "precision at 5", "intra-list diversity")
    return Section("Diverse lists", (), ((caption, Table(header, rows)),))


def _beyond(measured: Stage[Evaluated]) -> Section | None:
    figures = measured.read_json("beyond.json")
    if not figures:
        return None
    models, winner, shown = figures["models"], figures["winner"], shown_beyond(figures)
    rows = tuple(
        (
            MODEL_LABELS.get(name, name),
            *(_mean(models[name].get(figure.name)) for figure in shown),
        )
        for name in sorted(models, key=lambda name: -models[name]["precision"]["mean"])
    )
    parts = tuple(
        (one["part"], f"{one['likes']:.1%}", f"{one['places']:.1%}") for one in figures["exposure"]
    )
    gaps = " and ".join(
        f"{models[winner][name]['mean']:.1%} for {about}"
        for name, about in (("item_exposure_gap", "items"), ("tag_exposure_gap", "tags"))
        if name in models[winner]
    )
    text = [
        f"Lists of {figures['k']} for {figures['users']:,} users. Novel is what few users like; "
        "serendipity is the part of precision that popularity would not have found; miscalibration "
        "is 0 where the tags of a list are those of the user's likes.",
        f"Shares of places that would have to change hands to be shown as they are liked: {gaps}.",
    ]
    if price := price_text(figures):
        text.append(f"{price[0].upper()}{price[1:]}.")
    tables = (
        ("", Table(("", *(figure.label for figure in shown)), rows)),
        (f"what {MODEL_LABELS[winner]} shows", Table(("", "likes", "places"), parts)),
    )
    return Section("Beyond precision", tuple(text), tables)


def _mean(estimate: Mapping[str, float] | None) -> str:
    return "" if estimate is None else f"{estimate['mean']:.3f}"


def search_section(chosen: Stage[Chosen]) -> Section:
    """How the search went, and what won; of a refresh, what it took over."""
    found = chosen.outcome
    if isinstance(found, Adopted):
        text = f"No search: the champion's configuration, {found.epochs} epochs."
        table = _configuration(found.configuration)
        return Section("What was trained", (text,), (("", table),))
    study = chosen.read_json("study.json")
    text = (
        f"{len(study['trials'])} trials; trial {study['trial']} won with "
        f"{study['precision_at_5']:.4f} on validation after {study['epochs']} epochs. "
        f"Ended: {study['ended']}."
    )
    curves = {trial["number"]: trial["curve"] for trial in study["trials"] if trial["curve"]}
    tables = [
        ("the winner", _configuration(study["configuration"])),
        ("the best trials", _best(study)),
    ]
    if study["race"]:
        tables.append((_RACE, _race(study["race"])))
    return Section(
        "What the search found",
        (text,),
        tuple(tables),
        learning_curves_svg(curves, study["trial"]),
    )


_RACE = "the best of each model on further holdouts: those behind beyond chance were dropped"


def _race(contenders: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            MODEL_LABELS.get(one["model"], one["model"]),
            str(one["trial"]),
            f"{one['first']:.4f}",
            f"{one['mean']:.4f}",
            str(one["holdouts"]),
        )
        for one in contenders
    )
    columns = ("", "trial", "on the first holdout", "over its holdouts", "holdouts")
    return Table(columns, rows)


def search_space_section(chosen: Stage[Chosen]) -> Section | None:
    """What a search knows of its space; None where nothing was searched."""
    found = search_space_of(chosen)
    if not found:
        return None
    understood = Understanding.from_dict(found)
    text = [f"{understood.verdict[0].upper()}{understood.verdict[1:]}."]
    if not understood.effects:
        return Section("What the search knows of its space", tuple(text))
    text.append(
        "Importance is the share of the variance over the whole search space that a dimension "
        "explains by itself, by forests on bootstraps of the trials; in brackets and as bands "
        f"the {LEVEL:.0%} intervals over these. What they miss: out-of-bag R² is "
        f"{understood.explained:.2f}, 1 would be nothing."
    )
    rows = tuple(
        (
            effect.name,
            f"{effect.importance:.0%} ({effect.low:.0%}..{effect.high:.0%})",
            _short(effect.values[effect.mean.index(max(effect.mean))]),
        )
        for effect in understood.effects
    )
    table = Table(("dimension", "importance", "best on average at"), rows)
    picture = understanding_svg(understood)
    return Section("What the search knows of its space", tuple(text), (("", table),), picture)


def _configuration(configuration: Mapping[str, Any]) -> Table:
    return Table(tuple(configuration), (tuple(_short(value) for value in configuration.values()),))


def _best(study: Mapping[str, Any], most: int = 5) -> Table:
    trials = sorted(study["trials"], key=lambda t: (-t["precision_at_5"], t["number"]))[:most]
    rows = tuple(
        (
            str(trial["number"]),
            f"{trial['precision_at_5']:.4f}",
            str(trial["curve"][-1][0] if trial["curve"] else 0),
            trial["reason"],
        )
        for trial in trials
    )
    return Table(("trial", "validation precision at 5", "epochs", "why it ended"), rows)


def _data(stages: TrainingStages) -> Section:
    core, holdouts = stages.core, stages.holdouts.outcome
    rows = [("as it came", *_sizes(core.outcome.start))]
    for place, entry in enumerate(core.read_json("ledger.json"), start=1):
        rows.append((f"after pass {place}", *(_short(entry[size]) for size in _SIZES), ""))
    rows.append(("core", *_sizes(core.outcome.end)))
    tables = [("the k-core", Table(("", *_SIZES, "filled"), tuple(rows)))]
    reasons = tuple(
        (part, reason, _short(count))
        for part, counted in stages.data.outcome.rejected.items()
        for reason, count in counted.items()
        if count
    )
    if reasons:
        tables.append(("rows left out", Table(("file", "reason", "rows"), reasons)))
    text = (
        f"{holdouts.train:,} likes to learn from, {holdouts.validation:,} of "
        f"{holdouts.validation_users:,} users for validation, {holdouts.test:,} of "
        f"{holdouts.test_users:,} users for the test. Fingerprint {core.digest}."
    )
    told = (*stages.data.outcome.told(), *holdouts.told(), *stages.data.outcome.read_as)
    return Section("What came in", (text, *told), tuple(tables))


_SIZES = ("users", "items", "interactions")


def _sizes(size: Size) -> tuple[str, ...]:
    return *(_short(getattr(size, name)) for name in _SIZES), f"{size.density:.3f} %"


def _answers(recommender: Recommender) -> Section:
    tables = tuple(
        (title, Table(("id", "name", "why"), tuple((r.id, r.name, r.reason) for r in rows)))
        for title, rows in examples(recommender)
    )
    return Section("What it answers", (), tables)


def examples(recommender: Recommender) -> Iterator[tuple[str, Answer]]:
    """A few questions, as the command line asks them, about users and items that are typical."""
    trained = recommender.bundle.trained_users
    likes = recommender.seen.indptr[1 : trained + 1] - recommender.seen.indptr[:trained]
    # A typical user: neither a newcomer nor the busiest.
    user = recommender.users.id(int(likes.argsort(kind="stable")[len(likes) // 2]))
    yield f"recsys recommend {user}", recommender.recommend(user, 5)
    # Not the very first: what everybody likes is like nothing in particular.
    # In a small catalogue the sixty hold some that nobody likes.
    liked = min(60, recommender.bundle.trained)
    for item in recommender.popular(liked)[19::40]:
        # Items known by tags alone are many, and those with the same tags all alike.
        found = recommender.similar_items(item.id, 5, Filters(include_untrained=False))
        yield f"recsys similar {item.id} --trained", found


def _short(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"
