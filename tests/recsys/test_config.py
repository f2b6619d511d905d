"""Configuration: what a file says counts, what is wrong with it is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.config import Config, Data, Range, load_config
from recsys.errors import ConfigError
from recsys.settings import as_toml


def test_the_written_out_settings_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(as_toml())
    assert load_config(path) == Config(data=Data(likes="likes.psv"))


def test_options_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "seed = 3\n[search]\ntrials = 7\n[search.space]\nlearning_rate = { low = 0.01, high = 0.1, "
        'scale = "log" }\nloss = "bpr"\n'
    )
    found = load_config(path, {"search.trials": 9, "split.n": 2})
    assert (found.seed, found.search.trials, found.split.n) == (3, 9, 2)
    assert found.search.space["loss"] == "bpr"
    assert found.search.space["learning_rate"] == Range(low=0.01, high=0.1, scale="log")


def test_the_article_protocol_prescribes(tmp_path: Path) -> None:
    found = load_config(None, {"protocol": "article"}).effective()
    assert found.split.holdouts == "one"
    assert found.encode.normalisation == "none"
    assert found.article.calls == 250


FAULTS = {
    "[search\n": "is not TOML",
    "[search]\ntrails = 3\n": r"search\.trails.*(not permitted|unknown)",
    '[search]\ntrials = "many"\n': r"search\.trials \(found 'many'\)",
    "[split]\nshare = 1.5\n": r"split\.share \(found 1\.5\)",
    "[search.space]\nx = { low = 2, high = 1 }\n": r"low \(2\) must be below high \(1\)",
    "[search.space]\nx = { low = 0, high = 1, scale = 'log' }\n": "must be positive",
    "[data]\nfeatures = 'f'\n": r"data\.likes",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_wrong_file_is_one_clear_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=FAULTS[text]) as raised:
        load_config(path)
    assert "mine.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_an_option_cannot_reach_into_a_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 3\n")
    with pytest.raises(ConfigError, match=r"seed\.x reaches into seed"):
        load_config(path, {"seed.x": 1})
