"""Versions in the gallery: of a real registry; beside one another, their runs, and the champion."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from recsys.base.config import Config, Tracking
from recsys.base.errors import ConfigError, NotFoundError
from recsys.bundle import load_bundle, save_bundle
from recsys.gallery.cards import Card, mark_differences
from recsys.gallery.launch import gallery, serve
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.site import Site
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.studies import read_study
from tests.fixtures.bundles import write_bundle
from tests.fixtures.gallery_pages import page
from tests.fixtures.tracking_database import tracking_database


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}


def write_drift(tracker: Tracker, run_id: str, folder: Path) -> None:
    """What the second night found against the first: one thing that drifts, one that does not."""
    compared = {"statistic": "z", "limit": 1.5}
    found = [
        {"name": "users", "about": "", "tonight": "2", "usual": "2", "score": 0.75} | compared,
        {"name": "likes", "about": "", "tonight": "30", "usual": "10", "score": 9.0} | compared,
    ]
    found = [one | {"drifts": one["score"] > one["limit"]} for one in found]
    sizes = {"1": {"likes": 10, "users": 2, "items": 4}, "": {"likes": 30, "users": 2, "items": 4}}
    for name, values in (("drift.json", found), ("nights.json", sizes)):
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    tracker.attach(run_id, [folder / "drift.json", folder / "nights.json"], "drift")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions: in the second, c lies along a as b does, and ann likes it too."""
    folder = tmp_path_factory.mktemp("versions")
    uri = tracking_database(folder)
    first = load_bundle(write_bundle(folder / "first", features=True))
    vectors = np.array(first.factors.item_factors)
    vectors[2] = [3, 0]
    factors = replace(first.factors, item_factors=vectors)
    tracker = Tracker.connect(uri, "fruit")
    for number, (made, precision) in enumerate(((first, 0.2), (first, 0.4)), start=1):
        about = {
            "seed": number,
            "holdout": "test",
            "metrics": {"precision_at_5": estimate(precision), "auc": estimate(0.9)},
            "configuration": {"no_components": 2, "learning_rate": 0.0456},
            "counts": {"users": 2, "items": 4, "interactions": 3},
        }
        where = folder / str(number) / "bundle"
        where.mkdir(parents=True)
        changed = replace(made, factors=factors) if number == 2 else made
        save_bundle(where, replace(changed, manifest=about))
        run_id = tracker.open_study(StudyDescription(f"k{number}", f"fruit, seed {number}", {}))
        metrics = [("test_als/precision_at_5", 0.15, 0), ("test_als/precision_at_5_low", 0.14, 0)]
        metrics += [("test_als/precision_at_5_high", 0.16, 0), ("cold/precision_at_5", 0.0898, 0)]
        metrics += [("test/cpu_seconds", 120.4, 0), ("test_als/cpu_seconds", 31.0, 0)]
        metrics += [("beyond/novelty_at_10", 6.25, 0), ("beyond_als/novelty_at_10", 7.0, 0)]
        space = {"explained": 0.7, "expected_gain": 0.01}
        space |= {"importance_alpha": 0.1, "importance_learning_rate": 0.6}
        space |= {"importance_learning_rate_low": 0.5, "importance_learning_rate_high": 0.8}
        metrics += [(f"search_space/{name}", value, 0) for name, value in space.items()]
        said = "the search ended before its space is understood: 9 trials say little"
        tracker.log(run_id, metrics, tags={"best_trial": "1", "search_space": said})
        if number == 2:
            write_drift(tracker, run_id, folder)
        for trial in (0, 1):
            curve = [("curve/precision_at_5", 0.1 * trial + 0.01 * e, e) for e in (1, 2, 4)]
            tags = {"kind": "trial", "study": f"k{number}", "trial": str(trial)}
            tracker.log_run(f"trial {trial}", tags, {}, curve)
        pyfunc.register(uri, run_id, "fruit", where, {"gate/coverage": "passed: all, wanted 1"})
    made = Registry(uri, "fruit")
    made.promote("1", by="ann", why="the first")
    made.challenge("2")
    return made


@pytest.fixture
def site(registry: Registry, tmp_path: Path) -> Site:
    return Site(
        OpenedModels("fruit", registry.uri, every=0), tmp_path, mlflow="http://ui.example:5000/"
    )


@pytest.fixture
def client(site: Site) -> TestClient:
    return TestClient(site.app)


def test_versions_and_aliases_are_listed(registry: Registry) -> None:
    assert [version.number for version in registry.versions()] == ["2", "1"]
    assert registry.aliases() == {"champion": "1", "challenger": "2"}
    assert Registry(registry.uri, "nothing").aliases() == {}
    assert Registry(registry.uri, "nothing").versions() == []


def test_a_page_of_another_version_links_to_that_version(client: TestClient) -> None:
    champion = page(client, "/item?id=a")
    assert "version 1" in champion.text
    assert not [link for link in champion.links if "v=" in link]
    other = page(client, "/item?id=a&v=2")
    assert "You are looking at version 2" in other.text
    own = [link for link in other.links if link.startswith(("/item", "/user", "/tag", "/map"))]
    assert own
    assert all("v=2" in link for link in own)
    page(client, "/item?id=a&v=3", 404)
    page(client, "/item?id=a&v=x", 404)


