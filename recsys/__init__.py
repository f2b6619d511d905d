"""Retraining and serving of "people who liked this" recommenders, usable without any server."""
