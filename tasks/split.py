"""Split: likes held out for validation and test, and cold items chosen."""

from __future__ import annotations

from recsys.pipeline import preparation
from tasks.caching import cached_task

split = cached_task(preparation.split)
