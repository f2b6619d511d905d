"""Fuzzing: targets that take bytes, run by atheris (`make fuzz`) and, shortly, by the tests."""
