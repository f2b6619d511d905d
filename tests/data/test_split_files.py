"""Splits given as files, and written as files: the same pairs, whatever the ids' order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recsys
from recsys.base.config import Config, Data, Split, Threshold
from recsys.base.errors import ConfigError, InputError
from recsys.cli.commands import command_line
from recsys.data import persistence
from recsys.data.folds import final_fold, search_fold
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.split_files import split_as_given
from recsys.notebook.data import InteractionData
from recsys.pipeline import preparation
from recsys.pipeline.experiments import export_split
from recsys.pipeline.splitting import hold_out
from recsys.store.stages import Stage
from tests.fixtures.planted import planted
from tests.fixtures.timed import write_timed


def frames(seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train, validation and test: two likes each of forty users and of forty others."""
    likes = planted()[0].sample(frac=1, random_state=seed)
    users = likes.uid.unique()
    place = likes.groupby("uid").cumcount()
    held = [likes[likes.uid.isin(part) & (place < 2)] for part in (users[:40], users[40:80])]
    train = likes.drop(index=[*held[0].index, *held[1].index])
    return train, held[0], held[1]


def of(frame: pd.DataFrame) -> Interactions:
    return read_interactions(frame)[0]


def pairs(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame.uid, frame.mid, strict=True))


def named(core: Interactions, matrix: object) -> set[tuple[str, str]]:
    users, items = matrix.nonzero()  # type: ignore[attr-defined]
    return set(zip(core.users.take(users), core.items.take(items), strict=True))


@pytest.mark.parametrize("whole", [True, False])
def test_what_files_name_is_held_out_whether_or_not_it_is_among_the_likes(whole: bool) -> None:
    train, validation, test = frames()
    core = of(pd.concat([train, validation, test]) if whole else train)
    given = split_as_given(core, of(validation), of(test))
    assert given.unknown == 0
    parts = given.parts
    assert named(core, parts.train) == pairs(train)
    assert named(core, parts.validation) == pairs(validation)
    assert named(core, parts.test) == pairs(test)
    assert named(core, parts.refit_train()) == pairs(train) | pairs(validation)


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_trained_has_the_times_of_its_file(whole: bool, tmp_path: Path) -> None:
    columns = InteractionColumns(timestamp="t")
    train, validation, test = (
        frame.assign(t=10**9 + 86_400 * (np.arange(len(frame)) + 10_000 * place))
        for place, frame in enumerate(frames())
    )
    everything = [train, validation.assign(t=validation.t - 1), test] if whole else [train]
    core = read_interactions(pd.concat(everything), columns)[0]
    held = [read_interactions(part, columns)[0] for part in (validation, test)]
    when = {(row.uid, row.mid): row.t for row in pd.concat([train, validation]).itertuples()}
    for given, one_holdout in ((held[0], False), (None, False), (None, True)):
        found = split_as_given(core, given, held[1], one_holdout=one_holdout).parts
        persistence.save_split(tmp_path, found)
        parts = persistence.load_split(tmp_path)
        for fold in (search_fold(parts), final_fold(parts)):
            assert fold.times is not None
            rows, items = fold.known.nonzero()
            pairs_of = zip(core.users.take(rows), core.items.take(items), strict=True)
            times = np.array([when[pair] for pair in pairs_of])
            if whole and given is None:
                # Of the likes themselves, as there is no file that says otherwise.
                times = np.where(times >= validation.t.min(), times - 1, times)
            expected = (times.max() - times) / 86_400
            np.testing.assert_allclose(fold.times.ages(fold.known), expected, atol=1e-6)


def test_without_a_validation_file_it_is_drawn_from_train() -> None:
    train, validation, test = frames()
    core = of(pd.concat([train, validation]))
    given = split_as_given(core, None, of(test), n=3, share=0.2, seed=1)
    counts = np.diff(given.parts.validation.indptr)
    assert set(counts) == {0, 3}
    assert (counts > 0).sum() == 48
    assert named(core, given.parts.test) == pairs(test)
    assert named(core, given.parts.refit_train()) == pairs(train) | pairs(validation)
    alone = split_as_given(core, None, of(test), one_holdout=True).parts
    assert alone.test.nnz == 0
    assert named(core, alone.validation) == pairs(test)


def test_pairs_outside_of_the_core_are_counted() -> None:
    train, validation, test = frames()
    more = pd.DataFrame({"uid": ["nobody", "g0u00"], "mid": ["g0i00", "nothing"]})
    test = pd.concat([test, more.assign(modelname="x")])
    given = split_as_given(of(train), of(validation), of(test))
    assert given.unknown == 2
    assert named(of(train), given.parts.test) == pairs(test) - pairs(more)


def test_what_cannot_be_a_split_is_said() -> None:
    train, validation, test = frames()
    both = pd.concat([validation, test.head(3)])
    with pytest.raises(InputError, match="3 pairs of user and item are in the validation and in"):
        split_as_given(of(train), of(both), of(test))
    other = test.assign(uid="x" + test.uid)
    with pytest.raises(InputError, match=r"of the 40 users in the test file \(such as 'xg\du\d\d'"):
        split_as_given(of(train), of(validation), of(other))
    with pytest.raises(InputError, match="nothing is left to learn from"):
        split_as_given(of(test), None, of(test))


