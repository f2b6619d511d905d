"""Night metrics: a file and a push in Prometheus' format, also of a run that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys.base.config import Tracking
from recsys.pipeline.night_metrics import VERDICTS, Night, deliver
from tests.fixtures.ports import free_port
from tests.fixtures.taken import Taking, taking_server

OWN = ("model", "flow")


def values(text: str) -> dict[tuple[str, str], float]:
    """Each sample by its name, and its label beside the model and the flow."""
    return {
        (sample.name, next((v for n, v in sample.labels.items() if n not in OWN), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def gateway() -> Iterator[Taking]:
    """A server that takes what is pushed, as a Pushgateway does."""
    with taking_server() as server:
        yield server


def test_a_failed_run_says_so_and_what_it_did(tmp_path: Path, gateway: Taking) -> None:
    night = Night("songs", "train", seconds={"ingest": 1.5})
    folder = tmp_path / "metrics"
    assert deliver(night, Tracking(metrics=str(folder), pushgateway=gateway.address)) == []
    text = (folder / "songs-train.prom").read_text()
    found = values(text)
    assert found.pop(("recsys_night_end_timestamp_seconds", "")) > 1.7e9
    assert found == {
        **{("recsys_night_verdict", verdict): float(verdict == "failed") for verdict in VERDICTS},
        ("recsys_night_stage_seconds", "ingest"): 1.5,
    }
    [pushed] = gateway.taken
    assert (pushed.method, pushed.path) == ("PUT", "/metrics/job/recsys/flow/train/model/songs")
    assert values(pushed.body).keys() == values(text).keys()


def test_what_cannot_be_delivered_is_said_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    address = f"http://user:secret@127.0.0.1:{free_port()}"
    tracking = Tracking(metrics=str(tmp_path / "file"), pushgateway=address)
    written, pushed = deliver(Night("songs", "train"), tracking)
    assert written.startswith("metrics are not in ")
    assert "were not pushed to http://***@127.0.0.1" in pushed
    assert "secret" not in pushed


def test_nothing_is_made_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert deliver(Night("songs", "train"), Tracking()) == []
    assert list(tmp_path.iterdir()) == []
