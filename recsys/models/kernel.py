"""The training kernel: epochs of LightFM's arrays, by the compiled loops of kernel_loops.h."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import AnyArray, Float32Array, Float64Array, Int32Array
from recsys.base.libraries import address, load_library

LANES = 16
"""Floats of a block; rows of vectors are padded to whole blocks and aligned to them."""

DRAWN_AT_ONCE = 4096
FOLDER = Path(__file__).parent
LOSSES = ("warp", "bpr", "logistic", "warp-kos")
WIDEST = 512


class Side(ctypes.Structure):
    """`side` of kernel.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("vectors", "squares", "updates")),
        *((name, ctypes.c_void_p) for name in ("biases", "bias_squares", "bias_updates")),
        *((name, ctypes.c_int64) for name in ("count", "rows")),
        *((name, ctypes.c_void_p) for name in ("grouped", "bounds")),
        *((name, ctypes.c_void_p) for name in ("starts", "features", "weights")),
        ("alpha", ctypes.c_double),
    )


class Task(ctypes.Structure):
    """`task` of kernel.h."""

    _fields_ = (
        *((name, Side) for name in ("users", "items")),
        ("interactions", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("user", "item", "weight", "order")),
        *((name, ctypes.c_void_p) for name in ("starts", "liked")),
        *((name, ctypes.c_int64) for name in ("components", "padded", "max_sampled", "k", "n")),
        *((name, ctypes.c_double) for name in ("rate", "rho", "epsilon")),
        *((name, ctypes.c_int32) for name in ("loss", "adadelta")),
        ("groups", ctypes.c_int64),
        ("item_groups", ctypes.c_int64),
        ("seeds", ctypes.c_void_p),
        ("seconds", ctypes.c_void_p),
    )


