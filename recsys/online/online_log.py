"""The online log: what was recommended to whom by which version, and what became of it.

An answer is written before it is sent, and an outcome is on disk before it is acknowledged. Both
are in one database, a file of SQLite or PostgreSQL. An outcome names the answer by its id, so that
what is posted twice is there once, and what belongs to no answer is not stored.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from recsys.base.config import Online, default_online_log
from recsys.online.arms import Comparison, Side
from recsys.online.databases import Database, PostgresDatabase, SqliteDatabase, Transaction

Outcome = Literal["seen", "clicked", "liked", "hidden"]
DAY = 86_400.0
_BETWEEN = 3600.0  # seconds between two deletions of what is old
_SHARE_DELETED = 0.1  # of the answers, the oldest ones, while the log is too large
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS online_about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS comparisons (id TEXT PRIMARY KEY, model TEXT NOT NULL, "
    "mode TEXT NOT NULL, champion TEXT NOT NULL, challenger TEXT NOT NULL, "
    "share DOUBLE PRECISION NOT NULL, salt TEXT NOT NULL, began DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS answers (id TEXT PRIMARY KEY, time DOUBLE PRECISION NOT NULL, "
    "person TEXT, comparison TEXT, arm TEXT NOT NULL, version TEXT NOT NULL, query TEXT NOT NULL, "
    "segment TEXT NOT NULL, of_champion INTEGER NOT NULL, of_challenger INTEGER NOT NULL, "
    "instead INTEGER NOT NULL, items TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outcomes (recommendation TEXT NOT NULL, item TEXT NOT NULL, "
    "outcome TEXT NOT NULL, place INTEGER NOT NULL, side TEXT, time DOUBLE PRECISION NOT NULL, "
    "PRIMARY KEY (recommendation, item, outcome)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS shadows (recommendation TEXT PRIMARY KEY, version TEXT NOT NULL, "
    "seconds DOUBLE PRECISION NOT NULL, fault TEXT NOT NULL, items TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS answers_by_time ON answers (time)",
    "CREATE INDEX IF NOT EXISTS answers_by_person ON answers (person)",
    "CREATE INDEX IF NOT EXISTS answers_by_comparison ON answers (comparison, time)",
)


@dataclass(frozen=True)
class GivenAnswer:
    """An answer to a recommendation, as it is sent.

    Parameters
    ----------
    id : str
        Of the recommendation.
    user : str or None
        None for somebody without an id, who is in no comparison.
    version : str
        That answers; of an interleaved list both, as in "4+5".
    query : str
    items : sequence of (str, {"champion", "challenger"} or None)
        Ids as they are shown, each with the version that it counts for; None for neither.
    comparison : Comparison or None
        The comparison that the answer belongs to.
    arm : str
        Of the user: "champion", "challenger", or "both" for an interleaved list.
    segment : str
        What kind of user it is.
    instead : bool
        Whether the champion answered because the challenger could not.
    """

    id: str
    user: str | None
    version: str
    query: str
    items: Sequence[tuple[str, Side | None]]
    comparison: Comparison | None = None
    arm: str = "champion"
    segment: str = ""
    instead: bool = False


@dataclass(frozen=True)
class PostedOutcome:
    """What became of one item of an answer.

    Parameters
    ----------
    recommendation, item : str
    outcome : {"seen", "clicked", "liked", "hidden"}
    time : float or None
        Seconds since 1970; None for the moment at which it arrives.
    """

    recommendation: str
    item: str
    outcome: Outcome
    time: float | None = None


@dataclass(frozen=True)
class Tally:
    """Counts of one user, query and segment in a comparison, of both sides.

    Parameters
    ----------
    user, query, segment, arm : str
    answers : int
    shown, seen, clicked, liked, hidden : tuple of int
        Items, of the champion and of the challenger.
    """

    user: str
    query: str
    segment: str
    arm: str
    answers: int
    shown: tuple[int, int]
    seen: tuple[int, int] = (0, 0)
    clicked: tuple[int, int] = (0, 0)
    liked: tuple[int, int] = (0, 0)
    hidden: tuple[int, int] = (0, 0)


@dataclass
class OnlineLog:
    """The log; all methods raise a StorageError if its database cannot be used.

    Parameters
    ----------
    database : Database
    hashed : bool
        Whether ids of users are written as keyed hashes, by which nobody is found without the log.
    keep_days : int
        Days after which answers and their outcomes are deleted.
    most_bytes : int
        Size of the log beyond which the oldest are deleted before that.
    clock : callable
        Gives seconds since 1970.
    """

    database: Database
    hashed: bool = False
    keep_days: int = 90
    most_bytes: int = 2**30
    clock: Callable[[], float] = time.time
    _pruned: float = field(default=0.0, init=False)
    _known: set[str] = field(default_factory=set, init=False)

    @cached_property
    def _key(self) -> bytes:
        """The key of the hashes, made when the log is first written."""
        with self.database.writing(durable=True) as transaction:
            transaction.execute(
                "INSERT INTO online_about VALUES ('key', ?) ON CONFLICT DO NOTHING",
                (secrets.token_hex(32),),
            )
            found = transaction.read("SELECT value FROM online_about WHERE name = 'key'")
        return bytes.fromhex(found[0][0])

    def person(self, user: str) -> str:
        """How a user is called in the log."""
        return self._hash(user) if self.hashed else user

    def _hash(self, user: str) -> str:
        plain = user.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(plain, key=self._key, digest_size=16).hexdigest()

    def give(self, answers: Sequence[GivenAnswer]) -> None:
        """Write answers, all of them or none, before they are sent."""
        if not answers:
            return
        now = self.clock()
        rows = [self._row(answer, now) for answer in answers]
        with self.database.writing(durable=False) as transaction:
            for comparison in {one.comparison for one in answers} - {None}:
                assert comparison is not None
                self._begin(transaction, comparison, now)
            for row in rows:
                transaction.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
                )
        self._known |= {one.comparison.key for one in answers if one.comparison is not None}
        if now - self._pruned > _BETWEEN:
            self._pruned = now
            self.prune()

    def _row(self, answer: GivenAnswer, now: float) -> tuple[Any, ...]:
        sides = [side for _, side in answer.items]
        return (
            answer.id,
            now,
            None if answer.user is None else self.person(answer.user),
            None if answer.comparison is None else answer.comparison.key,
            answer.arm,
            answer.version,
            answer.query,
            answer.segment,
            sides.count("champion"),
            sides.count("challenger"),
            int(answer.instead),
            json.dumps([list(one) for one in answer.items], separators=(",", ":")),
        )

    def _begin(self, transaction: Transaction, comparison: Comparison, now: float) -> None:
        if comparison.key in self._known:
            return
        one = comparison
        transaction.execute(
            "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (one.key, one.model, one.mode, one.champion, one.challenger, one.share, one.salt, now),
        )

    def shadow(
        self, recommendation: str, version: str, seconds: float, items: Sequence[str], fault: str
    ) -> None:
        """Write what the challenger would have answered, or why it could not."""
        row = recommendation, version, seconds, fault, json.dumps(list(items))
        with self.database.writing(durable=False) as transaction:
            transaction.execute(
                "INSERT INTO shadows VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
            )

    def post(self, outcomes: Sequence[PostedOutcome]) -> tuple[int, int]:
        """Write outcomes; they are on disk when this returns.

        Returns
        -------
        (int, int)
            How many were new, and how many belong to no item of an answer in the log: those were
            not stored.
        """
        now, added, unknown = self.clock(), 0, 0
        with self.database.writing(durable=True) as transaction:
            places: dict[str, dict[str, tuple[int, Side | None]]] = {}
            for one in outcomes:
                if one.recommendation not in places:
                    places[one.recommendation] = _places(transaction, one.recommendation)
                found = places[one.recommendation].get(one.item)
                if found is None:
                    unknown += 1
                    continue
                place, side = found
                at = now if one.time is None else one.time
                added += transaction.execute(
                    "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (one.recommendation, one.item, one.outcome, place, side, at),
                )
        return added, unknown

    def comparisons(self, model: str | None = None) -> list[tuple[Comparison, float]]:
        """All comparisons, that of the last answer first, and when they began (seconds)."""
        rows = self.database.read(
            "SELECT model, mode, champion, challenger, share, salt, began FROM comparisons "
            "ORDER BY coalesce((SELECT max(time) FROM answers WHERE comparison = comparisons.id), "
            "0) DESC, id"
        )
        found = [(Comparison(*row[:6]), float(row[6])) for row in rows]
        return [one for one in found if model is None or one[0].model == model]

    def period(self, comparison: Comparison) -> tuple[float, float] | None:
        """When the first and the last answer were given (seconds since 1970)."""
        query = "SELECT min(time), max(time) FROM answers WHERE comparison = ?"
        found = self.database.read(query, (comparison.key,))
        return None if not found or found[0][0] is None else (found[0][0], found[0][1])

    def tallies(self, comparison: Comparison) -> tuple[list[Tally], bool]:
        """What happened in a comparison, user by user, and whether anybody posts what was seen.

        Whoever clicks on an item has seen it. Where nothing at all was posted as seen, whatever was
        shown counts as seen.
        """
        key = (comparison.key,)
        given = self.database.read(
            "SELECT person, query, segment, arm, count(*), sum(of_champion), sum(of_challenger) "
            "FROM answers WHERE comparison = ? AND person IS NOT NULL "
            "GROUP BY person, query, segment, arm ORDER BY person, query, segment, arm",
            key,
        )
        outcomes = self.database.read(
            "SELECT a.person, a.query, a.segment, a.arm, o.side, o.outcome, count(*) "
            "FROM outcomes o JOIN answers a ON a.id = o.recommendation "
            "WHERE a.comparison = ? AND o.side IS NOT NULL "
            "GROUP BY a.person, a.query, a.segment, a.arm, o.side, o.outcome",
            key,
        )
        met = self.database.read(
            "SELECT a.person, a.query, a.segment, a.arm, o.side, 'met', count(*) FROM "
            "(SELECT DISTINCT recommendation, item, side FROM outcomes) o "
            "JOIN answers a ON a.id = o.recommendation "
            "WHERE a.comparison = ? AND o.side IS NOT NULL "
            "GROUP BY a.person, a.query, a.segment, a.arm, o.side",
            key,
        )
        says_seen = any(row[5] == "seen" for row in outcomes)
        counts: dict[tuple[str, ...], dict[str, list[int]]] = {}
        for *who, side, outcome, count in (*outcomes, *met):
            of_user = counts.setdefault(tuple(who), {})
            of_user.setdefault(outcome, [0, 0])[side == "challenger"] += count
        return [_tally(row, counts.get(tuple(row[:4]), {}), says_seen) for row in given], says_seen

    def shadowed(self, comparison: Comparison) -> list[tuple[list[str], list[str], float, str]]:
        """Of each answer with a shadow: items shown, the challenger's, its seconds, its fault."""
        rows = self.database.read(
            "SELECT a.items, s.items, s.seconds, s.fault FROM shadows s "
            "JOIN answers a ON a.id = s.recommendation WHERE a.comparison = ? ORDER BY a.id",
            (comparison.key,),
        )
        return [
            ([item for item, _ in json.loads(shown)], json.loads(other), seconds, fault)
            for shown, other, seconds, fault in rows
        ]

    def newest(self) -> float | None:
        """When the last answer was written (seconds since 1970); None if there is none."""
        found = self.database.read("SELECT max(time) FROM answers")
        return found[0][0] if found else None

    def forget(self, user: str) -> int:
        """Delete what is stored of a user, whichever way the id was written; returns the answers.

        Nothing of it stays in the file of a SQLite log.
        """
        if not self.database.read("SELECT 1 FROM answers LIMIT 1"):
            return 0
        names = (user, self._hash(user))
        with self.database.writing(durable=True) as transaction:
            count = _delete(transaction, "person IN (?, ?)", names)
        if count:
            self.database.shred()
        return count

    def prune(self) -> int:
        """Delete what is too old, and the oldest while the log is too large.

        Returns
        -------
        int
            How many answers were deleted.
        """
        deleted = 0
        with self.database.writing(durable=False) as transaction:
            deleted += _delete(transaction, "time < ?", (self.clock() - DAY * self.keep_days,))
        while self.database.size() > self.most_bytes:
            count = self.database.read("SELECT count(*) FROM answers")[0][0]
            if not count:
                break
            oldest = max(1, int(_SHARE_DELETED * count))
            until = self.database.read(
                "SELECT time FROM answers ORDER BY time LIMIT 1 OFFSET ?", (oldest - 1,)
            )[0][0]
            with self.database.writing(durable=False) as transaction:
                deleted += _delete(transaction, "time <= ?", (until,))
        return deleted


