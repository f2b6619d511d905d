"""Backtests in this process: folds one after the other, blind for what comes, and their report."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from recsys.base.config import Config
from recsys.base.errors import ConfigError, InputError
from recsys.cli.tables import backtest as tables
from recsys.data import persistence
from recsys.data.folds import final_fold
from recsys.data.time_split import Cuts
from recsys.models.popularity import Popularity
from recsys.pipeline.backtest_report import metrics_of, report_of, write_backtest
from recsys.pipeline.backtesting import Backtest, backtest, fold_cuts
from recsys.ranking.metrics import precision_at_k
from tests.fixtures.timed import DAY, START, timed, write_timed


def config_of(folder: Path, likes: Path, features: Path, **backtest_settings: object) -> Config:
    return Config.model_validate(
        {
            "data": {"likes": str(likes), "features": str(features), "timestamp_column": "t"},
            "threshold": {"user_min": 2, "item_min": 2},
            "split": {"n": 3},
            "search": {
                "trials": 2,
                "item_to_item_trials": 1,
                "max_epochs": 8,
                "workers": 1,
                "space": {"half_life": "20d"},
            },
            "evaluate": {"bootstrap_samples": 50},
            "backtest": {"folds": 2, "every": "7d", **backtest_settings},
            "storage": {"interim": str(folder / "interim")},
            "seed": 7,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backtest")


@pytest.fixture(scope="module")
def made(folder: Path) -> Backtest:
    return backtest(config_of(folder, *write_timed(folder)))


def test_folds_follow_one_another() -> None:
    time = START + DAY * np.arange(60, dtype=np.int64)
    end = START + 59 * DAY + 1
    assert fold_cuts(time, 2, "1w") == [
        Cuts(end - 21 * DAY, end - 14 * DAY, end - 7 * DAY),
        Cuts(end - 14 * DAY, end - 7 * DAY, end),
    ]
    with pytest.raises(InputError, match="of 9 folds of 7d at 2023-11-0"):
        fold_cuts(time, 9, "7d")
    with pytest.raises(InputError, match="there is no backtest of them"):
        fold_cuts(np.arange(60, dtype=np.int64), 2, "7d")


def test_each_fold_is_measured_on_its_days_beside_the_baselines(made: Backtest) -> None:
    first, second = made.figures["folds"]
    assert first["until"] == second["from"] == "2024-01-06 21:57"
    assert second["known"] > first["known"]
    for fold in (first, second):
        assert {"popularity", "itemknn", "ease", "rp3beta", "lightfm"} <= set(fold["models"])
        own = fold["models"][fold["winner"]]["precision_at_5"]
        assert own["low"] < own["mean"] < own["high"]
        assert own["mean"] > fold["models"]["popularity"]["precision_at_5"]["mean"]
    assert second["new_users"] == 12
    assert set(second["of_new_users"]) == set(second["models"])
    together = made.figures["all"]
    means = [fold["models"][fold["winner"]]["precision_at_5"]["mean"] for fold in (first, second)]
    counts = [first["users"], second["users"]]
    assert together["user_folds"] == sum(counts)
    assert together["models"]["choice"]["mean"] == pytest.approx(np.average(means, weights=counts))


def test_each_fold_goes_by_the_ages_of_its_own_likes(made: Backtest) -> None:
    for fold in made.folds:
        assert fold.chosen.outcome.trained["half_life"] == "20d"
        known = final_fold(persistence.load_split(Path(fold.holdouts.path)))
        popular = Popularity(half_life="20d").fit(known.known, times=known.times)
        expected = precision_at_k(popular, known.heldout, known.known, 5)
        scores = pd.read_parquet(fold.measured.file("per_user.parquet"))
        assert scores.popularity.tolist() == expected.tolist()


def test_searched_once_is_one_configuration_and_each_begins_with_the_last(
    made: Backtest, folder: Path
) -> None:
    assert made.folds[0].chosen is made.folds[1].chosen
    likes, features = folder / "likes.psv", folder / "feats.psv"
    each = backtest(config_of(folder, likes, features, search="each"))
    assert each.folds[0].chosen.key == made.folds[0].chosen.key
    assert each.folds[1].chosen.key != each.folds[0].chosen.key
    (start,) = each.folds[1].chosen.outcome.started_from
    configuration = each.folds[0].chosen.outcome.configuration
    assert start["no_components"] == configuration["no_components"]
    assert not [name for name in start if name.startswith("neighbours")]


def test_what_comes_after_a_fold_changes_nothing_in_it(made: Backtest, tmp_path: Path) -> None:
    likes, features = timed()
    cut = pd.Timestamp("2024-01-06 21:57").timestamp()
    past, future = likes[likes.t < cut], likes[likes.t >= cut]
    users = np.random.default_rng(2).permutation(future.uid.to_numpy())
    changed = pd.concat([past, future.assign(uid=users)]).drop_duplicates(["uid", "mid"])
    # The folds are counted back from the latest like, which is that of before.
    assert changed.t.max() == likes.t.max()
    changed.to_csv(tmp_path / "likes.psv", sep="|", index=False)
    features.to_csv(tmp_path / "feats.psv", sep="|", index=False)
    other = backtest(config_of(tmp_path, tmp_path / "likes.psv", tmp_path / "feats.psv"))
    mine, theirs = (b.figures["folds"] for b in (made, other))
    assert theirs[0] == mine[0]
    assert theirs[1] != mine[1]


def test_the_report_has_every_fold_and_a_plot(made: Backtest, tmp_path: Path) -> None:
    written = write_backtest(made, "timed", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"backtest.json", "backtest.html", "backtest.md", "backtest.png"}
    page = Path(written.page).read_text()
    assert "<svg" in page
    assert "the pipeline&#39;s choice" in page
    text = report_of(made.figures, "timed").markdown()
    assert "Over 2 folds of 7d, the pipeline's choice has a precision at 5 of 0." in text
    assert "| 2024-01-06 21:57 |" in text
    assert "folds better than the choice" in text
    curve = [entry for entry in metrics_of(made.figures) if entry[0] == "fold_ease/precision_at_5"]
    assert [step for _, _, step in curve] == [1, 2]


def test_the_terminal_has_two_tables(made: Backtest) -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(*tables(made.figures), sep="\n")
    text = console.export_text()
    first = made.figures["folds"][0]
    own = first["models"][first["winner"]]["precision_at_5"]
    (line,) = (line for line in text.splitlines() if line.strip().startswith("2023-12-30 21:57"))
    assert f"{first['users']}" in line
    assert f"{own['mean']:.4f}  {own['low']:.4f}..{own['high']:.4f}" in line
    assert "…" not in text
    (line,) = (line for line in text.splitlines() if "popularity" in line)
    assert line.rstrip().endswith("0 of 2")


def test_the_articles_protocol_has_no_backtest(folder: Path, made: Backtest) -> None:
    config = config_of(folder, folder / "likes.psv", folder / "feats.psv")
    with pytest.raises(ConfigError, match="a backtest with protocol = 'article'"):
        backtest(config.model_copy(update={"protocol": "article"}))
