"""The gallery in a real browser: every page, the type-ahead, the flows, errors, accessibility.

A model of six groups of items, two versions of it in a real registry, `recsys gallery` as a process
of its own, and Chromium. Without Chromium these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.pictures import Pictures
from recsys.gallery.site import Site
from recsys.models.content import Profiles
from recsys.models.foldin import FoldIn
from recsys.models.mapping import Mapping
from recsys.models.side import SideInformation, Vocabulary
from recsys.ranking.factors import Factors
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.paths import PYTHONPATH
from tests.fixtures.tracking_database import tracking_database

# The first has nothing but what pages need, and takes a third of the time.
BROWSERS = "chromium-headless-shell", "chromium", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium: apt-get install chromium-headless-shell"
)

GROUPS, ITEMS, USERS, LIKES = 6, 12, 20, 6
AXE = "axe.run({resultTypes: ['violations'], preload: false})"  # nothing else is looked at
HOSTILE = {
    "<script>document.title='taken'</script>": "<img src=x onerror=\"document.title='taken'\">",
    "\u202e\u05e9\u05dc\u05d5\u05dd": "\u202e\u05e9\u05dc\u05d5\u05dd <b>",
    "../../x?y=z&a#b%2F": "\U0001f468\u200d\U0001f469\u200d\U0001f467 & 'quoted' \"",
    "w" * 10_000: "w" * 10_000,
    "{id}\ue000%EE%80%80": "{{ 7 * 7 }}",
}
PAGES = {
    "home": "/",
    "find": "/find?q=item",
    "item": "/item?id=g1i03",
    "as if new": "/item?id=g1i03&new=1",
    "change": "/item?id=g1i03&add=tag_group+2",
    "tag": "/tag?plus=tag_group+1&minus=tag_group+2",
    "user": "/user?id=g2u05",
    "new user": "/new?like=g1i03&like=g2i04",
    "compare": "/compare",
    "compare item": "/compare?item=g1i03",
    "run": "/run",
    "map": "/map",
}


def world(folder: Path, turned: bool = False) -> Path:
    """Items along the axis of their group, users too; hostile ones among them."""
    rng = np.random.default_rng(1)
    ids = [f"g{g}i{i:02d}" for g in range(GROUPS) for i in range(ITEMS)]
    names = [f"Item {i} of group {g} — a thing" for g in range(GROUPS) for i in range(ITEMS)]
    groups = np.repeat(np.arange(GROUPS), ITEMS)
    groups = np.append(groups, np.arange(len(HOSTILE)) % GROUPS)
    centres = np.eye(GROUPS, 8)
    vectors = 2 * centres[groups] + rng.normal(0, 0.25, (len(groups), 8))
    if turned:
        vectors += rng.normal(0, 0.3, vectors.shape)
    owners = np.repeat(np.arange(GROUPS), USERS)
    people = centres[owners] + rng.normal(0, 0.1, (len(owners), 8))
    users = [f"g{g}u{u:02d}" for g in range(GROUPS) for u in range(USERS)]
    users[-len(HOSTILE) :] = list(HOSTILE)
    liked = [np.sort(rng.choice(np.flatnonzero(groups == g), LIKES, False)) for g in owners]
    features = ["category_even", "category_odd", *(f"tag_group {g}" for g in range(GROUPS))]
    rows = np.column_stack([groups % 2, 2 + groups]).astype(np.int32).ravel()
    support = np.bincount(rows, minlength=len(features)).astype(np.int32)
    n = len(groups)
    side = SideInformation(
        Vocabulary(
            IdMap(pa.array(features), "feature"),
            pa.array([name.split("_")[0] for name in features]),
            pa.array([name.split("_")[1] for name in features]),
            support,
        ),
        Profiles(
            2 * np.arange(n + 1), rows, np.full(2 * n, 0.5**0.5, np.float32),
            np.ones(len(features), np.float32),
        ),
        Mapping(
            np.vstack([centres[::2].sum(0), centres[1::2].sum(0), 2 * centres]).astype(np.float32),
            np.zeros(len(features), np.float32),
            2.0,
        ),
        np.full(n, 0.2, np.float32),
        2.0,
    )  # fmt: skip
    biases = rng.normal(0, 0.2, n)
    counts = {"users": len(users), "items": n, "interactions": LIKES * len(users)}
    estimate = {"mean": 0.4 + 0.1 * turned, "low": 0.38 + 0.1 * turned, "high": 0.42 + 0.1 * turned}
    folder.mkdir(parents=True)
    save_bundle(
        folder,
        Bundle(
            Factors(
                people.astype(np.float32), vectors.astype(np.float32),
                np.zeros(len(users), np.float32), biases.astype(np.float32),
            ),
            IdMap(pa.array(users), "user"),
            IdMap(pa.array([*ids, *HOSTILE]), "item"),
            pa.array([*names, *HOSTILE.values()]),
            Seen(LIKES * np.arange(len(users) + 1), np.concatenate(liked).astype(np.int32)),
            {"metrics": {"precision_at_5": estimate}, "counts": counts, "holdout": "test",
             "configuration": {"no_components": 8}},
            trained=n,
            item_features=side,
            user_foldin=FoldIn(np.eye(8, dtype=np.float32)),
        ),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions, the first champion, each with a study behind it."""
    folder = tmp_path_factory.mktemp("gallery")
    uri = tracking_database(folder)
    tracker = Tracker.connect(uri, "planted")
    for number in (1, 2):
        run_id = tracker.open_study(StudyDescription(f"k{number}", f"planted, seed {number}", {}))
        metrics = [(f"test_{model}/precision_at_5", 0.2, 0) for model in ("als", "popularity")]
        tracker.log(run_id, metrics, tags={"best_trial": "0"})
        curve = [("curve/precision_at_5", 0.1 + 0.05 * np.log2(e), e) for e in (1, 2, 4, 8)]
        tags = {"kind": "trial", "study": f"k{number}", "trial": "0"}
        tracker.log_run("trial 0", tags, {}, curve)
        bundle = world(folder / str(number) / "bundle", turned=number == 2)
        pyfunc.register(uri, run_id, "planted", bundle, {"gate/coverage": "passed: all, wanted 1"})
    made = Registry(uri, "planted")
    made.promote("1", by="ann", why="the first")
    made.challenge("2")
    return made