def open_log(
    where: str | Path, hashed: bool = False, keep_days: int = 90, most_bytes: int = 2**30
) -> OnlineLog:
    """The log at a path or an address of PostgreSQL; nothing is opened before it is used.

    Parameters
    ----------
    where : str or Path
    hashed, keep_days, most_bytes
        See `OnlineLog`.

    Raises
    ------
    ConfigError
        If PostgreSQL's driver is needed and not installed.
    """
    postgres = str(where).startswith(("postgresql://", "postgres://", "postgresql+psycopg://"))
    database: Database = (
        PostgresDatabase(str(where), SCHEMA) if postgres else SqliteDatabase(Path(where), SCHEMA)
    )
    return OnlineLog(database, hashed, keep_days, most_bytes)


def configured_log(options: Online, model: str) -> OnlineLog:
    """The log of a model as it is configured.

    Parameters
    ----------
    options : Online
    model : str
        Its registered name, which names the file unless `log` does.
    """
    where = options.log or default_online_log(model)
    hashed = options.user_ids == "hashed"
    return open_log(where, hashed, options.keep_days, options.most_bytes)


def _places(transaction: Transaction, recommendation: str) -> dict[str, tuple[int, Side | None]]:
    """The items of an answer, each with its rank from 1 and what it counts for."""
    query = "SELECT items FROM answers WHERE id = ?"
    found = transaction.read(query, (recommendation,))
    items = json.loads(found[0][0]) if found else []
    return {item: (place, side) for place, (item, side) in enumerate(items, 1)}


def _tally(row: tuple[Any, ...], counts: dict[str, list[int]], says_seen: bool) -> Tally:
    person, query, segment, arm, answers, *shown = row

    def of(outcome: str) -> tuple[int, int]:
        first, second = counts.get(outcome, (0, 0))
        return first, second

    both = int(shown[0]), int(shown[1])
    seen = of("met") if says_seen else both
    return Tally(
        person, query, segment, arm, answers, both, seen, of("clicked"), of("liked"), of("hidden")
    )


def _delete(transaction: Transaction, which: str, values: Sequence[Any]) -> int:
    """Delete answers and all that belongs to them; `which` is a condition written here."""
    ids = f"(SELECT id FROM answers WHERE {which})"  # noqa: S608  # nosec B608
    for table in ("outcomes", "shadows"):
        transaction.execute(f"DELETE FROM {table} WHERE recommendation IN {ids}", values)  # noqa: S608  # nosec B608
    return transaction.execute(f"DELETE FROM answers WHERE {which}", values)  # noqa: S608  # nosec B608