def test_champion_beside_challenger(client: TestClient) -> None:
    text = page(client, "/compare").text
    assert "Version 1 compared with version 2" in text
    assert "version 1, champion" in text
    assert "version 2, challenger" in text
    assert "0.2000 (0.1900 to 0.2100) 0.4000 (0.3900 to 0.4100) larger" in text
    assert "auc 0.9000 (0.8900 to 0.9100) 0.9000 (0.8900 to 0.9100) coverage" not in text
    assert "larger" not in text[text.index("auc") :]  # intervals that meet
    assert "Users: 0 new, 0 gone" in text


def test_differences_are_marked(client: TestClient) -> None:
    text = page(client, "/compare?a=1&b=2&item=a").text
    left, right = text[text.index("Like Apple") :].split("Version 2")
    assert "b 1.00" in left
    # c has moved from a right angle into a's direction: from the second place to the first.
    assert "Cherry 1.00 ▲ up 1" in right
    assert "b 1.00 both tag_red ▼ down 1" in right
    same = page(client, "/compare?a=1&b=1&item=a").text
    assert "up" not in same[same.index("Like Apple") :]
    for subject in ("user=bob", "tag=tag_red"):
        page(client, f"/compare?a=2&b=1&{subject}")
    assert "no item 'x'" in page(client, "/compare?a=1&b=2&item=x").text


def test_marks_of_two_lists() -> None:
    def card(name: str) -> Card:
        return Card(name, name, "", 0, "", (), None)

    before, after = mark_differences([*map(card, "abcd")], [*map(card, "bade")])
    assert [(one.id, one.mark) for one in before] == [
        ("a", ""), ("b", ""), ("c", "gone"), ("d", ""),
    ]  # fmt: skip
    assert [(one.id, one.mark) for one in after] == [
        ("b", "up 1"), ("a", "down 1"), ("d", "up 1"), ("e", "new"),
    ]  # fmt: skip


def test_the_run_behind_it(client: TestClient, registry: Registry) -> None:
    outline = page(client, "/run")
    text = outline.text
    assert "fruit, seed 1" in text
    assert "Why it is champion: the first" in text
    assert "this model 0.2000 0.1900 to 0.2100 ALS 0.1500 0.1400 to 0.1600" in text
    assert "CPU seconds of search and fit 120 31" in text
    assert "novelty (bits) at 10 6.2500 7.0000" in text
    assert "the search ended before its space is understood: 9 trials say little" in text
    assert "learning_rate 60 % 50 % to 80 % alpha 10 % 10 % to 10 %" in text
    assert "precision at 5 of items nobody has liked, by their tags 0.0898" in text
    assert "Its best: 0.1400 after 4 epochs" in text
    assert "coverage passed: all, wanted 1" in text
    assert "learning_rate 0.0456" in text
    version = registry.version("1")
    study = read_study(registry.uri, version.run_id)
    assert study is not None
    address = f"http://ui.example:5000/#/experiments/{study.experiment_id}/runs/{version.run_id}"
    assert address in outline.links
    assert study.curves[0].points == ((1, 0.01), (2, 0.02), (4, 0.04))
    assert read_study(registry.uri, "0" * 32) is None
    assert "/run?v=2" in outline.links


def test_drift_is_drawn_beside_the_nights_before(client: TestClient) -> None:
    assert "Drift of the data" not in page(client, "/run").text
    answer = client.get("/run?v=2").text
    # 9 is six times the limit, and the bar ends with its width; 0.75 is half of it.
    drawn = re.findall(r'class="value" width="([\d.]+)"', answer.split('id="drift"')[1])
    assert [float(width) for width in drawn[:2]] == [100.0, 25.0]
    # Likes of 10 and 30, two users and four items each.
    assert [round(float(width), 1) for width in drawn[2:]] == [33.3, 100, 100, 100, 100, 100]
    text = page(client, "/run?v=2").text
    assert "likes z 9.00, drifts 30, usually 10 users z 0.75 2, usually 2" in text
    assert "Likes version 1 10 version 2 30 Users version 1 2 version 2 2" in text


def test_a_new_champion_is_shown_without_a_restart(
    client: TestClient, registry: Registry, site: Site
) -> None:
    assert "version 1" in page(client, "/").text
    registry.promote("2", by="ann", why="better")
    assert "version 2" in page(client, "/").text
    registry.rollback(by="ann", why="not better")
    assert "version 1" in page(client, "/").text
    assert site.models.champion() is site.models.champion()


def test_no_champion_and_no_registry_say_what_to_do(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="train first"):
        OpenedModels("nothing", registry.uri).champion()
    client = TestClient(Site(OpenedModels("nothing", registry.uri), tmp_path).app)
    assert "train first" in page(client, "/", 404).text
    gone = TestClient(Site(OpenedModels("fruit", f"sqlite:///{tmp_path}/none.db"), tmp_path).app)
    assert "no model registry" in page(gone, "/", 503).text


@pytest.fixture
def config(registry: Registry) -> Config:
    return Config(tracking=Tracking(uri=registry.uri))


def test_a_server_that_cannot_be_says_why(config: Config) -> None:
    with pytest.raises(NotFoundError, match="train first"):
        serve("nothing", config, "127.0.0.1", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="choose another with --port"):
            serve("fruit", config, "127.0.0.1", taken.getsockname()[1])


def test_loopback_is_asked_by_its_names_alone(config: Config) -> None:
    here = TestClient(gallery("fruit", config, "127.0.0.1").app)
    assert here.get("/", headers={"host": "127.0.0.1:8600"}).status_code == 200
    assert here.get("/", headers={"host": "rebound.example"}).status_code == 400
    everywhere = TestClient(gallery("fruit", config, "0.0.0.0").app)  # noqa: S104
    assert everywhere.get("/", headers={"host": "gallery.example"}).status_code == 200
