"""The data of the map page: a layout as compressed JSON, made once for each version."""

from __future__ import annotations

import gzip
import json
import threading
from collections import OrderedDict

import numpy as np

from recsys.gallery.colours import HUES
from recsys.gallery.formatting import tidy
from recsys.gallery.layout import Layout, Layouts
from recsys.gallery.links import Links
from recsys.gallery.opened_models import OpenedModel

_KEPT = 3
_GRID = 10_000
"""Coordinates are whole numbers up to this: finer than any screen, and half the text."""

_NAME = 90  # letters


class MapData:
    """The map data of versions.

    Parameters
    ----------
    layouts : Layouts
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._lock = threading.Lock()
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def begin(self, opened: OpenedModel) -> bool:
        """Start computing the map of a version if that is not done yet; whether it is done."""
        return self._layouts.get(opened.digest, opened.source) is not None

    def prepare(self, opened: OpenedModel) -> None:
        """Compute the map of a version and its JSON."""
        self._layouts.wait(opened.digest, opened.source)
        self.compressed(opened)

    def compressed(self, opened: OpenedModel) -> bytes | None:
        """The map as gzipped JSON (see :func:`as_dict`); None while it is being computed."""
        layout = self._layouts.get(opened.digest, opened.source)
        if layout is None:
            return None
        with self._lock:
            if opened.digest not in self._known:
                text = json.dumps(
                    as_dict(opened, layout), ensure_ascii=False, separators=(",", ":")
                )
                self._known[opened.digest] = gzip.compress(text.encode(), 5, mtime=0)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[opened.digest]


def as_dict(opened: OpenedModel, layout: Layout) -> dict[str, object]:
    """The map as columns: items with `id`, `name`, position `x` and `y`, hue `h`, likes `n`; tags.

    Items are sorted by likes, tags by their number of items; positions are whole numbers from 0 to
    10,000.
    """
    source, colours = opened.source, opened.colours
    ids, names = source.ids_and_names(layout.items)
    words = source.item_lookup
    tags: dict[str, object] = {"id": [], "name": [], "x": [], "y": [], "n": []}
    if words is not None and len(layout.tags):
        tags = {
            "id": words.names(layout.tags),
            "name": [tidy(value, 40) for value in words.values(layout.tags)],
            "x": _grid(layout.tag_points[:, 0]),
            "y": _grid(layout.tag_points[:, 1]),
            "n": words.vocabulary.support[layout.tags].tolist(),
        }
    labels = [tidy(name, _NAME) for name in names]
    return {
        "items": {
            "id": ids,
            # An empty name means that it is the id.
            "name": ["" if label == own else label for label, own in zip(labels, ids, strict=True)],
            "x": _grid(layout.points[:, 0]),
            "y": _grid(layout.points[:, 1]),
            "h": colours.hues[layout.items].tolist(),
            "n": source.likes[layout.items].tolist(),
        },
        "tags": tags,
        "hues": [tidy(name, 40) for name in colours.names],
        "other": HUES,
        "item": Links().item(""),
        "tag": Links().tag([""]),
    }


def _grid(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.rint(np.clip(values, 0, 1) * _GRID)]
