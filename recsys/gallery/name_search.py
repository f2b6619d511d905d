"""Search for items, tags and users by parts of their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.base.arrays import BoolArray, Int64Array
from recsys.base.spelling import closest
from recsys.recommend.queries.view import BundleView

KINDS = ("item", "tag", "user")
LONGEST_QUERY = 200
_LOOKED_INTO = 200  # characters of a name; queries are not longer either
_SEPARATORS = (" ", "-", "_", ":", "/", ".", "(")


@dataclass(frozen=True)
class Hit:
    """An item, tag or user that was found.

    Parameters
    ----------
    kind : {"item", "tag", "user"}
    index : int
    id, name : str
    weight : int
        Likes of an item or of a user, items of a tag.
    """

    kind: str
    index: int
    id: str
    name: str
    weight: int


@dataclass(frozen=True)
class SearchableNames:
    """The names of all items, tags or users, in lower case.

    Parameters
    ----------
    texts : tuple of pyarrow string arrays (n,)
        The texts that are searched: ids, names.
    weights : int64 (n,)
        Among equal matches those of larger weight come first.
    named : function
        Translates indices to ids and names.
    """

    texts: tuple[pa.Array, ...]
    weights: Int64Array
    named: Callable[[Int64Array], tuple[list[str], list[str]]]


class NameSearch:
    """Finds names: equal ones first, then prefixes, prefixes of words, and other parts.

    Among equal matches, those with more likes (for tags: on more items) come first.
    """

    def __init__(self, source: BundleView) -> None:
        self._bundle = source.bundle
        self._kinds = {"item": _items(source), "user": _users(source)}
        if (tags := _tags(source)) is not None:
            self._kinds["tag"] = tags

    def find(self, query: str, n: int = 6, kinds: Sequence[str] = KINDS) -> dict[str, list[Hit]]:
        """Find at most n of each kind.

        Parameters
        ----------
        query : str
            Every word of it must occur; only the first 200 characters count.
        n : int
        kinds : sequence of {"item", "tag", "user"}

        Returns
        -------
        dict
            Kinds without a hit are left out.
        """
        wanted = lowered(pa.array([query[:LONGEST_QUERY]]))[0].as_py().strip()
        found: dict[str, list[Hit]] = {}
        for kind in kinds:
            if wanted and kind in self._kinds and (hits := self._of(kind, wanted, n)):
                found[kind] = hits
        return found

    def near(self, query: str) -> list[str]:
        """Names of items, tags and users that are spelled similarly."""
        bundle, said = self._bundle, query[:LONGEST_QUERY]
        ids = [bundle.items.ids, bundle.users.ids]
        if bundle.item_features is not None:
            ids.append(bundle.item_features.vocabulary.values)
        return list(dict.fromkeys(name for part in ids for name in closest(said, part, 2)))

    def _of(self, kind: str, query: str, n: int) -> list[Hit]:
        searched = self._kinds[kind]
        scores = np.zeros(len(searched.weights), np.int8)
        for texts in searched.texts:
            np.maximum(scores, _scores(texts, query), out=scores)
        found = np.flatnonzero(scores)
        if len(found) > n:
            # Only those that may be among the first n are sorted; sorting all takes longer.
            ranks = np.sort(scores[found])[::-1]
            found = found[scores[found] >= ranks[n - 1]]
        order = np.lexsort((found, -searched.weights[found], -scores[found]))[:n]
        chosen = found[order].astype(np.int64)
        ids, names = searched.named(chosen)
        weights = searched.weights[chosen].tolist()
        return [Hit(kind, *row) for row in zip(chosen.tolist(), ids, names, weights, strict=True)]


def _scores(texts: pa.Array, query: str) -> NDArray[np.int8]:
    """int8 (n,): 4 for an equal name, 3 for a prefix, 2 for the prefix of a word, 1 for a part."""
    held = np.ones(len(texts), bool)
    for word in query.split():
        held &= _mask(pc.match_substring(texts, word))
    scores = held.astype(np.int8)
    places = np.flatnonzero(held)
    few = texts.take(pa.array(places))
    inside = np.zeros(len(places), bool)
    for separator in _SEPARATORS:
        inside |= _mask(pc.match_substring(few, separator + query))
    scores[places[inside]] = 2
    scores[places[_mask(pc.starts_with(few, query))]] = 3
    scores[places[_mask(pc.equal(few, query))]] = 4
    return scores


def _mask(found: pa.Array) -> BoolArray:
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), bool)


def lowered(texts: pa.Array) -> pa.Array:
    """Prepare names for comparison: their first 200 characters, NFKC, in lower case."""
    cut = pc.utf8_slice_codeunits(texts.cast(pa.string()), 0, _LOOKED_INTO)
    return pc.utf8_lower(pc.utf8_normalize(cut, "NFKC"))


def _items(source: BundleView) -> SearchableNames:
    bundle = source.bundle
    texts = [lowered(bundle.items.ids)]
    texts += [] if bundle.names is None else [lowered(bundle.names)]
    return SearchableNames(tuple(texts), source.likes, source.ids_and_names)


def _users(source: BundleView) -> SearchableNames:
    bundle = source.bundle

    def named(users: Int64Array) -> tuple[list[str], list[str]]:
        ids = bundle.users.take(users)
        return ids, ids

    likes = np.diff(bundle.seen.indptr).astype(np.int64)
    return SearchableNames((lowered(bundle.users.ids),), likes, named)


def _tags(source: BundleView) -> SearchableNames | None:
    words = source.item_lookup
    if words is None:
        return None
    vocabulary = words.vocabulary

    def named(tags: Int64Array) -> tuple[list[str], list[str]]:
        return words.names(tags), words.values(tags)

    texts = lowered(vocabulary.values), lowered(vocabulary.features.ids)
    return SearchableNames(texts, vocabulary.support.astype(np.int64), named)