def test_a_split_written_in_python_is_read_again(tmp_path: Path) -> None:
    data = recsys.read_interactions(planted()[0])
    parts = recsys.split(data, n=3, validation=True, seed=4)
    for file_format in ("parquet", "csv"):
        files = parts.save(tmp_path / file_format, file_format)  # type: ignore[arg-type]
        again = recsys.read_split(files["train"], files["test"], files["validation"])
        for part, other in zip(parts, again, strict=True):
            user = part.users.id(part.interactions.user[0])
            assert other.liked(user) == part.liked(user)
            assert len(other) == len(part)
    model = recsys.fit(again.train, "itemknn")
    mine = recsys.fit(parts.train, "itemknn")
    assert dict(recsys.evaluate(model, again.test)) == pytest.approx(
        dict(recsys.evaluate(mine, parts.test)), abs=0.02
    )
    assert isinstance(again.train, InteractionData)


def config_of(folder: Path, split: Split, likes: Path) -> Config:
    values = {"interim": str(folder / "interim")}
    data = Data(likes=str(likes), timestamp_column="t" if likes.suffix == ".psv" else "timestamp")
    thresholds = Threshold(user_min=3, item_min=3)
    return Config.model_validate(
        {"data": data, "split": split, "threshold": thresholds, "storage": values}
    )


def prepared(config: Config) -> tuple[Interactions, Stage]:
    folder = Path(config.storage.interim)
    assert config.data is not None
    data = preparation.ingest(folder, config.data, preparation.sources_of(config.data))
    core = preparation.threshold(folder, data, config.threshold)
    holdouts = hold_out(lambda stage, *args: stage(folder, *args), data, core, config)
    return preparation.load_core(core), holdouts


def test_a_split_that_was_exported_gives_the_same_parts_as_files(tmp_path: Path) -> None:
    """By time here, where a peer's program would have to get the same likes."""
    likes, _ = write_timed(tmp_path)
    ours = config_of(tmp_path, Split(method="time", validation="7d", test="7d"), likes)
    found = export_split(ours, tmp_path / "out", "parquet")
    assert set(found["files"]) == {
        "train", "validation", "test", "before_test", "new_users_known", "new_users_test",
        "new_items_test",
    }  # fmt: skip
    known = pd.read_parquet(tmp_path / "out" / "before_test.parquet")
    test = pd.read_parquet(tmp_path / "out" / "test.parquet")
    assert known.timestamp.max() < test.timestamp.min()
    given = Split(
        method="files",
        validation_file=str(tmp_path / "out/validation.parquet"),
        test_file=str(tmp_path / "out/test.parquet"),
    )
    core, holdouts = prepared(config_of(tmp_path, given, tmp_path / "out" / "before_test.parquet"))
    parts = persistence.load_split(Path(holdouts.path))
    assert holdouts.outcome.unknown == 0
    frame = test.rename(columns={"user": "uid", "item": "mid"})
    assert named(core, parts.test) == pairs(frame)
    assert holdouts.outcome.test == found["counts"]["test"]
    assert holdouts.outcome.validation == found["counts"]["validation"]


def test_another_file_is_another_split(tmp_path: Path) -> None:
    train, validation, test = frames()
    for name, frame in (("train", train), ("more", validation), ("test", test)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    interim = str(tmp_path / "interim")
    config = Config.model_validate(
        {
            "data": {"likes": str(tmp_path / "train.csv")},
            "split": {"method": "files", "test_file": str(tmp_path / "test.csv")},
            "storage": {"interim": interim},
        }
    )
    first = prepared(config)[1]
    validation.to_csv(tmp_path / "test.csv", index=False)
    second = prepared(config)[1]
    assert first.key != second.key
    assert first.outcome.test == second.outcome.test == 80


def test_a_split_by_files_names_them() -> None:
    with pytest.raises(ValueError, match="test_file, which the method 'files' needs"):
        Config.model_validate({"split": {"method": "files"}})


def test_the_command_writes_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _, _ = frames()
    train.to_csv(tmp_path / "likes.csv", index=False)
    (tmp_path / "run.toml").write_text(
        f"[data]\nlikes = '{tmp_path / 'likes.csv'}'\n[storage]\ninterim = '{tmp_path / 'i'}'\n"
    )
    given = [str(tmp_path / "out"), "-c", str(tmp_path / "run.toml"), "--set", "split.n=2"]
    monkeypatch.setattr("sys.argv", ["recsys", "split", *given, "--format", "csv"])
    with pytest.raises(SystemExit) as ended:
        command_line()()
    assert ended.value.code == 0
    assert f"train: {tmp_path / 'out' / 'train.csv'}" in capsys.readouterr().out
    test = pd.read_csv(tmp_path / "out" / "test.csv")
    assert set(test.groupby("user").size()) == {2}
    monkeypatch.setattr("sys.argv", ["recsys", "split", *given, "--format", "xml"])
    with pytest.raises(ConfigError, match="parquet or csv"):
        command_line()()
