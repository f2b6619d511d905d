"""The portfolio: configurations that did well on other data, for a search to begin with."""

from __future__ import annotations

from recsys.tuning.space import Configuration


def _configuration(no_components: int, learning_rate: float, alpha: float) -> Configuration:
    """A configuration under every name that a space may have for regularisation."""
    return {
        "no_components": no_components,
        "learning_rate": learning_rate,
        "alpha": alpha,
        "user_alpha": alpha,
        "item_alpha": alpha,
        "max_sampled": 10,
    }


# By the data on which they were found. What is best on one data set is seldom best on another, but
# close to it, so a few of them are worth many random trials; see docs/experiments/portfolio.md.
# M. Feurer, J. T. Springenberg and F. Hutter, Initializing Bayesian Hyperparameter Optimization via
# Meta-Learning, AAAI 2015.
PORTFOLIO: dict[str, Configuration] = {
    # The founding article's optimum after 250 trials on Sketchfab's likes.
    "sketchfab": _configuration(104, 0.0913, 2.354e-4),
    "citeulike-a": _configuration(192, 0.07, 2.9e-4),
    "sample": _configuration(128, 0.045, 3.5e-4),
}
