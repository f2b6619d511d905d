"""The server: the champion's answers over HTTP as JSON, bounded in size, number and time.

`POST /questions` takes `{"questions": [...]}`, records as in :mod:`recsys.serving.questions`, and
gives `{"model": ..., "version": ..., "answers": [{"rows": [...], "notes": [...]}, ...]}` in that
order. `POST /likes`, `DELETE /likes`, `POST /hidden` and `GET /users/ID/likes` are about what users
have said since the model was trained, see :mod:`recsys.serving.likes`. `GET /health` is 200 while
the server lives, `GET /version` says which champion answers. A request that is wrong is answered
with 4xx and `{"error": {"found", "expected", "action"}}`, and with `"question"`, the position of
the one that is wrong. `openapi` describes all of it; the server
itself does not hand the description out.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from recsys.base.errors import ConfigError, InputError, NotFoundError, RecsysError, StorageError
from recsys.base.redaction import redact_logs
from recsys.bundle import bundle_digest
from recsys.data.likes_log import LikesLog
from recsys.recommend.queries.answers import Answer
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.likes import (
    LikePosts,
    PairPost,
    Written,
    add_likes,
    hide_item,
    remove_like,
    stored_likes,
)
from recsys.serving.questions import Questions, answer_all, read_questions


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Parameters
    ----------
    body : int
        Bytes of a request.
    seconds : float
        For its head to arrive, for its body, and for its answers, each; three times as long for
        everything together, the sending of the answers included.
    workers : int
        Threads that answer.
    waiting : int
        Requests that are answered or wait for it, at most; the next is refused with 503.
    connections : int
        Open at once, at most.
    """

    body: int = 1 << 20
    seconds: float = 10.0
    workers: int = 2
    waiting: int = 256
    connections: int = 1024


class AnswerRow(BaseModel):
    """One row of an answer."""

    id: str
    name: str
    score: float
    reason: str


class OneAnswer(BaseModel):
    """Rows, best first, and sentences that belong to them."""

    rows: list[AnswerRow]
    notes: list[str]


class Answers(BaseModel):
    """The body of a response: which champion answered, and an answer for each question."""

    model: str
    version: str
    answers: list[OneAnswer]


class Fault(BaseModel):
    """What was found, what was expected, and what to do."""

    found: str
    expected: str
    action: str


class Refusal(BaseModel):
    """The body of a response to a wrong request; `question` is the position of the wrong one."""

    error: Fault
    question: int | None = None


class RefusedError(Exception):
    """A request that gets no answer, and why; `position` where one question is to blame."""

    def __init__(self, status: int, fault: RecsysError, position: int | None = None) -> None:
        super().__init__(str(fault))
        self.status, self.fault, self.position = status, fault, position

    def response(self) -> Response:
        """The refusal as a response."""
        parts = {name: getattr(self.fault, name) for name in ("found", "expected", "action")}
        content: dict[str, Any] = {"error": parts}
        if self.position is not None:
            content["question"] = self.position
        headers = {"Retry-After": "1"} if self.status == 503 else {}
        if self.status in (408, 413):
            headers["Connection"] = "close"  # or the rest of the body would go on arriving
        return _json(content, self.status, headers)


