"""Products on disk: stages, their checksums, locks, journals, exchange between processes."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.store.checksums import checksum as checksum
    from recsys.store.checksums import file_checksums as file_checksums
    from recsys.store.checksums import find_damage as find_damage
    from recsys.store.exchange import Exchange as Exchange
    from recsys.store.exchange import fetch_stage as fetch_stage
    from recsys.store.journal import Journal as Journal
    from recsys.store.locks import Lock as Lock
    from recsys.store.locks import locked as locked
    from recsys.store.locks import try_lock as try_lock
    from recsys.store.stages import Outcome as Outcome
    from recsys.store.stages import Stage as Stage
    from recsys.store.stages import StageFunction as StageFunction
    from recsys.store.stages import Timed as Timed
    from recsys.store.stages import load_stage as load_stage
    from recsys.store.stages import stage as stage

__all__ = [
    "Exchange",
    "Journal",
    "Lock",
    "Outcome",
    "Stage",
    "StageFunction",
    "Timed",
    "checksum",
    "fetch_stage",
    "file_checksums",
    "find_damage",
    "load_stage",
    "locked",
    "stage",
    "try_lock",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".checksums": ["checksum", "file_checksums", "find_damage"],
        ".exchange": ["Exchange", "fetch_stage"],
        ".journal": ["Journal"],
        ".locks": ["Lock", "locked", "try_lock"],
        ".stages": ["Outcome", "Stage", "StageFunction", "Timed", "load_stage", "stage"],
    },
)
