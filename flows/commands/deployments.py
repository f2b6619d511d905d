"""Commands for servers and deployments: up, down, worker, deploy and trigger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import say
from flows.quiet import silence
from recsys.cli.options import AsJson
from recsys.cli.settings import parse_settings

if TYPE_CHECKING:
    from flows.trigger import Triggered


def up(
    prefect_port: Annotated[int, typer.Option(help="of the Prefect server")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="of MLflow")] = 5000,
) -> None:
    """Start the servers and a worker on this machine, and deploy."""
    # Not silenced: the servers, and the runs of the worker, would inherit that they log nothing.
    from flows import local

    local.up(Path.cwd(), prefect_port=prefect_port, mlflow_port=mlflow_port, report=print)
    print(f"logs are in {local.FOLDER}; recsys down ends all of it")


def down() -> None:
    """End what `up` has started."""
    from flows import local

    local.down(Path.cwd(), report=print)


def worker(
    pool: Annotated[str, typer.Option(help="of prefect.yaml's deployments")] = "recsys",
    name: Annotated[str | None, typer.Option(help="of the worker, in Prefect")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="of runs at a time")] = None,
) -> None:
    """Take the runs of deployments, a process for each, until it is told to end."""
    # Not silenced: the runs would inherit that they log nothing.
    from flows import worker as prefect_worker

    prefect_worker.work(pool, name, limit)


def deploy(
    alert: Annotated[
        list[str] | None,
        typer.Option(
            help="where runs that are held, failed, shrunken, late, silent or drifted are told: "
            "https://…, mailto:… or block:TYPE/NAME; also given again"
        ),
    ] = None,
    no_alerts: Annotated[bool, typer.Option("--no-alerts", help="tell nobody any more")] = False,
) -> None:
    """Register the deployments of prefect.yaml, their queues and automations."""
    silence()
    from flows import deploy as deployments

    alerts = [] if no_alerts else alert
    for name in deployments.deploy(Path.cwd(), alerts=alerts):
        print(f"deployed {name}")
    if alerts is not None:
        print(f"alerts go to {len(alerts)} place{'' if len(alerts) == 1 else 's'}")


def trigger(
    name: Annotated[str, typer.Argument(help="of the deployment, such as nightly")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", help="of the flow, as in --param config.search.trials=4"),
    ] = None,
    wait: Annotated[bool, typer.Option(help="until the run is over")] = True,
    seconds: Annotated[float | None, typer.Option(help="at most; the run itself goes on")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a run of a deployment, and end with its exit code if it was waited for."""
    given = parse_settings(parameters or [])
    silence()
    from flows import trigger as runs

    def show(run: Triggered) -> None:
        if not as_json:
            waits = f"waits for {run.waits_for}" if run.waits_for else ""
            message = f" ({run.message or waits})" if run.message or waits else ""
            print(f"{run.name}: {run.state}{message}", flush=True)

    found = runs.trigger(name, given, wait=wait, seconds=seconds, report=show)
    say({**asdict(found), "exit_code": found.exit_code}, found.url, as_json)
    if wait and not found.over:
        raise typer.Exit(runs.TIMEOUT_EXIT)
    raise typer.Exit(found.exit_code)