@pytest.fixture(scope="module")
def address(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`recsys gallery` as a person starts it."""
    folder = tmp_path_factory.mktemp("serving")
    command = [
        sys.executable,
        "-m",
        "recsys.cli",
        "gallery",
        "--model",
        "planted",
        "--port",
        "0",
    ]
    command += ["--set", f"gallery.folder={folder}/kept"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": registry.uri, "PYTHONPATH": PYTHONPATH}
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"planted, version 1: (http://127\.0\.0\.1:\d+) ", line)
        assert found, line + (folder / "errors").read_text()
        yield found[1]
        process.terminate()
        process.wait(30)
        process.stdout.close()
    assert "Traceback" not in (folder / "errors").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        # Debian's Chromium in a container: as root there is no sandbox, and little shared memory.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@dataclass
class Watched:
    """A page, what its console said, and how to open addresses in it."""

    page: Any
    base: str
    said: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        answer = self.page.goto(self.base + address)
        if address.startswith("/map"):
            self.page.wait_for_selector("[data-map][data-ready]", timeout=60_000)
        return answer

    @property
    def path(self) -> str:
        return str(self.page.url).removeprefix(self.base)


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Watched]]:
    """Opens pages with settings of the browser; at the end, consoles have to have been silent."""
    made: list[tuple[Any, Watched]] = []

    def opened(base: str = address, **settings: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 850}} | settings)
        context.set_default_timeout(15_000)
        watched = Watched(context.new_page(), base)
        watched.page.on("console", lambda m: watched.said.append(f"{m.type}: {m.text}"))
        watched.page.on("pageerror", lambda fault: watched.said.append(f"fault: {fault}"))
        watched.page.on("dialog", lambda dialog: watched.said.append(f"dialog: {dialog.message}"))
        made.append((context, watched))
        return watched

    yield opened
    said = [line for _, watched in made for line in watched.said]
    for context, _ in made:
        context.close()
    assert said == []


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark, phone": {
        "color_scheme": "dark", "viewport": {"width": 390, "height": 800}, "has_touch": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_sound_and_accessible(open_page: Callable[..., Watched], look: str) -> None:
    """Nothing on the console, nothing wider than the window, nothing that axe finds."""
    watched = open_page(**LOOKS[look])
    faults: list[str] = []
    for name, address in PAGES.items():
        answer = watched.open(address)
        assert answer.status == 200, name
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if watched.page.evaluate(wide) > 0:
            faults.append(f"{name} is wider than the window")
        watched.page.evaluate(axe.AXE_SCRIPT)
        found = watched.page.evaluate(AXE)["violations"]
        faults += [f"{name}: {one['id']}, {one['nodes'][0]['html'][:200]}" for one in found]
    assert faults == []


def test_the_type_ahead_by_keys(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/")
    box = watched.page.get_by_role("combobox")
    box.fill("item 3 of group 1")
    watched.page.get_by_role("option", name=re.compile("Item 3 of group 1")).wait_for()
    assert box.get_attribute("aria-expanded") == "true"
    box.press("Escape")
    assert box.get_attribute("aria-expanded") == "false"
    box.press("ArrowDown")
    watched.page.get_by_role("option").first.wait_for()
    box.press("ArrowDown")
    chosen = box.get_attribute("aria-activedescendant")
    assert watched.page.locator(f"#{chosen}").get_attribute("aria-selected") == "true"
    box.press("Enter")
    watched.page.wait_for_url("**/item?id=g1i03")
    assert "Item 3 of group 1" in watched.page.title()


def test_the_type_ahead_by_pointer(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/user?id=g2u05")
    box = watched.page.get_by_role("combobox")
    box.fill("group")
    groups = watched.page.locator(".found [role=group]")
    groups.first.wait_for()
    assert groups.count() == 2  # items and tags
    watched.page.get_by_role("option", name=re.compile("^group 4")).click()
    watched.page.wait_for_url("**/tag?plus=tag_group%204")
    box = watched.page.get_by_role("combobox", name="Find items, tags, users")
    box.fill("nothing like it")
    watched.page.get_by_text("No item, tag or user has that in its name").wait_for()


def test_a_new_user_clicks_and_recommendations_follow(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/new")
    page = watched.page
    page.evaluate("window.kept = true")
    first = page.get_by_role("link", name=re.compile("Like .*of group 3")).first
    name = re.search(r"Item \d+ of group 3", first.inner_text())
    assert name
    first.click()
    page.get_by_role("heading", name="You like 1 item").wait_for()
    assert page.evaluate("window.kept")  # changed in place
    likes = re.fullmatch(r"/new\?like=(g3i\d\d)", watched.path)
    assert likes
    shown = page.locator("section[aria-labelledby=recommended] .card").all_inner_texts()
    assert len(shown) == 12
    assert all("of group 3" in text for text in shown[:4])
    # Another one, by the search.
    box = page.get_by_role("combobox", name="Add an item you like")
    box.fill("item 2 of group 5")
    page.get_by_role("option", name=re.compile("Item 2 of group 5")).click()
    page.get_by_role("heading", name="You like 2 items").wait_for()
    assert watched.path == f"/new?like={likes[1]}&like=g5i02"
    texts = page.locator("section[aria-labelledby=recommended] .card").all_inner_texts()
    # The address is the page.
    watched.open(watched.path)
    again = page.locator("section[aria-labelledby=recommended] .card").all_inner_texts()
    assert again == texts
    page.get_by_role("link", name=re.compile("Remove Item 2")).click()
    page.get_by_role("heading", name="You like 1 item").wait_for()
    page.go_back()
    page.get_by_role("heading", name="You like 2 items").wait_for()


def test_a_suggested_tag_is_tried_in_place(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/item?id=g1i03")
    page = watched.page
    page.get_by_role("link", name="As a new item").click()
    page.get_by_text("Shown from its tags alone").wait_for()
    page.get_by_role("link", name=re.compile("Try group")).first.click()
    page.get_by_role("heading", name=re.compile("^With .group")).wait_for()
    assert "add=tag_group" in watched.path
    assert page.locator(".change .card.new").count() > 0
    assert page.locator(".change .card.gone").count() > 0
    page.go_back()
    page.get_by_role("heading", name=re.compile("^With .group")).wait_for(state="detached")


def test_two_versions_side_by_side(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/item?id=g1i03")
    page = watched.page
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("heading", name="Version 1 compared with version 2").wait_for()
    assert watched.path == "/compare?item=g1i03"  # what was looked at goes along
    assert page.locator(".two .mark").count() > 0
    page.get_by_label("Left").select_option("2")
    page.get_by_label("Right").select_option("1")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?a=2&b=1&item=g1i03")
    box = page.get_by_role("combobox", name=re.compile("Compare answers"))
    box.fill("g2u05")
    page.locator(".found [role=option]").first.click()
    page.wait_for_url("**/compare?a=2&b=1&user=g2u05")
    page.get_by_role("heading", name=re.compile("g2u05")).wait_for()


def test_the_map_moves_names_and_leads_on(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.open("/map")
    page = watched.page
    said = page.locator("#mapsaid")
    assert said.inner_text() == f"{GROUPS * ITEMS + len(HOSTILE)} items, 8 tags"
    page.get_by_label("Highlight on the map").fill("g2i")
    playwright.expect(said).to_have_text(f"{ITEMS} items highlighted")
    assert "q=g2i" in page.url
    assert page.locator("#maplist a").count() == ITEMS
    page.get_by_label("Highlight on the map").fill("")
    page.get_by_role("button", name="odd").click()
    playwright.expect(said).to_have_text(re.compile(r"^3\d items highlighted$"))
    page.get_by_role("button", name="odd").click()
    # One item, in the middle and near.
    watched.open("/map?q=g4i07")
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    playwright.expect(page.locator(".tip")).to_contain_text("Item 7 of group 4")
    canvas.focus()
    for key in ("+", "-", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
    page.mouse.wheel(0, -200)
    page.mouse.click(*middle)
    page.wait_for_url("**/item?id=g4i07")


def test_hostile_names_do_nothing(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    for name in HOSTILE:
        for address in (f"/item?id={quote(name)}", f"/user?id={quote(name)}&v=2"):
            assert watched.open(address).status == 200
            assert watched.page.title() != "taken"
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert watched.page.evaluate(wide) <= 0
    watched.open("/new?" + "&".join(f"like={quote(name)}" for name in HOSTILE))
    page = watched.page
    page.get_by_role("heading", name=f"You like {len(HOSTILE)} items").wait_for()
    # A like more by the search keeps all of them, whatever is in them.
    page.get_by_role("combobox", name="Add an item you like").fill("g0i01")
    page.get_by_role("option").first.click()
    page.get_by_role("heading", name=f"You like {len(HOSTILE) + 1} items").wait_for()
    watched.open("/find?q=%3Cscript")
    page.get_by_role("combobox").fill("<script")
    page.get_by_role("option").first.wait_for()
    assert page.locator("main script, .found script, .found img").count() == 0


def test_errors_are_pages(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    long = "x" * 200_001
    for address, status, said in [
        ("/item?id=g1i99", 404, "did you mean"),
        ("/nowhere", 404, "no such page"),
        ("/tag", 400, "no tag"),
        ("/item?id=g1i03&v=7", 404, "no version 7"),
        (f"/item?id={long}", 414, "more than 200,000 characters"),
    ]:
        assert watched.open(address).status == status
        assert said in watched.page.locator("main").inner_text()
        watched.page.get_by_role("link", name="Front page").click()
        watched.page.get_by_role("heading", name="See what the model learned").wait_for()
    # A browser says itself that a page was none; nothing else may be said.
    noted = [line for line in watched.said if "Failed to load resource" in line]
    assert len(noted) == 5
    watched.said = [line for line in watched.said if line not in noted]


def test_without_javascript(open_page: Callable[..., Watched]) -> None:
    watched = open_page(java_script_enabled=False)
    watched.open("/")
    page = watched.page
    page.get_by_role("combobox").fill("item 3 of group 1")
    page.get_by_role("combobox").press("Enter")
    page.get_by_role("link", name=re.compile("Item 3 of group 1")).click()
    page.get_by_role("link", name="As a new item").click()
    assert "Shown from its tags alone" in page.locator("main").inner_text()
    watched.open("/new?like=g1i03")
    page.get_by_role("link", name=re.compile("^Like ")).first.click()
    assert "You like 2 items" in page.locator("h1").inner_text()


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An application on a port of its own, in this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_picture_that_does_not_come_leaves_the_tile(
    open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    folder = world(tmp_path / "bundle")
    pictures = Pictures(urls={"g1i03": "/static/icon.svg", "g1i04": "/static/missing.png"})
    site = Site(OpenedModels(str(folder)), tmp_path / "kept", pictures)
    with served(site.app) as base:
        watched = open_page(base)
        page = watched.page
        watched.open("/item?id=g1i03")
        page.locator(".subject img").wait_for()
        watched.open("/item?id=g1i04")
        page.locator(".subject img").wait_for(state="detached")
        assert page.locator(".subject .tile circle").count() == 24
        watched.said = [line for line in watched.said if "404" not in line]
