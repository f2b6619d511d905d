"""Evaluate: winner and baselines measured once on the test holdout."""

from __future__ import annotations

from recsys.pipeline import evaluation
from tasks.caching import cached_task

evaluate = cached_task(evaluation.evaluate)
