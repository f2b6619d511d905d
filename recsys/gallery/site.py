"""The web application: addresses, the pages they stand for, errors, and security headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from recsys.base.config import Online
from recsys.base.errors import (
    ConfigError,
    InputError,
    NotFoundError,
    RecsysError,
    RegistryError,
    StorageError,
)
from recsys.gallery import formatting
from recsys.gallery.cards import PageContext
from recsys.gallery.colours import HUES, OTHER
from recsys.gallery.comparison_page import ListDifferences, compare, figures
from recsys.gallery.item_page import item_page
from recsys.gallery.layout import Layouts
from recsys.gallery.links import Links
from recsys.gallery.map_data import MapData
from recsys.gallery.name_search import KINDS, Hit
from recsys.gallery.new_user_page import new_user_page, spread
from recsys.gallery.online_page import online_page
from recsys.gallery.opened_models import OpenedModel, OpenedModels
from recsys.gallery.pictures import Pictures
from recsys.gallery.run_page import run_page
from recsys.gallery.tag_page import tag_page
from recsys.gallery.user_page import user_page
from recsys.tracking.studies import StudyRun, read_study

HERE = Path(__file__).parent
LONGEST = 200_000  # characters of an address; an escaped id of 10,000 is far below
_SHOWN = 12
_STATUS = (
    (NotFoundError, 404),
    (InputError, 400),
    (ConfigError, 400),
    (RegistryError, 503),
    (StorageError, 503),
)
_TITLES = {
    400: "This cannot be shown",
    404: "Not found",
    405: "Method not allowed",
    414: "Address too long",
    500: "Something went wrong",
    503: "The registry or a log does not answer",
}


@dataclass(frozen=True)
class Parameters:
    """The parameters of an address."""

    request: Request

    def text(self, name: str) -> str:
        """The value of a parameter; empty where it is missing."""
        return self.request.query_params.get(name, "")

    def needed(self, name: str, what: str) -> str:
        """A parameter that must be given.

        Raises
        ------
        InputError
            If it is missing.
        """
        if not (found := self.text(name)):
            raise InputError(f"an address without {name}=", what, "search for one")
        return found

    def texts(self, name: str) -> list[str]:
        """All values of a parameter that are not empty."""
        return [value for value in self.request.query_params.getlist(name) if value]

    def flag(self, name: str) -> bool:
        """Whether a parameter is "1"."""
        return self.text(name) == "1"

    @property
    def version(self) -> str | None:
        """The version asked for; None for the champion."""
        return self.text("v") or None


class Site:
    """The gallery of one model.

    Parameters
    ----------
    models : OpenedModels
    folder : Path
        Where maps are kept.
    pictures : Pictures
    mlflow : str
        The address of MLflow's pages, for links.
    hosts : sequence of str or None
        Host names by which the site may be asked; None for any.
    online : Online
        Where comparisons with real users are recorded.
    """

    def __init__(
        self,
        models: OpenedModels,
        folder: Path,
        pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
        mlflow: str = "http://127.0.0.1:5000",
        hosts: tuple[str, ...] | None = ("127.0.0.1", "localhost", "[::1]", "testserver"),
        online: Online = Online(),  # noqa: B008 (frozen)
    ) -> None:
        self.online_options = online
        self.models, self.pictures, self.mlflow = models, pictures, mlflow
        self.maps = MapData(Layouts(folder / "maps"))
        self._hosts, self._differences = hosts, ListDifferences()
        self._studies: dict[str, StudyRun | None] = {}

    @cached_property
    def app(self) -> SecurityHeaders:
        """The ASGI application."""
        pages: dict[str, Callable[[Parameters], Response]] = {
            "/": self.home, "/find": self.find, "/find.json": self.find_json, "/item": self.item,
            "/tag": self.tag, "/user": self.user, "/new": self.new, "/compare": self.compare,
            "/map": self.map, "/map.json": self.map_json, "/run": self.run,
            "/picture": self.picture, "/online": self.online,
        }  # fmt: skip
        middleware = [Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)]
        if self._hosts is not None:
            middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=list(self._hosts)))
        app = Starlette(
            routes=[
                *(Route(path, _answering(page)) for path, page in pages.items()),
                Mount("/static", StaticFiles(directory=HERE / "static")),
            ],
            middleware=middleware,
            exception_handlers={
                RecsysError: self._error, HTTPException: self._error, Exception: self._error,
            },
        )  # fmt: skip
        return SecurityHeaders(app, self.policy)

    @cached_property
    def policy(self) -> str:
        """The Content-Security-Policy: nothing inline, nothing from elsewhere but pictures."""
        images = " ".join(["'self'", *self.pictures.origins])
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            f"img-src {images}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )

    # --- Pages --------------------------------------------------------------------------------

    def home(self, parameters: Parameters) -> Response:
        """The start page: popular items, common tags, some users."""
        context = self._context(parameters)
        source, recommender = context.opened.source, context.opened.recommender
        popular = np.argsort(-source.likes, kind="stable")[:240]
        words = source.item_lookup
        common: list[int] = []
        if words is not None:
            common = np.argsort(-words.vocabulary.support, kind="stable")[:18].tolist()
        likes = np.diff(recommender.seen.indptr)
        usual = np.argsort(likes, kind="stable")[len(likes) // 2 :]
        people = [
            (user, context.links.user(user), formatting.counted(int(likes[index]), "like"))
            for index in spread(usual, 8).tolist()
            for user in [recommender.users.id(index)]
        ]
        return self._page(
            "home", context, items=context.items(spread(popular, _SHOWN)),
            tags=context.tags(common), people=people,
            measured=recommender.manifest.get("metrics", {}).get("precision_at_5"),
        )  # fmt: skip

    def find(self, parameters: Parameters) -> Response:
        """Items, tags and users whose names contain the query."""
        context, query = self._context(parameters), parameters.text("q")
        found = context.opened.name_search.find(query, 24)
        items = context.items(np.array([hit.index for hit in found.get("item", [])], np.int64))
        tags = context.tags([hit.index for hit in found.get("tag", [])])
        users = [(hit.id, context.links.user(hit.id)) for hit in found.get("user", [])]
        near = [] if found else context.opened.name_search.near(query)
        return self._page(
            "find", context, query=query, items=items, tags=tags, users=users,
            near=[(name, context.links.find(name)) for name in near],
        )  # fmt: skip

    def find_json(self, parameters: Parameters) -> Response:
        """The same as JSON, for suggestions while typing."""
        context = self._context(parameters)
        wanted = parameters.texts("kind") or list(KINDS)
        kinds = [kind for kind in KINDS if kind in wanted]
        found = context.opened.name_search.find(parameters.text("q"), 6, kinds)
        groups = [
            {"kind": kind, "rows": [_found(hit, context.links) for hit in found[kind]]}
            for kind in kinds
            if kind in found
        ]
        return JSONResponse({"groups": groups})

    def item(self, parameters: Parameters) -> Response:
        """The page of an item, as it is or as if it were new."""
        context = self._context(parameters)
        external = parameters.needed("id", "an item's id")
        add = parameters.text("add") or None
        page = item_page(context, external, parameters.flag("new"), parameters.flag("all"), add)
        return self._page("item", context, page=page, subject={"item": external})

    def tag(self, parameters: Parameters) -> Response:
        """Items ranked by one or several tags."""
        context = self._context(parameters)
        page = tag_page(
            context, parameters.texts("plus"), parameters.texts("minus"), parameters.flag("all")
        )
        single = page.plus[0].id if len(page.plus) == 1 and not page.minus else None
        return self._page("tag", context, page=page, subject={"tag": single} if single else {})

    def user(self, parameters: Parameters) -> Response:
        """The page of a user."""
        context = self._context(parameters)
        external = parameters.needed("id", "a user's id")
        page = user_page(context, external, parameters.flag("own"))
        return self._page("user", context, page=page, subject={"user": external})

    def new(self, parameters: Parameters) -> Response:
        """The page of a new user, from the items in the address."""
        context = self._context(parameters)
        page = new_user_page(context, parameters.texts("like"), parameters.flag("own"))
        return self._page("new", context, page=page, own=parameters.flag("own"))

    def compare(self, parameters: Parameters) -> Response:
        """Two versions side by side."""
        versions = self.models.versions()
        numbers = [version.number for version, _ in versions]
        first, second = self._two(parameters, numbers)
        if first is None or second is None:
            return self._page("compare", self._context(parameters), choices=[], single=True)
        a, b = (self._of(self.models.open(number), number) for number in (first, second))
        kind = next((name for name in ("item", "user", "tag") if parameters.text(name)), "")
        about = {kind: parameters.text(kind)} if kind else {}
        found = compare(a, b, kind, about[kind]) if kind else None
        churn = self._differences.between(a.opened, b.opened) if found is None else None
        return self._page(
            "compare", self._context(parameters), a=first, b=second, found=found, churn=churn,
            choices=[(v.number, ", ".join(names)) for v, names in versions],
            figures=figures(a.opened, b.opened), single=False,
            alone=Links().compare(first, second), links_of=Links(),
            swapped=Links().compare(second, first, **about),
            rules=self.models.rules.described if kind in ("", "user") else "",
        )  # fmt: skip

    def map(self, parameters: Parameters) -> Response:
        """The map of items and tags."""
        context = self._context(parameters)
        ready = self.maps.begin(context.opened)
        colours = context.opened.colours
        return self._page(
            "map", context, ready=ready, query=parameters.text("q"), names=colours.names,
            title_of=colours.title, other=bool((colours.hues == OTHER).any()), grey=HUES,
            version=context.links.version or "", digest=context.opened.digest,
        )  # fmt: skip

    def map_json(self, parameters: Parameters) -> Response:
        """The data of the map, compressed; 202 while they are computed."""
        content = self.maps.compressed(self._context(parameters).opened)
        if content is None:
            return JSONResponse({"making": True}, 202)
        headers = {"Content-Encoding": "gzip", "Cache-Control": "private, max-age=3600"}
        return Response(content, media_type="application/json", headers=headers)

    def run(self, parameters: Parameters) -> Response:
        """The run that a version is from."""
        context = self._context(parameters)
        registry = self.models.registry
        version = registry.version(context.opened.number) if registry else None
        study = self._study(version.run_id) if version else None
        page = run_page(context.opened, version, study, self.mlflow)
        others = [
            (v.number, ", ".join(names), Links(v.number).run())
            for v, names in self.models.versions()
        ]
        return self._page("run", context, page=page, others=others)

    def online(self, parameters: Parameters) -> Response:
        """What comparing two versions with real users has shown."""
        page = online_page(self.models.title, self.online_options)
        return self._page("online", self._context(parameters), page=page)

    def picture(self, parameters: Parameters) -> Response:
        """The picture of an item."""
        context, external = self._context(parameters), parameters.needed("id", "an item's id")
        index = context.opened.recommender.items.index(external)
        asks = self.pictures.sketchfab
        found = asks.picture(external) if asks is not None else None
        if found is not None:
            headers = {"Cache-Control": "private, max-age=86400"}
            return Response(found.content, media_type=found.kind, headers=headers)
        card = context.items(np.array([index]))[0]
        drawn = self._templates.get_template("placeholder.svg").render(card=card)
        return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    # --- Shared by pages ----------------------------------------------------------------------

    def _context(self, parameters: Parameters) -> PageContext:
        return self._of(self.models.open(parameters.version), parameters.version)

    def _of(self, opened: OpenedModel, version: str | None) -> PageContext:
        return PageContext(opened, Links(version), self.pictures)

    def _two(self, parameters: Parameters, numbers: list[str]) -> tuple[str | None, str | None]:
        """The versions to compare; if none are named, the champion and the newest other one."""
        if not numbers:
            return None, None
        first = parameters.text("a") or self.models.champion().number
        others = [number for number in numbers if number != first]
        second = parameters.text("b") or (others[0] if others else None)
        return first, second

    def _study(self, run_id: str) -> StudyRun | None:
        """Read a run, once: it no longer changes when its version is registered."""
        if run_id not in self._studies:
            self._studies[run_id] = read_study(self.models.uri, run_id)
        return self._studies[run_id]

    @cached_property
    def _templates(self) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True,
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        names = "tidy", "count", "counted", "signed", "plain"
        environment.filters |= {name: getattr(formatting, name) for name in names}
        return environment

    def _page(self, name: str, context: PageContext, status: int = 200, **values: Any) -> Response:
        opened = context.opened
        common = {
            "here": name, "links": context.links, "model": self.models.title,
            "number": opened.number, "pinned": context.links.version is not None,
            "has_tags": opened.source.item_lookup is not None, "subject": {},
            "version_of_files": _VERSION, "compared": self.online_options.mode != "off",
        }  # fmt: skip
        html = self._templates.get_template(f"{name}.html").render(common | values)
        return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})

    async def _error(self, request: Request, fault: Exception) -> Response:
        """Answer an error with a page; a request for JSON or a picture, with one line of JSON."""
        status, said, action = _read(fault)
        title = _TITLES.get(status, "This cannot be shown")
        if request.url.path.endswith(".json") or request.url.path == "/picture":
            return JSONResponse({"error": said}, status)
        html = self._templates.get_template("error.html").render(
            here="error", links=Links(), model=self.models.title, number="", pinned=False,
            has_tags=True, subject={}, compared=False, version_of_files=_VERSION, title=title,
            said=formatting.tidy(said, 400), action=formatting.tidy(action, 400), status=status,
        )  # fmt: skip
        return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def _answering(page: Callable[[Parameters], Response]) -> Callable[[Request], Response]:
    """Make an endpoint of a page; as it is not async, Starlette runs it in a thread."""

    def answer(request: Request) -> Response:
        if len(request.url.query) > LONGEST:
            raise HTTPException(414, f"more than {LONGEST:,} characters")
        return page(Parameters(request))

    return answer


def _found(hit: Hit, links: Links) -> dict[str, str]:
    """A row of the suggestions while a person types."""
    href = links.tag([hit.id])
    if hit.kind != "tag":
        href = links.item(hit.id) if hit.kind == "item" else links.user(hit.id)
    hint = formatting.counted(hit.weight, "item" if hit.kind == "tag" else "like")
    name = formatting.tidy(hit.name, 90)
    if hit.kind == "tag":
        kind = formatting.feature_parts(hit.id, hit.id.split("_", 1)[0])[0]
        hint = f"{formatting.tidy(kind, 20)}, {hint}"
    return {"id": hit.id, "name": name, "href": href, "hint": hint}


def _read(fault: Exception) -> tuple[int, str, str]:
    """The status of an error, what is wrong, and what to do."""
    if isinstance(fault, HTTPException):
        if fault.status_code == 404:
            return 404, "no such page", "go to the front page"
        return fault.status_code, str(fault.detail), "go to the front page"
    if isinstance(fault, RecsysError):
        status = next((status for kind, status in _STATUS if isinstance(fault, kind)), 400)
        return status, f"{fault.found}; expected {fault.expected}", fault.action
    return 500, "the page could not be made", "the terminal of recsys gallery says why"


class SecurityHeaders:
    """Adds security headers to every response, error pages included.

    Parameters
    ----------
    app : ASGI application
    policy : str
        The Content-Security-Policy.
    """

    def __init__(self, app: Any, policy: str) -> None:
        self._app = app
        self._headers = [
            (b"content-security-policy", policy.encode("latin-1", "replace")),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(
        self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


_VERSION = str(int(max(path.stat().st_mtime for path in (HERE / "static").iterdir())))