class Descent(ctypes.Structure):
    """`descent` of kernel.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("users", "items")),
        *((name, ctypes.c_int64) for name in ("padded", "bias", "interactions")),
        *((name, ctypes.c_void_p) for name in ("user", "item", "starts")),
        *((name, ctypes.c_double) for name in ("rate", "regularization")),
        ("seed", ctypes.c_void_p),
    )


@cache
def load_kernel() -> ctypes.CDLL | None:
    """The compiled functions, or None where the package was installed without a compiler."""
    return load_library(FOLDER, "_kernel", _declare)


def _declare(library: ctypes.CDLL) -> bool:
    epoch, block = library.recsys_train_epoch, library.recsys_train_block
    descend = library.recsys_descend
    sizes = (library.recsys_task_bytes, Task), (library.recsys_descent_bytes, Descent)
    for size, structure in sizes:
        size.restype = ctypes.c_int64
        if size() != ctypes.sizeof(structure):
            return False
    epoch.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    block.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    descend.argtypes = [ctypes.c_void_p, ctypes.c_int]
    epoch.restype = block.restype = descend.restype = ctypes.c_int
    return True


def train_task(task: Task, scales: Float64Array, last: bool) -> None:
    """Train the one block of a task.

    Parameters
    ----------
    task : Task
    scales : float64 (2,)
        Of the lazy regularisation, so far in this epoch, of users and of items; overwritten.
    last : bool
        Whether it is the last block of its users and of its items in this epoch.

    Raises
    ------
    MemoryError
        If there is not enough memory for a few vectors.
    """
    library = load_kernel()
    assert library is not None, "the kernel plans the epochs, too"
    if not library.recsys_train_block(ctypes.byref(task), WIDEST, address(scales), int(last)):
        raise MemoryError("no memory for a vector")


def descend(descent: Descent, width: int) -> None:
    """Learn from as many pairs as there are interactions.

    Parameters
    ----------
    descent : Descent
        Nothing of it is checked.
    width : int
        The longest vectors used, in bits.
    """
    library = load_kernel()
    assert library is not None, "without it implicit trains"
    library.recsys_descend(ctypes.byref(descent), width)


def _padded_width(columns: int) -> int:
    """Columns in whole blocks."""
    return -(-columns // LANES) * LANES


def padded(rows: int, columns: int) -> Float32Array:
    """Zeros, float32 (rows, columns): a view of aligned rows of whole blocks.

    What is behind the columns stays zero in training.
    """
    width = _padded_width(columns)
    raw = np.zeros(rows * width + LANES, np.float32)
    start = -raw.ctypes.data // raw.itemsize % LANES
    return raw[start : start + rows * width].reshape(rows, width)[:, :columns]


def _is_padded(array: AnyArray) -> bool:
    width = _padded_width(array.shape[1])
    aligned = array.ctypes.data % (LANES * array.itemsize) == 0
    return bool(aligned and array.strides == (width * array.itemsize, array.itemsize))


def draw_start(
    model: Any,
    no_user_features: int,
    no_item_features: int,
    users: Callable[[int, int], Float32Array] = padded,
) -> None:
    """Give a LightFM model the arrays that it would begin with, laid out for the kernel.

    The vectors are drawn by its random generator, in the order in which LightFM draws them, but a
    part at a time; momenta that its schedule has no use for take no memory.

    Parameters
    ----------
    model : lightfm.LightFM
    no_user_features, no_item_features : int
    users : callable
        Makes the zeros that become vectors of users, from the number of rows and of columns.
    """
    d, adadelta = model.no_components, model.learning_schedule == "adadelta"
    for side, count in (("item", no_item_features), ("user", no_user_features)):
        made = users if side == "user" else padded
        vectors = made(count, d)
        for start in range(0, count, DRAWN_AT_ONCE):
            part = vectors[start : start + DRAWN_AT_ONCE]
            part[:] = (model.random_state.rand(*part.shape) - 0.5) / d
        squares = made(count, d)
        squares[:] = 0 if adadelta else 1
        nothing = np.broadcast_to(np.float32(0), (count, d))
        setattr(model, f"{side}_embeddings", vectors)
        setattr(model, f"{side}_embedding_gradients", squares)
        setattr(model, f"{side}_embedding_momentum", made(count, d) if adadelta else nothing)
        setattr(model, f"{side}_biases", np.zeros(count, np.float32))
        setattr(model, f"{side}_bias_gradients", np.full(count, squares.flat[0], np.float32))
        setattr(model, f"{side}_bias_momentum", np.zeros(count, np.float32))


@dataclass(frozen=True)
class Interactions:
    """What is trained on, as the kernel reads it.

    Parameters
    ----------
    matrix : csr_matrix float32 (n_users, n_items)
    weighted : bool
        Whether the values are weights of the interactions; if not, each counts one.
    """

    matrix: sp.csr_matrix
    weighted: bool

    @cached_property
    def users(self) -> Int32Array:
        """The user of each interaction: int32 (nnz,)."""
        rows = np.arange(self.matrix.shape[0], dtype=np.int32)
        return np.repeat(rows, np.diff(self.matrix.indptr))

    @cached_property
    def items(self) -> Int32Array:
        """The item of each interaction: int32 (nnz,)."""
        return np.ascontiguousarray(self.matrix.indices, np.int32)

    @cached_property
    def weights(self) -> Float32Array | None:
        """The weight of each interaction: float32 (nnz,)."""
        return np.ascontiguousarray(self.matrix.data, np.float32) if self.weighted else None

    @cached_property
    def starts(self) -> AnyArray:
        """Where each user's interactions begin, and the last one's end: int64 (n_users + 1,)."""
        return self.matrix.indptr.astype(np.int64)

    @cached_property
    def liked(self) -> Int32Array:
        """The items, in ascending order within each user: int32 (nnz,)."""
        if self.matrix.has_sorted_indices:
            return self.items
        return np.ascontiguousarray(self.matrix.sorted_indices().indices, np.int32)

    @cached_property
    def of_users(self) -> AnyArray:
        """How many interactions each user has: int64 (n_users,)."""
        return np.diff(self.starts)

    @cached_property
    def of_items(self) -> AnyArray:
        """How many interactions each item has: int64 (n_items,)."""
        return np.bincount(self.items, minlength=self.matrix.shape[1])


def draw_groups(
    counts: AnyArray, groups: int, generator: np.random.RandomState
) -> tuple[Int32Array, AnyArray]:
    """Draw users or items into groups of about as many interactions each.

    Parameters
    ----------
    counts : int array (n,)
        Interactions of each.
    groups : int
    generator : RandomState

    Returns
    -------
    grouped : int32 array (n,)
        The users or items, one group after the other.
    bounds : int64 array (groups + 1,)
        Where each group begins in `grouped`, and where the last one ends.
    """
    grouped = generator.permutation(len(counts)).astype(np.int32)
    ends = np.cumsum(counts[grouped])
    shares = ends[-1] * np.arange(1, groups) / groups
    inner = np.searchsorted(ends, shares) + 1 if groups > 1 else []
    return grouped, np.concatenate([[0], inner, [len(counts)]]).astype(np.int64)


def settings_of(model: Any) -> dict[str, int | float]:
    """The hyper-parameters of a LightFM model as a task has them, but for regularisation."""
    return {
        "components": model.no_components,
        "padded": _padded_width(model.no_components),
        "max_sampled": model.max_sampled,
        "k": model.k,
        "n": model.n,
        "rate": model.learning_rate,
        "rho": model.rho,
        "epsilon": model.epsilon,
        "loss": LOSSES.index(model.loss),
        "adadelta": int(model.learning_schedule == "adadelta"),
    }


@dataclass(frozen=True)
class Plan:
    """How an epoch is cut into blocks.

    Parameters
    ----------
    users, items : (int32 (n,), int64 (groups + 1,))
        See `draw_groups`.
    seeds : uint32 (groups, groups)
        Of the random numbers of each block, by the group of users and that of items.
    """

    users: tuple[Int32Array, AnyArray]
    items: tuple[Int32Array, AnyArray]
    seeds: AnyArray


def draw_plan(given: Interactions, groups: int, generator: np.random.RandomState) -> Plan:
    """Draw the groups of an epoch and the seeds of its blocks."""
    users = draw_groups(given.of_users, groups, generator)
    items = draw_groups(given.of_items, groups, generator)
    return Plan(users, items, draw_seeds(groups**2, generator).reshape(groups, groups))


def draw_seeds(blocks: int, generator: np.random.RandomState) -> AnyArray:
    """A seed for each block, as LightFM draws that of an epoch: uint32 (blocks,)."""
    return generator.randint(0, np.iinfo(np.int32).max, size=blocks).astype(np.uint32)


def has_item_groups(model: Any) -> bool:
    """Whether a LightFM model with features of items may be trained by groups of items."""
    return model.loss in ("warp", "bpr") and model.learning_schedule == "adagrad"


class Kernel:
    """Trains the arrays of a LightFM model in place.

    Parameters
    ----------
    model : lightfm.LightFM
        Its vectors, accumulators, hyper-parameters and random generator are used as LightFM uses
        them; the arrays are laid out anew when they are not yet as the kernel needs them.
    interactions : Interactions
    user_features, item_features : csr_matrix float32 or None
        None for an identity.
    groups : int
        Of users and of items, drawn anew for each epoch, which is trained in groups x groups
        blocks. Negatives are drawn from the items of the block. The result depends on it; with one
        it is LightFM's. More than one without features, and not with the loss warp-kos.
    item_groups : int
        Of items, drawn anew for each epoch and trained one after the other; 0 for epochs as
        LightFM's. While a group is trained, the features of each of its items are one, their sum;
        what it has learned is handed on to them at the end, at the rates that each would have had.
        Negatives are drawn from the group. With features of items, the losses warp and bpr, and
        adagrad alone.
    width : int
        The longest vectors used, in bits; the result does not depend on it, as long as the
        processor multiplies and adds in one step (FMA).
    """

    def __init__(
        self,
        model: Any,
        interactions: Interactions,
        user_features: sp.csr_matrix | None = None,
        item_features: sp.csr_matrix | None = None,
        groups: int = 1,
        width: int = WIDEST,
        item_groups: int = 0,
    ) -> None:
        library = load_kernel()
        if library is None:
            raise OSError("the training kernel was not compiled")
        whole = user_features is None and item_features is None and model.loss != "warp-kos"
        if groups > 1 and not whole:
            raise ValueError("features and the loss warp-kos are trained in one block")
        if item_groups and (item_features is None or not has_item_groups(model)):
            raise ValueError(
                "groups of items are for features of items, the losses warp and bpr, and adagrad"
            )
        self.item_groups = item_groups
        self._function, self._width = library.recsys_train_epoch, width
        self.groups = groups
        self._model, self.interactions = model, interactions
        self._features = {
            side: None if matrix is None else _rows(matrix)
            for side, matrix in (("user", user_features), ("item", item_features))
        }

    def run_epoch(self, threads: int = 1) -> float:
        """One pass over the interactions.

        In one block they are drawn and shuffled as LightFM does with one thread.

        Parameters
        ----------
        threads : int
            How many train blocks side by side; the result does not depend on it.

        Returns
        -------
        float
            CPU seconds of the threads beside the caller's.

        Raises
        ------
        MemoryError
            If there is not enough memory for a few vectors.
        """
        model, given, groups = self._model, self.interactions, self.groups
        generator = model.random_state
        order = np.empty(given.matrix.nnz, np.int32)
        users: tuple[AnyArray | None, AnyArray | None] = None, None
        items, seeds = users, np.zeros(1, np.uint32)
        if groups > 1:
            plan = draw_plan(given, groups, generator)
            users, items, seeds = plan.users, plan.items, plan.seeds
        elif self.item_groups:
            items = draw_groups(given.of_items, self.item_groups, generator)
            seeds = draw_seeds(self.item_groups, generator)
        else:
            order[:] = np.arange(len(order))
            generator.shuffle(order)
            if model.loss != "logistic":  # LightFM draws no seed where it draws no items
                seeds = draw_seeds(1, generator)
        seconds = np.zeros(1)
        n_users, n_items = given.matrix.shape
        task = Task(
            users=self._side("user", n_users, model.user_alpha, *users),
            items=self._side("item", n_items, model.item_alpha, *items),
            interactions=len(order),
            user=address(given.users),
            item=address(given.items),
            weight=address(given.weights),
            order=address(order),
            starts=address(given.starts),
            liked=address(given.liked),
            groups=groups,
            item_groups=self.item_groups,
            **settings_of(model),
            seeds=address(seeds),
            seconds=address(seconds),
        )
        if len(order) and not self._function(ctypes.byref(task), self._width, threads):
            raise MemoryError("no memory for a vector")
        return float(seconds[0])

    def _side(
        self, side: str, rows: int, alpha: float, grouped: AnyArray | None, bounds: AnyArray | None
    ) -> Side:
        names = ("embeddings", "embedding_gradients", "embedding_momentum")
        momentum = self._model.learning_schedule == "adadelta"
        vectors: list[int | None] = []
        for name in names if momentum else names[:2]:
            array = getattr(self._model, f"{side}_{name}")
            if not _is_padded(array):
                found, array = array, padded(*array.shape)
                array[:] = found
                setattr(self._model, f"{side}_{name}", array)
            vectors.append(address(array))
        biases = [
            address(getattr(self._model, f"{side}_{name}"))
            for name in ("biases", "bias_gradients", "bias_momentum")
        ]
        features = self._features[side] or (None, None, None)
        return Side(
            *(*vectors, None)[:3],
            *biases,
            len(getattr(self._model, f"{side}_biases")),
            rows,
            address(grouped),
            address(bounds),
            *map(address, features),
            alpha,
        )


def _rows(matrix: sp.csr_matrix) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Features of each row: starts int64 (n + 1,), columns int32 and weights float32 (nnz,)."""
    return (
        matrix.indptr.astype(np.int64),
        np.ascontiguousarray(matrix.indices, np.int32),
        np.ascontiguousarray(matrix.data, np.float32),
    )
