"""The flows: what runs when, one line a stage."""
