"""Parts: what is learned of a group of users or items, and a block that is trained on two of them.

Nothing but a block is needed here: the vectors of its users and of its items, and what these users
like of these items. So blocks can be trained on machines of which none holds the others' vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import AnyArray, Float32Array, Int32Array
from recsys.base.libraries import address
from recsys.models.kernel import Plan, Side, Task, padded, train_task

LEARNED = {
    "embeddings": "vectors",
    "embedding_gradients": "squares",
    "embedding_momentum": "updates",
    "biases": "biases",
    "bias_gradients": "bias_squares",
    "bias_momentum": "bias_updates",
}
"""Arrays of a LightFM model, without "user_" or "item_", and their names in the kernel."""


@dataclass(frozen=True)
class Part:
    """What is learned of some users, or of some items.

    Parameters
    ----------
    rows : int32 (n,)
        Which they are, in the order of their group.
    arrays : mapping of str to float32 (n, d) or (n,)
        By LightFM's names without the side.
    scale : float
        Of the lazy regularisation, so far in this epoch.
    """

    rows: Int32Array
    arrays: Mapping[str, Float32Array]
    scale: float = 1.0

    def __sizeof__(self) -> int:
        # Schedulers ask, to send what is small to what is large.
        return self.rows.nbytes + sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class GroupLikes:
    """The interactions of a group of users, block after block.

    Parameters
    ----------
    starts : int64 (groups + 1,)
        Where those with each group of items begin, and where the last ones end.
    users, items : int32 (n,)
        Places within their groups.
    weights : float32 (n,) or None
    """

    starts: AnyArray
    users: Int32Array
    items: Int32Array
    weights: Float32Array | None

    def __sizeof__(self) -> int:
        weights = 0 if self.weights is None else self.weights.nbytes
        return self.starts.nbytes + self.users.nbytes + self.items.nbytes + weights


@dataclass(frozen=True)
class Rules:
    """What all blocks of a fit have in common.

    Parameters
    ----------
    settings : dict
        See `recsys.models.kernel.settings_of`.
    user_alpha, item_alpha : float
    groups, n_items : int
        In the whole fit.
    """

    settings: Mapping[str, int | float]
    user_alpha: float
    item_alpha: float
    groups: int
    n_items: int


def places(grouped: Int32Array, bounds: AnyArray) -> tuple[AnyArray, Int32Array]:
    """The group of each user or item, and its place in it: int arrays (n,)."""
    at = np.empty(len(grouped), np.int64)
    at[grouped] = np.arange(len(grouped))
    group = np.searchsorted(bounds, at, side="right") - 1
    return group, (at - bounds[group]).astype(np.int32)


def likes_of_group(
    indptr: AnyArray, indices: AnyArray, weights: AnyArray | None, plan: Plan, group: int
) -> GroupLikes:
    """What the users of a group like, from the rows of the matrix of all interactions."""
    grouped, bounds = plan.users
    members = grouped[bounds[group] : bounds[group + 1]]
    place = np.argsort(members)
    rows = members[place]
    lengths = indptr[rows + 1] - indptr[rows]
    before = np.cumsum(lengths) - lengths
    taken = np.repeat(indptr[rows] - before, lengths) + np.arange(lengths.sum())
    of_items, at = places(*plan.items)
    items = np.asarray(indices[taken])
    order = np.argsort(of_items[items], kind="stable")
    groups = len(plan.items[1]) - 1
    counts = np.bincount(of_items[items], minlength=groups)
    return GroupLikes(
        np.concatenate([[0], np.cumsum(counts)]),
        np.repeat(place, lengths)[order].astype(np.int32),
        at[items][order],
        None if weights is None else np.asarray(weights[taken][order], np.float32),
    )


def train_block(
    rules: Rules, users: Part, items: Part, likes: GroupLikes, group: int, seed: int, last: bool
) -> tuple[Part, Part]:
    """Train one block; returns its users and items as they are then.

    Parameters
    ----------
    rules : Rules
    users, items : Part
        Left as they are.
    likes : GroupLikes
        Of these users.
    group : int
        Of the items.
    seed : int
        Of this block.
    last : bool
        Whether it is the last of its users and of its items in this epoch.

    Raises
    ------
    MemoryError
        If there is not enough memory for a few vectors.
    """
    start, end = likes.starts[group : group + 2].tolist()
    if start == end and not last:
        return users, items
    user, item = (np.ascontiguousarray(x[start:end]) for x in (likes.users, likes.items))
    ones = np.ones(len(user), np.float32)
    liked = sp.csr_matrix((ones, (user, item)), shape=(len(users.rows), len(items.rows)))
    liked.sort_indices()
    starts, of_users = liked.indptr.astype(np.int64), liked.indices.astype(np.int32)
    weight = None if likes.weights is None else np.ascontiguousarray(likes.weights[start:end])
    order = np.arange(end - start, dtype=np.int32)
    scales, seeds, seconds = (
        np.array([users.scale, items.scale]),
        np.full(1, seed, np.uint32),
        np.zeros(1),
    )
    sides = [_Copied(part) for part in (users, items)]
    task = Task(
        users=sides[0].side(len(users.rows), rules.user_alpha),
        items=sides[1].side(rules.n_items, rules.item_alpha),
        interactions=len(order),
        user=address(user),
        item=address(item),
        weight=address(weight),
        order=address(order),
        starts=address(starts),
        liked=address(of_users),
        groups=rules.groups,
        item_groups=0,
        seeds=address(seeds),
        seconds=address(seconds),
        **rules.settings,
    )
    train_task(task, scales, last)
    trained = [side.part(float(scale)) for side, scale in zip(sides, scales, strict=True)]
    return trained[0], trained[1]


class _Copied:
    """Arrays of a part as the kernel needs them."""

    def __init__(self, part: Part) -> None:
        self._rows, n = part.rows, len(part.rows)
        self._arrays: dict[str, Float32Array] = {}
        for name, array in part.arrays.items():
            copy = padded(n, array.shape[1]) if array.ndim == 2 else np.empty(n, np.float32)
            copy[:] = array
            self._arrays[name] = copy
        self._all = np.arange(n, dtype=np.int32)
        self._size = np.array([n], np.int64)

    def side(self, rows: int, alpha: float) -> Side:
        named = {LEARNED[name]: address(array) for name, array in self._arrays.items()}
        return Side(
            **named,
            count=len(self._all),
            rows=rows,
            grouped=address(self._all),
            bounds=address(self._size),
            alpha=alpha,
        )

    def part(self, scale: float) -> Part:
        found = {name: np.ascontiguousarray(array) for name, array in self._arrays.items()}
        return Part(self._rows, found, scale)
