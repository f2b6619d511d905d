"""Recommending: the questions that a trained model answers; NumPy and PyArrow alone."""
