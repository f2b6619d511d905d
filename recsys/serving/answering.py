"""Answering: bodies of requests, answered by a few threads in time or refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import inf
from typing import Any

from starlette.responses import Response

from recsys.base.errors import InputError, NotFoundError, RecsysError, StorageError
from recsys.bundle import bundle_digest
from recsys.data.likes_log import LikesLog
from recsys.online.online_log import OnlineLog
from recsys.recommend.queries.answers import Answer
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.comparison import ComparedAnswers
from recsys.serving.likes import stored_likes
from recsys.serving.limits import Limits
from recsys.serving.metrics import Metrics
from recsys.serving.outcomes import add_outcomes
from recsys.serving.questions import answer_all, read_questions, record_shown
from recsys.serving.readings import readings
from recsys.serving.recommended import Recommended
from recsys.serving.wire import CODES, Code


class RefusedError(Exception):
    """A request that gets no answer, and why; `position` where one question is to blame."""

    def __init__(
        self,
        status: int,
        fault: RecsysError,
        position: int | None = None,
        code: Code | None = None,
    ) -> None:
        super().__init__(str(fault))
        self.status, self.fault, self.position = status, fault, position
        self.code = code or CODES.get(status, "wrong")

    def response(self) -> Response:
        """The refusal as a response."""
        parts = {name: getattr(self.fault, name) for name in ("found", "expected", "action")}
        content: dict[str, Any] = {"code": self.code, "error": parts}
        if self.position is not None:
            content["question"] = self.position
        headers = {"Retry-After": "1"} if self.status == 503 else {}
        if self.status in (408, 413):
            headers["Connection"] = "close"  # or the rest of the body would go on arriving
        return json_response(content, self.status, headers)


_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_SHORT = 1024
"""Bytes of a body that asks for little."""
_QUICK = 0.003
"""Seconds for which all others may wait."""


@dataclass
class AnswerPool:
    """A few threads that answer bodies of requests, each before its deadline.

    Parameters
    ----------
    champion : Champion
    model : str
    limits : Limits
    metrics : Metrics
    compared : ComparedAnswers or None
        Answers while two versions are compared.
    """

    champion: Champion
    model: str
    limits: Limits
    metrics: Metrics = field(default_factory=Metrics)
    compared: ComparedAnswers | None = None
    _inside: int = 0
    _seconds: float = inf  # that short bodies take of late
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.limits.threads, "answers")

    async def answer(self, body: bytes) -> Response:
        """The response to a body.

        Raises
        ------
        RefusedError
            If it is malformed or wrong, there are too many, or its time is over.
        """
        if len(body) > _SHORT:
            return await self.in_thread(lambda deadline: self._answer(body, deadline))
        if self._seconds < _QUICK and self.champion.held and self.compared is None:
            # Sooner done than handed to a thread, and nothing else waits for longer than that.
            return self._timed(body, time.monotonic() + self.limits.seconds)
        return await self.in_thread(lambda deadline: self._timed(body, deadline))

    def _timed(self, body: bytes, deadline: float) -> Response:
        """The response to a short body, and how long such bodies take of late."""
        begun = time.perf_counter()
        response = self._answer(body, deadline)
        took = time.perf_counter() - begun
        self._seconds = took if self._seconds == inf else 0.8 * self._seconds + 0.2 * took
        return response

    async def in_thread(self, work: Callable[[float], Response]) -> Response:
        """`work(deadline)` in one of the threads, if not too many wait for it."""
        if self._inside >= self.limits.waiting:
            raise RefusedError(503, too_much(f"{self._inside} requests at once"))
        self._inside += 1
        try:
            deadline = time.monotonic() + self.limits.seconds
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, work, deadline)
        finally:
            self._inside -= 1

    async def about(self) -> Response:
        """Which champion answers."""
        return await self.in_thread(self._about)

    def change(self, work: Callable[[LikesLog, bytes], dict[str, Any]], body: bytes) -> Response:
        """Write into the likes log.

        Raises
        ------
        RefusedError
            If the body is wrong, or the log cannot be written to.
        """
        if self.champion.fresh is None:
            fault = InputError(
                "a server without a likes log", "one with --likes FILE", "start it so"
            )
            raise RefusedError(404, fault)
        try:
            return json_response(work(self.champion.fresh, body))
        except InputError as fault:
            raise RefusedError(400, fault) from fault
        except StorageError as fault:
            raise RefusedError(503, fault) from fault

    def note_outcomes(self, body: bytes) -> Response:
        """Write outcomes into the online log.

        Raises
        ------
        RefusedError
            If the body is wrong, or the log cannot be written to.
        """
        if self.compared is None:
            fault = InputError(
                "a server that compares nothing", "one with online.mode", "start it so"
            )
            raise RefusedError(404, fault)
        try:
            noted, kinds = add_outcomes(self.compared.log, body)
        except InputError as fault:
            raise RefusedError(400, fault) from fault
        except StorageError as fault:
            raise RefusedError(503, fault) from fault
        for kind, count in kinds.items():
            self.metrics.outcomes.labels(kind).inc(count)
        self.metrics.outcomes_unknown.inc(noted.unknown)
        return json_response(noted.model_dump())

    def ready(self, deadline: float) -> Response:
        """That questions can be answered now, and likes and outcomes be read."""
        signature, _ = self._current(deadline)
        try:
            if self.champion.fresh is not None:
                self.champion.fresh.oldest()
            if self.online_log is not None:
                self.online_log.newest()
        except StorageError as fault:
            raise RefusedError(503, fault) from fault
        return json_response({"status": "ready", "version": signature["version"]})

    @property
    def online_log(self) -> OnlineLog | None:
        """The log of answers and outcomes, if there is one."""
        return None if self.compared is None else self.compared.log

    def metrics_text(self) -> bytes:
        """The metrics of all workers."""
        return self.metrics.text(lambda: readings(self.champion, self.online_log))

    def stored(self, user: str, deadline: float) -> Response:
        """What is stored of a user."""
        _, recommender = self._current(deadline)
        try:
            return json_response(stored_likes(recommender, user))
        except NotFoundError as fault:
            raise RefusedError(404, fault) from fault

    def _current(self, deadline: float) -> tuple[dict[str, Any], Recommender]:
        """How the answers are signed, and who gives them."""
        _require_time(deadline)
        try:
            number, recommender = self.champion.current_version()
        except RecsysError as fault:
            raise RefusedError(503, fault) from fault
        self.metrics.answers_with(number)
        return {"model": self.model, "version": number}, recommender

    def _about(self, deadline: float) -> Response:
        signature, recommender = self._current(deadline)
        digest = bundle_digest(recommender.manifest)
        return json_response({**signature, "bundle": digest, "package": package_version()})

    def _answer(self, body: bytes, deadline: float) -> Response:
        signature, recommender = self._current(deadline)
        try:
            questions = read_questions(_records(body), _attributing(deadline))
        except InputError as fault:
            raise RefusedError(400, fault) from fault
        begun, attributing = time.perf_counter(), _attributing(deadline)
        if self.compared is None:
            answers = answer_all(recommender, questions, attributing)
        else:
            number = signature["version"]
            answers = self.compared.answer(number, recommender, questions, attributing)
        self.metrics.answered(questions, answers, time.perf_counter() - begun)
        try:
            record_shown(recommender, questions, answers)
        except StorageError as fault:
            raise RefusedError(503, fault) from fault
        return json_response(
            {**signature, "answers": [_answer_record(answer) for answer in answers]}
        )


def _records(body: bytes) -> Sequence[dict[str, Any]]:
    """The questions of a body; anything else than `{"questions": [{...}, ...]}` is refused."""

    def no_number(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    expected = 'JSON such as {"questions": [{"query": "recommend", "id": "ann"}]}'
    try:
        given = json.loads(body.decode(), parse_constant=no_number)
    except (ValueError, RecursionError) as fault:
        found = f"a body that is not JSON ({str(fault)[:100]})"
        raise InputError(found, expected, "correct it") from fault
    records = given.get("questions") if isinstance(given, dict) else None
    if not isinstance(records, list) or set(given) != {"questions"}:
        raise InputError("JSON without a list of questions, or with more", expected, "correct it")
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            found = f"a question that is no object: {str(record)[:100]!r}"
            raise RefusedError(400, InputError(found, '{"query": ...}', "correct it"), position)
    return records


def _attributing(deadline: float) -> Callable[[int], AbstractContextManager[None]]:
    """Checks the time before each question, and names the question that an error is about."""

    @contextmanager
    def attribution(position: int) -> Iterator[None]:
        _require_time(deadline)
        try:
            yield
        except RecsysError as fault:
            status = 404 if isinstance(fault, NotFoundError) else 400
            raise RefusedError(status, fault, position) from fault

    return attribution


def _require_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise RefusedError(503, too_much("more than there was time to answer"))


def too_much(found: str) -> RecsysError:
    """The error that there was more than one server can do."""
    return RecsysError(found, "as much as one server can do", "ask for less, or again later")


def _answer_record(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Recommended):
        return answer.record()
    return {"rows": answer.as_dicts(), "notes": answer.notes}


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of plain values."""
    # Escaped, so that half of a surrogate pair from a request can be repeated in the response.
    return Response(_JSON.encode(value), status, headers, media_type="application/json")


@cache
def package_version() -> str:
    """The version of this package, as it is installed."""
    try:
        return version("liked-this")
    except PackageNotFoundError:  # run from a folder
        return "unknown"
