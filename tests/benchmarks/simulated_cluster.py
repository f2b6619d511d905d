"""A cluster that trains nothing: when the calls of a spread fit would run, and what would travel.

`recsys.models.spreading` submits the calls of an epoch to it as to Dask's, so the schedule is the
fit's own. Then every call is timed by events. A scheduler handles one call after the other as their
arguments are made; what a worker has not got is sent to it over the links of both machines, while
the worker trains something else; a worker runs its calls one at a time, of those that could run the
one that was submitted first, as Dask does.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recsys.base.arrays import IntArray
from recsys.models.clusters import worker_of
from recsys.models.kernel import Plan
from recsys.models.parts import places
from recsys.models.spreading import SIDES


@dataclass(frozen=True)
class Sizes:
    """How much there is of what an epoch moves and trains.

    Parameters
    ----------
    rows : dict of str to float (groups, groups)
        Under "user" and "item": how many of each part of the epoch before are in each group.
    likes : float (groups, groups)
        Interactions, by the group of their users and that of their items.
    row_bytes : int
        Of a user or an item: its vector, bias, their accumulators, and its number.
    """

    rows: dict[str, Any]
    likes: Any
    row_bytes: int

    @staticmethod
    def expected(users: int, items: int, likes: int, groups: int, factors: int) -> Sizes:
        """Those of groups that are drawn, on average."""
        every = {"user": users, "item": items}
        square = np.ones((groups, groups)) / groups**2
        return Sizes(
            {side: count * square for side, count in every.items()},
            likes * square,
            row_bytes(factors),
        )

    @staticmethod
    def of(before: Plan, plan: Plan, users: IntArray, items: IntArray, factors: int) -> Sizes:
        """Those of an epoch's plan after that of the epoch before, by the interactions."""
        groups = len(plan.seeds)
        new, old = ([places(*side)[0] for side in (one.users, one.items)] for one in (plan, before))
        both = zip(SIDES, old, new, strict=True)
        return Sizes(
            {side: _table(first, second, groups) for side, first, second in both},
            _table(new[0][users], new[1][items], groups),
            row_bytes(factors),
        )

    def in_group(self, side: str, group: int) -> float:
        """Users or items of a group."""
        return float(self.rows[side][:, group].sum())


def row_bytes(factors: int) -> int:
    """Bytes of a row of a part under adagrad."""
    return 8 * (factors + 1) + 4


def _table(rows: IntArray, columns: IntArray, size: int) -> Any:
    return np.bincount(rows * size + columns, minlength=size**2).reshape(size, size).astype(float)


@dataclass(frozen=True)
class Rates:
    """What things cost.

    Parameters
    ----------
    like : float
        Seconds to train an interaction.
    row : float
        Seconds to copy a user or an item into and out of a block.
    cut : float
        Seconds to cut, join or save a user or an item.
    place : float
        Seconds to find the group of one of all users or items, in each call that needs all.
    call : float
        Seconds of the scheduler for a call or a part of its result.
    bandwidth : float
        Bytes a second that a machine sends, and as many that it receives.
    latency : float
        Seconds until something that is sent arrives, besides.
    storage : float
        Bytes a second that a worker reads from where parts are saved, and writes there.
    hop : float
        Seconds from the end of a call until the next one can begin, if nothing else is to do.
    """

    like: float
    row: float
    cut: float
    place: float
    call: float
    bandwidth: float
    latency: float
    storage: float
    hop: float = 0.0


@dataclass(eq=False)
class Value:
    """Something that a call makes: its bytes, and by whom it is needed yet."""

    bytes: float
    maker: Call
    needed: int = 0
    arrives: dict[int, float] = field(default_factory=dict)


@dataclass(eq=False)
class Call:
    """A call that was submitted."""

    number: int
    worker: int
    seconds: float
    arguments: list[Value]
    results: int
    kind: str
    waits: int = 0
    asks: list[Call] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)


