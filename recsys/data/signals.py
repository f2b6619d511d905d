"""Signals: what each row says of user and item: a like, a dislike, a refund, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.columns import Sieve, ValueFormat, numbers, positive, seconds
from recsys.data.ids import missing
from recsys.data.refunds import cancelled, remaining_shares
from recsys.data.repeats import Repeats
from recsys.data.weights import Damping
from recsys.data.windows import window

NegativeWeights: TypeAlias = Literal["leave_out", "refund", "dislike"]
Pairs: TypeAlias = tuple[Int32Array, Int32Array]
"""Users and items, sorted by user, then item, without duplicates."""

DISLIKE = "dislike"
UNREADABLE_TIME = "unreadable timestamp"
CANCELS = "cancels "
# More distinct values than a scale of ratings has.
_MOST_RATINGS = 21
_MOST_KINDS = 50
_NO, _YES = ("false", "f", "no", "n", "down", "👎"), ("true", "t", "yes", "y", "up", "👍")
# More distinct words than a scale of ratings has.
_MOST_WORDS = 30
# As in 87%, 4/5 and 3.5 stars.
_OF_A_SCALE = r"^\s*\d+([.,]\d+)?\s*(%|/\s*\d+|out of \d+|(?i:stars?))\s*$"


@dataclass(frozen=True)
class InteractionRules:
    """Which rows are interactions, and what they weigh.

    Parameters
    ----------
    values : ValueFormat
    repeats : {"sum", "last", "max", "count"}
        What a pair weighs that occurs more than once: its weights added up, the latest one, the
        largest one, or the number of rows. Its time is always the latest.
    liked_from : float or None
        The lowest rating that is an interaction.
    event_weights : mapping of str to (float or str), or None
        What a row of each kind weighs; 0 leaves it out; "dislike" says that the user does not want
        the item; "cancels purchase" takes back the latest purchase of it.
    damping : {"auto", "as_given", "log1p", "none"}
        What becomes of the weights of distinct pairs, see `recsys.data.weights.damped`.
    disliked_to : float or None
        The highest rating that is a dislike.
    unrated : float or None
        The value that stands for no rating; such rows are likes.
    negative_weights : {"leave_out", "refund", "dislike"}
        What a negative weight says: nothing; that so much of what was bought before was given back;
        that the user does not want the item.
    since, until : str or None
        The first moment that counts, and the first one that does not: a date, or a duration such as
        "365d" before the latest interaction.
    half_life : str or None
        The duration in which a weight is halved.
    item_separator : str or None
        What is between several items of a cell; '' where a cell is one item; None: one item, and a
        stop where cells look like several.
    """

    values: ValueFormat = ValueFormat()
    repeats: Repeats = "sum"
    liked_from: float | None = None
    event_weights: Mapping[str, float | str] | None = None
    damping: Damping = "as_given"
    disliked_to: float | None = None
    unrated: float | None = None
    negative_weights: NegativeWeights = "leave_out"
    since: str | None = None
    until: str | None = None
    half_life: str | None = None
    item_separator: str | None = None

    @property
    def need_time(self) -> bool:
        """Whether they ask when an interaction was."""
        return any((self.since, self.until, self.half_life))


@dataclass(frozen=True)
class Outside:
    """What is known of pairs that are not trained.

    Parameters
    ----------
    earlier : (int32 (n,), int32 (n,)) or None
        Liked before the window, and not again in it.
    disliked : (int32 (n,), int32 (n,)) or None
        Never to be recommended.
    """

    earlier: Pairs | None = None
    disliked: Pairs | None = None


@dataclass
class _Special:
    """Rows that are no likes: how they are counted, and which purchases they cancel, if any."""

    reason: str
    rows: BoolArray
    cancels: BoolArray | None = None
    dislike: bool = False


@dataclass
class Signals:
    """Weights and times of rows, and what they say.

    Parameters
    ----------
    table : pyarrow.Table
        Under our names.
    names : mapping of str to str
        The table's own names.
    label : str
        The table's, in messages.
    values : ValueFormat
    weight : float64 (n_rows,) or None
    timestamp : int64 (n_rows,) or None
    """

    table: pa.Table
    names: Mapping[str, str]
    label: str
    values: ValueFormat
    weight: Float64Array | None = None
    timestamp: Int64Array | None = None
    _special: list[_Special] = field(default_factory=list)
    _earlier: BoolArray | None = None
    _later: BoolArray | None = None

    def sift(self, sieve: Sieve, rules: InteractionRules, notes: list[str]) -> dict[str, int]:
        """Leave out rows that are no likes; returns those that settings leave out, by reason."""
        set_aside: dict[str, int] = {}
        if "rating" in self.names:
            self._by_rating(sieve, rules, set_aside)
        if "event" in self.names:
            self._by_event(sieve, rules.event_weights, set_aside, notes)
        if "weight" in self.names:
            self._by_weight(sieve, rules.negative_weights)
        if "timestamp" in self.names:
            moments = seconds(self._column("timestamp"), self.values, self._named("timestamp"))
            sieve.require(UNREADABLE_TIME, np.isfinite(moments))
            with np.errstate(invalid="ignore"):
                self.timestamp = moments.astype(np.int64)
        for special in self._special:
            special.rows &= sieve.keep
            set_aside[special.reason] = int(special.rows.sum())
        for special in self._special:
            sieve.keep &= ~special.rows
        if rules.since or rules.until:
            self._by_time(sieve, rules, set_aside)
        return {reason: count for reason, count in set_aside.items() if count}

    def question(self, ours: str, own: str, sieve: Sieve) -> None:
        """Ask about a column that nobody named a rating, if its numbers look like ratings.

        Raises
        ------
        InputError
            If they do.
        """
        column = self._column(ours)
        named = f"the column {own} of {self.label}"
        if _is_number(column.type) or _is_text(column.type):
            found = self._numbers_or_words(column, named)[sieve.keep]
            _question_ratings(found, named, own)

    def used(self, sieve: Sieve) -> BoolArray:
        """The rows whose users and items are known: likes, and others that say something."""
        marks = [special.rows for special in self._special]
        marks += [mark for mark in (self._earlier, self._later) if mark is not None]
        return np.logical_or.reduce([sieve.keep, *marks]) if marks else sieve.keep

    def choose(self, keep: BoolArray) -> None:
        """Keep some of the rows."""
        self.weight = None if self.weight is None else self.weight[keep]
        self.timestamp = None if self.timestamp is None else self.timestamp[keep]
        self._earlier = None if self._earlier is None else self._earlier[keep]
        self._later = None if self._later is None else self._later[keep]
        for special in self._special:
            special.rows = special.rows[keep]
            special.cancels = None if special.cancels is None else special.cancels[keep]

    def resolve(
        self, key: Int64Array, n_items: int, likes: BoolArray, set_aside: dict[str, int]
    ) -> Outside:
        """Take back what was refunded or disliked later; what is left over is returned.

        Parameters
        ----------
        key : int64 (n,)
            user * n_items + item of each row.
        n_items : int
        likes : bool (n,)
            Changed here.
        set_aside : dict of str to int
            Rows left out, by reason; completed here.
        """
        self._refund(key, likes, set_aside)
        dislikes = [special.rows for special in self._special if special.dislike]
        disliked = None
        if dislikes:
            disliked = self._dislike(key, likes, np.logical_or.reduce(dislikes), set_aside)
        earlier = None
        if self._earlier is not None:
            pairs = np.unique(key[self._earlier])
            earlier = _pairs(pairs[~np.isin(pairs, key[likes])], n_items)
        return Outside(earlier, None if disliked is None else _pairs(disliked, n_items))

    def _refund(self, key: Int64Array, likes: BoolArray, set_aside: dict[str, int]) -> None:
        liked = self._ever(likes)
        gone = np.zeros(len(key), dtype=bool)
        for special in self._special:
            if special.cancels is not None:
                gone |= cancelled(key, self.timestamp, special.cancels & liked, special.rows)
        given_back = [s.rows for s in self._special if s.cancels is None and not s.dislike]
        if given_back:
            assert self.weight is not None
            back = np.logical_or.reduce(given_back)
            rows = liked | back
            pairs, share = remaining_shares(
                key[rows],
                None if self.timestamp is None else self.timestamp[rows],
                np.where(back, -np.abs(self.weight), self.weight)[rows],
            )
            if len(pairs):
                place = np.minimum(np.searchsorted(pairs, key), len(pairs) - 1)
                part = np.where(pairs[place] == key, share[place], 1.0)
                gone |= liked & (part == 0)
                self.weight = np.where(liked & (part > 0), self.weight * part, self.weight)
        self._take_back(gone, likes, "refunded", set_aside)

    def _dislike(
        self, key: Int64Array, likes: BoolArray, disliked: BoolArray, set_aside: dict[str, int]
    ) -> Int64Array:
        """The pairs whose last word is a dislike; likes before it are taken back."""
        liked, pairs = self._ever(likes), np.unique(key[disliked])
        both = liked & np.isin(key, pairs)
        if self.timestamp is not None and both.any():
            lowest = np.iinfo(np.int64).min
            last = {False: np.full(len(pairs), lowest), True: np.full(len(pairs), lowest)}
            for mark, rows in ((True, both), (False, disliked)):
                np.maximum.at(last[mark], np.searchsorted(pairs, key[rows]), self.timestamp[rows])
            pairs = pairs[last[False] >= last[True]]
            both &= np.isin(key, pairs)
        self._take_back(both, likes, "disliked since", set_aside)
        return pairs

    def _ever(self, likes: BoolArray) -> BoolArray:
        """Likes, inside of the window and outside."""
        marks = [mark for mark in (self._earlier, self._later) if mark is not None]
        return np.logical_or.reduce([likes, *marks])

    def _take_back(
        self, gone: BoolArray, likes: BoolArray, reason: str, set_aside: dict[str, int]
    ) -> None:
        """Rows that count no longer; those outside of the window have been counted already."""
        if number := int((gone & likes).sum()):
            set_aside[reason] = set_aside.get(reason, 0) + number
        likes &= ~gone
        if self._earlier is not None:
            self._earlier &= ~gone

    def _column(self, name: str) -> pa.ChunkedArray:
        return self.table.column(name)

    def _named(self, name: str) -> str:
        return f"the column {self.names[name]} of {self.label}"

    def _by_time(self, sieve: Sieve, rules: InteractionRules, set_aside: dict[str, int]) -> None:
        assert self.timestamp is not None
        if not sieve.keep.any():
            return
        low, high = window(
            self.timestamp[sieve.keep],
            rules.since,
            rules.until,
            self.values.timezone,
            self._named("timestamp"),
        )
        self._earlier = sieve.keep & (self.timestamp < low)
        self._later = sieve.keep & (self.timestamp >= high)
        sieve.keep &= ~self._earlier & ~self._later
        set_aside[f"before the window (data.since = {rules.since})"] = int(self._earlier.sum())
        set_aside[f"after the window (data.until = {rules.until})"] = int(self._later.sum())

    def _by_weight(self, sieve: Sieve, negative: NegativeWeights) -> None:
        weight = numbers(self._column("weight"), self.values, self._named("weight"))
        usable = positive(weight)
        if negative != "leave_out":
            below = positive(-weight)
            reason = f"negative weight ({negative})"
            self._special.append(_Special(reason, below, dislike=negative == DISLIKE))
        # What is no like needs no weight.
        usable |= np.logical_or.reduce(
            [np.zeros(len(weight), dtype=bool), *(special.rows for special in self._special)]
        )
        sieve.require("weight not a positive number", usable)
        self.weight = weight if self.weight is None else weight * self.weight

    def _by_rating(self, sieve: Sieve, rules: InteractionRules, set_aside: dict[str, int]) -> None:
        rating = self._ratings()
        if rules.liked_from is None:
            _question_ratings(rating[sieve.keep], self._named("rating"))
            self._question_words(rating, sieve.keep)
            return
        sieve.require("no rating", np.isfinite(rating))
        rated = np.ones(len(rating), bool) if rules.unrated is None else rating != rules.unrated
        low = sieve.keep & rated & (rating < rules.liked_from)
        if rules.disliked_to is not None:
            disliked = sieve.keep & rated & (rating <= rules.disliked_to)
            reason = f"rating of at most {rules.disliked_to:g} (dislike)"
            self._special.append(_Special(reason, disliked, dislike=True))
            low &= ~disliked
        set_aside[f"rating below {rules.liked_from:g}"] = int(low.sum())
        sieve.keep &= ~low

    def _ratings(self) -> Float64Array:
        return self._numbers_or_words(self._column("rating"), self._named("rating"))

    def _numbers_or_words(self, column: pa.ChunkedArray, named: str) -> Float64Array:
        """The numbers of a column; of words such as true and false, one and zero."""
        rating = numbers(column, self.values, named)
        if np.isfinite(rating).any() or not _is_text(column.type):
            return rating
        words = pc.utf8_lower(pc.fill_null(column.cast(pa.string()), ""))
        for number, known in enumerate((_NO, _YES)):
            rating[np.asarray(pc.is_in(words, value_set=pa.array(known)))] = number
        return rating

    def _question_words(self, rating: Float64Array, kept: BoolArray) -> None:
        """A stop where ratings are words or are written with more than a number."""
        column = self._column("rating")
        if not _is_text(column.type):
            return
        words = column.cast(pa.string()).filter(pa.array(kept & ~np.isfinite(rating)))
        words = words.filter(pa.array(~missing(words, self.values.missing)))
        if len(words) < 0.5 * kept.sum():
            return
        distinct = pc.unique(words)
        some = 2 <= len(distinct) <= _MOST_WORDS
        if not some and not pc.all(pc.match_substring_regex(distinct, _OF_A_SCALE)).as_py():
            return
        shown = ", ".join(repr(word) for word in sorted(distinct.to_pylist())[:3])
        raise InputError(
            f"{self._named('rating')} looks like ratings that are no numbers, such as {shown}, of "
            "which low ones are no likes",
            "numbers, and the lowest one that is a like",
            'write them as numbers and set data.liked_from, or set data.rating_column = "" if '
            "every row is a like",
        )

    def _by_event(
        self,
        sieve: Sieve,
        weights: Mapping[str, float | str] | None,
        set_aside: dict[str, int],
        notes: list[str],
    ) -> None:
        encoded = pc.fill_null(self._column("event").cast(pa.string()), "").dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0)
        kinds = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        counts = np.bincount(codes[sieve.keep], minlength=len(kinds))
        if weights is None:
            if 1 < len(kinds) <= _MOST_KINDS:
                most = ", ".join(
                    f"{kinds[place]!r} {counts[place]:,}" for place in np.argsort(-counts)[:5]
                )
                notes.append(
                    f"{self._named('event')} has rows of several kinds ({most}), which all count "
                    "alike; set data.event_weights to what each weighs, 0 to leave it out"
                )
            return
        unknown = [kind for kind, n in zip(kinds, counts, strict=True) if n and kind not in weights]
        if unknown:
            raise InputError(
                f"{self._named('event')} has rows of the kind {', '.join(map(repr, unknown[:5]))}",
                f"{', '.join(map(repr, weights))}, as in data.event_weights",
                "add what they weigh, 0 to leave them out",
            )
        of_kind = {kind: codes == code for code, kind in enumerate(kinds) if kind in weights}
        for kind, n in zip(kinds, counts, strict=True):
            meaning = weights.get(kind, 0.0)
            if isinstance(meaning, str):
                self._special.append(_special(kind, meaning, of_kind))
            elif n and not meaning:
                set_aside[f"event {kind}"] = int(n)
        # Of what is no like the weight does not matter.
        each = [1.0 if isinstance(m, str) else m for m in (weights.get(k, 0.0) for k in kinds)]
        self.weight = np.array(each)[codes]
        sieve.keep &= self.weight > 0


def _question_ratings(rating: Float64Array, named: str, unread: str | None = None) -> None:
    """A stop where a column looks like ratings, of which the low ones are no likes.

    Parameters
    ----------
    rating : float64 (n,)
    named : str
        The column and its table.
    unread : str or None
        The column's name, if no setting names it.
    """
    known = rating[np.isfinite(rating)]
    scale = np.unique(known)
    if len(known) < 0.5 * len(rating) or not 2 <= len(scale) <= _MOST_RATINGS:
        return
    if scale[0] < -10 or scale[-1] > 100:
        return
    proposed = scale[np.searchsorted(scale, scale[0] + 0.6 * (scale[-1] - scale[0]))]
    liked = int((known >= proposed).sum())
    too = f' and data.rating_column = "{unread}"' if unread is not None else ""
    raise InputError(
        f"{named} looks like ratings from {scale[0]:g} to {scale[-1]:g}, of "
        "which low ones are no likes",
        "the lowest rating that is a like",
        f"set data.liked_from = {proposed:g}{too} ({liked:,} of {len(known):,} rows are), or "
        'data.rating_column = "" if every row is a like' + _zeros(known, scale),
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _zeros(known: Float64Array, scale: Float64Array) -> str:
    """A question about zeros, which often stand for an interaction without a rating."""
    zeros = int((known == 0).sum())
    if scale[0] != 0 or len(scale) < 4 or zeros < 0.3 * len(known):
        return ""
    return f"; if 0, in {zeros:,} rows, stands for no rating, data.unrated = 0 counts them as likes"


def _special(kind: str, meaning: str, of_kind: Mapping[str, BoolArray]) -> _Special:
    """The rows of a kind of event that says something else than a like."""
    rows = of_kind[kind].copy()
    if meaning == DISLIKE:
        return _Special(f"event {kind} (dislike)", rows, dislike=True)
    purchases = of_kind.get(meaning.removeprefix(CANCELS), np.zeros(len(rows), dtype=bool))
    return _Special(f"event {kind}", rows, cancels=purchases)


def _pairs(key: Int64Array, n_items: int) -> Pairs:
    user, item = (part.astype(np.int32) for part in np.divmod(key, max(n_items, 1)))
    return user, item
