"""The stage that judges, on real training: what is compared with what, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.base.config import Batch, Data, Evaluate, Fit, Gate, Guard, Split, Threshold
from recsys.base.errors import InputError, NotFoundError, WorkerError
from recsys.bundle import Bundle, Seen, load_bundle, read_bundle_manifest, save_bundle
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.folds import final_fold
from recsys.data.idmap import IdMap
from recsys.data.splits import times_of
from recsys.evaluation.comparison import TriedStrategy
from recsys.models.popularity import Popularity
from recsys.models.spreading import Spread
from recsys.pipeline import adoption, evaluation, fitting
from recsys.pipeline.expected import read_expected
from recsys.pipeline.gating import gate
from recsys.pipeline.measurements import load_evaluation, load_segments
from recsys.pipeline.outcomes import Adopted, Evaluated, Fitted, Judged, Reference, Rival
from recsys.pipeline.preparation import load_core
from recsys.pipeline.rivals import Refits
from recsys.ranking.metrics import precision_at_k
from recsys.store.exchange import Exchange
from recsys.store.stages import Stage
from tests.fixtures.planted import planted, write_planted
from tests.fixtures.stages import Prepared, prepare
from tests.fixtures.timed import DAY, timed, write_timed

SEED = 2016
GOOD = {"no_components": 16, "learning_rate": 0.05, "loss": "warp"}
WEAK = GOOD | {"no_components": 2, "learning_rate": 0.02}
OPTIONS = Evaluate(baseline_trials=0, bootstrap_samples=100)


@dataclass(frozen=True)
class Night:
    """What a night hands to the gate."""

    prepared: Prepared
    measured: Stage[Evaluated]
    fitted: Stage[Fitted]

    @property
    def bundle(self) -> Path:
        return self.fitted.file("bundle")


def night(prepared: Prepared, folder: Path, configuration: dict[str, Any], epochs: int) -> Night:
    """A night whose search ended in this configuration."""
    tried = {"none": TriedStrategy(configuration, epochs)}
    found = Adopted(configuration=configuration, epochs=epochs, strategies=tried)
    tuned = Stage("adopt", str(folder), "", str(found), found)
    measured = evaluation.evaluate(
        folder, prepared.holdouts, prepared.features, tuned, OPTIONS, SEED
    )
    fitted = fitting.fit(folder, prepared.core, prepared.features, tuned, measured, Fit(), SEED, {})
    return Night(prepared, measured, fitted)


def refreshed(prepared: Prepared, folder: Path, configuration: dict[str, Any]) -> Night:
    """A night that takes over a configuration with its number of epochs, as a refresh does."""
    adopted = adoption.adopt(
        folder, prepared.holdouts, prepared.features, configuration, [], SEED
    )  # fmt: skip
    measured = evaluation.evaluate(
        folder, prepared.holdouts, prepared.features, adopted, OPTIONS, SEED
    )
    fitted = fitting.fit(
        folder, prepared.core, prepared.features, adopted, measured, Fit(), SEED, {}
    )
    return Night(prepared, measured, fitted)


def judged(
    folder: Path,
    tonight: Night,
    champion: Path | None,
    version: str = "7",
    reference: dict[str, Any] | None = None,
    limits: Gate | None = None,
) -> Stage[Judged]:
    named = None if champion is None else Rival(version, champion.parent.name)
    return gate(
        folder, tonight.prepared.holdouts, tonight.prepared.features, tonight.measured,
        tonight.fitted, named, limits or Gate(), SEED, champion_bundle=champion,
        reference=None if reference is None else Reference("3", reference), workers=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Night, Night]:
    """The same likes trained well and badly."""
    folder = tmp_path_factory.mktemp("gating")
    likes, features = write_planted(folder / "in")
    prepared = prepare(Data(likes=str(likes), features=str(features)), folder)
    return folder, night(prepared, folder, GOOD, 15), night(prepared, folder, WEAK, 2)


def checks(verdict: Stage[Judged]) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in verdict.read_json("verdict.json")["checks"]}


def test_the_first_of_all_is_judged_without_a_champion(world: tuple[Path, Night, Night]) -> None:
    folder, good, _ = world
    verdict = judged(folder, good, None)
    assert verdict.outcome.passed, verdict.outcome
    assert verdict.outcome.champion is None
    assert not verdict.file("churn.json").exists()
    table = pq.read_table(verdict.file("per_user.parquet"))
    assert table.column_names == ["user", "challenger", "popularity"]
    users = load_bundle(good.bundle).users
    assert all(user in users for user in table.column("user").to_pylist())


def test_a_worse_challenger_is_held_and_a_better_one_is_not(
    world: tuple[Path, Night, Night],
) -> None:
    folder, good, weak = world
    verdict = judged(folder, weak, good.bundle)
    assert not verdict.outcome.passed
    assert not checks(verdict)["no worse than the champion"]
    assert checks(verdict)["data all there"]
    better = judged(folder, good, weak.bundle)
    assert better.outcome.passed, better.outcome
    assert 0 <= better.outcome.overlap < 1
    assert "## Against version 7" in better.file("verdict.md").read_text()


def test_the_champion_is_measured_refit_and_not_as_it_is(
    world: tuple[Path, Night, Night],
) -> None:
    folder, good, weak = world
    verdict = judged(folder, weak, good.bundle)
    found = pq.read_table(verdict.file("per_user.parquet")).column("champion").to_numpy()
    parts = persistence.load_split(Path(good.prepared.holdouts.path))
    known = parts.train + parts.validation
    again = fitting.refit(known, {**GOOD, "epochs": 15}, good.prepared.features, SEED).factors
    assert found.tolist() == precision_at_k(again, parts.test, known, 5).tolist()
    # The champion has seen these very likes: measured as it is it would look better.
    itself = precision_at_k(load_bundle(good.bundle).factors, parts.test, known, 5)
    assert itself.mean() > found.mean()


def test_the_same_configuration_is_not_refit(world: tuple[Path, Night, Night]) -> None:
    folder, good, _ = world
    verdict = judged(folder, good, good.bundle, "8")
    table = pq.read_table(verdict.file("per_user.parquet"))
    assert table.column("champion").equals(table.column("challenger"))
    assert verdict.outcome.passed
    assert verdict.outcome.overlap == 1


def test_small_losses_are_added_up_against_the_reference(world: tuple[Path, Night, Night]) -> None:
    folder, good, weak = world
    best = {**GOOD, "epochs": 15}
    # The champion is bad, the challenger little better, and the reference better than both.
    poor = refreshed(good.prepared, folder, {**WEAK, "epochs": 3})
    verdict = judged(folder, poor, weak.bundle, "7", best, Gate(champion_loss=0.5))
    assert checks(verdict)["no worse than the champion"]
    assert not checks(verdict)["no worse than the reference"]
    assert (verdict.outcome.reference, verdict.outcome.beats_reference) == ("3", False)
    table = pq.read_table(verdict.file("per_user.parquet"))
    assert table.column_names == ["user", "challenger", "popularity", "champion", "reference"]
    # As on its own night: the same configuration, likes and seed.
    own = pq.read_table(judged(folder, good, None).file("per_user.parquet"))
    assert table.column("reference").equals(own.column("challenger"))
    assert verdict.read_json("verdict.json")["reference"] == "3"


def test_who_beats_the_reference_is_the_next_one(world: tuple[Path, Night, Night]) -> None:
    folder, good, weak = world
    verdict = judged(folder, good, weak.bundle, "7", {**WEAK, "epochs": 2})
    assert checks(verdict)["no worse than the reference"]
    assert verdict.outcome.beats_reference
    # Champion and reference have one configuration, which is trained once.
    table = pq.read_table(verdict.file("per_user.parquet"))
    assert table.column("champion").equals(table.column("reference"))


def test_the_champions_own_configuration_answers_to_nobody(
    world: tuple[Path, Night, Night],
) -> None:
    folder, _, weak = world
    verdict = judged(folder, weak, weak.bundle, "7", {**GOOD, "epochs": 15})
    assert checks(verdict)["no worse than the reference"]
    assert "the champion's own configuration" in verdict.file("verdict.md").read_text()
    # The reference stays what it was.
    assert not verdict.outcome.beats_reference


def test_a_reference_that_cannot_be_trained_any_more_gives_its_place(
    world: tuple[Path, Night, Night],
) -> None:
    folder, good, weak = world
    wild = {**GOOD, "learning_rate": 1e9, "epochs": 3}
    verdict = judged(folder, good, weak.bundle, "7", wild)
    assert checks(verdict)["no worse than the reference"]
    assert verdict.outcome.beats_reference


def test_guard_rails_are_measured_against_the_champion(world: tuple[Path, Night, Night]) -> None:
    folder, good, weak = world
    guards = [
        Guard(metric="ndcg_at_10", segment="users with 5 to 9 likes"),
        Guard(metric="recall_at_5", segment="items with tag_group 3", margin=0.9),
        Guard(metric="gini_at_10", margin=0.5),
        Guard(metric="auc", segment="users with 1 to 4 likes"),
    ]
    limits = Gate(champion_loss=0.9, guard=guards)
    verdict = judged(folder, good, weak.bundle, "7", None, limits)
    table = verdict.file("verdict.md").read_text()
    found = [c for c in verdict.read_json("verdict.json")["checks"] if c["name"] == "guard rail"]
    assert [check["about"] for check in found] == [guard.label for guard in guards]
    assert [check["passed"] for check in found] == [True, True, True, False]
    assert "nothing is held out of it; there are users with 5 to 9 likes" in found[3]["found"]
    assert "guard rail gini_at_10" in table
    # The other way round the champion's users with few likes lose.
    again = judged(folder, weak, good.bundle, "7", None, Gate(guard=guards[:1]))
    assert not again.read_json("verdict.json")["checks"][-1]["passed"]
    # Before there is a champion, only a name that means nothing is said.
    first = judged(folder, good, None, "7", None, limits).read_json("verdict.json")["checks"]
    assert [check["passed"] for check in first[-4:]] == [True, True, True, False]


def test_what_the_owner_expects_is_asked_of_the_challenger(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, _ = world
    expected, ruled = tmp_path / "expected.toml", tmp_path / "rules.toml"
    expected.write_text(
        "[[similar]]\nitem = 'g0i00'\ncontains = ['g0i01']\nfirst = 14\n"
        "[[never]]\ntags = ['tag_group 3']\n"
        "[[at_least]]\nuser = 'g0u00'\nn = 5\n"
    )
    ruled.write_text("[[exclude]]\ntags = ['tag_group 3']\n[hide_shown]\ndays = 3\n")
    given, rules = read_expected(Gate(expectations=str(expected)), Batch(rules=str(ruled)))
    # What was shown lately says nothing of a model.
    assert given is not None
    assert rules is not None
    assert (len(rules.exclude), rules.hide_shown) == (1, None)
    verdicts = [
        gate(
            folder, good.prepared.holdouts, good.prepared.features, good.measured, good.fitted,
            None, Gate(), SEED, expectations=given, rules=one,
        )
        for one in (rules, None)
    ]  # fmt: skip
    checked = [verdict.read_json("verdict.json")["checks"][-3:] for verdict in verdicts]
    assert [check["about"] for check in checked[0]] == [
        "similar to g0i00: g0i01 in the first 14",
        "never tag_group 3 in the first 10 for anybody",
        "at least 5 items for g0u00",
    ]
    assert [[check["passed"] for check in part] for part in checked] == [
        [True, True, True], [True, False, True],
    ]  # fmt: skip
    assert verdicts[0].outcome.passed
    (reason,) = verdicts[1].outcome.reasons
    assert reason.condition == "expectation"
    assert reason.text.startswith("expectation never tag_group 3 in the first 10 for anybody: ")
    assert read_expected(Gate(), Batch(rules="nowhere.toml")) == (None, None)
    with pytest.raises(NotFoundError, match="expected expectations"):
        read_expected(Gate(expectations="nowhere.toml"), Batch())


def test_who_gains_against_the_champion_is_measured(world: tuple[Path, Night, Night]) -> None:
    folder, good, weak = world
    gains = {
        one["segment"]: one for one in judged(folder, good, weak.bundle).read_json("segments.json")
    }
    assert gains["users with 5 to 9 likes"]["low"] > 0
    assert gains["items of the tail"]["metric"] == "recall_at_5"
    figures = {one["segment"]: one for one in good.measured.read_json("segments.json")}
    assert set(gains) == set(figures)
    everybody = figures["users with 5 to 9 likes"]
    board = {entry["model"]: entry for entry in good.measured.read_json("leaderboard.json")}
    # All 48 tested users keep so many likes.
    assert everybody["users"] == 48
    for model in ("lightfm", "popularity"):
        own = everybody["models"][model]["precision_at_5"]["mean"]
        assert own == pytest.approx(board[model]["metrics"]["precision_at_5"]["mean"])
    # The same configuration gains nothing for anybody.
    assert not judged(folder, good, good.bundle, "8").file("segments.json").exists()


def test_a_model_that_shows_everybody_the_same_is_held(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, _ = world
    matrix = load_core(good.prepared.core).matrix()
    popular = Night(good.prepared, good.measured, _stage(tmp_path, good, Popularity().fit(matrix)))
    verdict = judged(folder, popular, None)
    assert [name for name, passed in checks(verdict).items() if not passed] == ["variety"]


def test_half_a_delivery_is_held(world: tuple[Path, Night, Night], tmp_path: Path) -> None:
    folder, good, _ = world
    bundle = load_bundle(good.bundle)
    counts = {name: 2 * count for name, count in bundle.manifest["counts"].items()}
    champion = _stage(tmp_path, good, bundle.factors, counts=counts)
    verdict = judged(folder, good, champion.file("bundle"), "9")
    assert [name for name, passed in checks(verdict).items() if not passed] == ["data all there"]


def test_other_data_under_the_champions_name_are_held(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, _ = world
    own = load_bundle(good.bundle)
    users, items = (
        IdMap(pa.array([f"other {n}" for n in range(len(ids))]), ids.kind)
        for ids in (own.users, own.items)
    )
    (tmp_path / "other").mkdir()
    save_bundle(tmp_path / "other", replace(own, users=users, items=items))
    verdict = judged(folder, good, tmp_path / "other", "9")
    failed = [name for name, passed in checks(verdict).items() if not passed]
    assert failed == ["data all there", "the same data"]
    gone, same = verdict.outcome.reasons
    assert "users -100.0% (gone: other " in gone.text
    assert same.text == (
        "the same data: 0% of the champion's users and 0% of the champion's items are known, "
        "wanted 10% of either; other data need a name of their own, tracking.model"
    )


def test_users_whose_ids_are_written_in_another_way_are_gone(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, _ = world
    own = load_bundle(good.bundle)
    written = [f"user-{number:03d}" for number in range(len(own.users))]
    (tmp_path / "half").mkdir()
    save_bundle(tmp_path / "half", replace(own, users=IdMap(pa.array(written), "user")))
    verdict = judged(folder, good, tmp_path / "half", "10")
    assert [name for name, passed in checks(verdict).items() if not passed] == ["data all there"]
    (reason,) = verdict.outcome.reasons
    assert "users -100.0% (gone: user-" in reason.text
    assert "items +0.0%, " in reason.text
    assert "interactions +0.0%" in reason.text


def test_a_champion_that_cannot_be_trained_any_more_does_not_block_the_way(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, _ = world
    wild = {**GOOD, "learning_rate": 1e9, "epochs": 3}
    champion = _stage(tmp_path, good, load_bundle(good.bundle).factors, configuration=wild)
    verdict = judged(folder, good, champion.file("bundle"), "10")
    assert verdict.outcome.passed
    assert "cannot be trained on today's data" in verdict.file("verdict.md").read_text()
    parts = persistence.load_split(Path(good.prepared.holdouts.path))
    with pytest.raises(InputError, match="diverged"):
        fitting.refit(parts.train, wild, good.prepared.features, SEED)


def test_a_champion_of_an_earlier_release_is_adopted_started_from_and_judged(
    world: tuple[Path, Night, Night], tmp_path: Path
) -> None:
    folder, good, weak = world
    # As the release before wrote it: other names for what is blended.
    old = {
        **GOOD,
        "strategy": "mapped",
        "leaning": 1.0,
        "pooling": 0.25,
        "strength": 2,
        "epochs": 9,
    }
    champion = _stage(
        tmp_path, good, load_bundle(good.bundle).factors, configuration=old,
        data_fingerprint="another", started_from=[],
    ).file("bundle")  # fmt: skip
    new = {
        **GOOD, "strategy": "mapped", "content_blending": 1.0, "user_blending": 0.25, "epochs": 9,
    }  # fmt: skip
    manifest = read_bundle_manifest(champion)
    assert adoption.adopted_configuration(manifest) == new
    assert adoption.warm_start(manifest, good.prepared.core.digest) == [GOOD]
    adopted = adoption.adopt(
        folder, good.prepared.holdouts, good.prepared.features,
        adoption.adopted_configuration(manifest), [], SEED,
    )  # fmt: skip
    assert adopted.outcome.strategies["mapped"].configuration["user_blending"] == 0.25
    prepared = good.prepared
    measured = evaluation.evaluate(
        folder, prepared.holdouts, prepared.features, adopted, OPTIONS, SEED
    )
    refreshed = fitting.fit(
        folder, prepared.core, prepared.features, adopted, measured, Fit(), SEED, {}
    )
    assert read_bundle_manifest(refreshed.file("bundle"))["configuration"].items() >= new.items()
    verdict = judged(folder, weak, champion, "11")
    found = pq.read_table(verdict.file("per_user.parquet")).column("champion").to_numpy()
    parts = persistence.load_split(Path(good.prepared.holdouts.path))
    known = parts.train + parts.validation
    again = fitting.refit(known, new, good.prepared.features, SEED).factors
    assert found.tolist() == precision_at_k(again, parts.test, known, 5).tolist()


BLENDED = {
    **WEAK, "epochs": 2, "neighbours": "ease", "neighbours_weight": 4.0,
    "neighbours_regularization": 20.0, "neighbours_dropout": 0.33, "neighbours_kept": 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def blended(world: tuple[Path, Night, Night]) -> Night:
    """The weak factors, and neighbours beside them."""
    folder, good, _ = world
    return refreshed(good.prepared, folder, BLENDED)


def test_a_blended_nights_bundle_has_neighbours_and_its_board_all_its_parts(
    blended: Night,
) -> None:
    board = {entry["model"]: entry for entry in blended.measured.read_json("leaderboard.json")}
    assert {"blend", "lightfm", "ease", "popularity"} <= set(board)
    values = {name: entry["metrics"]["precision_at_5"]["mean"] for name, entry in board.items()}
    assert values["blend"] > values["lightfm"]
    assert {**board["blend"]["configuration"]} == BLENDED
    assert "neighbours" not in board["lightfm"]["configuration"]
    bundle = load_bundle(blended.bundle)
    assert bundle.neighbours is not None
    assert bundle.manifest["model"] == "blend"
    assert bundle.manifest["metrics"] == board["blend"]["metrics"]
    matrix = load_core(blended.prepared.core).matrix()
    again = fitting.refit(matrix, BLENDED, blended.prepared.features, SEED)
    assert again.neighbours is not None
    for part in ("indptr", "indices", "weights"):
        np.testing.assert_array_equal(
            getattr(again.neighbours, part), getattr(bundle.neighbours, part)
        )


def test_a_champion_with_neighbours_is_refit_with_them(
    world: tuple[Path, Night, Night], blended: Night
) -> None:
    folder, good, _ = world
    verdict = judged(folder, good, blended.bundle, "12")
    found = pq.read_table(verdict.file("per_user.parquet")).column("champion").to_numpy()
    parts = persistence.load_split(Path(good.prepared.holdouts.path))
    known = parts.train + parts.validation
    again = fitting.refit(known, BLENDED, good.prepared.features, SEED)
    expected = precision_at_k(again.scorer(known), parts.test, known, 5)
    assert found.tolist() == expected.tolist()
    # Its factors alone would have been an easier rival.
    assert expected.mean() > precision_at_k(again.factors, parts.test, known, 5).mean()


def test_a_challenger_with_neighbours_is_judged_by_the_blends_scores(
    world: tuple[Path, Night, Night], blended: Night
) -> None:
    folder, _, weak = world
    verdict = judged(folder, blended, weak.bundle, "13")
    own = pq.read_table(verdict.file("per_user.parquet")).column("challenger").to_numpy()
    board = {entry["model"]: entry for entry in blended.measured.read_json("leaderboard.json")}
    assert own.mean() == pytest.approx(board["blend"]["metrics"]["precision_at_5"]["mean"])
    assert checks(verdict)["no worse than the champion"]
    # The factors of both are the same: what differs between their lists is what neighbours add.
    churn = verdict.read_json("churn.json")
    assert 0 <= churn["overlap"] < 1
    assert load_bundle(blended.bundle).factors.item_factors.tolist() == (
        load_bundle(weak.bundle).factors.item_factors.tolist()
    )
    itself = judged(folder, blended, blended.bundle, "14")
    assert itself.outcome.passed
    assert itself.outcome.overlap == 1


def test_a_blended_champion_is_adopted_with_its_neighbours_and_started_from_without(
    blended: Night,
) -> None:
    manifest = read_bundle_manifest(blended.bundle)
    assert adoption.adopted_configuration(manifest) == BLENDED
    other = {**manifest, "data_fingerprint": "another"}
    assert adoption.warm_start(other, blended.prepared.core.digest) == [WEAK]


AGING = {**BLENDED, "half_life": "60d", "window": "300d", "neighbours_half_life": "90d"}


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Night, Night]:
    """Likes with times; a night whose configuration goes by age, and one whose does not."""
    folder = tmp_path_factory.mktemp("aged")
    frame = planted()[0].sample(frac=1, random_state=2)
    frame["when"] = 10**9 + 20_000 * np.arange(len(frame))  # over 611 days
    frame.to_csv(folder / "likes.csv", index=False)
    prepared = prepare(Data(likes=str(folder / "likes.csv"), timestamp_column="when"), folder)
    return folder, refreshed(prepared, folder, AGING), refreshed(prepared, folder, BLENDED)


def test_what_goes_by_age_does_so_in_every_fit_and_is_registered(
    aged: tuple[Path, Night, Night],
) -> None:
    folder, night, plain = aged
    prepared = night.prepared
    core = load_core(prepared.core)
    parts = persistence.load_split(Path(prepared.holdouts.path))
    known = parts.refit_train()
    board = {entry["model"]: entry for entry in night.measured.read_json("leaderboard.json")}
    model = fitting.refit(known, AGING, prepared.features, SEED, times=parts.final_times())
    expected = precision_at_k(model.scorer(known), parts.test, known, 5)
    assert board["blend"]["metrics"]["precision_at_5"]["mean"] == pytest.approx(expected.mean())
    assert board["ease"]["configuration"]["half_life"] == "90d"
    bundle = load_bundle(night.bundle)
    assert bundle.manifest["configuration"] == AGING
    again = fitting.refit(core.matrix(), AGING, prepared.features, SEED, times=times_of(core))
    assert bundle.factors.item_factors.tobytes() == again.factors.item_factors.tobytes()
    assert again.neighbours is not None
    assert bundle.neighbours is not None
    assert bundle.neighbours.weights.tobytes() == again.neighbours.weights.tobytes()
    other = load_bundle(plain.bundle)
    assert bundle.factors.item_factors.tobytes() != other.factors.item_factors.tobytes()
    # What is outside of the window is known all the same.
    assert len(bundle.seen.indices) == len(other.seen.indices) == len(core)
    # And as the champion it is refit as it was trained.
    verdict = judged(folder, plain, night.bundle, "15")
    found = pq.read_table(verdict.file("per_user.parquet")).column("champion").to_numpy()
    assert found.tolist() == expected.tolist()


def test_a_champion_that_goes_by_age_is_no_rival_where_nobody_knows_times(
    world: tuple[Path, Night, Night], aged: tuple[Path, Night, Night]
) -> None:
    folder, good, _ = world
    verdict = judged(folder, good, aged[1].bundle, "16")
    assert "nobody knows when the interactions were" in verdict.file("verdict.md").read_text()


MAPPED = {
    **AGING, "strategy": "mapped", "penalty": 10.0, "content_blending": 1.0,
    "half_life": "20d", "window": "40d",
}  # fmt: skip


@dataclass(frozen=True)
class ByTime:
    """Nights under a split by time, and the likes of before and after its cut, by their ids."""

    folder: Path
    aged: Night
    plain: Night
    before: pd.DataFrame
    after: pd.DataFrame


@pytest.fixture(scope="module")
def by_time(tmp_path_factory: pytest.TempPathFactory) -> ByTime:
    """Users and items in the midst of the ids that came after the cut."""
    folder = tmp_path_factory.mktemp("by_time")
    likes, features = write_timed(folder / "in")
    prepared = prepare(
        Data(likes=str(likes), features=str(features), timestamp_column="t"),
        folder,
        split=Split(method="time", validation="7d", test="7d"),
        threshold=Threshold(user_min=1, item_min=1),
    )
    table = timed()[0]
    late = table.t > table.t.max() - 7 * DAY
    before, after = table[~late], table[late]
    known = after.uid.isin(before.uid) & after.mid.isin(before.mid)
    nights = (refreshed(prepared, folder, each) for each in (MAPPED, BLENDED))
    return ByTime(folder, *nights, before, after[known])


def test_under_a_split_by_time_rivals_are_refit_on_its_fold_and_by_its_ages(
    by_time: ByTime,
) -> None:
    prepared = by_time.plain.prepared
    core = load_core(prepared.core)
    fold = final_fold(persistence.load_split(Path(prepared.holdouts.path)))
    assert fold.users is not None
    assert fold.items is not None
    # Times looked up by ids, whatever the split has of them.
    when = by_time.before.set_index(["uid", "mid"]).t
    rows, columns = fold.known.nonzero()
    users, items = core.users.take(fold.users[rows]), core.items.take(fold.items[columns])
    days = when.loc[list(zip(users, items, strict=True))].to_numpy() / DAY
    times = InteractionTimes.of_matrix(fold.known, days)

    def expected(configuration: dict[str, Any]) -> list[float]:
        model = fitting.refit(
            fold.known, configuration, prepared.features, SEED, places=fold.places, times=times
        )
        return precision_at_k(model.scorer(fold.known), fold.heldout, fold.known, 5).tolist()

    best = {**MAPPED, "half_life": "5d", "neighbours_half_life": "5d"}
    verdict = judged(by_time.folder, by_time.plain, by_time.aged.bundle, "17", best)
    table = pq.read_table(verdict.file("per_user.parquet")).to_pandas()
    assert table.user.tolist() == sorted(by_time.after.uid.unique())
    assert table.challenger.tolist() == expected(BLENDED)
    assert table.champion.tolist() == expected(MAPPED)
    assert table.reference.tolist() == expected(best)
    without_ages = {**MAPPED, "half_life": "none", "window": "none", "neighbours_half_life": "none"}
    assert table.champion.tolist() != expected(without_ages)
    # Measured on its own night it was the same.
    own = pd.read_parquet(by_time.aged.measured.file("per_user.parquet"))
    assert own.blend.tolist() == table.champion.tolist()
    assert core.users.take(own.user.to_numpy()) == table.user.tolist()


def test_under_a_split_by_time_segments_are_of_its_users_and_items(by_time: ByTime) -> None:
    before, after, measured = by_time.before, by_time.after, by_time.plain.measured
    core = load_core(by_time.plain.prepared.core)
    ranks = pd.read_parquet(measured.file("winner_ranks.parquet"))
    ranks = ranks.assign(
        uid=core.users.take(ranks.user.to_numpy()), mid=core.items.take(ranks["item"].to_numpy())
    )
    assert sorted(zip(ranks.uid, ranks.mid, strict=True)) == sorted(
        zip(after.uid, after.mid, strict=True)
    )
    figures = {one["segment"]: one for one in measured.read_json("segments.json")}
    likes = before.groupby("uid").size()
    hits = (ranks["rank"] < 5).groupby(ranks.uid).sum() / 5
    for low, high in ((5, 9), (10, 19)):
        chosen = hits[likes.loc[hits.index].between(low, high)]
        found = figures[f"users with {low} to {high} likes"]
        assert found["users"] == len(chosen) > 0
        mean = found["models"]["blend"]["precision_at_5"]["mean"]
        assert mean == pytest.approx(chosen.mean())
    # New and old as of the cut, and not of today.
    first = before.groupby("uid").t.min()
    chosen = hits[3 * (first.rank(method="min").loc[hits.index] - 1) // len(first) == 2]
    found = figures["users of the newest third"]
    assert found["users"] == len(chosen) > 0
    assert found["models"]["blend"]["precision_at_5"]["mean"] == pytest.approx(chosen.mean())
    prepared = by_time.plain.prepared
    fold = final_fold(persistence.load_split(Path(prepared.holdouts.path)))
    own, segments = load_evaluation(measured, fold), load_segments(fold, prepared.features)
    for group in range(6):
        of_group = ranks[ranks.mid.str.startswith(f"g{group}")]
        share = (of_group["rank"] < 5).groupby(of_group.uid).mean()
        segment = segments.named(f"items with tag_group {group}")
        assert segment is not None
        assert segment.per_user(own)["recall_at_5"].tolist() == pytest.approx(share.tolist())
    beyond = measured.read_json("beyond.json")
    assert beyond["users"] == len(hits)
    liked = before.mid.str[:2].value_counts(normalize=True)
    exposed = {one["part"]: one["likes"] for one in beyond["exposure"]}
    for group in range(6):
        assert exposed[f"tag_group {group}"] == pytest.approx(liked[f"g{group}"])
    guards = [
        Guard(metric="recall_at_5", segment="items with tag_group 3", margin=0.9),
        Guard(metric="ndcg_at_10", segment="users with 5 to 9 likes", margin=0.9),
        Guard(metric="recall_at_10", segment="items of the oldest third", margin=0.9),
    ]
    limits = Gate(champion_loss=0.9, guard=guards)
    verdict = judged(by_time.folder, by_time.plain, by_time.aged.bundle, "18", None, limits)
    checks_of = [
        c for c in verdict.read_json("verdict.json")["checks"] if c["name"] == "guard rail"
    ]
    assert [check["passed"] for check in checks_of] == [True, True, True]
    gains = {one["segment"]: one for one in verdict.read_json("segments.json")}
    assert set(gains) == set(figures)


def _stage(folder: Path, like: Night, factors: Any, **manifest: Any) -> Stage[Fitted]:
    """A fitted stage like that of a night, with other factors or another manifest."""
    bundle = load_bundle(like.bundle)
    made = Bundle(
        factors, bundle.users, bundle.items, bundle.names,
        Seen(np.asarray(bundle.seen.indptr), np.asarray(bundle.seen.indices)),
        {**bundle.manifest, **manifest}, trained=factors.n_items,
    )  # fmt: skip
    (folder / "bundle").mkdir()
    save_bundle(folder / "bundle", made)
    return replace(like.fitted, path=str(folder), digest=folder.name)


class Gone:
    """A cluster whose workers are lost in each call."""

    lost: tuple[type[Exception], ...] = (ConnectionError,)

    def call(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError

    def get(self, references: Any) -> list[Any]:
        return list(references)


def test_machines_that_are_lost_end_the_gate_and_say_nothing_of_the_configuration(
    world: tuple[Path, Night, Night], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.models.lightfm.LEAST_IN_GROUP", 8)  # small data are cut as well
    _, good, _ = world
    fold = final_fold(persistence.load_split(Path(good.prepared.holdouts.path)))
    spread = Spread(Gone(), Exchange(str(tmp_path)))
    own = load_evaluation(good.measured, fold)
    refits = Refits(fold, good.prepared.features, own, SEED, spread=spread)
    with pytest.raises(WorkerError, match="workers were lost"):
        refits.measure(GOOD | {"blocks": 2, "epochs": 1})
