"""Redaction: what is hidden, what stays readable, and that messages and logs go through it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.errors import RecsysError
from recsys.base.redaction import LONGEST, one_line, redacted

HIDDEN = {
    "http://ann:s3cret@host:5000/x": "http://***@host:5000/x",
    "https://token@host": "https://***@host",
    "postgresql+psycopg://u:p@ss@w@host/db": "postgresql+psycopg://***@host/db",
    "s3://key:secret@bucket/a|b.psv": "s3://***@bucket/a|b.psv",
    "https://h/x?sig=abc&exp=1#part": "https://h/x?***#part",
    "two: ftp://a:b@c and http://d:e@f!": "two: ftp://***@c and http://***@f!",
    "sqlite:///mlruns/mlflow.db": "sqlite:///mlruns/mlflow.db",
    "models:/sample@champion": "models:/sample@champion",
    "mail ann@example.org": "mail ann@example.org",
    "http://host/a@b": "http://host/a@b",
}


@pytest.mark.parametrize("text", HIDDEN)
def test_addresses_lose_user_password_and_query(text: str) -> None:
    assert redacted(text) == HIDDEN[text]


@given(st.text())
def test_redacting_twice_changes_nothing_and_one_line_is_one(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
    assert one_line(text).isprintable()
    assert len(one_line(text)) <= 12 * (LONGEST + 40)


@given(user=st.from_regex(r"[a-z]{1,5}", fullmatch=True), host=st.sampled_from(["h", "h:1/p?q=1"]))
def test_no_password_survives(user: str, host: str) -> None:
    text = f"failed: http://{user}:PASSWORD@{host} and s3://PASSWORD@{host}"
    assert "PASSWORD" not in redacted(text)


def test_an_error_has_no_secret_no_line_break_and_no_megabyte() -> None:
    fault = RecsysError("http://a:secret@h\nis gone", "x" * 2**20, "\ud800\0")
    assert "secret" not in str(fault)
    assert str(fault).isprintable()
    assert len(str(fault)) < 3 * LONGEST


def test_logs_are_redacted_whoever_writes_them() -> None:
    program = (
        "import logging; from recsys.base.redaction import redact_logs\n"
        "redact_logs(); redact_logs(); logging.basicConfig(level=0)\n"
        "log = logging.getLogger('somebody.else')\n"
        "log.info('at %s for %d', 'http://a:secret@h', 3); log.info('plain %s', 'text')\n"
        "try: raise OSError('no http://a:secret@h?k=secret')\n"
        "except OSError: log.exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "secret" not in done.stderr
    assert "INFO:somebody.else:at http://***@h for 3" in done.stderr
    assert "OSError: no http://***@h?***" in done.stderr
