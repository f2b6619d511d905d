"""Growing ids: numbers for ids that come a part of the table at a time, in order of appearance."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Int32Array
from recsys.data.columns import one_chunk
from recsys.data.ids import ENCODED, whole_numbers


class GrowingIds:
    """Ids that were seen so far, the number of each being its place among them."""

    def __init__(self) -> None:
        self.values: pa.Array = pa.array([], pa.string())

    def codes(self, column: pa.ChunkedArray) -> Int32Array:
        """The numbers of the ids of a part, dictionary-encoded: int32 (n,), -1 for null."""
        encoded = one_chunk(column.unify_dictionaries())
        dictionary = encoded.dictionary
        known = pc.index_in(dictionary, value_set=self.values)
        fresh = pc.and_(pc.is_null(known), pc.is_valid(dictionary))
        new = dictionary.filter(fresh)
        # One more, for null.
        place = np.full(len(dictionary) + 1, -1, np.int32)
        place[:-1] = np.asarray(pc.fill_null(known, -1))
        place[:-1][np.asarray(fresh)] = np.arange(len(new), dtype=np.int32) + len(self.values)
        if len(new):
            self.values = pa.concat_arrays([self.values, new])
        return place[np.asarray(pc.fill_null(encoded.indices, len(dictionary)))]

    def decided(self) -> Int32Array | None:
        """Decide, as all ids are known, what `whole_numbers` says of them.

        Returns
        -------
        int32 (n,) or None
            What each number becomes, if two ids may have become one.
        """
        column = self.each()
        whole = whole_numbers(column)
        if whole is column:
            return None
        encoded = one_chunk(whole)
        self.values = encoded.dictionary
        return np.asarray(encoded.indices).astype(np.int32)

    def column(self, codes: Int32Array) -> pa.Array:
        """Ids by their numbers, -1 for null, as a dictionary-encoded array."""
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), self.values)

    def each(self) -> pa.ChunkedArray:
        """Every id once, in the order of the numbers, as a column that is dictionary-encoded."""
        return pa.chunked_array([self.column(np.arange(len(self.values), dtype=np.int32))], ENCODED)
