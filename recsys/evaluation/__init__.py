"""Evaluation: holdouts compared, cold start, tags, lists and churn, the gate."""
