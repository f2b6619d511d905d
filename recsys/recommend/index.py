"""The approximate index: neighbours among a million items without scoring all; needs faiss.

Inverted lists: k-means cells, of which a search looks into those nearest to the query. How many
is found when the index is built, on users and items of the bundle: the fewest that reach the
recall asked for. What is found is scored exactly afterwards, so only what is missed is
approximate. Other indexes and what they reached: docs/experiments/approximate-index.md.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int32Array, Int64Array, IntArray
from recsys.base.errors import ConfigError, InputError, NotFoundError
from recsys.bundle import Bundle, bundle_digest
from recsys.models.untrained import PickedRows
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended
from recsys.ranking.topk import top_k
from recsys.recommend.queries.scoring import best, inverse_lengths
from recsys.store.checksums import file_checksums, find_damage

FOLDER = "index"
KINDS = ("recommend", "similar")
RECALL = 0.97
"""recall_at_10 that the built index reaches: above 0.95, for it is measured on a sample."""

_SAMPLE = 500
_BLENDED_SAMPLE = 200  # users whose whole scores are held
_DEEPEST = 4096  # items that an index is asked for, at most
_PER_CELL = 64  # items that k-means learns a cell from, at most


@dataclass(frozen=True)
class Index:
    """An index that was built, opened when it is first asked.

    Parameters
    ----------
    folder : Path
    cells : mapping of str to int
        How many cells a search looks into, for each kind.
    recall : mapping of str to float
        recall_at_10 as it was measured.
    """

    folder: Path
    cells: Mapping[str, int]
    recall: Mapping[str, float]

    def for_user(self, vector: Float32Array, n: int) -> Int64Array:
        """Trained items with about the highest scores, ascending: int64 (at most n,)."""
        return self._search("recommend", np.append(vector, np.float32(1)), n)

    def candidates(
        self, vector: Float32Array, added: Float32Array | None, depth: int
    ) -> Int64Array:
        """Items that may be the best for a user, ascending: by the vectors, and by what is added.

        Parameters
        ----------
        vector : float32 (d,)
        added : float32 (m,) or None
            What the neighbours of liked items add to the scores of the first m items.
        depth : int
            How many of either.
        """
        found = self.for_user(vector, depth)
        if added is None:
            return found
        return np.union1d(found, best(np.where(added > 0, added, -np.inf), depth))

    def for_item(self, vector: Float32Array, n: int) -> Int64Array:
        """Items with about the highest cosines, ascending: int64 (at most n,)."""
        return self._search("similar", vector, n)

    def _search(self, kind: str, query: Float32Array, n: int) -> Int64Array:
        lists = self.opened[kind]
        lists.nprobe = self.cells[kind]
        found = lists.search(np.ascontiguousarray(query[None], np.float32), n)[1][0]
        return np.sort(found[found >= 0]).astype(np.int64)

    @cached_property
    def opened(self) -> dict[str, Any]:
        """The inverted lists of faiss, by the kind of question."""
        faiss = _faiss()
        return {kind: faiss.read_index(str(self.folder / f"{kind}.faiss")) for kind in self.cells}


def search_depth(n: int, dropped: int, mask: BoolArray | None) -> int:
    """How many items to ask an index for, so that n are left once some of them are dropped.

    Parameters
    ----------
    n : int
    dropped : int
        Items that are left out whatever the filters, such as those already seen.
    mask : bool (n_items,) or None
        What the filters let pass; None if that is everything.
    """
    share = 1.0 if mask is None else float(mask.mean())
    return min(_DEEPEST, int((n + dropped) / max(share, 1 / 16)) + n)


def build_index(bundle: Bundle, folder: Path, recall: float = RECALL, seed: int = 0) -> Index:
    """Build the index of a bundle, into a folder of its own.

    Parameters
    ----------
    bundle : Bundle
        As it was loaded.
    folder : Path
        Made, or filled anew; within the bundle's, `index` is where queries look.
    recall : float
        recall_at_10 to reach, in the mean over a sample of users, and of items.
    seed : int

    Raises
    ------
    ConfigError
        If faiss is not installed.
    """
    _faiss()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in [folder / "index.json", *(folder / f"{kind}.faiss" for kind in KINDS)]:
        stale.unlink(missing_ok=True)
    generator = np.random.default_rng(seed)
    built = {
        "recommend": _build(*_for_users(bundle, generator), folder / "recommend.faiss", recall),
        "similar": _build(*_for_items(bundle, generator), folder / "similar.faiss", recall),
    }
    if bundle.neighbours is not None:
        built["recommend"] = _for_blend(bundle, folder, built["recommend"][0], recall, generator)
    about = {
        "bundle": bundle_digest(bundle.manifest),
        "cells": {kind: cells for kind, (cells, _) in built.items()},
        "recall_at_10": {kind: reached for kind, (_, reached) in built.items()},
        "files": file_checksums(folder),
    }
    (folder / "index.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return load_index(bundle, folder)


def load_index(bundle: Bundle, folder: Path) -> Index:
    """The index that was built for a bundle.

    Raises
    ------
    NotFoundError
        If there is none.
    InputError
        If it is damaged, or that of another bundle.
    ConfigError
        If faiss is not installed.
    """
    _faiss()
    path = folder / "index.json"
    if not path.is_file():
        raise NotFoundError(f"no index in {folder}", "one that was built", "build it: recsys index")
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cells = {kind: int(about["cells"][kind]) for kind in KINDS}
        recall = {kind: float(about["recall_at_10"][kind]) for kind in KINDS}
        digest, files = about["bundle"], dict(about["files"])
    except (ValueError, KeyError, TypeError) as fault:
        raise InputError(f"{path} cannot be read", "an index", "build it again") from fault
    damaged = find_damage(folder, files)
    if damaged or digest != bundle_digest(bundle.manifest):
        found = f"is damaged ({damaged})" if damaged else "belongs to another bundle"
        raise InputError(
            f"the index in {folder} {found}", "the index of this bundle", "build it again"
        )
    return Index(folder, cells, recall)


def _for_users(bundle: Bundle, generator: np.random.Generator) -> tuple[Float32Array, Float32Array]:
    """Trained items with their biases, and users who ask."""
    factors, n = bundle.factors, bundle.trained
    items = np.column_stack([factors.item_factors[:n], factors.item_biases[:n]])
    users = factors.user_factors[_sample(generator, np.arange(factors.n_users))]
    return items, np.column_stack([users, np.ones(len(users), np.float32)])


def _for_items(bundle: Bundle, generator: np.random.Generator) -> tuple[Float32Array, Float32Array]:
    """Directions of all items, and some of them as questions."""
    vectors = bundle.factors.item_factors
    directions = vectors * inverse_lengths(vectors)[:, None]
    return directions, directions[_sample(generator, np.flatnonzero(vectors.any(axis=1)))]


def _sample(generator: np.random.Generator, rows: IntArray) -> IntArray:
    return generator.choice(rows, min(_SAMPLE, len(rows)), replace=False)


def _build(
    items: Float32Array, queries: Float32Array, path: Path, recall: float
) -> tuple[int, float]:
    """Write the lists; returns in how many cells to look, and the recall that gives."""
    faiss = _faiss()
    items = np.ascontiguousarray(items, np.float32)
    n, d = items.shape
    n_cells = int(2 ** np.clip(round(np.log2(4 * np.sqrt(max(1, n)))), 0, np.log2(max(1, n)) // 1))
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, n_cells, faiss.METRIC_INNER_PRODUCT)
    lists.cp.min_points_per_centroid = 1
    lists.cp.max_points_per_centroid = _PER_CELL
    lists.train(items)
    lists.add(items)
    faiss.write_index(lists, str(path))
    truth = _exact(items, queries)
    cells, reached = 1, _recall(lists, queries, truth, 1)
    while reached < recall and cells < n_cells:
        cells = min(2 * cells, n_cells)
        reached = _recall(lists, queries, truth, cells)
    return cells, reached


def _for_blend(
    bundle: Bundle, folder: Path, cells: int, recall: float, generator: np.random.Generator
) -> tuple[int, float]:
    """In how many cells to look, and the recall, where neighbours add to the scores.

    Measured on lists as they are asked for: what users like is left out of both.
    """
    neighbours, seen = bundle.neighbours, bundle.seen
    assert neighbours is not None
    factors, n = bundle.factors, bundle.trained
    trained = replace(
        factors, item_factors=factors.item_factors[:n], item_biases=factors.item_biases[:n]
    )
    users = _sample(generator, np.arange(factors.n_users))[:_BLENDED_SAMPLE]
    scorer = Blended(trained, neighbours, seen)
    inside = np.arange(len(bundle.items)) < n
    known = PickedRows.of(seen, np.arange(factors.n_users), inside)
    exact = top_k(scorer, users, min(10, n), known=known).items
    scores, added = scorer.score(users), scorer.neighbour_scores(users)

    def reached(index: Index) -> float:
        hits = wanted = 0
        for place, user in enumerate(users):
            liked = seen.of(user)
            depth = search_depth(10, len(liked), None)
            pool = index.candidates(factors.user_factors[user], added[place], depth)
            pool = pool[~np.isin(pool, liked)]
            best_of_pool = pool[best(scores[place, pool], exact.shape[1])]
            there = exact[place][exact[place] >= 0]
            hits, wanted = hits + len(np.intersect1d(best_of_pool, there)), wanted + len(there)
        return hits / wanted if wanted else 1.0

    def looking_into(cells: int) -> Index:
        return Index(folder, {"recommend": cells}, {})

    n_cells = looking_into(cells).opened["recommend"].nlist
    found = reached(looking_into(cells))
    while found < recall and cells < n_cells:
        cells = min(2 * cells, n_cells)
        found = reached(looking_into(cells))
    return cells, found


def _exact(items: Float32Array, queries: Float32Array) -> Int32Array:
    nothing = np.zeros(len(queries), np.float32), np.zeros(len(items), np.float32)
    factors = Factors(np.ascontiguousarray(queries), items, *nothing)
    return top_k(factors, np.arange(len(queries)), min(10, len(items))).items


def _recall(lists: Any, queries: Float32Array, truth: Int32Array, cells: int) -> float:
    if not len(queries):
        return 1.0
    lists.nprobe = cells
    found = lists.search(np.ascontiguousarray(queries, np.float32), truth.shape[1])[1]
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=1)
    return float(hits.mean())


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as fault:
        raise ConfigError(
            "an approximate index without faiss",
            "the package faiss-cpu",
            "install liked-this[index], or ask for exact answers",
        ) from fault
