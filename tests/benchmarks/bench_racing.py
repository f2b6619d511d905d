"""Racing: whether the best trials are chosen more often by several holdouts, and at what cost.

Simulated studies, whose truth is known, and ml-latest-small (where RECSYS_BENCH_DATA says), where
the truth is taken from further holdouts of all users that chose nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float64Array
from recsys.base.config import Search
from recsys.data.folds import further_search_folds
from recsys.data.kcore import kcore
from recsys.data.splits import held_out, split
from recsys.tuning.closed_forms import BLENDABLE
from recsys.tuning.contenders import LIGHTFM, Races
from recsys.tuning.problems import Problem
from recsys.tuning.racing import race
from recsys.tuning.study import study_strategies
from recsys.tuning.trials import TrialResult
from tests.benchmarks.bench_neighbours import interactions_of

HELD = 5  # likes held out of a user


@dataclass(frozen=True)
class World:
    """Simulated trials of which the truth is known.

    Parameters
    ----------
    users, trials : int
    spread : float
        Standard deviation of the trials' true precision, relative.
    """

    users: int
    trials: int
    spread: float

    def study(self, generator: np.random.Generator) -> tuple[Float64Array, Float64Array]:
        """The trials' true means (trials,), and what each has for every user (trials, users)."""
        easy = generator.beta(0.8, 4.5, self.users)  # a mean of 0.15, as on ml-latest-small
        skill = generator.normal(0, self.spread, (self.trials, 1))
        taste = generator.normal(0, 0.3, (self.trials, self.users))
        chance = np.clip(easy * (1 + skill + taste), 0, 1)
        return chance.mean(axis=1), chance

    def holdout(self, chance: Float64Array, generator: np.random.Generator) -> Float64Array:
        """Precision at 5 of some trials with every user: what is easy for one is so for others."""
        shape = (len(chance), self.users, HELD)
        own = generator.random(shape) < 0.3
        drawn = np.where(own, generator.random(shape), generator.random(shape[1:]))
        return (drawn < chance[:, :, None]).mean(axis=2)


def simulated(studies: int, contenders: int, further: int) -> None:
    """What is lost to the best trial, and how many fits it took, for several kinds of studies."""
    print("| users | spread | lost by one holdout | by the race | by all holdouts | "
          "the better one chosen, one: race: all | fits, race: all |")  # fmt: skip
    print("| ---: | ---: | ---: | ---: | ---: | --- | --- |")
    for users, spread in ((140, 0.02), (140, 0.05), (140, 0.1), (500, 0.05), (3500, 0.05)):
        world = World(users, 30, spread)
        rows = np.array(
            [
                _one(world, contenders, further, np.random.default_rng([7, n]))
                for n in range(studies)
            ]
        )
        lost, best, fits = rows[:, :3].mean(axis=0), rows[:, 3:6].mean(axis=0), rows[:, 6].mean()
        shown = " | ".join(f"{value:.2%}" for value in lost)
        chosen = " : ".join(f"{value:.0%}" for value in best)
        print(f"| {users} | {spread:.0%} | {shown} | {chosen} | "
              f"{fits:.1f} : {contenders * further} |")  # fmt: skip


def _one(
    world: World, contenders: int, further: int, generator: np.random.Generator
) -> list[float]:
    truth, chance = world.study(generator)
    first = world.holdout(chance, generator).mean(axis=1)
    chosen = np.argsort(-first)[:contenders]
    later = [world.holdout(chance[chosen], generator) for _ in range(further)]
    fits = 0

    def measure(places: Sequence[int], number: int) -> list[Float64Array]:
        nonlocal fits
        fits += len(places)
        return [later[number][place] for place in places]

    raced = chosen[race(first[chosen].tolist(), measure, further).winner]
    means = first[chosen] + sum(values.mean(axis=1) for values in later)
    everywhere = chosen[int(np.argmax(means))]
    found = (chosen[0], raced, everywhere)
    best = truth[chosen].max()
    lost = [float(1 - truth[one] / best) for one in found]
    return [*lost, *(float(truth[one] == best) for one in found), float(fits)]


