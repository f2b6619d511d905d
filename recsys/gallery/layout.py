"""The layout of the map: items and tags as points, close together where they are similar.

Up to 5,000 items, evenly spread from the most liked to the least, are laid out by t-SNE [1]_ over
the directions of their vectors. Every other item, and every tag, is put at the mean of the few
laid-out items most similar to it, weighted by similarity. So 25,000 items take half a minute on one
core.

References
----------
.. [1] L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 9 (2008); scikit-learn's.
"""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.base.arrays import Float32Array, Int32Array
from recsys.recommend.queries.view import BundleView

MOST_ITEMS = 25_000
"""The map shows the most liked items; more points cannot be told apart."""

MOST_TAGS = 300
LAID_OUT = 5_000
_NEIGHBOURS = 5
_FEWEST = 8  # points that t-SNE is used for
_BLOCK = 2_000
_SCHEMA = 1


@dataclass(frozen=True)
class Layout:
    """Points in the square from 0 to 1.

    Parameters
    ----------
    items : int32 (n,)
        Most liked first.
    points : float32 (n, 2)
    tags : int32 (m,)
        On most items first.
    tag_points : float32 (m, 2)
    """

    items: Int32Array
    points: Float32Array
    tags: Int32Array
    tag_points: Float32Array


def lay_out(source: BundleView, seed: int = 0) -> Layout:
    """Lay out a model's trained items and its most frequent tags.

    Parameters
    ----------
    source : BundleView
    seed : int
        Of t-SNE.
    """
    inverse = source.inverse_lengths[: source.bundle.trained]
    directed = np.flatnonzero(inverse > 0)
    order = np.argsort(-source.likes[directed], kind="stable")[:MOST_ITEMS]
    items = directed[order].astype(np.int32)
    directions = source.vectors[items] * inverse[items][:, None]
    tags, tag_directions = _tags(source)
    if len(items) < _FEWEST:
        angle = 2 * np.pi * np.arange(len(items), dtype=np.float32) / max(1, len(items))
        points = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
        chosen = np.arange(len(items))
        laid = points
    else:
        chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), LAID_OUT)).astype(int))
        laid = _tsne(directions[chosen], seed)
        points = np.empty((len(items), 2), np.float32)
        points[chosen] = laid
        rest = np.setdiff1d(np.arange(len(items)), chosen)
        points[rest] = _placed(directions[rest], directions[chosen], laid)
    tag_points = _placed(tag_directions, directions[chosen], laid)
    low, high = points.min(axis=0, initial=0), points.max(axis=0, initial=0)
    span = np.float32(max((high - low).max(), 1e-6))
    middle = (low + high) / 2
    return Layout(
        items, ((points - middle) / span + 0.5).astype(np.float32),
        tags, np.clip((tag_points - middle) / span + 0.5, 0, 1).astype(np.float32),
    )  # fmt: skip


def _tags(source: BundleView) -> tuple[Int32Array, Float32Array]:
    """The most frequent tags with a nonzero vector, and the directions of the vectors."""
    side = source.bundle.item_features
    if side is None:
        d = source.vectors.shape[1]
        return np.empty(0, np.int32), np.empty((0, d), np.float32)
    inverse = source.inverse_feature_lengths
    support = np.where(inverse > 0, side.vocabulary.support, -1)
    tags = np.argsort(-support, kind="stable")[:MOST_TAGS]
    tags = tags[inverse[tags] > 0]
    directions = side.mapping.feature_factors[tags] * inverse[tags][:, None]
    return tags.astype(np.int32), directions.astype(np.float32)


def _tsne(directions: Float32Array, seed: int) -> Float32Array:
    # Importing it takes seconds; it is needed once for each bundle.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    layout = TSNE(
        2,
        perplexity=min(30, (len(directions) - 1) / 3),
        init="pca" if directions.shape[1] > 1 else "random",
        max_iter=600,
        random_state=seed,
        n_jobs=1,
    )
    # More threads than processors are free would wait for one another in each of its many steps.
    with threadpool_limits(1):
        return np.asarray(layout.fit_transform(directions), np.float32)


def _placed(
    directions: Float32Array, laid_directions: Float32Array, laid: Float32Array
) -> Float32Array:
    """For each direction the mean of its nearest laid-out points, weighted by cosine cubed."""
    k = min(_NEIGHBOURS, len(laid))
    points = np.zeros((len(directions), 2), np.float32)
    if not k:
        return points
    for start in range(0, len(directions), _BLOCK):
        cosines = directions[start : start + _BLOCK] @ laid_directions.T
        near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        weights = np.maximum(np.take_along_axis(cosines, near, axis=1), 1e-3) ** 3
        weights /= weights.sum(axis=1, keepdims=True)
        points[start : start + _BLOCK] = (weights[:, :, None] * laid[near]).sum(axis=1)
    return points


class Layouts:
    """The layouts of bundles, each computed once in a thread of its own and kept in a folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Layout] = {}
        self._under_way: dict[str, threading.Thread] = {}

    def get(self, digest: str, source: BundleView) -> Layout | None:
        """The layout of a bundle; None while it is being computed, which this starts."""
        with self._lock:
            if digest in self._known:
                return self._known[digest]
            if (layout := _read(self._path(digest), source)) is not None:
                self._known[digest] = layout
                return layout
            if digest not in self._under_way:
                thread = threading.Thread(target=self._make, args=(digest, source), daemon=True)
                self._under_way[digest] = thread
                thread.start()
            return None

    def wait(self, digest: str, source: BundleView) -> Layout:
        """The layout of a bundle, computed first if necessary."""
        while (layout := self.get(digest, source)) is None:
            self._under_way[digest].join()
        return layout

    def _make(self, digest: str, source: BundleView) -> None:
        layout = lay_out(source)
        _write(self._path(digest), layout)
        with self._lock:
            self._known[digest] = layout

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}-{_SCHEMA}.npz"


def _write(path: Path, layout: Layout) -> None:
    """Write a layout atomically; if that fails, the next start computes it again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **vars(layout))
        Path(scratch).replace(path)
    except OSError:
        pass


def _read(path: Path, source: BundleView) -> Layout | None:
    """Read a layout; None if it is missing, damaged, or about other items."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            layout = Layout(kept["items"], kept["points"], kept["tags"], kept["tag_points"])
    except Exception:  # a damaged archive fails in many ways; all mean that it is computed again
        return None
    fits = layout.items.max(initial=-1) < len(source.bundle.items)
    return layout if fits and len(layout.points) == len(layout.items) else None
