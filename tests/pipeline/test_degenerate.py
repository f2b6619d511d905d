"""Degenerate data and learning, from likes to a bundle: a defined result, said openly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.base.config import Data, Encode, Evaluate, Fit, Search, Split, Threshold
from recsys.base.dimensions import Range
from recsys.base.errors import InputError
from recsys.pipeline import evaluation, fitting, preparation, tuning
from recsys.pipeline.outcomes import Evaluated, Tuned
from recsys.pipeline.report_sections import search_section, search_space_section
from recsys.recommend.recommender import Recommender
from recsys.store.stages import Stage

Likes = list[tuple[str, str]]
LOW = Threshold(user_min=1, item_min=1)


def taste(users: int = 60, items: int = 30) -> Likes:
    """Half of the users like twelve each of one half of the items, the others of the other."""
    generator, half = np.random.default_rng(1), items // 2
    return [
        (f"u{user}", f"i{item + user % 2 * half}")
        for user in range(users)
        for item in generator.choice(half, 12, replace=False)
    ]


def everybody(users: int, items: int) -> Likes:
    return [(f"u{user}", f"i{item}") for user in range(users) for item in range(items)]


@dataclass(frozen=True)
class Trained:
    tuned: Stage[Tuned]
    measured: Stage[Evaluated]
    recommender: Recommender


def train(
    folder: Path,
    likes: Likes,
    tags: Mapping[str, list[str]] | None = None,
    threshold: Threshold | None = None,
    n: int = 5,
    **space: Any,
) -> Trained:
    """All stages up to the bundle: few short trials, enough for a surrogate of each model."""
    pd.DataFrame(likes, columns=["uid", "mid"]).to_csv(folder / "likes.psv", sep="|", index=False)
    data = Data(likes=str(folder / "likes.psv"), name_column=None)
    if tags:
        rows = [(item, "tag", tag) for item, own in tags.items() for tag in own]
        table = pd.DataFrame(rows, columns=["mid", "type", "value"])
        table.to_csv(folder / "feats.psv", sep="|", index=False)
        data = data.model_copy(update={"features": str(folder / "feats.psv")})
    interim, seed = folder / "interim", 7
    ingested = preparation.ingest(interim, data, preparation.sources_of(data))
    core = preparation.threshold(interim, ingested, threshold or Threshold())
    holdouts = preparation.split(interim, ingested, core, Split(n=n), seed)
    features = preparation.encode(interim, ingested, core, Encode())
    search = Search(item_to_item_trials=4, trials=3, max_epochs=6, batch=2, space=space)
    tuned = tuning.tune(interim, holdouts, features, search, seed)
    options = Evaluate(baseline_trials=1, bootstrap_samples=50)
    measured = evaluation.evaluate(interim, holdouts, features, tuned, options, seed)
    fitted = fitting.fit(interim, core, features, tuned, measured, Fit(), seed, {})
    return Trained(tuned, measured, Recommender.load(fitted.file("bundle")))


def metric(trained: Trained, name: str, model: str = "lightfm") -> float:
    board = trained.measured.read_json("leaderboard.json")
    return float(next(e for e in board if e["model"] == model)["metrics"][name]["mean"])


def finite(recommender: Recommender) -> bool:
    factors = recommender.factors
    return recommender.bundle.finite() and all(
        bool(np.isfinite(part).all())
        for part in (factors.user_factors, factors.item_factors, factors.user_biases)
    )


def test_a_user_who_likes_everything_gets_nothing_and_is_told(tmp_path: Path) -> None:
    more = [("all", f"i{item}") for item in range(30)]
    trained = train(tmp_path, taste() + more, {f"i{i}": [f"t{i % 5}"] for i in range(30)})
    asked = trained.recommender
    assert finite(asked)
    for n in (1, 5, 1000):
        found = asked.recommend("all", n)
        assert (len(found), found.notes) == (0, ("an empty answer: all else is known or left out",))
    others = asked.recommend("u1", 1000)
    assert len(others) == 18
    assert others.notes == ("only 18 of 1,000 asked for: all else is known or left out",)
    assert metric(trained, "precision_at_5") > 0.4


def test_an_item_liked_by_everybody_is_nobodys_recommendation(tmp_path: Path) -> None:
    trained = train(tmp_path, taste() + [(f"u{user}", "hit") for user in range(60)])
    assert all("hit" not in [r.id for r in trained.recommender.recommend(f"u{u}")] for u in (0, 1))
    nobody = trained.recommender.audience("hit", 5)
    assert (len(nobody), nobody.notes) == (0, ("an empty answer: all else is known or left out",))
    assert trained.recommender.recommend_for([], 1)[0].id == "hit"
    assert metric(trained, "precision_at_5") > 0.4


def test_where_all_users_are_alike_nothing_beats_popularity(tmp_path: Path) -> None:
    # Held-out users have seven of the twelve items left: the other five are what was held out.
    trained = train(tmp_path, everybody(60, 12))
    for model in ("lightfm", "popularity"):
        assert metric(trained, "precision_at_5", model) == 1.0
        # k beyond the catalogue: five hits in twenty places, whatever could be filled.
        assert metric(trained, "precision_at_20", model) == 0.25
        assert metric(trained, "recall_at_20", model) == 1.0
    assert metric(trained, "precision_at_5", "ease") == 1.0
    assert trained.recommender.bundle.finite()
    behind = trained.measured.read_json("leaderboard.json")[-1].get("behind_by")
    assert behind is None or behind["low"] == behind["high"] == 0
    assert list(trained.recommender.recommend("u0")) == []


def test_a_catalogue_smaller_than_k(tmp_path: Path) -> None:
    trained = train(tmp_path, everybody(60, 2), threshold=LOW, n=1)
    assert metric(trained, "precision_at_5") == pytest.approx(0.2)
    assert metric(trained, "precision_at_20") == pytest.approx(0.05)
    assert [row.id for row in trained.recommender.similar_items("i0", 10)] in (["i1"], [])


REFUSED = {
    "one user": ([("u", f"i{i}") for i in range(30)], Threshold(), "most liked item 1"),
    "one user, no threshold": (
        [("u", f"i{i}") for i in range(30)], LOW, "1 of 1 users have the 2 interactions needed",
    ),
    "one item": ([(f"u{u}", "i") for u in range(60)], Threshold(), "the busiest user has 1"),
    "one item, no threshold": ([(f"u{u}", "i") for u in range(60)], LOW, "0 of 60 users"),
    "one like": ([("u", "i")], LOW, "0 of 1 users"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_leaves_nobody_to_measure_on_is_refused(case: str, tmp_path: Path) -> None:
    likes, threshold, said = REFUSED[case]
    with pytest.raises(InputError, match=said):
        train(tmp_path, likes, threshold=threshold, n=1)


def test_a_study_whose_trials_all_diverge_is_refused_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"all 3 trials diverged .*smaller learning rates"
    ) as raised:
        train(tmp_path, taste(), learning_rate=Range(low=1e5, high=9e5), alpha=0.0)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "interim").glob("tune-*"))


def test_trials_that_all_measure_the_same_end_in_a_winner(tmp_path: Path) -> None:
    trained = train(tmp_path, everybody(60, 12), learning_rate=Range(low=1e-12, high=2e-12))
    study = trained.tuned.read_json("study.json")
    assert {trial["precision_at_5"] for trial in study["trials"]} == {1.0}
    space = study["search_space"]
    assert space["verdict"].startswith("the search ended before its space is understood: ")
    section = search_space_section(trained.tuned)
    assert section is not None
    assert section.text[0] == f"T{space['verdict'][1:]}."
    # The blended one: where validation cannot tell, two models err less than one.
    served = [trial["number"] for trial in study["trials"] if "model" not in trial["configuration"]]
    assert len(served) < len(study["trials"])
    assert study["trial"] == served[-1]
    assert metric(trained, "precision_at_5") == 1.0


def test_tags_on_one_trained_item_are_not_mapped(tmp_path: Path) -> None:
    # One item to learn from leaves none to choose by: the model is trained without features.
    tags = {"i1": ["t"], **{f"x{i}": ["y"] for i in range(100)}}
    trained = train(tmp_path, taste(), tags)
    assert "mapped" not in trained.tuned.outcome.strategies
    # Twelve users say too little of which trial is best: the report has how the race went.
    race = trained.tuned.read_json("study.json")["race"]
    assert {one["model"] for one in race} == {"lightfm", "ease", "rp3beta"}
    title, table = search_section(trained.tuned).tables[-1]
    assert "on further holdouts" in title
    assert [row[1] for row in table.rows] == [str(one["trial"]) for one in race]
    assert trained.tuned.seconds["race"] > 0
    assert metric(trained, "precision_at_5") > 0.4


def test_an_item_with_a_hundred_thousand_tags_has_none(tmp_path: Path) -> None:
    tags = {f"i{i}": [f"t{i % 5}"] for i in range(30)}
    trained = train(tmp_path, taste(), {**tags, "i3": [f"x{tag}" for tag in range(100_000)]})
    side = trained.recommender.bundle.item_features
    assert side is not None
    assert len(side.vocabulary.features) == 5
    assert metric(trained, "precision_at_5") > 0.4


def test_one_tag_on_every_item_says_nothing_and_hurts_nothing(tmp_path: Path) -> None:
    trained = train(tmp_path, taste(), {f"i{i}": ["same"] for i in range(30)})
    assert finite(trained.recommender)
    assert metric(trained, "precision_at_5") > 0.4
