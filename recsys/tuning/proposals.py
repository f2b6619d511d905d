"""Proposals: what a new trial tries, drawn, a step from the best, or a surrogate's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.stats.qmc import Halton
from skopt import Optimizer
from skopt.space import Space
from threadpoolctl import threadpool_limits

from recsys.tuning.space import Configuration, SearchSpace

Turn = Literal["given", "draw", "near", "ask"]
TURNS: tuple[Turn, ...] = ("near", "near", "draw", "near", "near", "ask")
# The standard deviation of a step, as a share of each range on its scale: drawn between these for
# each range apart, for nobody knows how wide the good part is, or how far off along one of them.
STEPS = (0.015, 0.2)


class Proposer:
    """Given configurations, then draws, then steps, draws and questions in turn.

    What is good takes up some hundredths of a space, and a surrogate of forecasts is misled where
    these err alike, as they do for strong regularisation, which pays late. So four trials in six
    are steps from the best trial so far, mostly small, now and then large along one range, which
    need no forecast to climb (the local search of Hutter, Hoos and Leyton-Brown, Sequential
    Model-Based Optimization for General Algorithm Configuration, 2011, who mix in draws lest it be
    stuck); one is the next point of a Halton sequence in the likely part of the space, which
    leaves no gap for long; one is asked of the surrogate, in the whole space.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    first : sequence of configurations
        What is tried before anything else.
    initial : int
        So many trials, given ones among them, come before the first step and question.
    """

    def __init__(
        self, space: SearchSpace, seed: int, first: Sequence[Configuration], initial: int
    ) -> None:
        self._space, self._seed, self._initial = space, seed, initial
        self._given = [space.point(configuration) for configuration in first]
        self._whole, self._likely = Space(space.dimensions()), Space(space.likely())
        for box in (self._whole, self._likely):
            box.set_transformer("normalize")

    def turn(self, number: int) -> Turn:
        """How trial `number` comes by its configuration."""
        if number < len(self._given):
            return "given"
        past = number - max(self._initial, len(self._given))
        return "draw" if past < 0 else TURNS[past % len(TURNS)]

    def propose(
        self,
        told: Sequence[tuple[list[Any], float]],
        number: int,
        best: Configuration | None = None,
    ) -> Configuration:
        """The configuration of trial `number`.

        Parameters
        ----------
        told : sequence of (point, float)
            The trials so far, and the values they promise; read where it is a question's turn.
        number : int
            All chance hangs on it and the seed, so that a study that is resumed asks the same.
        best : configuration or None
            The one to step from; without it, a step is a draw.
        """
        turn = self.turn(number)
        if turn == "given":
            return self._space.configuration(self._given[number])
        if turn == "ask":
            return self._space.configuration(self._ask(told, number))
        if turn == "near" and best is not None:
            return self._space.configuration(self._near(best, number))
        return self._space.configuration(self._draw(number))

    def _draw(self, number: int) -> list[Any]:
        sequence = Halton(self._likely.transformed_n_dims, scramble=True, seed=self._seed)
        sequence.fast_forward(sum(self.turn(n) == "draw" for n in range(number)))
        return list(self._likely.inverse_transform(sequence.random(1))[0])

    def _near(self, best: Configuration, number: int) -> list[Any]:
        """A step along every range at once; choices stay as they are, being far from each other."""
        place = np.asarray(self._whole.transform([self._space.point(best)]), float)
        chance = np.random.default_rng([self._seed, number])
        low, high = np.log(STEPS)
        width = np.exp(chance.uniform(low, high, place.shape))
        step = chance.normal(0, width, place.shape)
        return list(self._whole.inverse_transform(np.clip(place + step, 0, 1))[0])

    def _ask(self, told: Sequence[tuple[list[Any], float]], number: int) -> list[Any]:
        # Told anew each time, for the forecasts change as curves grow.
        with threadpool_limits(1):
            optimizer = Optimizer(
                self._space.dimensions(),
                base_estimator="GP",
                n_initial_points=0,
                acq_func="EI",
                random_state=self._seed + number,
            )
            points = [point for point, _ in told]
            values = np.array([value for _, value in told])
            # Expected improvement has a least improvement, of a hundredth in whatever the values
            # are in: in deviations it is a small step, as precision it would be a leap.
            optimizer.tell(points, (-values / (values.std() or 1.0)).tolist())
            return list(optimizer.ask())