@dataclass
class AnswerPool:
    """A few threads that answer bodies of requests, each before its deadline.

    Parameters
    ----------
    champion : Champion
    model : str
    limits : Limits
    """

    champion: Champion
    model: str
    limits: Limits
    _inside: int = 0
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.limits.workers, "answers")

    async def answer(self, body: bytes) -> Response:
        """The response to a body.

        Raises
        ------
        RefusedError
            If it is malformed or wrong, there are too many, or its time is over.
        """
        return await self.in_thread(lambda deadline: self._answer(body, deadline))

    async def in_thread(self, work: Callable[[float], Response]) -> Response:
        """`work(deadline)` in one of the threads, if not too many wait for it."""
        if self._inside >= self.limits.waiting:
            raise RefusedError(503, _too_much(f"{self._inside} requests at once"))
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
            return _json(work(self.champion.fresh, body))
        except InputError as fault:
            raise RefusedError(400, fault) from fault
        except StorageError as fault:
            raise RefusedError(503, fault) from fault

    def stored(self, user: str, deadline: float) -> Response:
        """What is stored of a user."""
        _, recommender = self._current(deadline)
        try:
            return _json(stored_likes(recommender, user))
        except NotFoundError as fault:
            raise RefusedError(404, fault) from fault

    def _current(self, deadline: float) -> tuple[dict[str, Any], Recommender]:
        """How the answers are signed, and who gives them."""
        _require_time(deadline)
        try:
            number, recommender = self.champion.current_version()
        except RecsysError as fault:
            raise RefusedError(503, fault) from fault
        return {"model": self.model, "version": number}, recommender

    def _about(self, deadline: float) -> Response:
        signature, recommender = self._current(deadline)
        digest = bundle_digest(recommender.manifest)
        return _json({**signature, "bundle": digest, "package": _package()})

    def _answer(self, body: bytes, deadline: float) -> Response:
        signature, recommender = self._current(deadline)
        try:
            questions = read_questions(_records(body), _attributing(deadline))
        except InputError as fault:
            raise RefusedError(400, fault) from fault
        answers = answer_all(recommender, questions, _attributing(deadline))
        return _json({**signature, "answers": [_answer_record(answer) for answer in answers]})


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
        raise RefusedError(503, _too_much("more than there was time to answer"))


def _too_much(found: str) -> RecsysError:
    return RecsysError(found, "as much as one server can do", "ask for less, or again later")


def _answer_record(answer: Answer) -> dict[str, Any]:
    return {"rows": answer.as_dicts(), "notes": answer.notes}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # Escaped, so that half of a surrogate pair from a request can be repeated in the response.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema with everything it refers to in its place, for OpenAPI."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    for options in schema["properties"].values():
        models = list(definitions.values())
        options["items"] = {"oneOf": models, "discriminator": {"propertyName": "query"}}
    return schema


def _package() -> str:
    try:
        return version("liked-this")
    except PackageNotFoundError:  # run from a folder
        return "unknown"


class Bounds:
    """A layer around the application: no request is larger, or takes longer, than it may."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = False
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self._limits.body:
                raise _too_large(self._limits)
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(3 * self._limits.seconds):
                return await self._app(scope, counted, noted)
        except TimeoutError:
            if begun:  # the client does not read the answer: close the connection
                raise
            refused = RefusedError(503, _too_much("a request that took too long"))
            return await refused.response()(scope, receive, send)


def _too_large(limits: Limits) -> RefusedError:
    fault = InputError("a larger body", f"at most {limits.body:,} bytes", "ask in parts")
    return RefusedError(413, fault)


async def _body(request: Request, limits: Limits) -> bytes:
    """A request's body, if it says that it is JSON, is small enough, and arrives in time."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        # Not for form's sake: a page in a browser cannot send this type to another origin unasked.
        fault = InputError(f"content type {kind!r}", "application/json", "say what is sent")
        raise RefusedError(415, fault)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > limits.body:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds):
            return await request.body()
    except TimeoutError as fault:
        late = InputError("a body that does not arrive", f"all in {limits.seconds:g} s", "send it")
        raise RefusedError(408, late) from fault