def real(seeds: Sequence[int], options: argparse.Namespace) -> None:
    """The same on ml-latest-small, a row for each seed and model."""
    interactions = kcore(interactions_of("ml-latest-small"), 5, 5).interactions
    counts = np.bincount(interactions.user, minlength=len(interactions.users))
    print("| seed | model | contenders | truth of one holdout's best | of the race's | fits | "
          "CPU s of the study | of the race |")  # fmt: skip
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    changes: list[float] = []
    for seed in seeds:
        parts = split(interactions, seed=seed)
        problem = Problem(parts.train, parts.validation, seed=seed)
        further = [
            Problem(fold.known, fold.heldout, seed=seed)
            for fold in further_search_folds(parts, options.folds - 1, seed)
        ]
        search = Search(
            trials=options.trials, max_epochs=options.max_epochs,
            item_to_item_trials=options.item_to_item_trials,
        )  # fmt: skip
        start = time.process_time()
        study = study_strategies(problem, search, seed)
        spent = time.process_time() - start
        trials = [trial for trial in study.trials if trial.finishes is None]
        races = Races(problem, lambda further=further: further, options.contenders)  # type: ignore[misc]
        with threadpool_limits(1):
            races.run(trials, (LIGHTFM, *BLENDABLE))
        # Users whose likes chose nothing, a fifth of them in each holdout.
        chose = np.flatnonzero(np.diff(parts.validation.indptr))
        others = np.setdiff1d(np.flatnonzero(counts >= 2 * HELD), chose)
        judges = []
        for turn in range(options.rounds):
            drawn = np.random.default_rng([seed, 31, turn]).permutation(others)
            for number, users in enumerate(np.array_split(drawn, 4)):
                chance = np.random.default_rng([seed, 32, turn, number]).random(len(interactions))
                held = held_out(interactions, np.sort(users).astype(np.int32), False, chance, HELD)
                known, asked = (interactions.where(one).matrix() for one in (~held, held))
                judges.append(Problem(known, asked, seed=seed))
        for model in dict.fromkeys(one.model for one in races.found):
            raced = [one for one in races.found if one.model == model]
            winner = raced[0].trial
            leader = max(raced, key=lambda one: (one.first, -one.trial)).trial
            truth = {
                number: _truth(judges, next(t for t in trials if t.number == number))
                for number in {winner, leader}
            }
            fits = sum(one.holdouts - 1 for one in raced)
            changes.append(truth[winner] / truth[leader] - 1)
            print(f"| {seed} | {model} | {len(raced)} | {truth[leader]:.4f} | "
                  f"{truth[winner]:.4f} | {fits} | {spent:.0f} | {races.seconds[model]:.0f} |",
                  flush=True)  # fmt: skip
    changed = [change for change in changes if change]
    error = np.std(changes, ddof=1) / np.sqrt(len(changes)) if len(changes) > 1 else np.nan
    print(f"\nthe race changed {len(changed)} of {len(changes)} choices, "
          f"{sum(change > 0 for change in changed)} for the better; on average by "
          f"{np.mean(changes):+.2%} (standard error {error:.2%})")  # fmt: skip


def _truth(judges: Sequence[Problem], trial: TrialResult) -> float:
    """Precision at 5 with the users of all judges, fitted anew without what they hold out."""
    races = Races(judges[0], None, 1)
    fresh = replace(trial, factors=None)
    with threadpool_limits(1):
        return float(np.concatenate([races.precisions(one, fresh) for one in judges]).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--folds", type=int, default=Search().folds)
    parser.add_argument("--contenders", type=int, default=Search().contenders)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--item-to-item-trials", type=int, default=8)
    parser.add_argument("--max-epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    simulated(options.studies, options.contenders, options.folds - 1)
    folder = os.environ.get("RECSYS_BENCH_DATA")
    if folder and (Path(folder) / "ml-latest-small").is_dir():
        print()
        real(range(options.seeds), options)


if __name__ == "__main__":
    main()