@dataclass
class Simulated:
    """A `recsys.models.spreading.Cluster` whose calls take simulated time.

    Parameters
    ----------
    sizes : Sizes
        Of the epoch that is simulated next.
    rates : Rates
    workers : int
    machines : int or None
        That have as many workers each; None for one a worker. Nothing travels within a machine.
    cores : int or None
        Calls that run at the same time on all machines together; None for one a worker.

    Attributes
    ----------
    seconds : float
        When the epoch ended.
    moved : dict of str to float
        Bytes between workers, by what they are: "user" or "item" parts that were cut, "blocks" of
        items in training.
    between : float
        Those of them that left a machine.
    stored : float
        Bytes that were saved, and read again.
    busy : list of float
        Seconds that each worker computed.
    peak : float
        The most bytes that a worker held of parts and interactions at a time.
    calls : int
        Calls and parts of results, as the scheduler counts them.
    """

    sizes: Sizes
    rates: Rates
    workers: int
    machines: int | None = None
    cores: int | None = None
    lost: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        self._submitted: list[Call] = []
        self.seconds = self.between = self.stored = self.peak = 0.0
        self.moved: defaultdict[str, float] = defaultdict(float)
        self.busy = [0.0] * self.workers
        self.calls = 0

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        """Note a call; what it makes has the sizes of the real one's results."""
        seconds, made, stored, kind = getattr(self, f"_{function.__name__}")(*arguments)
        values = [one for one in arguments if isinstance(one, Value)]
        worker = worker_of(place, self.workers)
        call = Call(len(self._submitted), worker, seconds, values, results, kind)
        self.stored += stored
        call.seconds += stored / self.rates.storage
        call.made = [Value(size, call) for size in made]
        for maker in {id(one.maker): one.maker for one in values}.values():
            maker.asks.append(call)
            call.waits += 1
        for one in values:
            one.needed += 1
        self._submitted.append(call)
        return call.made if results > 1 else call.made[0]

    def get(self, references: Sequence[Any]) -> list[Any]:
        """Let the time pass in which all calls run."""
        for one in references:
            one.needed += 1
        _Run(self).to_the_end(self._submitted)
        self._submitted = []
        return list(references)

    # ---- what each call of recsys.models.spreading takes and makes ----

    def _cut_part(self, _: Any, __: int, side: str, group: int, ___: int) -> Any:
        rows, all_rows = self.sizes.rows[side][group], self.sizes.rows[side].sum()
        found = rows * self.sizes.row_bytes
        seconds = self.rates.cut * rows.sum() + self.rates.place * all_rows
        return seconds, found, found.sum(), side

    def _join_part(self, _: Any, __: int, side: str, group: int, *___: Value) -> Any:
        rows = self.sizes.in_group(side, group)
        return self.rates.cut * rows, [rows * self.sizes.row_bytes], 0.0, "blocks"

    def _read_likes(self, _: Any, __: int, group: int) -> Any:
        likes = self.sizes.likes[group].sum()
        seconds = self.rates.place * (self.sizes.rows["item"].sum() + likes)
        return seconds, [8 * likes], 0.0, "likes"

    def _train_one(
        self, _: Any, __: int, ___: Any, users: Value, items: Value, ____: Value, block: Any
    ) -> Any:
        group, place, _____ = block
        rows = sum(self.sizes.in_group(*one) for one in zip(SIDES, (group, place), strict=True))
        seconds = self.rates.like * self.sizes.likes[group, place] + self.rates.row * rows
        return seconds, [users.bytes, items.bytes], 0.0, "blocks"

    def _save_part(self, _: Any, __: int, side: str, group: int, part: Value) -> Any:
        rows = self.sizes.in_group(side, group)
        return self.rates.cut * rows, [0.0], part.bytes, "saved"


