"""Threshold: the k-core of users and items with enough likes."""

from __future__ import annotations

from recsys.pipeline import preparation
from tasks.caching import cached_task

threshold = cached_task(preparation.threshold)
