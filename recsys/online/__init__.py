"""Online: two versions compared with real users, from the log of answers to a verdict."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.online.arms import Comparison as Comparison
    from recsys.online.arms import gets_challenger as gets_challenger
    from recsys.online.comparing import Arm as Arm
    from recsys.online.comparing import OnlineVerdict as OnlineVerdict
    from recsys.online.comparing import compare_online as compare_online
    from recsys.online.comparing import find_comparison as find_comparison
    from recsys.online.exporting import export_log as export_log
    from recsys.online.interleaving import team_draft as team_draft
    from recsys.online.online_log import GivenAnswer as GivenAnswer
    from recsys.online.online_log import OnlineLog as OnlineLog
    from recsys.online.online_log import PostedOutcome as PostedOutcome
    from recsys.online.online_log import configured_log as configured_log
    from recsys.online.online_log import open_log as open_log
    from recsys.online.sequential import Change as Change
    from recsys.online.sequential import change_of as change_of
    from recsys.online.sequential import days_until as days_until
    from recsys.online.sequential import sample_ratio_p as sample_ratio_p

__all__ = [
    "Arm",
    "Change",
    "Comparison",
    "GivenAnswer",
    "OnlineLog",
    "OnlineVerdict",
    "PostedOutcome",
    "change_of",
    "compare_online",
    "configured_log",
    "days_until",
    "export_log",
    "find_comparison",
    "gets_challenger",
    "open_log",
    "sample_ratio_p",
    "team_draft",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".arms": ["Comparison", "gets_challenger"],
        ".comparing": ["Arm", "OnlineVerdict", "compare_online", "find_comparison"],
        ".exporting": ["export_log"],
        ".interleaving": ["team_draft"],
        ".online_log": ["GivenAnswer", "OnlineLog", "PostedOutcome", "configured_log", "open_log"],
        ".sequential": ["Change", "change_of", "days_until", "sample_ratio_p"],
    },
)
