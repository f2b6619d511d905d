"""Id maps: external ids on one side, indices 0 to n - 1 on the other."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Int32Array, Int64Array, IntArray
from recsys.base.arrow import Texts, to_arrow
from recsys.base.errors import NotFoundError
from recsys.base.spelling import closest
from recsys.data.id_index import IdIndex
from recsys.data.ids import id_text

_FEW = 1000
_SINGLY = 8  # ids that are found sooner one by one


@dataclass(frozen=True)
class IdMap:
    """External string ids in index order.

    Parameters
    ----------
    ids : pyarrow string array (n,)
        Distinct ids; the position of an id is its index.
    kind : str
        What the ids name ("user", "item", "tag"), for messages.
    """

    ids: pa.Array
    kind: str

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _texts(self) -> Texts:
        return Texts(self.ids)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(self.ids, self._texts)

    def __contains__(self, external: object) -> bool:
        return self.find(external) is not None

    def id(self, index: int) -> str:
        """The external id at an index."""
        return self._texts[int(index)]

    def index(self, external: object) -> int:
        """The index of one external id, compared as text (see `recsys.data.ids.id_text`).

        Raises
        ------
        NotFoundError
            If the id is unknown; names the closest known ids.
        """
        found = self.find(external)
        if found is None:
            raise self._unknown(id_text(external))
        return found

    def find(self, external: object) -> int | None:
        """The index of one external id; None if it is unknown.

        Where there is no such id, letters with accents are looked for as one character and as two
        (Unicode's forms NFC and NFD): which of them a keyboard or a file has, nobody sees.
        """
        text = id_text(external)
        found = self._index.find(text)
        if found is None and not text.isascii():
            forms = (self._index.find(unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))
            found = next((one for one in forms if one is not None), None)
        return found

    def find_many(self, externals: Sequence[object]) -> Int64Array:
        """As `find`, for several external ids; -1 for each that is unknown: int64 (m,)."""
        if len(externals) < _SINGLY:
            singly = [self.find(external) for external in externals]
            return np.array([-1 if one is None else one for one in singly], np.int64)
        texts = [id_text(external) for external in externals]
        found = self._index.find_many(texts)
        for place in np.flatnonzero(found < 0):
            other = self.find(texts[place])  # in another form
            found[place] = -1 if other is None else other
        return found

    def indices(self, externals: Sequence[object]) -> Int32Array:
        """Indices (int32) of several external ids; raises as `index` does."""
        found = self.find_many(externals)
        for place in np.flatnonzero(found < 0).tolist():
            found[place] = self.index(externals[place])  # it raises
        return found.astype(np.int32)

    def places_in(self, other: IdMap) -> Int64Array:
        """Where each id is in another map, -1 where it is not: int64 (n,)."""
        found = pc.fill_null(pc.index_in(self.ids, value_set=other.ids), -1)
        return np.asarray(found, np.int64)

    def take(self, indices: IntArray) -> list[str]:
        """External ids at several indices."""
        if len(indices) < _FEW:
            texts = self._texts
            return [texts[index] for index in np.asarray(indices).tolist()]
        return [str(value) for value in self.ids.take(to_arrow(indices)).to_pylist()]

    def select(self, indices: IntArray) -> IdMap:
        """A new map of a part of the ids, in the order of `indices`."""
        return IdMap(self.ids.take(to_arrow(indices)), self.kind)

    def _unknown(self, external: str) -> NotFoundError:
        close = closest(external, self.ids)
        hint = f"did you mean {', '.join(map(_shown, close))}?" if close else "check the spelling"
        return NotFoundError(
            f"no {self.kind} {external!r}", f"one of {len(self):,} known {self.kind}s", hint
        )


def _shown(id_: str) -> str:
    """An id for a message, in quotes where its ends would not be seen."""
    return id_ if id_ == id_.strip() and id_.isprintable() else repr(id_)
