"""The questions that a bundle answers, a room for each kind; NumPy and PyArrow alone."""
