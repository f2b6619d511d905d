"""How long the gallery's server takes for a page, beside the bare questions behind it.

    python -m tests.benchmarks gallery

Generated data at the founding shape: 62,583 users, 28,806 items, 100 factors, 20,352 tags, two
versions of them. The application is asked as a server would ask it, without a network; times are
processor time of the whole process, in the median, on one thread of linear algebra. A page is to
take less than 100 ms, also the first time after the server is up. The bare questions are those that
the page asks the recommender. The map is laid out once a version, apart from that.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from recsys.bundle import load_bundle, save_bundle
from recsys.gallery.cards import PageContext
from recsys.gallery.comparison_page import LISTED, ListDifferences, compare
from recsys.gallery.layout import lay_out
from recsys.gallery.links import Links
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.pictures import Pictures
from recsys.gallery.site import Site
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from tests.benchmarks import bench_queries

N_USERS, N_ITEMS = 62_583, 28_806
LIMIT_MS, ROUNDS = 100.0, 15
TRAINED = Filters(include_untrained=False)


def founding(folder: Path) -> Path:
    bench_queries.N_USERS, bench_queries.N_ITEMS = N_USERS, N_ITEMS
    bench_queries.N_LIKES = 10
    folder.mkdir()
    bench_queries.founding_bundle(folder)
    return folder


def changed(folder: Path, other: Path) -> Path:
    """The same model with vectors moved a little."""
    bundle, rng = load_bundle(folder), np.random.default_rng(1)
    vectors = bundle.factors.item_factors
    moved = vectors + rng.normal(0, 0.05, vectors.shape).astype(np.float32)
    other.mkdir()
    save_bundle(other, replace(bundle, factors=replace(bundle.factors, item_factors=moved)))
    return other


Pages = dict[str, tuple[Callable[[int], str], Callable[[int], Any]]]


def pages(r: Recommender) -> Pages:
    """Addresses by number, and the bare questions behind each."""

    def user(i: int) -> str:
        return r.users.id(i * 97 % N_USERS)

    def item(i: int) -> str:
        return r.items.id(i * 89 % (N_ITEMS // 2))

    def tag(i: int) -> str:
        return f"tag_word{i * 13 % 500:05d}"

    def about_item(i: int) -> None:
        r.similar_items(item(i), 12, TRAINED)
        r.suggest_tags(item(i), 12)
        r.audience(item(i), 10)

    def about_user(i: int) -> None:
        r.liked(user(i))
        r.explain_many([(user(i), row.id) for row in r.recommend(user(i), 12)], 3)

    def about_tag(i: int) -> None:
        r.items_for_tag(tag(i), 24, TRAINED)
        r.similar_tags(tag(i), 16)

    return {
        "front page": (lambda i: "/", lambda i: r.popular(12)),
        "item": (lambda i: f"/item?id={item(i)}", about_item),
        "item as if new": (lambda i: f"/item?id={item(i)}&new=1", about_item),
        "item, a tag tried": (lambda i: f"/item?id={item(i)}&add={tag(i)}", about_item),
        "tag": (lambda i: f"/tag?plus={tag(i)}", about_tag),
        "user": (lambda i: f"/user?id={user(i)}", about_user),
        "new user, five likes": (
            lambda i: "/new?" + "&".join(f"like={item(i + j)}" for j in range(5)),
            lambda i: r.recommend_for([item(i + j) for j in range(5)], 12),
        ),
        "type-ahead": (
            lambda i: f"/find.json?q=user{i % 10}", lambda i: r.items.index(item(i)),
        ),
        "type-ahead, one letter": (
            lambda i: f"/find.json?q={'aeimt'[i % 5]}", lambda i: r.items.index(item(i)),
        ),
        "found": (lambda i: f"/find?q={i % 90 + 10}", lambda i: r.items.index(item(i))),
        "the run": (lambda i: "/run", lambda i: r.items.index(item(i))),
    }  # fmt: skip


def clock(run: Callable[[int], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    """Milliseconds of the first time and in the median of the others."""
    times = []
    for i in range(rounds + 1):
        start = process_time()
        run(i)
        times.append(1e3 * (process_time() - start))
    return times[0], float(np.median(times[1:]))


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        importlib.import_module("threadpoolctl").threadpool_limits(1),
    ):
        folder = founding(Path(scratch) / "first")
        site = Site(OpenedModels(str(folder)), Path(scratch) / "kept")
        opened = site.models.champion()
        print(f"ready after {clock(lambda i: opened.warm(), 1)[0]:.0f} ms more than loading")
        client = TestClient(site.app)
        print(
            f"{'':26}{'first ms':>10}{'median ms':>11}{'bare ms':>9}{'ratio':>7}{'under 100':>11}"
        )
        for name, (address, bare) in pages(opened.recommender).items():

            def ask(i: int, address: Callable[[int], str] = address) -> None:
                answer = client.get(address(i))
                assert answer.status_code == 200, answer.text[:500]

            first, usual = clock(ask)
            alone = clock(bare)[1]
            row(name, first, usual, alone)
        versions(site, changed(folder, Path(scratch) / "second"))
        start = process_time()
        layout = lay_out(opened.source)
        print(f"map of {len(layout.items):,} items laid out in {process_time() - start:.0f} s")
        site.maps._layouts._known[opened.digest] = layout
        first, usual = clock(lambda i: client.get("/map.json"))
        print(f"map as JSON: first {first:.0f} ms, then {usual:.1f} ms")


def row(name: str, first: float, usual: float, alone: float) -> None:
    verdict = "yes" if max(first, usual) < LIMIT_MS else "yes, later" if usual < LIMIT_MS else "NO"
    ratio = f"{usual / alone:7.1f}" if alone > 0.1 else f"{'':7}"
    print(f"{name:26}{first:10.1f}{usual:11.1f}{alone:9.1f}{ratio}{verdict:>11}")


def versions(site: Site, second: Path) -> None:
    """Comparisons, which a bundle's folder has no page for."""
    other = OpenedModels(str(second)).champion()
    other.warm()
    a, b = (PageContext(one, Links(), Pictures()) for one in (site.models.champion(), other))
    item = a.opened.recommender.items.id(77)

    def bare(i: int) -> None:
        for context in (a, b):
            context.opened.recommender.similar_items(item, LISTED, TRAINED)
            context.opened.recommender.suggest_tags(item, 8)

    first, usual = clock(lambda i: compare(a, b, "item", item))
    row("two versions, an item", first, usual, clock(bare)[1])
    first = clock(lambda i: ListDifferences().between(a.opened, b.opened), 1)[0]
    print(f"two versions, their lists: {first:.0f} ms, once a pair")


if __name__ == "__main__":
    main()
