"""Serving: the registered model for programs, over MLflow or HTTP."""
