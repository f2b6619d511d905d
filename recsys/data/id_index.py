"""Id index: where ids stand in an array of them, found by a hash of their bytes.

Arrays alone, unlike a dictionary: 12 bytes an id instead of about 120, which processes that are
forked from one another share.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.base.arrays import Int32Array, Int64Array
from recsys.base.arrow import Texts

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE = 2**20  # bytes that are hashed together


class IdIndex:
    """Looks up distinct ids.

    Parameters
    ----------
    ids : pyarrow string array (n,)
    texts : Texts
        Of these.
    """

    def __init__(self, ids: pa.Array, texts: Texts) -> None:
        self._ids, self._texts = ids, texts
        hashes = _hashes(texts)
        self._order: Int32Array = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]

    def find(self, wanted: str) -> int | None:
        """Where an id stands; None if it is unknown."""
        try:
            encoded = wanted.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which is in no table
            return None
        hashed = _hash(encoded)
        place = int(self._hashes.searchsorted(hashed))
        while place < len(self._hashes) and self._hashes[place] == hashed:
            index = int(self._order[place])
            if self._texts.encoded(index) == encoded:
                return index
            place += 1
        return None

    def find_many(self, wanted: list[str]) -> Int64Array:
        """Where ids stand, -1 where one is unknown: int64 (m,)."""
        try:
            given = pa.array(wanted, pa.string())
        except UnicodeEncodeError:
            given = None
        if given is None or not self._distinct or not len(self._order):
            found = [self.find(one) for one in wanted]
            return np.array([-1 if one is None else one for one in found], np.int64)
        places = self._hashes.searchsorted(_hashes(Texts(given)))
        indices = self._order[np.minimum(places, len(self._order) - 1)].astype(np.int64)
        same = np.asarray(pc.equal(self._ids.take(pa.array(indices)), given))
        return np.where(same, indices, -1)

    @cached_property
    def _distinct(self) -> bool:
        """Whether no two ids have one hash."""
        return bool((self._hashes[1:] != self._hashes[:-1]).all())


def _hash(encoded: bytes) -> np.uint64:
    """The hash of one text: its bytes, and one more, as the digits of a number in base _FACTOR."""
    digits = np.frombuffer(encoded + b"\x01", np.uint8).astype(np.uint64)
    with np.errstate(over="ignore"):
        return np.uint64((digits * _powers(len(digits))).sum())


def _hashes(texts: Texts) -> NDArray[np.uint64]:
    """The hash of each text."""
    bounds, data = texts.buffers
    found = np.empty(len(texts), np.uint64)
    lengths = np.diff(bounds).astype(np.int64)
    powers = _powers(int(lengths.max(initial=0)) + 1)
    start = 0
    while start < len(found):
        stop = int(np.searchsorted(bounds, int(bounds[start]) + _AT_ONCE, side="right")) - 1
        stop = min(max(stop, start + 1), len(found))
        counts = lengths[start:stop]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        digits = data[bounds[start] : bounds[stop]].astype(np.uint64) * powers[within]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digits, dtype=np.uint64)])
        ends = np.cumsum(counts)
        found[start:stop] = sums[ends] - sums[ends - counts] + powers[counts]
        start = stop
    return found


_known_powers = np.ones(1, np.uint64)


def _powers(n: int) -> NDArray[np.uint64]:
    """The first n powers of the base, modulo 2**64."""
    global _known_powers
    if len(_known_powers) < n:
        more = np.full(2 * n, _FACTOR)
        more[0] = 1
        _known_powers = np.cumprod(more, dtype=np.uint64)
    return _known_powers[:n]