class _Run:
    """Events from the first call to the last."""

    def __init__(self, cluster: Simulated) -> None:
        self._cluster, self._rates = cluster, cluster.rates
        self._machines = cluster.machines or cluster.workers
        self._events: list[tuple[float, int, Callable[..., None], Any]] = []
        self._count = itertools.count()
        self._scheduler = 0.0
        self._sends: defaultdict[int, float] = defaultdict(float)
        self._receives: defaultdict[int, float] = defaultdict(float)
        self._waiting: defaultdict[int, list[tuple[int, Call]]] = defaultdict(list)
        self._running: set[int] = set()
        self._held = [0.0] * cluster.workers

    def to_the_end(self, calls: Sequence[Call]) -> None:
        """Run all calls."""
        for call in calls:
            if not call.waits:
                self._at(0.0, self._schedule, call)
        now = 0.0
        while self._events:
            now, _, step, call = heapq.heappop(self._events)
            step(now, call)
        self._cluster.seconds = now

    def _at(self, time: float, step: Callable[..., None], call: Any) -> None:
        heapq.heappush(self._events, (time, next(self._count), step, call))

    def _schedule(self, now: float, call: Call) -> None:
        """The scheduler takes the call when it has done with the others."""
        handled = 1 + (call.results if call.results > 1 else 0)
        self._cluster.calls += handled
        self._scheduler = max(now, self._scheduler) + handled * self._rates.call
        self._at(self._scheduler + self._rates.hop, self._fetch, call)

    def _fetch(self, now: float, call: Call) -> None:
        """What the worker has not got is sent to it."""
        there = [self._arrival(now, value, call.worker) for value in call.arguments]
        self._at(max(there, default=now), self._queue, call)

    def _arrival(self, now: float, value: Value, worker: int) -> float:
        holder = value.maker.worker
        if holder == worker:
            return now
        if worker not in value.arrives:
            self._cluster.moved[value.maker.kind] += value.bytes
            self._hold(worker, value.bytes)
            value.arrives[worker] = self._sent(now, value.bytes, holder, worker)
        return value.arrives[worker]

    def _sent(self, now: float, size: float, holder: int, worker: int) -> float:
        source, target = (self._machine(one) for one in (holder, worker))
        if source == target and self._machines < self._cluster.workers:
            return now
        self._cluster.between += size
        start = max(now, self._sends[source], self._receives[target])
        end = start + size / self._rates.bandwidth
        self._sends[source] = self._receives[target] = end
        return end + self._rates.latency

    def _machine(self, worker: int) -> int:
        return worker * self._machines // self._cluster.workers

    def _queue(self, now: float, call: Call) -> None:
        heapq.heappush(self._waiting[call.worker], (call.number, call))
        self._start(now)

    def _start(self, now: float) -> None:
        """Idle workers begin the first of their calls, if a core is free."""
        cores = self._cluster.cores or self._cluster.workers
        idle = {w: q for w, q in self._waiting.items() if q and w not in self._running}
        # Whoever waits for a core longest is whose call was submitted first.
        for worker, queue in sorted(idle.items(), key=lambda one: one[1][0][0]):
            if len(self._running) == cores:
                return
            _, call = heapq.heappop(queue)
            self._running.add(worker)
            self._hold(worker, sum(one.bytes for one in call.made))
            self._at(now + call.seconds, self._end, call)

    def _end(self, now: float, call: Call) -> None:
        self._running.discard(call.worker)
        self._cluster.busy[call.worker] += call.seconds
        for value in call.arguments:
            value.needed -= 1
        for value in (*call.arguments, *call.made):
            if value.needed == 0:
                for holder in {value.maker.worker, *value.arrives}:
                    self._hold(holder, -value.bytes)
        for asking in call.asks:
            asking.waits -= 1
            if not asking.waits:
                self._at(now, self._schedule, asking)
        self._start(now)

    def _hold(self, worker: int, size: float) -> None:
        self._held[worker] += size
        self._cluster.peak = max(self._cluster.peak, self._held[worker])
