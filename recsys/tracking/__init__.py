"""Tracking: MLflow runs of studies and trials, and the model registry."""
