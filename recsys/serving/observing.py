"""Observing: what a server records of its answers and of itself, by configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the process that watches over workers records nothing
    from recsys.base.config import Online
    from recsys.online.online_log import OnlineLog

LogFormat = Literal["lines", "json"]


@dataclass(frozen=True)
class Observing:
    """What a server is to record.

    Parameters
    ----------
    online : Online or None
        The comparison of two versions; None, or its mode `off`: nothing is recorded of anybody.
    log : {"lines", "json"} or None
        How requests are logged; None: they are not.
    """

    online: Online | None = None
    log: LogFormat | None = None

    def online_log(self, model: str) -> OnlineLog | None:
        """The log of answers and outcomes, if there is to be one."""
        if self.online is None or self.online.mode == "off":
            return None
        from recsys.online.online_log import configured_log

        return configured_log(self.online, model)
