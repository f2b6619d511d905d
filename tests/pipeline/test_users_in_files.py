"""All users' vectors are never in memory: in a spread fit, its bundle, a measurement, a batch."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from recsys.base.errors import StorageError
from recsys.bundle import assemble, load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.models import lightfm, spectral
from recsys.models.hybrid import fit_hybrid
from recsys.models.spreading import Spread
from recsys.pipeline.batch import user_lists
from recsys.ranking.metrics import precision_at_k
from recsys.store.exchange import Exchange
from recsys.store.mapped import mapped_zeros

USERS, ITEMS, EACH, FACTORS = 12_000, 120, 3, 256
CONFIGURATION = {
    "no_components": FACTORS,
    "initialisation": "spectral",
    "blocks": 12,
    "user_blending": 0.4,
    "neighbours": "rp3beta",
    "neighbours_weight": 0.5,
}
VECTORS = 4 * FACTORS * USERS
"""Bytes of the users' vectors, without what the optimiser keeps beside them."""


@dataclass(frozen=True)
class Result:
    """What a call returned, in a file."""

    path: Path


class Elsewhere:
    """Calls at once, in this process, which keeps nothing of what they return."""

    lost: tuple[type[Exception], ...] = ()

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        read = (self.get([one])[0] if isinstance(one, Result) else one for one in arguments)
        found = function(*read)
        kept = [self._kept(one) for one in (found if results > 1 else [found])]
        return kept if results > 1 else kept[0]

    def get(self, references: Sequence[Any]) -> list[Any]:
        return [pickle.loads(one.path.read_bytes()) for one in references]  # noqa: S301

    def _kept(self, value: Any) -> Result:
        self._count += 1
        path = self._folder / str(self._count)
        with path.open("wb") as file:
            pickle.dump(value, file, 5)
        return Result(path)


def some_likes() -> Interactions:
    generator = np.random.default_rng(4)
    items = np.argsort(generator.random((USERS, ITEMS), np.float32), axis=1)[:, :EACH]
    users = np.repeat(np.arange(USERS, dtype=np.int32), EACH)
    names = (pa.array([f"{kind}{n:05d}" for n in range(count)]) for kind, count in
             (("u", USERS), ("i", ITEMS)))  # fmt: skip
    maps = [IdMap(ids, kind) for ids, kind in zip(names, ("user", "item"), strict=True)]
    return Interactions(users, np.sort(items, axis=1).ravel().astype(np.int32), None, None, *maps)


@contextmanager
def peak_below(size: int) -> Iterator[None]:
    """What Python and NumPy allocate stays below so many bytes; mapped files are not of these."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak / size:.2f} times the limit"


def write(folder: Path, likes: Interactions, spread: Spread | None) -> Path:
    """The bundle of a fit."""
    folder.mkdir()
    with threadpool_limits(1, user_api="blas"):
        model = fit_hybrid(likes.matrix(), CONFIGURATION, 1, 7, spread=spread)
        save_bundle(folder, assemble(model, likes, likes.items, None, {"seed": 7}))
    return folder


def test_a_spread_fit_and_what_follows_hold_a_part_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightfm, "LEAST_IN_GROUP", 8)
    monkeypatch.setattr(spectral, "PART", 2_000)
    likes = some_likes()
    elsewhere, exchange = tmp_path / "results", tmp_path / "exchange"
    elsewhere.mkdir()
    whole = write(tmp_path / "whole", likes, None)
    with peak_below(VECTORS):
        spread = Spread(Elsewhere(elsewhere), Exchange(str(exchange)), tmp_path)
        cut = write(tmp_path / "cut", likes, spread)
    for file in sorted(whole.iterdir()):
        assert (cut / file.name).read_bytes() == file.read_bytes(), file.name
    with peak_below(VECTORS):
        bundle = load_bundle(cut)
        for lists in user_lists(bundle, 10):
            assert (lists.top.items[:, 0] >= 0).all()
        precision_at_k(bundle.scorer, likes.matrix(), known=None, k=5)


def test_mapped_zeros_leave_no_file_and_end_before_a_disk_that_is_full(tmp_path: Path) -> None:
    array = mapped_zeros(tmp_path, 5, 3)
    assert not list(tmp_path.iterdir())
    assert array.shape == (5, 3)
    array[:] = 2
    assert (array == 2).all()
    assert mapped_zeros(tmp_path, 0, 3).shape == (0, 3)
    with pytest.raises(StorageError, match="vectors of all users"):
        mapped_zeros(tmp_path, 2**40, 2**10)
