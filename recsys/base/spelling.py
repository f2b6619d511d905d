"""Spelling: the known names closest to one that is not known, from a whole catalogue at once.

Why this is not a library's: docs/experiments/libraries.md.
"""

from __future__ import annotations

import difflib
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Float64Array

CUTOFF = 0.6
_COMPARED = 40


def closest(word: str, names: pa.Array, n: int = 3) -> list[str]:
    """At most `n` of the names, the closest first; none whose similarity is below 0.6.

    Comparing letter by letter with every name takes seconds for a catalogue. The 40 names that
    have most letters in common with the word, wherever they stand, are found in a fraction of that,
    and only they are compared.

    Parameters
    ----------
    word : str
        What was asked for.
    names : pyarrow string array
        What is known.
    n : int
        The largest number of names returned.

    Returns
    -------
    list of str
        Similarity is that of `difflib.SequenceMatcher.ratio`.
    """
    if not word or not len(names):
        return []
    bounds = _similarity_bounds(word, names)
    count = min(_COMPARED, len(bounds))
    likely = np.argpartition(-bounds, count - 1)[:count]
    likely = np.sort(likely[bounds[likely] >= CUTOFF])
    candidates = dict.fromkeys(names.take(pa.array(likely)).to_pylist())
    return difflib.get_close_matches(word, list(candidates), n=n, cutoff=CUTOFF)


def _similarity_bounds(word: str, names: pa.Array) -> Float64Array:
    """What each name's similarity to the word is at most, by the letters they share: (n_names,)."""
    shared = np.zeros(len(names), np.int64)
    for letter, times in Counter(word.encode(errors="replace").decode()).items():
        shared += np.minimum(pc.count_substring(names, letter).to_numpy(), times)
    return 2 * shared / (pc.utf8_length(names).to_numpy() + len(word))
