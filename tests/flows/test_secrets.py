"""No password ends up where somebody reads: a real run, and everything it wrote searched."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.train import train
from recsys.recommend.recommender import Recommender
from tests.fixtures.configurations import small_config
from tests.fixtures.tracking_server import TrackingServer

SECRET = "hunter2hunter2"  # noqa: S105


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Files for those alone who know the password and the key."""

    def do_GET(self) -> None:
        self.allowed() and super().do_GET()

    def do_HEAD(self) -> None:
        self.allowed() and super().do_HEAD()

    def allowed(self) -> bool:
        told = self.headers.get("Authorization", "").startswith("Basic ")
        if told and f"key={SECRET}" in self.path:
            return True
        self.send_error(401)
        return False

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    handler = partial(Guarded, directory=str(tmp_path / "input"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def holding(folder: Path) -> list[str]:
    """Every file below a folder that has the secret in it."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def test_a_run_writes_no_password(
    tmp_path: Path, files: str, mlflow_server: TrackingServer, capfd: pytest.CaptureFixture[str]
) -> None:
    own = {"search.trials": 1, "tracking.model": "guarded", "tracking.experiment": "guarded"}
    config = small_config(tmp_path, **own)
    assert config.data is not None
    paths = {
        name: f"http://ann:{SECRET}@{files}/{name}.psv?key={SECRET}" for name in ("likes", "feats")
    }
    data = config.data.model_copy(update={"likes": paths["likes"], "features": paths["feats"]})
    uri = f"http://ann:{SECRET}@{mlflow_server.uri.removeprefix('http://')}"
    config = config.model_copy(
        update={"data": data, "tracking": config.tracking.model_copy(update={"uri": uri})}
    )
    outcome = train(config)
    assert Recommender.load(outcome.bundle).similar_items("g2i07", 1)[0].id[:2] == "g2"

    said = "".join(capfd.readouterr())
    assert SECRET not in said
    # The server's database and artifacts, the stages, the bundle.
    assert holding(tmp_path) == []
    assert holding(mlflow_server.folder) == []
    # What MLflow was told is there, redacted.
    told = (mlflow_server.folder / "mlflow.db").read_bytes()
    assert rb"http://***@" + files.encode() + b"/likes.psv?***" in told

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        assert any("likes.psv?***" in run.model_dump_json() for run in runs)
        assert not any(SECRET in run.model_dump_json() for run in runs)
        assert not any(SECRET in run.model_dump_json() for run in client.read_task_runs())


def test_a_failed_run_says_no_password(
    tmp_path: Path, files: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    assert config.data is not None
    wrong = f"http://ann:{SECRET}@{files}/nothing.psv?key={SECRET}"
    data = config.data.model_copy(update={"likes": wrong})
    with pytest.raises(Exception, match=re.escape("***@")) as raised:
        train(config.model_copy(update={"data": data}))
    assert SECRET not in str(raised.value)
    assert SECRET not in "".join(capfd.readouterr())
    with get_client(sync_client=True) as client:
        states = [run.model_dump_json() for run in client.read_flow_runs()]
        assert not any(SECRET in state for state in states)
