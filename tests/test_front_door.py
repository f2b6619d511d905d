"""The front door: from a table to recommendations with `import recsys` alone."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import recsys
from recsys.base.config import Data
from recsys.base.errors import ConfigError, InputError, NotFoundError
from recsys.models.als import Als
from recsys.models.hybrid import LightFM
from recsys.notebook.data import InteractionData
from recsys.notebook.fitting import FittedModel
from recsys.pipeline import fitting
from tests.fixtures.paths import ROOT
from tests.fixtures.planted import planted, write_planted
from tests.fixtures.stages import prepare
from tests.fixtures.timed import timed

GROUPS = 6
SIZE = {"no_components": 6, "epochs": 10}


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return planted(GROUPS)


@pytest.fixture(scope="module")
def fitted(tables: tuple[pd.DataFrame, pd.DataFrame]) -> FittedModel:
    likes, features = tables
    return recsys.fit(recsys.read_interactions(likes), features=features, **SIZE)


def group(name: str) -> str:
    return name[:2]


def test_the_example_of_the_package_runs() -> None:
    found = doctest.testmod(recsys)
    assert found.attempted >= 10
    assert not found.failed


def test_a_user_of_a_group_is_recommended_the_rest_of_it(fitted: FittedModel) -> None:
    recommender = recsys.Recommender.from_model(fitted)
    for user in ("g0u00", "g3u17", "g5u39"):
        (best,) = recommender.recommend(user, n=1)
        assert group(best.id) == group(user)
        assert best.name == f"item {best.id}"
        assert best.id not in fitted.train.liked(user)
    # Somebody who was not there, and an item that only has a tag.
    newcomer = recommender.recommend_for(["g2i01", "g2i02"], n=3)
    assert {group(row.id) for row in newcomer} == {"g2"}
    tagged = recommender.items_for_tag("group 4", n=5)
    assert {group(row.id) for row in tagged} == {"g4"}


def test_items_that_only_have_features_can_be_asked(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    likes, features = tables
    fresh = pd.DataFrame({"mid": ["fresh"], "type": ["tag"], "value": ["group 1"]})
    everything = pd.concat([features, fresh])
    model = recsys.fit(recsys.read_interactions(likes), features=everything, **SIZE)
    assert len(model.items) == len(model.train.items) + 1
    found = recsys.Recommender.from_model(model).similar_items("fresh", n=5)
    assert {group(row.id) for row in found} == {"g1"}


@pytest.mark.parametrize("model", ["lightfm", "als"])
def test_users_and_items_below_the_core_are_answered(
    model: str, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    likes, _ = tables
    rows = [("rare", "g1i00"), ("rare", "g1i01"), ("rare", "odd"), ("g1u00", "odd")]
    below = pd.DataFrame(rows, columns=["uid", "mid"]).assign(modelname="named")
    data = recsys.read_interactions(pd.concat([likes, below]))
    core = data.kcore(5, 5)
    assert "rare" not in core.users
    assert "odd" not in core.items
    assert repr(core).endswith(", 4 below the core>")
    train, test = recsys.split(core, n=2, seed=1)
    # Twice makes no difference: what is held out does not come back as what is below the core.
    for part in (train, train.kcore(2, 2)):
        settings: dict[str, Any] = {"lightfm": SIZE, "als": {"factors": GROUPS}}[model]
        fitted = recsys.fit(part, model, **settings)
        asked = recsys.Recommender.from_model(fitted)
        found = asked.recommend("rare", n=5)
        assert {group(row.id) for row in found} == {"g1"}
        assert not {"g1i00", "g1i01", "odd"} & {row.id for row in found}
        assert "odd" in asked.items
        assert asked.bundle.names is not None
        assert asked.bundle.names[asked.items.index("odd")].as_py() == "named"
        # The held-out likes are in no list of likes.
        user = test.users.id(test.interactions.user[0])
        stored = asked.items.take(asked.seen.of(asked.users.index(user)))
        assert sorted(stored) == sorted(train.liked(user))
        assert fitted.bundle.trained == len(part.items)
        assert len(asked.items) == len(data.items)
        assert int(asked.seen.indptr[-1]) == len(data) - len(test)


def test_a_split_by_time_knows_the_past_alone() -> None:
    data = recsys.read_interactions(timed()[0], timestamp="t")
    train, test = recsys.split(data, test="7d", user_min=3, item_min=3)
    assert not [item for item in train.items.ids.to_pylist() if item.endswith("i14")]
    assert not [user for user in train.users.ids.to_pylist() if user.endswith("u39")]
    assert test.items.ids.equals(train.items.ids)
    learned = recsys.evaluate(recsys.fit(train, "itemknn"), test, k=5)
    popular = recsys.evaluate(recsys.fit(train, "popularity"), test, k=5)
    assert learned["precision_at_5"] > 0.2 > 3 * popular["precision_at_5"]
    parts = recsys.split(data, validation="14d", test="7d", user_min=3, item_min=3)
    first, validation, second = parts
    assert parts.before_test is not None
    assert len(first) < len(parts.before_test) == len(train)
    assert second.liked(test.users.id(0)) == test.liked(test.users.id(0))
    assert validation.users.ids.equals(first.users.ids)
    # Whom a part has, and when the likes were, is what the table says.
    when = {(row.uid, row.mid): row.t for row in timed()[0].itertuples()}
    for part in (train, *parts, parts.before_test):
        own = part.interactions
        named = zip(part.users.take(own.user), part.items.take(own.item), strict=True)
        assert own.timestamp is not None
        assert own.timestamp.tolist() == [when[pair] for pair in named]
    aged = recsys.fit(train, "ease", half_life="7d").scorer.neighbours.weights
    assert not np.array_equal(aged, recsys.fit(train, "ease").scorer.neighbours.weights)
    # As long as the test is, where it is only asked for.
    either = (recsys.split(data, validation=length, test="7d") for length in (True, "7d"))
    assert len({len(found.train) for found in either}) == 1


def test_what_a_split_by_time_needs_is_said() -> None:
    data = recsys.read_interactions(timed()[0], timestamp="t")
    with pytest.raises(InputError, match=r"test='soon'; expected a share such as 0\.1"):
        recsys.split(data, test="soon")
    with pytest.raises(InputError, match="validation='7d' without test"):
        recsys.split(data, validation="7d")
    with pytest.raises(InputError, match="no timestamp"):
        recsys.split(recsys.read_interactions(timed()[0]), test="7d")


@pytest.mark.parametrize("model", ["lightfm", "als"])
def test_a_model_that_learns_beats_popularity(
    model: str, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    train, test = recsys.split(recsys.read_interactions(tables[0]), n=2, seed=1)
    settings: dict[str, Any] = {"lightfm": SIZE, "als": {"factors": GROUPS}}[model]
    learned = recsys.evaluate(recsys.fit(train, model, **settings), test, k=5)
    popular = recsys.evaluate(recsys.fit(train, "popularity"), test, k=5)
    # Of the seven items of a group that a user does not know, two are held out.
    assert learned["precision_at_5"] > 0.2 > 3 * popular["precision_at_5"]
    assert learned["recall_at_5"] == pytest.approx(2.5 * learned["precision_at_5"])
    assert learned.n_users == 48


@pytest.mark.parametrize("model", ["lightfm", "ease"])
def test_likes_with_times_are_fitted_by_their_age(
    model: str, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    likes = tables[0].assign(when=lambda frame: 10**9 + 20_000 * np.arange(len(frame)))
    train, test = recsys.split(recsys.read_interactions(likes, timestamp="when").kcore(), seed=1)
    # A part keeps the time of each pair.
    whole = likes.set_index(["uid", "mid"])["when"]
    for part in (train, test):
        pairs = part.interactions
        named = zip(part.users.take(pairs.user), part.items.take(pairs.item), strict=True)
        assert pairs.timestamp.tolist() == [whole[pair] for pair in named]
    settings = {"lightfm": SIZE, "ease": {}}[model]
    aged = recsys.fit(train, model, half_life="30d", window="1y", **settings)
    plain = recsys.fit(train, model, **settings)
    assert "half_life='30d', window='1y'" in repr(aged)
    assert recsys.evaluate(aged, test) != recsys.evaluate(plain, test)
    without = recsys.read_interactions(tables[0])
    with pytest.raises(InputError, match="nobody knows when"):
        recsys.fit(without, model, half_life="30d", **settings)


def test_a_file_gives_what_the_dataframe_gives(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    likes, _ = tables
    expected = recsys.read_interactions(likes)
    named = likes.rename(columns={"mid": "movieId", "uid": "userId", "modelname": "title"})
    paths = [
        tmp_path / name for name in ("likes.csv", "likes.tsv", "likes.csv.gz", "likes.parquet")
    ]
    named.to_csv(paths[0], index=False)
    named.to_csv(paths[1], index=False, sep="\t")
    named.to_csv(paths[2], index=False)
    named.to_parquet(paths[3], index=False)
    founding, _ = write_planted(tmp_path / "founding")
    for path in (*paths, str(founding)):
        found = recsys.read_interactions(path)
        assert (found.matrix() != expected.matrix()).nnz == 0
        assert found.users.ids.equals(expected.users.ids)
        assert found.items.ids.equals(expected.items.ids)
        assert found.names is not None
        assert found.names.equals(expected.names)


@pytest.mark.parametrize(
    "user", ["user", "user_id", "userId", "User ID", "uid", "customer_id", "visitorid"]
)
@pytest.mark.parametrize("item", ["item", "item_id", "itemId", "mid", "movieId", "product-id"])
def test_columns_are_known_by_their_names(user: str, item: str) -> None:
    table = pd.DataFrame({"when": [1, 2], item: ["a", "b"], user: ["x", "y"]})
    found = recsys.read_interactions(table)
    assert found.users.ids.to_pylist() == ["x", "y"]
    assert found.items.ids.to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "given", "said"),
    [
        ("1,2\n3,4\n", {}, "header=False and name columns by position, as in user=1 and item=2"),
        ("user,item,rating\na,x,1\nb,y,5\n", {}, 'liked_from=5 (1 of 2 rows are), or rating=""'),
        (
            "user,item,w\na,x,1\nb,y,2\n",
            {"weight": "w", "repeats": "last"},
            "name the column in timestamp",
        ),
        (
            "user,item,t\na,x,01/02/2024\nb,y,03/04/2024\n",
            {"timestamp": "t"},
            'set timestamp_format="dmy" or "mdy"',
        ),
    ],
)  # fmt: skip
def test_errors_name_arguments_that_there_are(
    table: str, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "likes.csv").write_text(table)
    with pytest.raises(InputError) as fault:
        recsys.read_interactions(tmp_path / "likes.csv", **given)
    assert said in str(fault.value)
    assert "data." not in str(fault.value)
    arguments = inspect.signature(recsys.read_interactions).parameters
    assert set(re.findall(r"\b([a-z_]+)=", str(fault.value))) <= set(arguments)


def test_how_text_and_values_are_written_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "likes.txt"
    path.write_bytes(
        "'ä';x;2,5;-;3.4.2024\n'b';x;1,5;7;4.5.2024\nnobody;x;1;7;4.5.2024\n".encode("cp1252")
    )
    found = recsys.read_interactions(
        path, delimiter=";", header=False, user=1, item=2, weight=3, timestamp=5, quote="'",
        escape="", encoding="cp1252", missing=["nobody"], decimal=",", timestamp_format="dmy",
        timezone="Europe/Berlin", weights="as_given",
    )  # fmt: skip
    assert found.users.ids.to_pylist() == ["b", "ä"]
    assert found.matrix().toarray().tolist() == [[1.5], [2.5]]
    assert found.interactions.timestamp is not None
    # Midnight of the 4th of May in summer time, and of the 3rd of April.
    assert found.interactions.timestamp.tolist() == [1714773600, 1712095200]


def test_columns_that_are_given_are_taken() -> None:
    table = pd.DataFrame({"user": ["no"], "who": ["x"], "item": ["no"], "what": ["a"], "w": [2.5]})
    found = recsys.read_interactions(table, user="who", item="what", name="item", weight="w")
    assert (found.users.id(0), found.items.id(0)) == ("x", "a")
    assert found.names is not None
    assert found.names.to_pylist() == ["no"]
    assert found.matrix().data.tolist() == [2.5]


def test_a_column_that_is_not_found_is_one_clear_line() -> None:
    table = pd.DataFrame({"user": ["x"], "thing": ["a"]})
    with pytest.raises(InputError) as fault:
        recsys.read_interactions(table)
    assert "no column is known as the item among 'user', 'thing'" in str(fault.value)
    assert "item='…'" in str(fault.value)
    assert "\n" not in str(fault.value)
    with pytest.raises(InputError, match="what"):
        recsys.read_interactions(table, item="what")
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        recsys.read_interactions("nowhere.csv")


def test_the_bundled_sample_is_read_thresholded_and_split() -> None:
    sample = recsys.load_dataset("sample")
    assert len(sample.interactions) == 273_795
    assert sample.features is not None
    assert repr(sample.features) == "<FeatureTable: 20,623 items, 558 features, 52,857 pairs>"
    core = sample.interactions.kcore()
    train, validation, test = recsys.split(core, validation=True)
    assert len(train) + len(validation) + len(test) == len(core) == 204_373
    assert not set(validation.interactions.user) & set(test.interactions.user)
    assert core.names is None or len(core.names) == len(core.items)
    popular = recsys.fit(train, "popularity")
    found = recsys.evaluate(popular, test)
    assert 0 < found["precision_at_5"] < 0.2
    best = recsys.Recommender.from_model(popular).popular(3)
    # Everybody's likes count, those of users below the core among them.
    counts = np.bincount(train.everything().interactions.item)
    assert int(counts.sum()) == 273_795 - len(validation) - len(test)
    assert [row.score for row in best] == sorted(counts, reverse=True)[:3]
    with pytest.raises(NotFoundError, match="sample"):
        recsys.load_dataset("smaple")


def test_a_model_is_named_described_or_given(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train = recsys.read_interactions(tables[0])
    als = Als(factors=4, iterations=3)
    named = recsys.fit(train, "als", factors=4, iterations=3, seed=2)
    for model in (als, als.to_dict(), named.model):
        found = recsys.fit(train, model, seed=2)
        assert found.model == als
        users = np.arange(len(train.users))
        assert found.scorer.score(users).tobytes() == named.scorer.score(users).tobytes()
    changed = recsys.fit(train, als, factors=5)
    assert changed.model == Als(factors=5, iterations=3)


def test_a_configuration_with_neighbours_is_fitted_with_them(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    """What is evaluated is what a recommender answers: both parts added up."""
    train = recsys.read_interactions(tables[0])
    plain = recsys.fit(train, **SIZE)
    model = recsys.fit(train, neighbours="ease", neighbours_regularization=1.0, **SIZE)
    users = np.arange(len(train.users))
    assert not np.array_equal(model.scorer.score(users), plain.scorer.score(users))
    user = train.users.id(0)
    rows = recsys.Recommender.from_model(model).recommend(user, n=3)
    scores = dict(zip(train.items.ids.to_pylist(), model.scorer.score(users[:1])[0], strict=True))
    assert [row.score for row in rows] == pytest.approx([scores[row.id] for row in rows], rel=1e-4)


def test_what_a_model_cannot_take_is_said(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    likes, features = tables
    train = recsys.read_interactions(likes)
    with pytest.raises(InputError, match="als takes no features"):
        recsys.fit(train, "als", features=features)
    with pytest.raises(ConfigError, match="epochs"):
        recsys.fit(train, "als", epochs=3)
    with pytest.raises(ConfigError, match="no model 'svd'"):
        recsys.fit(train, "svd")
    with pytest.raises(ConfigError, match="colour"):
        recsys.fit(train, colour=1)


def test_a_saved_model_answers_the_same(fitted: FittedModel, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    loaded = recsys.load(folder)
    asked = recsys.Recommender.from_model(fitted)
    assert loaded.recommend("g1u05", n=5) == asked.recommend("g1u05", n=5)
    assert loaded.manifest["configuration"]["no_components"] == 6
    with pytest.raises(InputError, match="is not empty"):
        fitted.save(folder)


def test_a_holdout_read_elsewhere_is_measured_by_ids(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    train, test = recsys.split(recsys.read_interactions(tables[0]), n=2, seed=1)
    model = recsys.fit(train, "als", factors=GROUPS)
    own = test.interactions
    rows = {"user": own.users.take(own.user), "item": own.items.take(own.item)}
    frame = pd.DataFrame(rows).sample(frac=1, random_state=1)
    frame = pd.concat([frame, pd.DataFrame({"user": ["nobody"], "item": ["g0i00"]})])
    elsewhere = recsys.read_interactions(frame)
    assert dict(recsys.evaluate(model, elsewhere)) == dict(recsys.evaluate(model, test))
    strangers = recsys.read_interactions(pd.DataFrame({"user": ["a"], "item": ["b"]}))
    with pytest.raises(InputError, match="no held-out interaction"):
        recsys.evaluate(model, strangers)


def test_columns_of_a_file_without_a_header_have_numbers(tmp_path: Path) -> None:
    (tmp_path / "likes.csv").write_text("b,2,ann\na,1,ann\na,1,bob\n")
    found = recsys.read_interactions(tmp_path / "likes.csv", user=3, item=1, weight=2)
    assert found.users.ids.to_pylist() == ["ann", "bob"]
    assert found.items.ids.to_pylist() == ["a", "b"]


def test_it_is_what_the_pipeline_trains(tmp_path: Path) -> None:
    """The same functions underneath: on the same data, the same bytes."""
    likes, features = write_planted(tmp_path / "in")
    prepared = prepare(Data(likes=str(likes), features=str(features)), tmp_path)
    model = LightFM.from_dict({**SIZE, "strategy": "mapped", "content_blending": 1.0})
    core = recsys.read_interactions(likes).kcore()
    ours = recsys.fit(core, model, features=features, seed=4)
    configuration = model.hyperparameters()
    theirs = fitting.refit(core.matrix(), configuration, prepared.features, 4)
    assert ours.hybrid is not None
    for part in ("user_factors", "item_factors", "user_biases", "item_biases"):
        mine, other = (getattr(found.factors, part) for found in (ours.hybrid, theirs))
        assert mine.tobytes() == other.tobytes()


def test_what_is_shown_of_results_fits_on_a_few_lines(fitted: FittedModel) -> None:
    train: InteractionData = fitted.train
    assert repr(train) == (
        "<InteractionData: 240 users, 90 items, "
        f"{len(train):,} interactions (density {100 * len(train) / 21_600:.3g} %)>"
    )
    assert repr(fitted) == (
        "<FittedModel lightfm(no_components=6, epochs=10): 240 users, 90 items>"
    )
    assert repr(recsys.Recommender.from_model(fitted)) == "<Recommender: 240 users, 90 items>"
    parts = recsys.split(train, n=2)
    assert repr(parts) == f"<SplitData: interactions in train {len(train) - 96:,}, test 96>"
    found = recsys.evaluate(fitted, parts.test)
    assert repr(found).splitlines()[0] == "<EvaluationResult lightfm, 48 users"
    assert "unmasked" not in repr(found)
    assert list(found.to_frame().columns) == ["mean", "low", "high"]


def test_neither_prefect_nor_mlflow_is_imported(tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path)
    program = f"""
import sys, recsys
train, test = recsys.split(recsys.read_interactions({str(likes)!r}), n=2)
model = recsys.fit(train, features={str(features)!r}, epochs=2)
recsys.evaluate(model, test)
folder = model.save({str(tmp_path / "model")!r})
recsys.load(folder).recommend("g0u00")
recsys.load_dataset
print([name for name in ("prefect", "mlflow", "skopt", "fastapi") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
