"""All flow tests report to the one Prefect server of the tests."""

from __future__ import annotations

import pytest

import tests.fixtures.prefect_harness  # noqa: F401  before Prefect


@pytest.fixture(scope="session", autouse=True)
def reporting(prefect_server: None) -> None:
    """Have the server running before the first flow."""
