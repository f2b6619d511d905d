"""The page of a comparison with real users."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from recsys.base.config import Online
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.site import Site
from recsys.online.arms import SIDES, Comparison
from recsys.online.online_log import GivenAnswer, PostedOutcome, configured_log
from tests.fixtures.bundles import write_bundle


def test_a_comparison_is_shown_with_its_verdict(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", features=True)
    options = Online(mode="split", log=str(tmp_path / "log.sqlite"), least_users=20, effect=0.5)
    models = OpenedModels(str(bundle), "sqlite:///nowhere")
    client = TestClient(Site(models, tmp_path, online=options).app)
    nothing = client.get("/online")
    assert nothing.status_code == 200
    assert "Nothing was compared with real users yet" in nothing.text
    log, model = configured_log(options, models.title), models.title
    compared = Comparison(model, "split", "4", "5")
    for place, side in enumerate(SIDES):
        names = [f"{side}{n}" for n in range(100)]
        log.give(
            [
                GivenAnswer(name, name, "", "recommend", [("<b>", side)], compared, side)
                for name in names
            ]
        )
        clicked = names[: (20, 90)[place]]
        log.post([PostedOutcome(name, "<b>", "clicked") for name in clicked])
    page = client.get("/online")
    assert page.status_code == 200
    assert "Version 5 against version 4: won" in page.text
    assert "+350.0%" in page.text
    assert '<th scope="row">Clicked</th><td>20</td><td>90</td>' in page.text
    assert "shows in" in page.text
    assert 'href="/online" aria-current="page"' in page.text
    quiet = TestClient(Site(models, tmp_path).app)
    assert "/online" not in quiet.get("/").text
    broken = TestClient(
        Site(models, tmp_path, online=Online(mode="split", log=str(tmp_path / "other"))).app
    )
    (tmp_path / "other").write_text("no database " * 100)
    assert broken.get("/online").status_code == 503
