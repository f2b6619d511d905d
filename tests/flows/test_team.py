"""A team's set-up by configuration alone: PostgreSQL for MLflow and Prefect, S3 for the files."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import psycopg
from mlflow.tracking import MlflowClient

from recsys.serving.champion import Champion
from recsys.tracking.address import absolute_uri
from tests.fixtures.planted import write_planted
from tests.fixtures.processes import finished
from tests.fixtures.servers import postgres, prefect_server, s3

ARGUMENTS = [
    "train", "--likes", "in/likes.psv", "--features", "in/feats.psv", "--json",
    "--trials", "3", "--set", "search.max_epochs=12", "--set", "evaluate.baseline_trials=0",
    "--set", "evaluate.withheld=false", "--set", "evaluate.bootstrap_samples=100",
    "--set", "search.item_to_item_trials=2", "--set", "evaluate.half_width=0", "--set", "tracking.artifacts=s3://team/mlflow",
]  # fmt: skip


def train(folder: Path, uri: str, **variables: str) -> dict[str, Any]:
    arguments = [*ARGUMENTS, "--set", f"tracking.uri={uri}"]
    done = finished(folder, arguments, os.environ | variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_whole_run_on_postgresql_and_s3(tmp_path: Path) -> None:
    write_planted(tmp_path / "in")
    with ExitStack() as stack:
        server = stack.enter_context(postgres(("mlflow", "prefect")))
        store = stack.enter_context(s3("team"))
        address = server.split("@")[1]
        # Trusted on loopback, so that any password does: it may be read nowhere afterwards.
        uri = f"postgresql://liked:said-nowhere@{address}/mlflow"
        database = f"postgresql+asyncpg://{server}/prefect"
        # Without a driver, as people write it; MLflow itself has to be told which one there is.
        client = MlflowClient(tracking_uri=absolute_uri(uri), registry_uri=absolute_uri(uri))
        with ThreadPoolExecutor(1) as aside:
            # Both make their tables first, which takes longer than the training: side by side.
            tables = aside.submit(client.search_experiments)
            home = tmp_path / "home"
            api = stack.enter_context(
                prefect_server(home, PREFECT_API_DATABASE_CONNECTION_URL=database)
            )
            tables.result()
            outcome = train(tmp_path, uri, PREFECT_API_URL=api, **store)
        assert outcome["held"] == []

        with psycopg.connect(f"postgresql://{server}/prefect") as connection:
            rows = connection.execute("select state_type, count(*) from flow_run group by 1")
            assert rows.fetchall() == [("COMPLETED", 1)]
            (legs,) = connection.execute(
                "select count(*) from task_run where name like 'trial 0%'"
            ).fetchall()
            assert legs[0] >= 3

        version = client.get_model_version_by_alias("likes", "champion")
        run = client.get_run(version.run_id)
        assert run.info.artifact_uri.startswith("s3://team/mlflow/likes/")
        assert run.data.params["tracking.uri"] == f"postgresql://***@{address}/mlflow"

        champion = Champion("likes", uri).current()
        assert [row.id[:2] for row in champion.similar_items("g2i07", 5)] == ["g2"] * 5

        listed = boto3.client("s3").list_objects_v2(Bucket="team")["Contents"]
        names = {Path(entry["Key"]).name for entry in listed}
        assert {"learning_curves.png", "verdict.json", "item_factors.npy"} <= names
        # Everything of MLflow's is in the two stores, nothing beside the data.
        assert not (tmp_path / "mlruns").exists()
