"""Spreading: one fit over the workers of a cluster, to the bytes of the fit on one machine.

Each epoch is the same blocks that threads train (`recsys.models.kernel`), with the same seeds. A
worker has a group of users, with their likes, and groups of items travel from one to the next.
After each epoch all parts are saved where every worker can read them, and the next epoch is cut
from there: so a lost worker costs an epoch at most, and no worker holds the vectors of all users.

R. Gemulla, E. Nijkamp, P. J. Haas and Y. Sismanis, Large-scale matrix factorization with
distributed stochastic gradient descent, KDD 2011.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recsys.base.arrays import AnyArray
from recsys.base.errors import StorageError, WorkerError
from recsys.models.kernel import Interactions, Plan, draw_plan, settings_of
from recsys.models.parts import (
    LEARNED,
    GroupLikes,
    Part,
    Rules,
    likes_of_group,
    places,
    train_block,
)
from recsys.store.exchange import Exchange

SIDES = ("user", "item")
LIKES = ("starts", "items", "weights")
ATTEMPTS = 4
"""Times that an epoch is begun, if workers are lost, before the fit ends."""


class Cluster(Protocol):
    """Runs functions in other processes; what they return stays there until it is asked for."""

    @property
    def lost(self) -> tuple[type[Exception], ...]:
        """What is raised where a worker is lost and what it held cannot be made again."""

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        """Start a call; returns a reference to its result, or to each of so many results.

        References among the arguments are replaced by what they refer to. Calls of a like `place`,
        from 0 to below 1, had best be made by the same worker.
        """

    def get(self, references: Sequence[Any]) -> list[Any]:
        """Wait for results; raises what a call raised."""


@dataclass(frozen=True)
class Spread:
    """Where a fit is spread.

    Parameters
    ----------
    cluster : Cluster
    exchange : Exchange
        Reached by all workers; each call of `train` has a location of its own below it.
    folder : Path or None
        On this machine, where the vectors of users are in files while no part of them is used;
        None to hold them in memory.
    """

    cluster: Cluster
    exchange: Exchange
    folder: Path | None = None

    def train(self, model: Any, given: Interactions, groups: int, epochs: int) -> None:
        """Train a LightFM model in place, see `spread_epochs`."""
        place = self.exchange.below(f"fit-{uuid.uuid4().hex}")
        spread_epochs(model, given, groups, epochs, self.cluster, place)


def spread_epochs(
    model: Any,
    given: Interactions,
    groups: int,
    epochs: int,
    cluster: Cluster,
    exchange: Exchange,
) -> None:
    """Train a LightFM model in place for some epochs, in groups x groups blocks on a cluster.

    Parameters
    ----------
    model : lightfm.LightFM
        With its initial vectors. Its random generator draws the groups.
    given : Interactions
    groups, epochs : int
    cluster : Cluster
    exchange : Exchange
        A location of this fit alone that all workers reach. It is cleared in the end.

    Raises
    ------
    WorkerError
        If workers are lost again and again.
    """
    names = _names(model)
    rules = Rules(
        settings_of(model), model.user_alpha, model.item_alpha, groups, given.matrix.shape[1]
    )
    likes = dict(zip(LIKES, (given.starts, given.items, given.weights), strict=True))
    try:
        for name, array in likes.items():
            if array is not None:
                exchange.save_array(f"likes-{name}.npy", array)
        for epoch in range(1, epochs + 1):
            plan = draw_plan(given, groups, model.random_state)
            _save_plan(exchange, epoch, plan)
            if epoch == 1:
                _save_model(exchange, model, names, plan)
            _train_epoch(cluster, exchange, rules, epoch)
            for side in SIDES:
                for group in range(groups):
                    exchange.drop(_part_name(epoch - 1, side, group))
        if epochs:
            _load_model(exchange, model, names, epochs, groups)
    finally:
        exchange.clear()


def _names(model: Any) -> list[str]:
    momentum = model.learning_schedule == "adadelta"
    return [name for name in LEARNED if momentum or not name.endswith("momentum")]


def _train_epoch(cluster: Cluster, exchange: Exchange, rules: Rules, epoch: int) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            cluster.get(submit_epoch(cluster, exchange, rules, epoch))
            return
        except cluster.lost as fault:
            if attempt == ATTEMPTS:
                raise WorkerError(
                    f"workers were lost in epoch {epoch}, {ATTEMPTS} times",
                    "workers that live until a fit ends",
                    "give each worker more memory, or more workers, then start the run again",
                ) from fault


def submit_epoch(cluster: Cluster, exchange: Exchange, rules: Rules, epoch: int) -> list[Any]:
    """Start all calls of an epoch.

    Parameters
    ----------
    cluster : Cluster
    exchange : Exchange
        With the parts of the epoch before.
    rules : Rules
    epoch : int
        From 1.

    Returns
    -------
    list of references
        To what the calls that save its parts return.
    """
    groups = rules.groups
    parts: dict[str, list[Any]] = {}
    for side in SIDES:
        cut = [
            _several(
                cluster.call(
                    cut_part,
                    exchange,
                    epoch,
                    side,
                    group,
                    groups,
                    results=groups,
                    place=group / groups,
                )
            )
            for group in range(groups)
        ]
        parts[side] = [
            cluster.call(
                join_part,
                exchange,
                epoch,
                side,
                group,
                *(one[group] for one in cut),
                place=group / groups,
            )
            for group in range(groups)
        ]
    # Neighbouring groups of users are one worker's, so items leave it only behind the last of them.
    likes = [
        cluster.call(read_likes, exchange, epoch, group, place=group / groups)
        for group in range(groups)
    ]
    for turn in range(groups):
        for group in range(groups):
            items = (group + turn) % groups
            parts["user"][group], parts["item"][items] = cluster.call(
                train_one,
                exchange,
                epoch,
                rules,
                parts["user"][group],
                parts["item"][items],
                likes[group],
                (group, items, turn),
                results=2,
                place=group / groups,
            )
    return [
        cluster.call(save_part, exchange, epoch, side, group, part, place=group / groups)
        for side in SIDES
        for group, part in enumerate(parts[side])
    ]


def _several(references: Any) -> list[Any]:
    return list(references) if isinstance(references, list | tuple) else [references]


# ---- what workers do ----


def cut_part(exchange: Exchange, epoch: int, side: str, group: int, groups: int) -> list[Part]:
    """A part of the epoch before, cut by the groups of this one."""
    part = _load_part(exchange, epoch - 1, side, group)
    of_rows = places(*_side_of(_load_plan(exchange, epoch), side))[0][part.rows]
    return [
        Part(part.rows[chosen], {name: array[chosen] for name, array in part.arrays.items()})
        for chosen in (of_rows == number for number in range(groups))
    ]


def join_part(exchange: Exchange, epoch: int, side: str, group: int, *cut: Part) -> Part:
    """The part of a group, from what each part of the epoch before has of it."""
    grouped, bounds = _side_of(_load_plan(exchange, epoch), side)
    members = grouped[bounds[group] : bounds[group + 1]]
    rows = np.concatenate([one.rows for one in cut])
    order = np.argsort(rows)[np.argsort(np.argsort(members))]
    arrays = {
        name: np.concatenate([one.arrays[name] for one in cut])[order] for name in cut[0].arrays
    }
    return Part(members, arrays)


def read_likes(exchange: Exchange, epoch: int, group: int) -> GroupLikes:
    """What the users of a group like."""
    starts, items, weights = _load_likes(exchange)
    return likes_of_group(starts, items, weights, _load_plan(exchange, epoch), group)


def train_one(
    exchange: Exchange,
    epoch: int,
    rules: Rules,
    users: Part,
    items: Part,
    likes: GroupLikes,
    block: tuple[int, int, int],
) -> tuple[Part, Part]:
    """Train a block, given by its group of users, that of items, and its turn in the epoch."""
    group, place, turn = block
    seed = int(_load_plan(exchange, epoch).seeds[group, place])
    return train_block(rules, users, items, likes, place, seed, turn == rules.groups - 1)


def save_part(exchange: Exchange, epoch: int, side: str, group: int, part: Part) -> None:
    """Save a part at the end of an epoch."""
    exchange.save(_part_name(epoch, side, group), {"rows": part.rows, **part.arrays})


# ---- what is in the exchange ----


def _part_name(epoch: int, side: str, group: int) -> str:
    return f"epoch-{epoch}-{side}s-{group}.npz"


def _load_part(exchange: Exchange, epoch: int, side: str, group: int) -> Part:
    arrays = _found(exchange, _part_name(epoch, side, group))
    return Part(arrays.pop("rows"), arrays)


def _found(exchange: Exchange, name: str) -> dict[str, AnyArray]:
    arrays = exchange.load(name)
    if arrays is None:
        raise _unreached(exchange, name)
    return arrays


Likes = tuple[AnyArray, AnyArray, AnyArray | None]
"""Of all users: where those of each begin, items, and weights if there are any."""


def _load_likes(exchange: Exchange) -> Likes:
    # Files of a folder are open no longer than a call: some file systems cannot remove open ones.
    return _fetch_likes(exchange) if exchange.folder is None else _open_likes(exchange)


@lru_cache(maxsize=2)
def _fetch_likes(exchange: Exchange) -> Likes:
    return _open_likes(exchange)


def _open_likes(exchange: Exchange) -> Likes:
    starts, items, weights = (exchange.load_array(f"likes-{name}.npy") for name in LIKES)
    if starts is None or items is None:
        raise _unreached(exchange, "likes")
    return starts, items, weights


def _unreached(exchange: Exchange, name: str) -> StorageError:
    return StorageError(
        f"no {name} at {exchange.address}",
        "an exchange that all workers reach",
        "set fit.exchange to a folder or URL that every machine can read and write",
    )


def _save_plan(exchange: Exchange, epoch: int, plan: Plan) -> None:
    arrays = {"user": plan.users[0], "user_bounds": plan.users[1], "seeds": plan.seeds}
    arrays |= {"item": plan.items[0], "item_bounds": plan.items[1]}
    exchange.save(f"plan-{epoch}.npz", arrays)


@lru_cache(maxsize=2)
def _load_plan(exchange: Exchange, epoch: int) -> Plan:
    found = _found(exchange, f"plan-{epoch}.npz")
    users, items = ((found[side], found[f"{side}_bounds"]) for side in SIDES)
    return Plan(users, items, found["seeds"])


def _side_of(plan: Plan, side: str) -> tuple[AnyArray, AnyArray]:
    return plan.users if side == "user" else plan.items


def _save_model(exchange: Exchange, model: Any, names: Sequence[str], plan: Plan) -> None:
    """The parts that the first epoch begins with, in groups of its own."""
    for side in SIDES:
        grouped, bounds = _side_of(plan, side)
        for group in range(len(bounds) - 1):
            rows = grouped[bounds[group] : bounds[group + 1]]
            arrays = {name: getattr(model, f"{side}_{name}")[rows] for name in names}
            save_part(exchange, 0, side, group, Part(rows, arrays))


def _load_model(
    exchange: Exchange, model: Any, names: Sequence[str], epoch: int, groups: int
) -> None:
    for side in SIDES:
        for group in range(groups):
            part = _load_part(exchange, epoch, side, group)
            for name in names:
                getattr(model, f"{side}_{name}")[part.rows] = part.arrays[name]
