"""Fit: the winner's configuration trained on everything, written as a portable bundle."""

from __future__ import annotations

from recsys.pipeline import fitting
from tasks.caching import cached_task

fit = cached_task(fitting.fit)
