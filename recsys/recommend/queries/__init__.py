"""The queries that a bundle answers, a module for each kind; NumPy and PyArrow alone."""
