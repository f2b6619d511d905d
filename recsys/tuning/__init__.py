"""Tuning: search space, proposals, trials, stopping, the study and who trains it."""
