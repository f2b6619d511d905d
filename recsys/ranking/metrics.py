"""Ranking metrics, per user and over the catalogue, from one pass over all scores.

Everything but the catalogue metrics is a function of the ranks of held-out items. The rank of an
item is the number of *other* items, not masked, that score at least as much: 0 for the best one,
and equal scores count against it. Masked (known) and non-finite items are :data:`UNRANKED`: never a
hit, and counted among the held-out items all the same.

References
----------
.. [1] K. Jarvelin and J. Kekalainen, Cumulated gain-based evaluation of IR techniques,
   ACM TOIS 20 (2002): ndcg, here with binary gains.
.. [2] C. D. Manning, P. Raghavan and H. Schutze, Introduction to Information Retrieval (2008),
   chapter 8: precision, recall, average precision, area under the ROC curve.
.. [3] B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993): percentile interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.base.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    IntArray,
)
from recsys.ranking.blas import one_blas_thread
from recsys.ranking.rows import Rows, flatten
from recsys.ranking.scorer import Scorer
from recsys.ranking.topk import (
    BLOCK_BYTES,
    UNRANKED,
    Block,
    candidate_items,
    score_blocks,
)


@dataclass(frozen=True)
class Interval:
    """A mean with the bootstrap interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What one pass measured.

    Parameters
    ----------
    users : int32 (n,)
        Users with held-out interactions, ascending.
    per_user : dict of str to float64 (n,)
        ``precision_at_5``, ``recall_at_5``, ``ndcg_at_5``, ``map_at_5``, ``hit_rate_at_5`` and so
        on for each k, and ``auc``.
    catalogue : dict of str to float
        ``coverage_at_5``, ``gini_at_5``, ``popularity_percentile_at_5`` and so on.
    heldout : HeldOut
        The held-out items of these users.
    ranks : int64 (m,)
        Of each held-out item; without auc, from the largest k on only that it is so large.
    lists : int32 (n, largest k) or None
        The best items of each user, padded with -1; positions among the candidates where these are
        given. None for an evaluation that was read again.
    """

    users: Int32Array
    per_user: dict[str, Float64Array]
    catalogue: dict[str, float]
    heldout: HeldOut
    ranks: Int64Array
    lists: Int32Array | None = None

    def means(self) -> dict[str, float]:
        """Every metric as one number; 0 where no user has held-out interactions."""
        means = {
            name: float(values.mean()) if len(values) else 0.0
            for name, values in self.per_user.items()
        }
        return means | self.catalogue


@dataclass(frozen=True)
class HeldOut:
    """The held-out items of each user that has any, without repetition.

    Parameters
    ----------
    users : int32 (n,)
        Ascending.
    indptr : int64 (n + 1,)
    indices : int64 (m,)
        Items of ``users[i]`` at ``indptr[i]:indptr[i + 1]``, ascending; positions among the
        candidates where these are given.
    """

    users: Int32Array
    indptr: Int64Array
    indices: Int64Array

    @staticmethod
    def of(heldout: Rows, n_items: int, ranked_items: Int64Array | None = None) -> HeldOut:
        """Read the rows of a matrix; items that are not ranked are dropped."""
        entries, owners = flatten(heldout, np.arange(len(heldout.indptr) - 1))
        items = np.asarray(heldout.indices[entries], np.int64)
        if len(items) and not (items.min() >= 0 and items.max() < n_items):
            raise ValueError(f"held-out items must lie in 0..{n_items - 1}")
        if ranked_items is not None:
            place = np.full(n_items, -1)
            place[ranked_items] = np.arange(len(ranked_items))
            items = place[items]
            items, owners = items[items >= 0], owners[items >= 0]
        width = max(1, n_items)
        owners, items = np.divmod(np.unique(owners * width + items), width)
        users, counts = np.unique(owners, return_counts=True)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return HeldOut(users.astype(np.int32), indptr, items)

    @property
    def counts(self) -> Int64Array:
        """How many items are held out of each user: int64 (n,)."""
        return np.diff(self.indptr)


def precision_at_k(
    scorer: Scorer,
    heldout: Rows,
    known: Rows | None = None,
    k: int = 5,
    *,
    candidates: IntArray | None = None,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> Float64Array:
    """The share of the k best items that was held out, for each user that has held-out items.

    The same numbers as :func:`evaluate` gives, faster, since no list of items is built.

    Parameters
    ----------
    scorer : Scorer
        Such as `Factors`.
    heldout : Rows
        Every stored entry counts, a zero too; repeated entries count once.
    known : Rows, optional
        Interactions left out of the ranking.
    k : int

    Returns
    -------
    float64 (n,)
        In ascending order of user.

    Raises
    ------
    ValueError
        If ``k`` or ``threads`` is below 1, or an index lies outside its range.
    """
    _check_ks([k])
    ranked_items = candidate_items(scorer.n_items, candidates)
    wanted = HeldOut.of(heldout, scorer.n_items, ranked_items)
    found = np.zeros(len(wanted.users))

    def count(block: Block) -> None:
        entries, owners = flatten(wanted, block.rows)
        hits = block.hits(wanted.indices[entries], owners, k)
        found[block.rows] = np.bincount(owners[hits], minlength=len(block.rows))

    score_blocks(
        scorer, wanted.users, count, depth=k, known=known, candidates=ranked_items,
        threads=threads, block_bytes=block_bytes,
    )  # fmt: skip
    return found / k


def evaluate(
    scorer: Scorer,
    heldout: Rows,
    *,
    known: Rows | None = None,
    ks: Sequence[int] = (5, 10, 20),
    candidates: IntArray | None = None,
    auc: bool = True,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> Evaluation:
    """Every metric, from one pass over the scores.

    Per user, with n held-out items:

    - ``precision_at_k``: hits / k. ``recall_at_k``: hits / n. ``hit_rate_at_k``: whether any.
    - ``ndcg_at_k``: the sum of 1 / log2(rank + 2) over hits, divided by that of the first
      min(k, n) ranks [1]_.
    - ``map_at_k``: precision at the rank of each hit, summed and divided by min(k, n) [2]_.
    - ``auc``: the share of pairs (held-out item, negative) in which the held-out item scores
      higher [2]_. Negatives are the ranked items that were not held out; a held-out item that is
      masked or not finite loses to all; 0.5 without negatives. LightFM's ``auc_score`` where no
      scores are equal; where some are, this stays in 0..1.

    Over the lists of the k best items of all evaluated users:

    - ``coverage_at_k``: the share of the catalogue that is recommended to any user.
    - ``gini_at_k``: the Gini coefficient of how often each item is recommended.
    - ``popularity_percentile_at_k``: mean percentile (0..1, midpoint of equals) of recommended
      items by their number of known interactions. Left out without ``known``.

    Parameters
    ----------
    scorer : Scorer
        Such as `Factors`.
    heldout : Rows
        Every stored entry counts, a zero too; repeated entries count once.
    known : Rows, optional
        Interactions left out of the ranking. An item both known and held out cannot be a hit.
    ks : sequence of int
    candidates : int array, optional
        Rank these items only: held-out items elsewhere are dropped, and users left with none.
    auc : bool
        Whether to compute auc, which takes about a third of the time.
    threads, block_bytes
        As for :func:`recsys.ranking.topk.top_k`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a k or ``threads`` is below 1, or an index lies outside its range.
    """
    _check_ks(ks)
    ranked_items = candidate_items(scorer.n_items, candidates)
    n_ranked = scorer.n_items if ranked_items is None else len(ranked_items)
    wanted = HeldOut.of(heldout, scorer.n_items, ranked_items)
    order = np.argsort(-wanted.counts, kind="stable")  # equal counts in a block are fastest
    ranks = np.empty(len(wanted.indices), np.int64)
    lists = np.full((len(wanted.users), max(ks)), -1, np.int32)

    def look(block: Block) -> None:
        entries, owners = flatten(wanted, order[block.rows])
        positions, scores = block.largest(max(ks) + 1)
        if auc:
            ranks[entries] = block.ranks(wanted.indices[entries], owners)
        else:
            reached = block.scores[wanted.indices[entries], owners]
            ranks[entries] = _ranks_in(scores, reached, owners)
        best = np.where(scores > -np.inf, positions, -1)[:, : max(ks)]
        lists[order[block.rows], : best.shape[1]] = best

    score_blocks(
        scorer, wanted.users[order], look, depth=max(ks), known=known, candidates=ranked_items,
        threads=threads, block_bytes=block_bytes,
    )  # fmt: skip
    per_user = rank_metrics(ranks, wanted.indptr, ks)
    if auc:
        negatives = n_ranked - _taken(wanted, known, scorer.n_items, ranked_items)
        per_user["auc"] = _auc(ranks, wanted.indptr, negatives)
    popularity = None if known is None else _popularity(known, scorer.n_items, ranked_items)
    catalogue = list_metrics(lists, n_ranked, ks, popularity)
    return Evaluation(wanted.users, per_user, catalogue, wanted, ranks, lists)


def rank_metrics(
    ranks: Int64Array, indptr: Int64Array, ks: Sequence[int]
) -> dict[str, Float64Array]:
    """Metrics at each k from the ranks of held-out items.

    Parameters
    ----------
    ranks : int64 (m,)
        Number of other items that score at least as much; any number from the largest k upwards
        means the same here.
    indptr : int64 (n + 1,)
        The held-out items of user i are at ``indptr[i]:indptr[i + 1]``, at least one.
    ks : sequence of int

    Returns
    -------
    dict of str to float64 (n,)
    """
    counts = np.diff(indptr)
    owners = np.repeat(np.arange(len(counts)), counts)
    precisions = _places(ranks, indptr) / (ranks + 1.0)
    gains = 1 / np.log2(ranks + 2.0)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(max(ks)) + 2.0))])
    metrics: dict[str, Float64Array] = {}
    for k in ks:
        hit = ranks < k

        def total(values: Float64Array, hit: BoolArray = hit) -> Float64Array:
            weights = np.where(hit, values, 0.0)
            return np.bincount(owners, weights, len(counts)).astype(np.float64)

        reachable = np.minimum(counts, k)
        hits = total(np.ones(len(ranks)))
        metrics[f"precision_at_{k}"] = hits / k
        metrics[f"recall_at_{k}"] = hits / counts
        metrics[f"ndcg_at_{k}"] = total(gains) / ideal[reachable]
        metrics[f"map_at_{k}"] = total(precisions) / reachable
        metrics[f"hit_rate_at_{k}"] = (hits > 0).astype(np.float64)
    return metrics


def list_metrics(
    lists: IntArray, n_items: int, ks: Sequence[int], popularity: Float64Array | None = None
) -> dict[str, float]:
    """Metrics of the lists of all users together.

    Parameters
    ----------
    lists : int (n_users, >= max(ks))
        Item indices, best first, padded with -1.
    n_items : int
        Size of the catalogue.
    ks : sequence of int
    popularity : float64 (n_items,), optional
        Popularity percentile of each item.

    Returns
    -------
    dict of str to float
        0 where nothing is recommended.
    """
    metrics: dict[str, float] = {}
    for k in ks:
        shown = lists[:, :k]
        times = np.bincount(shown[shown >= 0], minlength=n_items).astype(np.float64)
        shows = max(1.0, float(times.sum()))
        metrics[f"coverage_at_{k}"] = float(np.count_nonzero(times)) / max(1, n_items)
        metrics[f"gini_at_{k}"] = _gini(times)
        if popularity is not None:
            metrics[f"popularity_percentile_at_{k}"] = float(times @ popularity) / shows
    return metrics


def bootstrap_interval(
    values: NDArray[np.floating[Any]], seed: int, samples: int = 1000, level: float = 0.95
) -> Interval:
    """Mean over users with its percentile bootstrap interval [3]_.

    Parameters
    ----------
    values : float (n,)
    seed : int
    samples : int
    level : float
        Share of resampled means inside the interval.

    Raises
    ------
    ValueError
        If there are no values or ``level`` is not between 0 and 1.
    """
    if len(values) == 0 or not 0 < level < 1:
        raise ValueError("an interval needs at least one value and a level between 0 and 1")
    values = np.asarray(values, np.float64)
    n = len(values)
    if n * samples <= _KEPT_DRAWS:
        with one_blas_thread():  # sums shared by threads differ in their bits
            means = _times_drawn(n, seed, samples) @ values / n
    else:
        means = np.concatenate([values[drawn].mean(1) for drawn in _draws(n, seed, samples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


_KEPT_DRAWS = 2**22
"""Up to so many draws are kept for the next interval of as many values, such as that of another
metric or model: 32 MB, for each of the last numbers of values."""


def _draws(n: int, seed: int, samples: int) -> Iterator[Int64Array]:
    """Which of n values each resample has: int64 (samples, n), part by part."""
    rng = np.random.default_rng(seed)
    step = max(1, 2**21 // n)  # 16 MB at a time
    for done in range(0, samples, step):
        yield rng.integers(n, size=(min(step, samples - done), n))


@lru_cache(maxsize=3)  # an evaluation measures test users, those of cold items and new ones
def _times_drawn(n: int, seed: int, samples: int) -> Float64Array:
    """How often each of n values is in each resample: float64 (samples, n)."""
    counts = np.empty((samples, n))
    rows = (row for part in _draws(n, seed, samples) for row in part)
    for place, row in enumerate(rows):
        counts[place] = np.bincount(row, minlength=n)
    return counts


def paired_bootstrap(
    a: NDArray[np.floating[Any]],
    b: NDArray[np.floating[Any]],
    seed: int,
    samples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Mean of ``a`` minus mean of ``b``, over the same users, with its bootstrap interval.

    Users are resampled once for both, so that differences between users cancel out.

    Raises
    ------
    ValueError
        If the two differ in length, and as for :func:`bootstrap_interval`.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values differ in length: {len(a)} and {len(b)}")
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return bootstrap_interval(difference, seed, samples, level)


def _check_ks(ks: Sequence[int]) -> None:
    if len(ks) == 0 or min(ks) < 1:
        raise ValueError(f"every k must be at least 1: {list(ks)}")


def _ranks_in(best: Float32Array, scores: Float32Array, owners: Int64Array) -> Int64Array:
    """Ranks from the k + 1 largest scores of each user: exact below k, k or more otherwise."""
    reached = np.count_nonzero(best[owners] >= scores[:, None], axis=1)
    return np.where(scores > -np.inf, reached - 1, UNRANKED)


def _places(ranks: Int64Array, indptr: Int64Array) -> Int64Array:
    """How many held-out items of its user rank at least as well as each, itself included."""
    starts = np.repeat(indptr[:-1], np.diff(indptr))
    keys = (starts << 32) + ranks
    return np.searchsorted(np.sort(keys), keys, side="right") - starts


def _auc(ranks: Int64Array, indptr: Int64Array, negatives: Int64Array) -> Float64Array:
    counts = np.diff(indptr)
    owners = np.repeat(np.arange(len(counts)), counts)
    above = ranks + 1 - _places(ranks, indptr)  # negatives that score at least as much
    won = np.where(ranks == UNRANKED, 0, negatives[owners] - above)
    pairs = counts * negatives
    wins = np.bincount(owners, weights=won, minlength=len(counts))
    return np.divide(wins, pairs, out=np.full(len(counts), 0.5), where=pairs > 0)


def _taken(
    wanted: HeldOut, known: Rows | None, n_items: int, ranked_items: Int64Array | None
) -> Int64Array:
    """How many ranked items are known or held out, and so no negatives, for each evaluated user."""
    if known is None:
        return wanted.counts
    entries, owners = flatten(known, wanted.users)
    items = np.asarray(known.indices[entries], np.int64)
    if ranked_items is not None:
        inside = np.isin(items, ranked_items)
        items, owners = np.searchsorted(ranked_items, items[inside]), owners[inside]
    held = np.repeat(np.arange(len(wanted.users)), wanted.counts) * n_items + wanted.indices
    both = np.unique(np.concatenate([owners * n_items + items, held]))
    return np.bincount(both // max(1, n_items), minlength=len(wanted.users))


def _popularity(known: Rows, n_items: int, ranked_items: Int64Array | None) -> Float64Array:
    """Percentile of each ranked item by its number of known interactions, 0..1."""
    counts = np.bincount(np.asarray(known.indices), minlength=n_items)
    return percentiles(counts if ranked_items is None else counts[ranked_items])


def percentiles(counts: IntArray) -> Float64Array:
    """The percentile of each of some counts among all of them, 0..1, midpoint of equals."""
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, side="left")
    not_above = np.searchsorted(ordered, counts, side="right")
    return (below + not_above) / (2 * max(1, len(counts)))


def _gini(times: Float64Array) -> float:
    """0 when all are equal, towards 1 when one has everything."""
    total, n = float(times.sum()), len(times)
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float(np.sort(times) @ weights) / (n * total)
