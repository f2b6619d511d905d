"""What is an outage, which may pass by itself, and what is not."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, TEMPORARILY_UNAVAILABLE

from recsys.base.errors import OutageError, RegistryError, StorageError
from recsys.tracking.client import PatientClient
from recsys.tracking.faults import is_outage, tracking_errors
from recsys.tracking.runs import Tracker


@contextmanager
def answering(status: int, body: str, kind: str) -> Iterator[str]:
    """A server that answers everything alike; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(uri: str) -> RegistryError:
    """The error of a question to a server."""
    with pytest.raises(RegistryError) as caught, tracking_errors(uri):
        PatientClient(uri).get_run("0" * 32)
    return caught.value


def test_nobody_who_answers_is_an_outage() -> None:
    fault = asked("http://127.0.0.1:9")
    assert isinstance(fault, OutageError)
    assert fault.found.startswith("no tracking server or database answers at http://127.0.0.1:9")


def refusal(code: str) -> str:
    return json.dumps({"error_code": code, "message": "API request to / database is locked"})


@pytest.mark.parametrize(
    ("status", "body", "kind", "outage"),
    [
        (502, "<p>bad gateway</p>", "text/html", True),
        (503, "<p>come back</p>", "text/html", True),
        (503, refusal("TEMPORARILY_UNAVAILABLE"), "application/json", True),
        (429, refusal("REQUEST_LIMIT_EXCEEDED"), "application/json", True),
        (404, "<p>not here</p>", "text/html", False),
        (401, "<p>who are you</p>", "text/html", False),
        (404, refusal("RESOURCE_DOES_NOT_EXIST"), "application/json", False),
        (400, refusal("INVALID_PARAMETER_VALUE"), "application/json", False),
        (500, refusal("INTERNAL_ERROR"), "application/json", True),
    ],
)
def test_an_answer_is_an_outage_by_its_status_and_code(
    status: int, body: str, kind: str, outage: bool
) -> None:
    with answering(status, body, kind) as uri:
        assert isinstance(asked(uri), OutageError) == outage


def raised_by_database(path: Path, statement: str, code: int) -> MlflowException:
    """What MLflow raises where SQLAlchemy raises on a statement, the database not waited for."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement))
    except sqlalchemy.exc.SQLAlchemyError as fault:
        try:
            raise MlflowException(message=fault, error_code=code) from fault
        except MlflowException as wrapped:
            return wrapped
    finally:
        engine.dispose()
    raise AssertionError(statement)


def test_a_busy_database_is_an_outage_and_a_wrong_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE a (b)")
    writer.execute("BEGIN EXCLUSIVE")
    insert = "INSERT INTO a VALUES (1)"
    assert is_outage(raised_by_database(path, insert, TEMPORARILY_UNAVAILABLE))
    writer.execute("ROLLBACK")
    writer.close()
    missing = raised_by_database(path, "INSERT INTO nothing VALUES (1)", TEMPORARILY_UNAVAILABLE)
    assert not is_outage(missing)
    named = "INSERT INTO nothing VALUES ('API request to, database is locked')"
    assert not is_outage(raised_by_database(path, named, BAD_REQUEST))


def test_what_a_disk_or_the_caller_did_is_no_outage() -> None:
    assert not is_outage(FileNotFoundError(2, "No such file or directory", "a.csv"))
    assert not is_outage(OSError(28, "No space left on device"))
    assert not is_outage(MlflowException("downloading failed: No space left on device"))
    assert not is_outage(MlflowException.invalid_parameter_value("API request to nowhere"))
    assert not is_outage(KeyError("API request to"))
    assert is_outage(ConnectionResetError(104, "Connection reset by peer"))
    # Without a code or a cause: the page of a proxy, or something that a database does not take.
    unnamed = MlflowException("it is not to be")
    assert is_outage(unnamed, "http://mlflow:5000")
    assert not is_outage(unnamed, "sqlite:///mlruns/mlflow.db")


def test_a_disk_that_is_full_is_said_as_such() -> None:
    with pytest.raises(StorageError, match="cannot be written"), tracking_errors("sqlite:///a.db"):
        raise MlflowException("(sqlite3.OperationalError) database or disk is full")


def test_a_server_that_is_not_there_is_an_outage_before_anything_is_asked() -> None:
    with pytest.raises(OutageError, match="no tracking server answers"):
        Tracker.connect("http://127.0.0.1:9", "fruit")
