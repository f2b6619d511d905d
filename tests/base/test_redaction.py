"""Redaction: what is hidden, what stays readable, and that messages and logs go through it."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

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
    # What people write into passwords, without quoting it.
    "postgresql://u:p/w@host/db": "postgresql://***@host/db",
    "postgresql://u:12/3@host/db": "postgresql://***@host/db",
    "mysql+pymysql://u:p#w@host:3306/db": "mysql+pymysql://***@host:3306/db",
    "redis://:p?w@host:6379/0": "redis://***@host:6379/0",
    "http://u:p/w@host:5000": "http://***@host:5000",
    "http://u:p%2Fw@[::1]:5000/x": "http://***@[::1]:5000/x",
    "s3://key:se/cr+et=@bucket/p": "s3://***@bucket/p",
    "postgresql://ann@corp:p/w@host/db": "postgresql://***@host/db",
    "'postgresql://u:p'w@host/db' is": "'postgresql://***@host/db' is",
    "'postgresql://u:p w@host/db' as 'a@b'": "'postgresql://***@host/db' as 'a@b'",
    '{"uri": "http://u:p/w@host", "by": "a@b"}': '{"uri": "http://***@host", "by": "a@b"}',
    "(s3://k:s/t@b/x), s3://k:s/t@c/y.": "(s3://***@b/x), s3://***@c/y.",
    "a://b:c x://q@d": "a://***@d",
    # A port, a path, and what a sentence goes on with are none.
    "http://host:5000/a@b": "http://host:5000/a@b",
    "http://[::1]:5000/a@b": "http://[::1]:5000/a@b",
    "http://host:5000: refused, ask a@b": "http://host:5000: refused, ask a@b",
    "s3://bucket: no answer, ask a@b": "s3://bucket: no answer, ask a@b",
    "postgresql://host:5432/db, as ann@corp": "postgresql://host:5432/db, as ann@corp",
    "'redis://host:6379/0' for 'ann@corp'": "'redis://host:6379/0' for 'ann@corp'",
    "see http://host:5000\nfor ann@corp": "see http://host:5000\nfor ann@corp",
}

SCHEMES = ["postgresql", "postgresql+psycopg", "mysql+pymysql", "redis", "s3", "http", "https"]
FRAMES = [
    "{}", "cannot reach {}: refused", '"{}"', "'{}' is no address", "({})", "[{}, {}]",
    "Traceback:\n  File 'x.py', line 3\nOSError: {}\nask ann@example.org",
    "tried {} and {} in vain",
    'File "x.py", line 3, in connect("{}", 3)', "<a href='{}'>", "{}, {}; then {}.",
]  # fmt: skip
# Any password that fits one line; what begins like a port and goes on like a sentence is one.
letters = st.characters(exclude_categories=["Cs", "Zl", "Zp", "Cc"])
passwords = st.text(
    st.one_of(letters, st.sampled_from("/#?@%:' \"")),
    min_size=1, max_size=40,
).filter(lambda text: not (text[0].isspace() or re.match(r"\d{1,5}(\W|$)", text)))  # fmt: skip
hosts = st.sampled_from(
    ["host/db", "host:5432/db", "host", "bucket/a/b.psv", "[::1]:5000/x", "h/?a=b"]
)


@pytest.mark.parametrize("text", HIDDEN)
def test_addresses_lose_user_password_and_query(text: str) -> None:
    assert redacted(text) == HIDDEN[text]


@given(
    scheme=st.sampled_from(SCHEMES), user=st.sampled_from(["ann", "", "ann@corp", "a.b-c"]),
    password=passwords, host=hosts, frame=st.sampled_from(FRAMES),
)  # fmt: skip
def test_no_message_has_the_password_whatever_it_is(
    scheme: str, user: str, password: str, host: str, frame: str
) -> None:
    # Marked, so that a password of one letter is not found in the words around it.
    secret = f"{password}\N{SNOWMAN}{password}"
    message = frame.replace("{}", f"{scheme}://{user}:{secret}@{host}")
    assert "\N{SNOWMAN}" not in redacted(message)
    assert redacted(redacted(message)) == redacted(message)


@given(password=st.text(min_size=1), frame=st.sampled_from(FRAMES))
def test_no_message_has_the_password_of_an_address_as_sqlalchemy_writes_it(
    password: str, frame: str
) -> None:
    secret = f"{password}SECRET"
    address = URL.create("postgresql+psycopg", "ann", secret, "db", 5432, "mlflow")
    message = frame.replace("{}", address.render_as_string(hide_password=False))
    assert "SECRET" not in redacted(message)
    assert redacted(message).count("db:5432/mlflow") == frame.count("{}")


@given(
    scheme=st.sampled_from(SCHEMES), frame=st.sampled_from(FRAMES), port=st.integers(1, 65_535),
    host=st.sampled_from(["host", "db.example.org", "127.0.0.1", "[::1]", "bucket"]),
    path=st.from_regex(r"(/[a-z0-9_.+=-]{0,5}){0,3}(#[a-z]{0,3})?", fullmatch=True),
)  # fmt: skip
def test_a_message_without_credentials_is_left_as_it_is(
    scheme: str, frame: str, port: int, host: str, path: str
) -> None:
    for address in (f"{scheme}://{host}{path}", f"{scheme}://{host}:{port}{path}"):
        message = frame.replace("{}", address)
        assert redacted(message) == message


@given(st.text(st.sampled_from("ab1:/@?#'\" ,\n.[]")))
def test_redacting_twice_changes_nothing_in_what_looks_like_addresses(text: str) -> None:
    for scheme in ("http://", "redis://"):
        once = redacted(text.replace("a:", scheme))
        assert redacted(once) == once


def test_a_megabyte_of_addresses_is_read_in_a_moment() -> None:
    started = time.thread_time()
    redacted("http://host:5000/path, " * 50_000 + "redis://:secret@host")
    assert time.thread_time() - started < 5


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
