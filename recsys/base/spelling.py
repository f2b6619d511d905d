"""Spelling: the known names closest to one that is not known, from a whole catalogue at once.

Why this is not a library's: docs/experiments/libraries.md.
"""

from __future__ import annotations

import difflib
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Float64Array, Int64Array

CUTOFF = 0.6
_COMPARED = 40
_AT_ONCE = 2**12  # names


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
    likely = likely[bounds[likely] >= CUTOFF]
    likely = likely[np.argsort(-bounds[likely], kind="stable")]
    candidates = names.take(pa.array(likely)).to_pylist()
    return _most_similar(word, dict(zip(candidates, bounds[likely].tolist(), strict=True)), n)


def _most_similar(word: str, bounds: dict[str, float], n: int) -> list[str]:
    """The n names most similar to a word, of names and bounds in falling order.

    The next one is compared only if it could be more similar than those that were found.
    """
    matcher: difflib.SequenceMatcher[str] = difflib.SequenceMatcher(b=word)
    found: list[tuple[float, str]] = []
    for name, bound in bounds.items():
        if len(found) == n and bound <= found[-1][0]:
            break
        matcher.set_seq1(name)
        if (ratio := matcher.ratio()) >= CUTOFF:
            found = sorted([*found, (ratio, name)], key=lambda one: -one[0])[:n]
    return [name for _, name in found]


def _similarity_bounds(word: str, names: pa.Array) -> Float64Array:
    """What each name's similarity to the word is at most, by the letters they share: (n_names,)."""
    letters = Counter(word.encode(errors="replace").decode())
    parts = [names.slice(start, _AT_ONCE) for start in range(0, len(names), _AT_ONCE)]
    return np.concatenate([_bounds(letters, len(word), part) for part in parts])


def _bounds(letters: Counter[str], length: int, names: pa.Array) -> Float64Array:
    """The bounds of some names, few enough for the processor's cache.

    Counts of several letters stand side by side in one whole number, so that the text is looked up
    once for all of them, and each name summed up once.
    """
    text, lengths = _text(names)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    filled = np.flatnonzero(lengths)
    firsts = (np.cumsum(lengths) - lengths)[filled]
    # Wide enough for a name that is one letter over and over.
    longest = max(length, int(lengths.max()))
    lane = next(lane for lane in (np.uint8, np.uint16, np.uint32) if longest <= np.iinfo(lane).max)
    bits = np.iinfo(lane).bits
    every = np.uint64(sum(1 << place for place in range(0, 64, bits)))
    shared: Int64Array = np.zeros(len(names), np.int64)
    for start in range(0, len(letters), 64 // bits):
        asked = list(letters.items())[start : start + 64 // bits]
        last = max(ord(letter) for letter, _ in asked)
        ones = np.zeros(last + 2, np.uint64)  # what lies behind the last is none of them
        for place, (letter, _) in enumerate(asked):
            ones[ord(letter)] = 1 << place * bits
        times = np.uint64(sum(count << place * bits for place, (_, count) in enumerate(asked)))
        counts = np.add.reduceat(ones.take(codes, mode="clip"), firsts) if len(filled) else ones[:0]
        least = np.minimum(counts.view(lane), np.full(len(counts), times).view(lane))
        # This product has the sum of all counts in its highest place.
        shared[filled] += ((least.view(np.uint64) * every) >> np.uint64(64 - bits)).view(np.int64)
    return 2 * shared / (lengths + length)


def _text(names: pa.Array) -> tuple[str, Int64Array]:
    """All names one after the other, and their lengths: int64 (n_names,)."""
    _, buffer, data = names.buffers()
    width = np.int64 if pa.types.is_large_string(names.type) else np.int32
    offsets = np.frombuffer(buffer, width)[names.offset : names.offset + len(names) + 1]
    text = "" if data is None else str(memoryview(data)[offsets[0] : offsets[-1]], "utf-8")
    if text.isascii():
        return text, np.diff(offsets).astype(np.int64)
    return text, pc.fill_null(pc.utf8_length(names), 0).to_numpy().astype(np.int64)
