"""Databases that are away, no databases, or of another MLflow: one line, within the patience."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from recsys.base.errors import ConfigError, OutageError, RegistryError
from recsys.base.events import Event, Note, listening
from recsys.tracking.address import absolute_uri
from recsys.tracking.client import PatientClient
from recsys.tracking.databases import check_database
from recsys.tracking.registry import Registry
from recsys.tracking.runs import Tracker
from tests.fixtures.ports import free_port
from tests.fixtures.tracking_database import tracking_database


def test_a_database_that_is_away_is_an_outage_within_the_patience() -> None:
    uri = f"postgresql://ann:p/w@127.0.0.1:{free_port()}/mlflow"
    began = time.monotonic()
    said: list[Event] = []
    for ask in (
        lambda: Tracker.connect(uri, "fruit", patience=0.3),
        lambda: Registry(uri, "fruit").at("champion"),
    ):
        hidden = r"^no database answers at postgresql://\*\*\*@127"
        with pytest.raises(OutageError, match=hidden), listening(said.append):
            ask()
    (note,) = said  # the second one asks once
    assert isinstance(note, Note)
    assert note.text.startswith("the tracking database at postgresql://***@127.0.0.1")
    # MLflow alone would try for two minutes; how fast this machine is says nothing.
    assert time.monotonic() - began < 60


def test_an_address_without_a_driver_gets_ours() -> None:
    assert absolute_uri("postgresql://a:b@h/d") == "postgresql+psycopg://a:b@h/d"
    assert absolute_uri("postgres://h/d") == "postgresql+psycopg://h/d"
    assert absolute_uri("mysql://h/d") == "mysql+pymysql://h/d"
    for other in ("postgresql+psycopg2://h/d", "http://h:5000", "databricks", "file:./mlruns"):
        assert absolute_uri(other) == other


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql+psycopg2://h/d", r'install one \(pip install "liked-this\[postgres\]"\)'),
        ("mysql+nosuch://u:secret@h/d", r"no driver for .*mysql\+nosuch://\*\*\*@h/d"),
        (
            "postgresql://u:secret@h:port/d",
            r"h:port/d cannot be read; expected one as postgresql://HOST:5432",
        ),
    ],
)
def test_an_address_that_cannot_be_used_says_why(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        check_database(uri)
    assert "secret" not in str(refused.value)


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("to be kept")
    for name, kind in (("text.db", "a file that is no SQLite database"), ("", "a folder")):
        with pytest.raises(RegistryError, match=kind) as refused:
            Tracker.connect(f"sqlite:///{tmp_path}/{name}", "fruit", patience=600)
        assert not isinstance(refused.value, OutageError)
    assert (tmp_path / "text.db").read_text() == "to be kept"
    (tmp_path / "empty.db").touch()
    check_database(f"sqlite:///{tmp_path}/empty.db")
    check_database(f"sqlite:///{tmp_path}/none.db")


def _with_schema(folder: Path, revision: str) -> str:
    uri = tracking_database(folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return uri


def test_a_database_of_another_mlflow_says_which_and_what_to_do(tmp_path: Path) -> None:
    import mlflow

    # A revision of MLflow 2.3, and one that nobody knows.
    older = _with_schema(tmp_path / "older", "acf3f17fdcc7")
    with pytest.raises(RegistryError, match="is of an older MLflow, with schema acf3f17fdcc7") as e:
        Tracker.connect(older, "fruit", patience=600)
    assert f"(mlflow db upgrade '{older}')" in str(e.value)
    assert f"that of MLflow {mlflow.__version__}" in str(e.value)
    newer = _with_schema(tmp_path / "newer", "f" * 12)
    with pytest.raises(RegistryError, match="is of a newer MLflow, with schema ffffffffffff") as e:
        Tracker.connect(newer, "fruit", patience=600)
    assert f"newer than {mlflow.__version__} (pip install --upgrade mlflow)" in str(e.value)
    with pytest.raises(RegistryError, match="is of a newer MLflow"):
        Registry(newer, "fruit").at("champion")
    shutil.rmtree(tmp_path / "newer")


def test_a_schema_is_known_without_mlflow(tmp_path: Path) -> None:
    older = _with_schema(tmp_path, "acf3f17fdcc7")
    ask = (
        "import sys\n"
        "from recsys.tracking import databases, schemas\n"
        "schemas.another_schema = lambda *said: ValueError('/'.join(said))\n"
        f"try: databases.check_database({older!r})\n"
        "except ValueError as refused: print(refused, 'mlflow' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    *_, there, here = said.stdout.split()[0].split("/")
    assert (there, said.stdout.split()[1]) == ("acf3f17fdcc7", "False")
    database = tracking_database(tmp_path / "current").removeprefix("sqlite:///")
    with closing(sqlite3.connect(database)) as current:
        assert current.execute("SELECT version_num FROM alembic_version").fetchall() == [(here,)]


def test_a_client_is_made_where_a_server_is_away() -> None:
    assert PatientClient("http://127.0.0.1:9").uri == "http://127.0.0.1:9"
