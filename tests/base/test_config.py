"""Configuration: what a file says counts, what is wrong with it is said in one line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys.base.config import Config, Data
from recsys.base.config_file import load_config
from recsys.base.dimensions import DEFAULT_SPACE, Choice, Range
from recsys.base.errors import ConfigError
from recsys.base.settings import as_toml


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
    assert found.search.space["max_sampled"] == DEFAULT_SPACE["max_sampled"]
    assert found.search.space["learning_rate"] == Range(low=0.01, high=0.1, scale="log")


def test_one_regularisation_for_both_sides_replaces_the_two() -> None:
    found = load_config(None, {"search.space.alpha": 1e-5}).search.space
    assert found["alpha"] == 1e-5
    assert not {"user_alpha", "item_alpha"} & set(found)


def test_the_article_protocol_prescribes(tmp_path: Path) -> None:
    found = load_config(None, {"protocol": "article"}).effective()
    assert found.split.holdouts == "one"
    assert found.encode.normalisation == "none"
    assert found.article.calls == 250


def test_a_search_goes_by_age_where_its_space_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[search.space]\nhalf_life = { low = "30d", high = "2y", likely = ["90d", "1y"] }\n'
        'window = { values = ["none", "52w"] }\n'
    )
    found = load_config(path)
    assert found.goes_by_age
    assert found.search.space["half_life"] == Range(
        low=30, high=730.5, scale="log", likely=(90, 365.25), unit="days"
    )
    # As it is written down for other processes, it is read again.
    assert Config.model_validate_json(found.model_dump_json()) == found
    assert not load_config(path, {"protocol": "article"}).goes_by_age
    assert load_config(None, {"search.space.window": "1y"}).goes_by_age
    assert load_config(None, {"protocol": "article", "article.space.half_life": "1y"}).goes_by_age
    assert not Config().goes_by_age


FAULTS = {
    "[search\n": "is not TOML",
    "[search]\ntrails = 3\n": r"search\.trails is no setting; expected perhaps search\.trials",
    '[search]\ntrials = "many"\n': r"search\.trials \(found 'many'\)",
    "[split]\nshare = 1.5\n": r"split\.share \(found 1\.5\)",
    "[search.space]\nx = { low = 2, high = 1 }\n": r"low \(2\) must be below high \(1\)",
    "[search.space]\nx = { low = 0, high = 1, scale = 'log' }\n": "must be positive",
    "[search.space]\nx = { low = '1y', high = '30d' }\n": r"low \(365\.25\) must be below",
    "[search.space]\nx = { low = '1d', high = '2d', likely = 1 }\n": r"search\.space\.x.*likely",
    "[search.space]\nx = { low = '1d' }\n": "durations such as 30d and 5y, not None",
    "[search.space]\nx = { low = '30d', high = 90 }\n": "durations such as 30d and 5y, not 90",
    "[search.space]\nwindow = 'soon'\n": "window of durations .*not 'soon'",
    "[search.space]\nhalf_life = { low = 3, high = 9 }\n": "half_life of durations .*'3 to 9'",
    "[search.joint_space]\nwindow = { values = ['none', 'all'] }\n": "durations .*not 'all'",
    "[article.space]\nhalf_life = 90\n": "durations .*not 90",
    "[data]\nlikes = 'x'\nhalf_life = '1y'\n[search.space]\nhalf_life = '1y'\n": "not both",
    "[data]\nfeatures = 'f'\n": r"data\.likes",
    "x = " + "[" * 5000 + "]" * 5000: "nested too deeply",
    "seed = " + "9" * 5000: "is not TOML .*4300 digits",
    "seed = " + "9" * 50: r"seed \(found 9+\); expected less than 2147483648",
    "x = '\0'": "is not TOML",
    "[split]\nshare = nan\n": "a finite number",
    "[gate]\npopularity_margin = inf\n": "a finite number",
    "[[gate.guard]]\nmetric = 'ndcg'\n": r"gate\.guard\.0\.metric \(found 'ndcg'\)",
    "[[gate.guard]]\nmetric = 'ndcg_at_7'\n": "7 among evaluate.ks, for the guard rail ndcg_at_7",
    "[[gate.guard]]\nmetric = 'gini_at_5'\nsegment = 'x'\n": "no segment with gini_at_5",
    "[[gate.guard]]\nmetric = 'auc'\nsegment = 'items of the tail'\n": "no auc on a segment",
    "[gate]\nchampion_margin = 0.01\n": "champion_loss in the place of champion_margin",
    "[search]\ntrials = 99999999999999999999\n": "less than or equal to 100000",
    "[evaluate]\nbootstrap_samples = 1000000000\n": "less than or equal to 100000",
    "[search.space]\nloss = { values = ['bpr', 'bpr'] }\n": r"search\.space\.loss\.values .*differ",
    "[data]\nlikes = ''\n": r"data\.likes \(found ''\)",
    '[data]\nlikes = "a\\u0000b"\n': r"data\.likes",
    "[data]\nlikes = 'a'\nuser_column = 'mid'\nitem_column = 'mid'\n": "two columns",
    "[data]\nlikes = 'a'\nuser_column = ''\n": r"data\.user_column",
    "[data]\nlikes = 'a'\nquote = '|'\ndelimiter = '|'\n": "marks that differ",
    "[data]\nlikes = 'a'\nquote = '«'\n": "ASCII",
    **{
        f'[tracking]\n{key} = "{name}"\n': rf"tracking\.{key} .*no path in it"
        for key in ("model", "experiment")
        for name in (
            "../x",
            "/etc",
            "..",
            ".",
            " ",
            "a/b",
            "a\\\\b",
            "x' or 'a' = 'a",
            "a:b",
            "a\\n",
        )
    },
    "dataset = '../x'\n": "no path in it",
    "search = 3\n": r"search \(found 3\); expected a section .* such as search\.\w+; see",
    "data = 3\n": r"data \(found 3\); expected a section .* such as data\.likes; see",
    "[search]\nspace = 3\n": r"search\.space \(found 3\); expected a valid dictionary; see",
    "[data]\nlikes = 'a'\nfeatures_text = 3\n": r"data\.features_text .* as data\.features_text\.",
    "[search]\ntrials = 'x'\n": r"search\.trials \(found 'x'\); expected a valid integer; see",
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


WRONG = {
    "split.method": "latest",
    "split.n": 0,
    "split.n ": 2.5,
    "threshold.user_min": -1,
    "encode.normalisation": "max",
    "encode.weight": 0,
    "data": {"likes": "f", "delimiter": "||||"},
    "seed": -1,
    "seed ": 2**31,
    "protocol": "founding",
    "search.space.loss": {"values": ["warp"]},
    "search.space.x": {"low": 1, "high": 2, "likely": [0, 2]},
    "search.space.y": {"low": float("nan"), "high": 2},
    "search.space.z": {"low": 1.0, "high": float("inf")},
    "surplus": 1,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_is_not_allowed_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"the options: {name.strip()}") as raised:
        load_config(None, {name.strip(): WRONG[name]})
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_folder_and_a_file_that_is_no_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "mine.toml").write_bytes(b"seed = '\xff'")
    with pytest.raises(ConfigError, match=r"mine\.toml is not TOML"):
        load_config(tmp_path / "mine.toml")


def test_a_configuration_cannot_be_changed_and_goes_through_json() -> None:
    found = load_config(None, {"data.likes": "s3://shop/likes.psv.gz", "search.seconds": 60})
    assert Config.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 1  # type: ignore[misc]


def test_experiment_and_model_are_named_after_the_data() -> None:
    assert load_config(None).title == "sample"
    own = load_config(None, {"data.likes": "s3://shop/likes.psv.gz", "tracking.model": "shop"})
    assert (own.title, own.experiment, own.model) == ("likes", "likes", "shop")


def test_the_standard_protocol_changes_nothing() -> None:
    found = load_config(None, {"split.method": "last"})
    assert found.effective() is found


@pytest.mark.parametrize(
    ("likes", "title"),
    [
        ("/", "likes"),
        ("..", "likes"),
        ("data/my likes.v2.psv", "my likes"),
        ("a'b;c.psv", "a-b-c"),
        ("s3://key:secret@bucket/folder/likes?token=secret", "likes"),
        ("https://host/likes.psv#secret", "likes"),
    ],
)
def test_a_model_is_named_after_the_file_and_nothing_else_of_its_address(
    likes: str, title: str
) -> None:
    config = Config(data=Data(likes=likes))
    assert config.title == config.model == config.experiment == title


def test_json_of_a_configuration_has_no_secret_and_python_keeps_it() -> None:
    address = "s3://key:secret@bucket/likes.psv?token=secret"
    config = load_config(
        None, {"data.likes": address, "tracking.uri": "https://ann:secret@host:5000"}
    )
    assert config.data is not None
    assert config.data.likes == address
    assert "secret" not in config.model_dump_json()
    assert config.model_dump(mode="json")["tracking"]["uri"] == "https://***@host:5000"
    assert config.model_dump()["tracking"]["uri"] == "https://ann:secret@host:5000"


@pytest.mark.parametrize("written", ["7d", "10%", "0.1", 0.1, "2026-01-31", date(2026, 1, 31)])
def test_the_last_part_is_a_share_a_duration_or_a_date(written: object) -> None:
    found = Config.model_validate({"split": {"method": "time", "test": written}})
    assert found.split.test == str(written)


@pytest.mark.parametrize("written", ["soon", "110%", 1, 0.0, "7"])
def test_other_last_parts_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match=r"split.test"):
        Config.model_validate({"split": {"test": written}})


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    """As editors of Windows write it."""
    path = tmp_path / "mine.toml"
    path.write_bytes("seed = 7\r\n[search]\r\ntrials = 3\r\n".encode("utf-8-sig"))
    config = load_config(path)
    assert (config.seed, config.search.trials) == (7, 3)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "no_components = { high = 32 }",
            "no_components with both ends, { low = …, high = 32 }, or { values = [ … ] }",
        ),
        (
            "no_components = { low = 8, scale = 'log' }",
            "no_components with both ends, { low = 8, high = … }, or { values = [ … ] }",
        ),
        ("no_components = [16, 32]", "no_components as { values = [16, 32] }, not a list alone"),
        (
            "no_components = [16]",
            "no_components as one value, or as { values = [ … ] } with several",
        ),
        (
            "learning_rate = { low = 0.01, high = 0.1, log = true }",
            "learning_rate without log, as it may have low, high, scale, likely, when, unit",
        ),
        (
            "no_components = { values = [8, 16], step = 8 }",
            "no_components without step, as it may have values, when",
        ),
        ("learning_rate = nan", "learning_rate a finite number, not nan"),
        ("no_components = { low = 32, high = 8 }", "low (32) must be below high (8)"),
        ("loss = { values = ['warp', 3] }", "values of one kind, all words or all numbers"),
    ],
)
def test_a_dimension_that_is_half_written_says_what_to_write(
    written: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"[search.space]\n{written}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert said in str(refused.value)


def test_ends_that_are_equal_are_one_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[search.space]\nno_components = { low = 32, high = 32 }\n"
        "max_sampled = { values = [5, 10] }\n"
    )
    space = load_config(path).search.space
    assert space["no_components"] == 32
    assert space["max_sampled"] == Choice(values=[5, 10])


def test_a_name_that_is_no_text_is_refused() -> None:
    # Bytes of a command line that are not UTF-8 arrive as lone surrogates.
    with pytest.raises(
        ConfigError, match=r"a setting is called 'search.space.k\\udcbe', which is no text"
    ):
        load_config(None, {"search.space.k\udcbe": 1})
