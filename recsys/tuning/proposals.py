"""Proposals: the configuration of a new trial, known, drawn, near the best, or from a surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.tuning.space import Configuration, SearchSpace

Source = Literal["known", "draw", "near", "surrogate"]
# Four trials in six are steps from the best, which need no forecast to improve; see
# docs/experiments/proposals.md.
CYCLE: tuple[Source, ...] = ("near", "near", "draw", "near", "near", "surrogate")
# The standard deviation of a step as a share of each range on its scale, drawn between these for
# each range apart: it is not known how wide the good part is along any of them.
STEPS = (0.015, 0.2)


class Proposer:
    """Proposes known configurations, then draws, then steps, draws and questions in turn.

    A draw is the next point of a Halton sequence in the likely part of the space. A step starts at
    the best trial so far, mostly small and now and then large along one range. A question goes to
    a Gaussian process over the whole space (expected improvement).

    Parameters
    ----------
    space : SearchSpace
    seed : int
    first : sequence of configurations
        Known to do well elsewhere; proposed before any other.
    initial : int
        So many trials, known ones among them, come before the first step and question.

    References
    ----------
    F. Hutter, H. H. Hoos and K. Leyton-Brown, Sequential Model-Based Optimization for General
    Algorithm Configuration, LION 2011: local search from the best, mixed with random draws.
    """

    def __init__(
        self, space: SearchSpace, seed: int, first: Sequence[Configuration], initial: int
    ) -> None:
        self._space, self._seed, self._initial = space, seed, initial
        self._known = [space.point(configuration) for configuration in first]
        from skopt.space import Space  # takes long to import

        self._whole, self._likely = Space(space.dimensions()), Space(space.likely())
        for box in (self._whole, self._likely):
            box.set_transformer("normalize")

    def source(self, number: int) -> Source:
        """Where the configuration of a trial comes from, by the trial's number."""
        if number < len(self._known):
            return "known"
        past = number - max(self._initial, len(self._known))
        return "draw" if past < 0 else CYCLE[past % len(CYCLE)]

    def propose(
        self,
        observations: Sequence[tuple[list[Any], float]],
        number: int,
        best: Configuration | None = None,
        tried: Sequence[Configuration] = (),
    ) -> Configuration:
        """The configuration of a trial, one that was not tried where there are few.

        Parameters
        ----------
        observations : sequence of (point, float)
            The trials so far and the precision to expect of them; used by the surrogate only.
        number : int
            Of the trial. It and the seed determine every random choice, so a study that is
            resumed proposes the same.
        best : configuration or None
            The one to step from; without it, a draw takes the place of a step.
        tried : sequence of configurations
            Of the trials so far.
        """
        found = self._proposed(observations, number, best)
        if found not in tried or self._space.every is None:
            return found
        left = [one for one in self._space.every if one not in tried]
        return left[int(np.random.default_rng([self._seed, number]).integers(len(left)))]

    def _proposed(
        self,
        observations: Sequence[tuple[list[Any], float]],
        number: int,
        best: Configuration | None,
    ) -> Configuration:
        source = self.source(number)
        if source == "known":
            return self._space.configuration(self._known[number])
        if source == "surrogate":
            return self._space.configuration(self._ask(observations, number))
        if source == "near" and best is not None:
            return self._space.configuration(self._near(best, number))
        return self._space.configuration(self._draw(number))

    def _draw(self, number: int) -> list[Any]:
        from scipy.stats.qmc import Halton  # takes long to import

        sequence = Halton(self._likely.transformed_n_dims, scramble=True, seed=self._seed)
        sequence.fast_forward(sum(self.source(n) == "draw" for n in range(number)))
        return list(self._likely.inverse_transform(sequence.random(1))[0])

    def _near(self, best: Configuration, number: int) -> list[Any]:
        """A step along every range at once; choices stay, as they have no neighbours."""
        place = np.asarray(self._whole.transform([self._space.point(best)]), float)
        generator = np.random.default_rng([self._seed, number])
        low, high = np.log(STEPS)
        width = np.exp(generator.uniform(low, high, place.shape))
        step = generator.normal(0, width, place.shape)
        return list(self._whole.inverse_transform(np.clip(place + step, 0, 1))[0])

    def _ask(self, observations: Sequence[tuple[list[Any], float]], number: int) -> list[Any]:
        from skopt import Optimizer  # takes long to import

        # A new surrogate each time, as the expected values change while curves grow.
        with threadpool_limits(1):
            optimizer = Optimizer(
                self._space.dimensions(),
                base_estimator="GP",
                n_initial_points=0,
                acq_func="EI",
                random_state=self._seed + number,
            )
            points = [point for point, _ in observations]
            values = np.array([value for _, value in observations])
            # The acquisition asks for an improvement of at least 0.01 in the unit of the values:
            # little in standard deviations, very much in precision.
            optimizer.tell(points, (-values / (values.std() or 1.0)).tolist())
            return list(optimizer.ask())
