"""Names of flow runs in Prefect."""

from __future__ import annotations

from flows.run_names import subject
from recsys.base.config_file import load_config


def test_a_run_on_own_data_is_named_after_its_model_or_experiment() -> None:
    own = {"data.likes": "in/likes.psv"}
    assert subject(load_config(None, own | {"tracking.model": "shop"})) == "shop"
    assert subject(load_config(None, own | {"tracking.experiment": "nights"})) == "nights"
    both = own | {"tracking.model": "shop", "tracking.experiment": "nights"}
    assert subject(load_config(None, both)) == "shop"


def test_without_a_name_a_run_is_named_after_its_data() -> None:
    assert subject(load_config(None, {"data.likes": "in/clicks.psv"})) == "clicks"
    assert subject(load_config(None, {"dataset": "sample"})) == "sample"
