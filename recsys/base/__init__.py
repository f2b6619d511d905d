"""Foundations: errors, configuration, events, retries, redaction; no subject of recommending."""
