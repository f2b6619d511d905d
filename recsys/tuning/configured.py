"""Configured spaces: what each search of a configuration may try, checked before data are read."""

from __future__ import annotations

from recsys.base.config import Article, Config, Search
from recsys.base.dimensions import Range, Space
from recsys.tuning.space import Configuration, SearchSpace

# Searched where weights differ: from all alike to as they are.
WEIGHT_SPACE: Space = {"weight_power": Range(low=0.0, high=1.0)}

ARTICLE_TRAINER: Configuration = {"trainer": "lightfm"}


def plain_space(search: Search, weighted: bool) -> SearchSpace:
    """The space of trials without features.

    Parameters
    ----------
    search : Search
    weighted : bool
        Whether the weights of interactions differ, so that how much they count is searched.

    Raises
    ------
    ConfigError
        See `SearchSpace.from_config`.
    """
    weights = WEIGHT_SPACE if weighted else {}
    return SearchSpace.from_config(
        {"strategy": "none", **_trainer(search), **weights, **search.space}
    )


def joint_space(search: Search) -> SearchSpace:
    """The space of trials with features trained jointly; errors as `plain_space`."""
    joint = {**_trainer(search), **search.space, **search.joint_space, "strategy": "joint"}
    return SearchSpace.from_config(joint)


def article_space(options: Article, *, features: bool) -> SearchSpace:
    """The space of one of the article's two searches; errors as `plain_space`."""
    space, strategy = (options.feature_space, "joint") if features else (options.space, "none")
    return SearchSpace.from_config({**ARTICLE_TRAINER, **space, "strategy": strategy})


def require_sound_spaces(config: Config) -> None:
    """Check the spaces of all searches that a run may make.

    Whether there are features, and weights that differ, shows only when data are read.

    Raises
    ------
    ConfigError
        If a name is not a hyper-parameter, a value cannot be trained with, or a condition names no
        dimension.
    """
    if config.protocol == "article":
        article_space(config.article, features=False)
        if config.article.feature_calls:
            article_space(config.article, features=True)
        return
    plain_space(config.search, weighted=True)
    if config.search.joint_trials:
        joint_space(config.search)


def _trainer(search: Search) -> Configuration:
    """What trains and in how many blocks, where it is not what configurations have by default."""
    if search.trainer == "lightfm":
        return {"trainer": search.trainer}
    return {} if search.blocks == 1 else {"blocks": search.blocks}