def make_app(champion: Champion, model: str, limits: Limits = Limits()) -> FastAPI:
    """The application; see the module for its addresses."""
    app = FastAPI(
        title="liked this", version=_package(), docs_url=None, redoc_url=None, openapi_url=None
    )
    pool = AnswerPool(champion, model, limits)
    app.add_middleware(Bounds, limits=limits)

    body = {"content": {"application/json": {"schema": _schema(Questions)}}, "required": True}
    described: dict[int | str, dict[str, Any]] = {
        200: {"model": Answers, "description": "The answers, in the order of the questions."},
        "4XX": {"model": Refusal, "description": "A request or question that is wrong."},
        503: {"model": Refusal, "description": "Too much at once, or no champion: come back."},
    }

    @app.post("/questions", openapi_extra={"requestBody": body}, responses=described)
    async def questions(request: Request) -> Response:
        """Answer questions with the champion."""
        return await pool.answer(await _body(request, limits))

    changed: dict[int | str, dict[str, Any]] = {
        200: {"model": Written, "description": "It is on disk."},
        "4XX": {"model": Refusal, "description": "A request that is wrong."},
        503: {"model": Refusal, "description": "Too much at once, or no log: come back."},
    }

    def described_by(model: type[BaseModel]) -> dict[str, Any]:
        schema = model.model_json_schema()
        definitions = schema.pop("$defs", {})
        if "likes" in schema["properties"]:
            schema["properties"]["likes"]["items"] = definitions["LikePost"]
        return {"requestBody": {"content": {"application/json": {"schema": schema}}}}

    async def write(
        request: Request, work: Callable[[LikesLog, bytes], dict[str, Any]]
    ) -> Response:
        body = await _body(request, limits)
        return await pool.in_thread(lambda _: pool.change(work, body))

    @app.post("/likes", openapi_extra=described_by(LikePosts), responses=changed)
    async def post_likes(request: Request) -> Response:
        """Take likes, on disk when this is answered and in the next answers; one or many."""
        return await write(request, add_likes)

    @app.delete("/likes", openapi_extra=described_by(PairPost), responses=changed)
    async def delete_like(request: Request) -> Response:
        """Undo a like, whether it was posted or the model was trained on it."""
        return await write(request, remove_like)

    @app.post("/hidden", openapi_extra=described_by(PairPost), responses=changed)
    async def hide(request: Request) -> Response:
        """Not interested: never show this item to this user again."""
        return await write(request, hide_item)

    @app.get("/users/{user:path}/likes")
    async def likes_of(user: str) -> Response:
        """What is stored of a user: likes of the training data and of the log."""
        return await pool.in_thread(lambda deadline: pool.stored(user, deadline))

    @app.get("/health")
    async def health() -> Response:
        """200 while the server lives."""
        # Not asked of the threads, which may be busy: a busy server is no dead one.
        return _json({"status": "ok"})

    @app.get("/version")
    async def about() -> Response:
        """Which champion answers."""
        return await pool.about()

    @app.exception_handler(RefusedError)
    async def refused(_: Request, refusal: RefusedError) -> Response:
        return refusal.response()

    @app.exception_handler(HTTPException)
    async def no_such_thing(request: Request, fault: HTTPException) -> Response:
        found = f"{request.method} {request.url.path}"
        wanted = "POST /questions, POST /likes, GET /users/ID/likes, GET /health or GET /version"
        answer = RefusedError(fault.status_code, InputError(found, wanted, "ask there")).response()
        answer.headers.update(fault.headers or {})
        return answer

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # the client is gone

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        fault = RecsysError("a fault of the server", "an answer", "see its log")
        return RefusedError(500, fault).response()

    return app


def openapi() -> dict[str, Any]:
    """The OpenAPI description of the server, for programs that generate clients from it."""
    return make_app(Champion("model"), "model").openapi()


class TimedProtocol(H11Protocol):
    """HTTP whose connections are closed if the head of a request does not arrive in time.

    Uvicorn itself waits for it without end, so that a few idle connections could fill the server.
    """

    seconds = Limits.seconds
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the timer when a head is there; start it when the next is awaited."""
        """Start the timer of the first request's head."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(
    champion: Champion,
    model: str,
    host: str,
    port: int,
    limits: Limits,
    ready: Callable[[str], None],
) -> None:
    """Answer until interrupted.

    Parameters
    ----------
    champion : Champion
    model : str
        Its name.
    host : str
        An address of this machine; "127.0.0.1" is reachable from this machine only.
    port : int
        0 for any that is free.
    limits : Limits
    ready : callable
        Told the address, once connections are accepted.

    Raises
    ------
    NotFoundError, RegistryError
        If there is no champion to begin with.
    ConfigError
        If the address cannot be had.
    """
    redact_logs()
    champion.current()
    protocol = type("Protocol", (TimedProtocol,), {"seconds": limits.seconds})
    config = uvicorn.Config(
        make_app(champion, model, limits),
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(3 * limits.seconds) + 1,
    )
    with _listening(host, port) as listener:
        where = f"[{host}]" if ":" in host else host
        ready(f"http://{where}:{listener.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    # Named TCP: only then does asyncio send small answers at once instead of 40 ms later.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, UnicodeError) as fault:
        listener.close()
        raise ConfigError(
            f"no place at {host} port {port} ({fault})",
            "an address of this machine and a free port",
            "choose another with --host or --port",
        ) from fault
    return listener
