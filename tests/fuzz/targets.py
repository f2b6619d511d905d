"""Targets: what is fed with bytes and must answer with work done or one clear error.

A target returns, or raises something else than a `RecsysError`: then it has found a fault. What
comes out of it is checked as well, for a wrong model is worse than a traceback.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.config import Config
from recsys.base.config_file import load_config
from recsys.base.errors import RecsysError
from recsys.cli.settings import parse_settings
from recsys.data.dialects import TextFormat
from recsys.data.features import FeatureColumns, read_features
from recsys.data.idmap import IdMap
from recsys.data.interactions import InteractionColumns, read_interactions
from recsys.data.tables import open_table
from recsys.recommend.recommender import Recommender
from recsys.serving.answering import RefusedError, _attributing, _records
from recsys.serving.questions import MOST, answer_all, read_questions
from recsys.tuning.space import SearchSpace
from tests.fixtures.bundles import write_bundle

Target = Callable[[bytes], None]

ENCODINGS = ("utf-8", "latin-1", "utf-16", "cp1252", "utf-8-sig", "shift-jis", "utf-7", "ascii")
LONG_AFTER = 1e9  # seconds that no question needs


def _read(content: bytes, name: str, read: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            read(path)
        except RecsysError as fault:
            _clear(fault)


def _clear(fault: RecsysError) -> None:
    """One line that a person can read."""
    assert str(fault).isprintable()
    assert len(str(fault)) < 2000


def _sound(ids: IdMap) -> None:
    values = ids.ids.to_pylist()
    assert values == sorted(values, key=str.encode)
    assert len(set(values)) == len(values)
    assert all(values)


def _marks(control: bytes) -> TextFormat:
    """A format out of two bytes."""
    first, second = control[0], control[1]
    return TextFormat(
        "|,;\t"[first % 4],
        (None, '"', "'")[first // 4 % 3],
        (None, "\\")[first // 16 % 2],
        ENCODINGS[second % len(ENCODINGS)],
    )


def likes(data: bytes) -> None:
    """Likes with weight and timestamp, in any format: the first two bytes choose it."""
    if len(data) < 2:
        return
    columns = InteractionColumns("u", "i", "n", "w", "t")

    def read(path: Path) -> None:
        found, names, rejected = read_interactions(path, columns, _marks(data))
        _sound(found.users)
        _sound(found.items)
        assert found.weight is not None
        assert found.timestamp is not None
        assert names is not None
        assert len(names) == len(found.items)
        assert np.isfinite(found.weight).all()
        assert (found.weight > 0).all()
        assert all(count > 0 for count in rejected.values())
        keys = found.user.astype(np.int64) * len(found.items) + found.item
        assert (np.diff(keys) > 0).all()

    _read(data[2:], "likes.txt", read)


def features(data: bytes) -> None:
    """Features with a weight, in any format."""
    if len(data) < 2:
        return

    def read(path: Path) -> None:
        found, _ = read_features(path, FeatureColumns("i", "t", "v", "w"), _marks(data))
        _sound(found.owners)
        names = found.names.to_pylist()
        assert len(set(names)) == len(names)
        assert np.isfinite(found.weight).all()
        assert (found.weight > 0).all()
        assert found.feature.max() < len(names)

    _read(data[2:], "features.txt", read)


def readers(data: bytes) -> None:
    """Text that our reader and Python's csv must agree on, if ours reads it at all.

    The first byte chooses the delimiter, and whether it is said how the file is written.
    """
    if not data:
        return
    delimiter, said = ",;|\t"[data[0] % 4], data[0] // 4 % 2 == 0
    content = data[1:].decode("latin-1").replace("\0", "").encode()
    if not said and len(set(content.splitlines()[:1])) == 0:
        return

    def read(path: Path) -> None:
        text = TextFormat(delimiter, '"', "", "utf-8", True) if said else TextFormat()
        opened = open_table(path, text)
        names = list(opened.names)
        if len(set(names)) < len(names) or len(names) < 2:
            return
        found = opened.read({name: name for name in names}, names)
        assert found.rows == found.table.num_rows + found.malformed
        if not said:
            return
        rows = [row for row in csv.reader(io.StringIO(content.decode(), newline=""),
                delimiter=delimiter) if row]  # fmt: skip
        wanted = [row for row in rows[1:] if len(row) == len(names)]
        columns = (found.table.column(name).cast(pa.string()).fill_null("") for name in names)
        assert list(zip(*(c.to_pylist() for c in columns), strict=True)) == list(map(tuple, wanted))
        assert found.malformed == len(rows) - 1 - len(wanted)

    _read(content, "likes.csv", read)


def parquet(data: bytes) -> None:
    """A file that says it is Parquet."""
    _read(data, "likes.parquet", lambda path: _ignore(read_interactions(path)))


def _ignore(_: object) -> None:
    """What is read of a damaged Parquet file cannot be checked: its format has no checksums."""


def configuration(data: bytes) -> None:
    """A configuration file, and the search space it describes."""

    def read(path: Path) -> None:
        config = load_config(path)
        assert Config.model_validate(config.model_dump()) == config
        assert config.model
        assert "/" not in config.model
        json.dumps(config.model_dump(mode="json"), allow_nan=False)
        space = SearchSpace.from_config(config.search.space)
        for dimension in (*space.dimensions(), *space.likely()):
            dimension.rvs(random_state=0)

    _read(data, "mine.toml", read)


def options(data: bytes) -> None:
    """Settings on the command line."""
    try:
        given = data.decode("utf-8", "surrogateescape").split("\0")
        load_config(None, parse_settings(given))
    except RecsysError as fault:
        _clear(fault)


@cache
def _recommender() -> Recommender:
    folder = Path(tempfile.mkdtemp()) / "bundle"
    return Recommender.load(write_bundle(folder, features=True))


def questions(data: bytes) -> None:
    """The body of a request."""
    try:
        asked = read_questions(_records(data), _attributing(LONG_AFTER))
        answers = answer_all(_recommender(), asked, _attributing(LONG_AFTER))
    except RefusedError as refusal:
        _clear(refusal.fault)
        if refusal.status >= 500:
            raise
        refusal.response()
        return
    except RecsysError as fault:
        _clear(fault)
        return
    assert len(answers) == len(asked)
    for answer, question in zip(answers, asked, strict=True):
        assert question.query == "explain" or len(answer) <= question.n <= MOST
        json.dumps(answer.as_dicts(), allow_nan=False)


def _parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"uid": ["u", "v"], "mid": [1, 2], "modelname": ["x", None]}), stream)
    return stream.getvalue()


SEEDS: dict[Target, list[bytes]] = {
    likes: [
        b"\x14\x00u|i|n|w|t\nann|a|Apple|1.5|2020-01-01\nbob|b|\\\"q\\\"|2|1577836800\n",
        b"\x15\x01u,i,n,w,t\r\n\"a\"\"b\",x,y,1e3,0\r\n",
        b"\x04\x02" + "u|i|n|w|t\nü|é|x|1|1\n".encode("utf-16"),
    ],
    features: [b"\x14\x00i|t|v|w\na|tag|red|1\nb|Tag|Green|2\n", b"\x05\x01i,t,v,w\na,b,c,1\n"],
    readers: [
        b'\x00user,item,title\na,x,"One, two"\r\nb,y,"say ""hi"""\nc,z,"two\nlines"\n',
        b"\x05user;item\n1;2\n3\n;\n\n4;5;6\n",
    ],
    parquet: [_parquet(), b"PAR1\x00\x00\x00\x00PAR1"],
    configuration: [
        b'seed = 3\n[data]\nlikes = "a.psv"\n[search]\ntrials = 2\n[search.space]\n'
        b'learning_rate = { low = 0.01, high = 0.1, scale = "log" }\nloss = { values = ["warp", '
        b'"bpr"] }\nmax_sampled = { low = 1, high = 9, when = { loss = "warp" } }\n',
        b'[tracking]\nuri = "http://a:b@c"\nmodel = "m"\n[split]\nmethod = "last"\nshare = 0.1\n',
    ],
    options: [b"search.trials=3\0seed=1\0data.likes=a\0search.space.k={low=1,high=2}"],
    questions: [
        b'{"questions":[{"query":"recommend","id":"ann","n":3},{"query":"recommend","liked":["a"],'
        b'"tags":["red"],"features":["country_de"],"must":["red"],"exclude":["b"]}]}',
        b'{"questions":[{"query":"tag","tags":["red","green"],"weights":[1.5,-2]},{"query":'
        b'"similar","id":"a","include_seen":true},{"query":"suggest-tags","id":"b","type":"tag"}]}',
        b'{"questions":[{"query":"explain","id":"ann","item":"a"},{"query":"audience","id":"c"},'
        b'{"query":"similar-tags","id":"red"},{"query":"similar","liked_by":["ann"]}]}',
    ],
}  # fmt: skip
