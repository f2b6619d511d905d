"""Opening: the champion of a server, as the options of `recsys serve` describe it.

Nothing is imported before it is opened: the process that watches over workers does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys.serving.champion import Champion


def open_champion(
    name: str,
    only: Path | None = None,
    likes: Path | None = None,
    rules: Path | None = None,
    answers: Path | None = None,
    lists: Mapping[str, Path] | None = None,
    every: float = 30.0,
    named: str = "champion",
) -> Champion:
    """The champion of a server.

    Parameters
    ----------
    name : str
        The registered model.
    only : Path or None
        A file of the items that may be shown; see `recsys.recommend.availability`.
    likes : Path or None
        The file of fresh likes, by default data/likes/NAME.sqlite.
    rules : Path or None
        A file of house rules; see `recsys.recommend.house_rules`.
    answers : Path or None
        The file of what was shown, by default data/answers/NAME.sqlite.
    lists : mapping of str to Path, or None
        Files of lists that questions may name, as that of `only`.
    every : float
        Seconds between two looks at which version is champion.
    named : str
        The alias or the number of the version that answers.
    """
    from recsys.base.config import default_answers_log, default_likes_log
    from recsys.data.answers_log import AnswersLog
    from recsys.data.likes_log import LikesLog
    from recsys.recommend.availability import WatchedAvailability
    from recsys.recommend.house_rules import WatchedRules
    from recsys.serving.champion import Champion

    return Champion(
        name,
        every=every,
        availability=None if only is None else WatchedAvailability(only),
        fresh=LikesLog(likes or default_likes_log(name)),
        rules=None if rules is None else WatchedRules(rules),
        answers=AnswersLog(answers or default_answers_log(name)),
        lists={name: WatchedAvailability(file) for name, file in (lists or {}).items()},
        named=named,
    )
