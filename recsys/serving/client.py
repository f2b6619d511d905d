"""Client: a server of answers asked from Python, without any of the server's packages.

>>> from recsys.serving.client import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     for row in client.recommend("blender", n=5):
...         print(row.name, row.score, row.reason)
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from recsys.base.errors import (
    ConfigError,
    InputError,
    NotFoundError,
    RecsysError,
    UnavailableError,
)
from recsys.data.likes_log import Like
from recsys.online.online_log import PostedOutcome
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.serving.recommended import Recommended
from recsys.serving.wire import (
    About,
    Answers,
    Code,
    Health,
    Noted,
    OneAnswer,
    Ready,
    Refusal,
    StoredLikes,
    Written,
)

_M = TypeVar("_M", bound=BaseModel)
AGAIN = frozenset({502, 503, 504})  # statuses of a server that may answer a moment later
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds
_ERRORS: dict[Code, type[RecsysError]] = {
    "not_found": NotFoundError,
    "no_such_address": ConfigError,
    "too_slow": UnavailableError,
    "unavailable": UnavailableError,
    "fault": UnavailableError,
}


class Only(TypedDict, total=False):
    """What an answer may consist of; see `recsys.recommend.queries.filters.Filters`."""

    must: Sequence[str]
    must_not: Sequence[str]
    exclude: Sequence[str]
    only: Sequence[str] | None
    lists: Sequence[str]
    include_seen: bool
    include_untrained: bool


class Answered(NamedTuple):
    """Answers, and who gave them.

    Parameters
    ----------
    model, version : str
        Name and version of the champion.
    answers : list of Answer
        In the order of the questions.
    """

    model: str
    version: str
    answers: list[Answer]


class Client:
    """Asks one server, over connections that are kept; from several threads if wanted.

    The methods have the names and parameters of `recsys.recommend.recommender.Recommender`, and
    return the same answers. All of them raise

    - `NotFoundError` for a user, an item or a tag that does not exist,
    - `InputError` for a question that is wrong,
    - `UnavailableError` for a server that cannot be reached, or does not answer in time,
    - `ConfigError` for an address at which there is no such server.

    What did not get through is sent again: every question, and likes as well, as each has an id
    by which the server knows it.

    Parameters
    ----------
    address : str
        Of the server.
    timeout : float
        Seconds to wait for a connection, and for each part of an answer.
    retries : int
        How often a request is sent again, with growing pauses.
    http : httpx.Client or None
        What sends the requests, for headers, certificates or proxies of one's own. Its own timeout
        counts, and it is not closed with this client.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        *,
        timeout: float = 15.0,
        retries: int = 2,
        http: httpx.Client | None = None,
    ) -> None:
        self._address, self._retries = address.rstrip("/"), retries
        self._http, self._own = http or httpx.Client(timeout=timeout), http is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    # --- Questions ----------------------------------------------------------------------------

    def ask(self, questions: Sequence[Mapping[str, Any]]) -> Answered:
        """Ask several questions in one request.

        Parameters
        ----------
        questions : sequence of mapping
            Records as `recsys.serving.questions` describes them.
        """
        found = self._call("POST", "questions", Answers, {"questions": list(questions)})
        return Answered(found.model, found.version, [_read_answer(one) for one in found.answers])

    def recommend(
        self,
        user: str,
        n: int = 10,
        *,
        liked: Sequence[str] = (),
        tags: Sequence[str] = (),
        **filters: Unpack[Only],
    ) -> Answer:
        """The n items that a user is most likely to like."""
        return self._one("recommend", n, filters, id=user, liked=liked, tags=tags)

    def recommend_many(
        self, users: Sequence[str], n: int = 10, **filters: Unpack[Only]
    ) -> list[Answer]:
        """As `recommend`, for many users in one request."""
        given = _given({"n": n, **filters})
        return self.ask([{"query": "recommend", "id": user, **given} for user in users]).answers

    def recommend_for(
        self,
        liked: Sequence[str] = (),
        n: int = 10,
        *,
        tags: Sequence[str] = (),
        features: Sequence[str] = (),
        **filters: Unpack[Only],
    ) -> Answer:
        """The n items that a new user is most likely to like."""
        return self._one("recommend", n, filters, liked=liked, tags=tags, features=features)

    def rank(
        self,
        user: str | None,
        items: Sequence[str],
        *,
        liked: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> Answer:
        """These items in the order of their scores for a user, known or new."""
        record = {"query": "rank", "id": user, "items": items, "liked": liked, "tags": tags}
        return self.ask([_given(record, needed=("items",))]).answers[0]

    def similar_items(
        self,
        item: str | None = None,
        n: int = 10,
        *,
        features: Sequence[str] = (),
        liked_by: Sequence[str] = (),
        **filters: Unpack[Only],
    ) -> Answer:
        """The n items most like an item, or like a new one with these features and likes."""
        return self._one("similar", n, filters, id=item, tags=features, liked_by=liked_by)

    def items_for_tag(
        self, tags: Sequence[str] | Mapping[str, float], n: int = 10, **filters: Unpack[Only]
    ) -> Answer:
        """The n items that suit tags best; with weights where they are a mapping."""
        weights = list(tags.values()) if isinstance(tags, Mapping) else ()
        return self._one("tag", n, filters, tags=list(tags), weights=weights)

    def suggest_tags(
        self,
        item: str | None = None,
        n: int = 10,
        *,
        features: Sequence[str] = (),
        liked_by: Sequence[str] = (),
        kind: str | None = None,
        exclude: Sequence[str] = (),
    ) -> Answer:
        """The n tags that suit an item best, of those it has not."""
        only: Only = {"exclude": exclude}
        return self._one(
            "suggest-tags", n, only, id=item, tags=features, liked_by=liked_by, type=kind
        )

    def similar_tags(
        self, tag: str, n: int = 10, *, kind: str | None = None, exclude: Sequence[str] = ()
    ) -> Answer:
        """The n tags most like a tag."""
        return self._one("similar-tags", n, {"exclude": exclude}, id=tag, type=kind)

    def audience(
        self,
        item: str | None = None,
        n: int = 10,
        *,
        features: Sequence[str] = (),
        liked_by: Sequence[str] = (),
        **filters: Unpack[Only],
    ) -> Answer:
        """The n users who are most likely to like an item and do not yet."""
        return self._one("audience", n, filters, id=item, tags=features, liked_by=liked_by)

    def explain(self, user: str, item: str, n: int = 10) -> Answer:
        """Why a user has a score for an item: its parts as rows, then the nearest liked items."""
        return self._one("explain", n, {}, id=user, item=item)

    def _one(self, query: str, n: int, filters: Only, **values: Any) -> Answer:
        return self.ask([_given({"query": query, "n": n, **values, **filters})]).answers[0]

    # --- Likes --------------------------------------------------------------------------------

    def add_likes(self, likes: Sequence[Like]) -> Written:
        """Send likes, all of which are on disk when this returns.

        A like without an id is given one, so that it counts once however often it is sent.
        """
        sent = [replace(like, id=like.id or uuid.uuid4().hex) for like in likes]
        records = [_given({**vars(like)}, needed=("user", "item", "weight")) for like in sent]
        return self._call("POST", "likes", Written, {"likes": records})

    def remove_like(self, user: str, item: str) -> Written:
        """A user no longer likes an item, whether it was posted or the model was trained on it."""
        return self._call("DELETE", "likes", Written, {"user": user, "item": item})

    def hide(self, user: str, item: str) -> Written:
        """A user is not interested in an item, which is never shown to them again."""
        return self._call("POST", "hidden", Written, {"user": user, "item": item})

    def stored_likes(self, user: str) -> StoredLikes:
        """What is stored of a user."""
        return self._call("GET", f"users/{quote(user, safe='')}/likes", StoredLikes)

    # --- Outcomes -----------------------------------------------------------------------------

    def add_outcomes(self, outcomes: Sequence[PostedOutcome]) -> Noted:
        """Send what became of recommendations, all of which is on disk when this returns.

        The answers of a server that compares versions are `Recommended`, with the id by which an
        outcome names them. The same outcome a second time changes nothing.
        """
        records = [_given({**vars(one)}) for one in outcomes]
        return self._call("POST", "outcomes", Noted, {"outcomes": records})

    # --- The server ---------------------------------------------------------------------------

    def version(self) -> About:
        """Which champion answers."""
        return self._call("GET", "version", About)

    def health(self) -> Health:
        """That the server lives."""
        return self._call("GET", "health", Health)

    def ready(self) -> Ready:
        """That the server can answer now; an `UnavailableError` if it cannot."""
        return self._call("GET", "ready", Ready)

    def _call(self, method: str, path: str, expected: type[_M], body: Any = None) -> _M:
        """The response to a request, sent again while the server may answer a moment later."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                answer = self._http.request(method, f"{self._address}/v1/{path}", json=body)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as fault:
                raise self._no_server(f"{self._address} ({fault})") from fault
            except httpx.TransportError as fault:
                if last:
                    found = f"no answer from {self._address} ({str(fault) or type(fault).__name__})"
                    raise UnavailableError(found, "a server of answers", "start one") from fault
                time.sleep(_pause(attempt))
                continue
            if answer.status_code not in AGAIN or last:
                return self._read(answer, expected)
            time.sleep(_pause(attempt, answer.headers.get("retry-after", "")))
        raise AssertionError("the last attempt returns or raises")

    def _read(self, answer: httpx.Response, expected: type[_M]) -> _M:
        if answer.is_success:
            try:
                return expected.model_validate_json(answer.content)
            except ValidationError as fault:
                raise self._no_server(f"something else at {self._address}") from fault
        try:
            refusal = Refusal.model_validate_json(answer.content)
        except ValidationError as fault:
            found = f"status {answer.status_code} from {self._address}"
            if answer.status_code in AGAIN:
                raise UnavailableError(found, "an answer", "try again later") from fault
            raise self._no_server(found) from fault
        error, found = refusal.error, refusal.error.found
        if refusal.question is not None:
            found = f"question {refusal.question}: {found}" if refusal.question else found
        raise _ERRORS.get(refusal.code, InputError)(found, error.expected, error.action)

    def _no_server(self, found: str) -> ConfigError:
        return ConfigError(found, "the address of a server of answers", "correct the address")


def _read_answer(one: OneAnswer) -> Answer:
    """An answer as the library has it, with what it can be referred to by if there is that."""
    rows = tuple(Ranked(row.id, row.name, row.score, row.reason) for row in one.rows)
    notes = tuple(one.notes)
    if one.recommendation is None and one.version is None and not any(r.rank for r in one.rows):
        return Answer(rows, notes)
    versions = tuple(row.version for row in one.rows)
    return Recommended(
        rows, notes, one.recommendation, one.version, versions if any(versions) else ()
    )


def _given(values: Mapping[str, Any], needed: Sequence[str] = ()) -> dict[str, Any]:
    """Values that say something: what is left out has its default."""
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in values.items()
        # An allow-list without an item is one: nothing may be shown.
        if (name in (*needed, "only") and value is not None) or value not in (None, False, (), [])
    }


def _pause(attempt: int, wanted: str = "") -> float:
    """Seconds to wait: as long as the server asks for, and longer each time, never all at once."""
    least = float(wanted) if wanted.isdecimal() else FIRST_PAUSE * 2**attempt
    return min(least, LONGEST_PAUSE) * random.uniform(1.0, 1.5)  # noqa: S311  # nosec B311
