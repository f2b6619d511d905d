"""All flow tests report to the one Prefect server of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tests.fixtures.prefect_harness  # noqa: F401  before Prefect
from tests.fixtures.killing import undisturbed_run
from tests.fixtures.processes import FinishedRun, Run
from tests.fixtures.shared import made_once


@pytest.fixture(scope="session", autouse=True)
def reporting(prefect_server: None) -> None:
    """Have the server running before the first flow."""


@pytest.fixture(scope="package")
def reporting_processes(prefect_server: None) -> Iterator[None]:
    """Have processes that are started report to the same server."""
    from prefect.settings import PREFECT_API_URL

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", PREFECT_API_URL.value() or "")
        yield


@pytest.fixture(scope="package")
def known(reporting_processes: None) -> FinishedRun:
    """A run that nothing disturbed, which others are compared with; the workers share it."""
    run = Run(made_once("undisturbed", undisturbed_run))
    return FinishedRun.read(0, run.output, run.errors)
