"""Ranking: factor matrices, exact top-k over a catalogue, metrics."""
