"""Encode: tags and categories as sparse matrices."""

from __future__ import annotations

from recsys.pipeline import preparation
from tasks.caching import cached_task

encode = cached_task(preparation.encode)
