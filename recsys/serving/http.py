"""The server: the champion's answers over HTTP as JSON, bounded in size, number and time.

`POST /questions` takes `{"questions": [...]}`, records as in :mod:`recsys.serving.questions`, and
gives `{"model": ..., "version": ..., "answers": [{"rows": [...], "notes": [...]}, ...]}` in that
order. `POST /likes`, `DELETE /likes`, `POST /hidden` and `GET /users/ID/likes` are about what users
have said since the model was trained, see :mod:`recsys.serving.likes`; `POST /outcomes` about what
became of recommendations, see :mod:`recsys.serving.outcomes`. `GET /health` is 200 while
the server lives, `GET /ready` while it can answer, `GET /metrics` is for Prometheus, and
`GET /version` says which champion answers. All of these are below `/v1` as well,
and `/openapi.json` and `/docs` describe them. A request that is wrong is answered
with 4xx and `{"code", "error": {"found", "expected", "action"}}`, and with `"question"`, the
position of the one that is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.base.errors import InputError, RecsysError
from recsys.data.likes_log import LikesLog
from recsys.serving import likes
from recsys.serving.answering import (
    AnswerPool,
    RefusedError,
    json_response,
    package_version,
    too_much,
)
from recsys.serving.champion import Champion
from recsys.serving.comparison import ComparedAnswers
from recsys.serving.likes import LikePosts, PairPost
from recsys.serving.limits import Limits
from recsys.serving.metrics import CONTENT_TYPE, Metrics
from recsys.serving.observing import Observing
from recsys.serving.outcomes import OutcomePosts
from recsys.serving.questions import Questions
from recsys.serving.request_log import RequestLog
from recsys.serving.wire import (
    CODES,
    About,
    Answers,
    Code,
    Health,
    Noted,
    Ready,
    Refusal,
    StoredLikes,
    Written,
)

_QUESTIONS = frozenset({"/v1/questions", "/questions"})


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema with everything it refers to in its place, for OpenAPI."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    for options in schema["properties"].values():
        models = list(definitions.values())
        options["items"] = {"oneOf": models, "discriminator": {"propertyName": "query"}}
    return schema


class Bounds:
    """A layer around the application: no request is larger, or takes longer, than it may."""

    def __init__(self, app: ASGIApp, pool: _Pool) -> None:
        self._app, self._pool = app, pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limits = self._pool().limits
        begun = False
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > limits.body:
                raise _too_large(limits)
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(3 * limits.seconds):
                return await self._app(scope, counted, noted)
        except TimeoutError:
            if begun:  # the client does not read the answer: close the connection
                raise
            refused = RefusedError(503, too_much("a request that took too long"))
            return await refused.response()(scope, receive, send)


class QuestionsFirst:
    """A layer around the routes: questions are answered before routes are looked through."""

    def __init__(
        self, app: ASGIApp, ask: Callable[[Request], Awaitable[Response]], pool: _Pool
    ) -> None:
        self._app, self._ask, self._pool = app, ask, pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in _QUESTIONS:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._ask(Request(scope, receive))
        except RefusedError as refusal:
            response = _refused(self._pool, refusal)
        except ClientDisconnect:
            response = _gone()
        await response(scope, receive, send)


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


class _Pool:
    """Who answers, once that is known: an application is made before it is."""

    def __init__(self) -> None:
        self.pool: AnswerPool | None = None

    def __call__(self) -> AnswerPool:
        assert self.pool is not None
        return self.pool

    def metrics(self) -> Metrics:
        """What the process counts of itself."""
        return self().metrics


_made: list[tuple[FastAPI, _Pool]] = []


def prepare_app() -> None:
    """Make an application that the next call of `make_app` takes, in a process that is forked
    from this one as well: it is a quarter of what a worker would have for itself."""
    app, pool = _routed()
    app.openapi()
    app.middleware_stack = app.build_middleware_stack()
    _made.append((app, pool))


def make_app(
    champion: Champion,
    model: str,
    limits: Limits = Limits(),
    observing: Observing = Observing(),
) -> FastAPI:
    """The application; see the module for its addresses."""
    app, pool = _made.pop() if _made else _routed()
    metrics, log, compared = Metrics(), observing.online_log(model), None
    if observing.online is not None and log is not None:
        compared = ComparedAnswers(
            observing.online, model, champion, log, lambda arm: metrics.compared.labels(arm).inc()
        )
    pool.pool = AnswerPool(champion, model, limits, metrics, compared)
    return app


def _routed() -> tuple[FastAPI, _Pool]:
    """An application, and who is to be told who answers."""
    app = FastAPI(
        title="liked this",
        summary="Recommendations of the current champion.",
        version=package_version(),
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # Looked up with every request otherwise; what is measured is at /metrics.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    pool = _Pool()
    api = APIRouter()
    _add_questions(app, api, pool)
    _add_likes(api, pool)
    _add_outcomes(api, pool)
    _add_status(api, pool)
    app.include_router(api, prefix="/v1")
    # Where they were before there were versions; generated clients use the others.
    app.include_router(api, include_in_schema=False)
    _add_documentation(app)
    _add_refusals(app, pool)
    app.add_middleware(Bounds, pool=pool)
    known = frozenset(route.path for route in api.routes if isinstance(route, Route))
    app.add_middleware(RequestLog, metrics=pool.metrics, known=known)
    return app, pool


def _responses(
    model: type[BaseModel], what: str, unavailable: str
) -> dict[int | str, dict[str, Any]]:
    """What an operation responds, for OpenAPI."""
    return {
        200: {"model": model, "description": what},
        "4XX": {"model": Refusal, "description": "A request that is wrong, and what is wrong."},
        503: {"model": Refusal, "description": f"Too much at once, or {unavailable}: come back."},
    }


def _taking(schema: dict[str, Any]) -> dict[str, Any]:
    """The body that an operation takes, for OpenAPI; the operation itself reads it."""
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": True}}


def _add_questions(app: FastAPI, api: APIRouter, pool: _Pool) -> None:
    described = _responses(Answers, "The answers, in the order of the questions.", "no champion")

    @api.post("/questions", openapi_extra=_taking(_schema(Questions)), responses=described)
    async def ask(request: Request) -> Response:
        """Answer questions with the champion."""
        return await pool().answer(await _body(request, pool().limits))

    # Most requests come here, and the way through FastAPI's layers and routes takes a tenth of
    # their time: they go to the same function at once; the route above describes it.
    app.add_middleware(QuestionsFirst, ask=ask, pool=pool)


def _add_likes(api: APIRouter, pool: _Pool) -> None:
    written = _responses(Written, "It is on disk.", "no log")

    async def write(
        request: Request, work: Callable[[LikesLog, bytes], dict[str, Any]]
    ) -> Response:
        body = await _body(request, pool().limits)
        return await pool().in_thread(lambda _: pool().change(work, body))

    posts = LikePosts.model_json_schema()
    like = posts.pop("$defs")["LikePost"]
    posts["properties"]["likes"]["items"] = like
    pair = PairPost.model_json_schema()

    @api.post("/likes", openapi_extra=_taking({"anyOf": [posts, like]}), responses=written)
    async def add_likes(request: Request) -> Response:
        """Take likes, on disk when this is answered and in the next answers; one or many."""
        return await write(request, likes.add_likes)

    @api.delete("/likes", openapi_extra=_taking(pair), responses=written)
    async def remove_like(request: Request) -> Response:
        """Undo a like, whether it was posted or the model was trained on it."""
        return await write(request, likes.remove_like)

    @api.post("/hidden", openapi_extra=_taking(pair), responses=written)
    async def hide(request: Request) -> Response:
        """Not interested: never show this item to this user again."""
        return await write(request, likes.hide_item)

    stored = _responses(StoredLikes, "What is stored.", "no champion")

    @api.get("/users/{user:path}/likes", responses=stored)
    async def stored_likes(user: str) -> Response:
        """What is stored of a user: likes of the training data and of the log."""
        return await pool().in_thread(lambda deadline: pool().stored(user, deadline))


def _add_outcomes(api: APIRouter, pool: _Pool) -> None:
    noted = _responses(Noted, "They are on disk.", "no log")
    posts = OutcomePosts.model_json_schema()
    one = posts.pop("$defs")["OutcomePost"]
    posts["properties"]["outcomes"]["items"] = one

    @api.post("/outcomes", openapi_extra=_taking({"anyOf": [posts, one]}), responses=noted)
    async def add_outcomes(request: Request) -> Response:
        """Take what became of recommendations, on disk when this is answered; one or many."""
        body = await _body(request, pool().limits)
        return await pool().in_thread(lambda _: pool().note_outcomes(body))


def _add_status(api: APIRouter, pool: _Pool) -> None:
    @api.get("/health", responses={200: {"model": Health}})
    async def health() -> Response:
        """200 while the server lives."""
        # Not asked of the threads, which may be busy: a busy server is no dead one.
        return json_response({"status": "ok"})

    @api.get("/ready", responses=_responses(Ready, "It can answer.", "no champion or log"))
    async def ready() -> Response:
        """200 while the server can answer at once: a load balancer asks this."""
        return await pool().in_thread(pool().ready)

    @api.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """What the server has counted, for Prometheus."""
        return Response(pool().metrics_text(), media_type=CONTENT_TYPE)

    @api.get("/version", responses=_responses(About, "Which champion.", "no champion"))
    async def version() -> Response:
        """Which champion answers."""
        return await pool().about()


def _add_documentation(app: FastAPI) -> None:
    """`/docs`, whose scripts and styles come from a package and from nowhere else."""
    app.mount("/docs-assets", StaticFiles(packages=[("fastapi_offline", "static")]))
    page = get_swagger_ui_html(
        # Relative, for a proxy that serves all this below an address of its own.
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="docs-assets/swagger-ui-bundle.js",
        swagger_css_url="docs-assets/swagger-ui.css",
        swagger_favicon_url="docs-assets/favicon.png",
    )
    page.headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page


def _add_refusals(app: FastAPI, pool: _Pool) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, refusal: RefusedError) -> Response:
        return _refused(pool, refusal)

    @app.exception_handler(HTTPException)
    async def no_such_thing(request: Request, fault: HTTPException) -> Response:
        found = f"{request.method} {request.url.path}"
        wanted = (
            "POST /questions, POST /likes, DELETE /likes, POST /hidden, GET /users/ID/likes, "
            "POST /outcomes, GET /health, GET /ready, GET /metrics or GET /version, each below "
            "/v1 as well; GET /docs says more"
        )
        code: Code | None = "no_such_address" if fault.status_code == 404 else None
        error = InputError(found, wanted, "ask there")
        pool.metrics().errors.labels(code or CODES.get(fault.status_code, "wrong")).inc()
        answer = RefusedError(fault.status_code, error, code=code).response()
        answer.headers.update(fault.headers or {})
        return answer

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return _gone()

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        pool.metrics().errors.labels("fault").inc()
        fault = RecsysError("a fault of the server", "an answer", "see its log")
        return RefusedError(500, fault).response()


def _refused(pool: _Pool, refusal: RefusedError) -> Response:
    pool.metrics().refused(refusal.code, refusal.fault.found)
    return refusal.response()


def _gone() -> Response:
    return Response(status_code=400)  # which nobody reads: the client is gone


def openapi() -> dict[str, Any]:
    """The OpenAPI description of the server, for programs that generate clients from it."""
    return _routed()[0].openapi()
