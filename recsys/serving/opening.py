"""Opening: the champion of a server, as the options of `recsys serve` describe it.

Nothing is imported before it is opened: the process that watches over workers does not answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys.serving.champion import Champion


def open_champion(name: str, only: Path | None = None, likes: Path | None = None) -> Champion:
    """The champion of a server.

    Parameters
    ----------
    name : str
        The registered model.
    only : Path or None
        A file of the items that may be shown; see `recsys.recommend.availability`.
    likes : Path or None
        The file of fresh likes, by default data/likes/NAME.sqlite.
    """
    from recsys.base.config import default_likes_log
    from recsys.data.likes_log import LikesLog
    from recsys.recommend.availability import WatchedAvailability
    from recsys.serving.champion import Champion

    availability = None if only is None else WatchedAvailability(only)
    log = LikesLog(likes or default_likes_log(name))
    return Champion(name, availability=availability, fresh=log)
