"""Commands for whoever operates it: promote, rollback, batch; up, down, deploy, trigger."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows.quiet import calm
from flows.temporary_server import served
from recsys.base.config import load_config
from recsys.base.environment import tracking_uri
from recsys.base.events import listening
from recsys.cli.commands import pairs
from recsys.cli.terminal import Watch
from recsys.tracking.client import require_registry

Model = Annotated[
    str, typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="the registered name")
]
Why = Annotated[str, typer.Option("--why", help="for those who come after you")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def promote(
    version: Annotated[str, typer.Argument(help="the version's number")],
    why: Why,
    model: Model = "sample",
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand, past the gate."""
    registry, who = _registry(model)
    before = registry.promote(version, by=who, why=why)
    replaced = before.number if before is not None and before.number != version else None
    said = f"version {version} of {model} is champion"
    said += f", version {replaced} previous" if replaced else ""
    _announce(registry, version, why)
    _say({"model": model, "champion": version, "previous": replaced}, said, as_json)


def rollback(why: Why, model: Model = "sample", as_json: AsJson = False) -> None:
    """Make the previous champion champion again."""
    registry, who = _registry(model)
    fallen, restored = registry.rollback(by=who, why=why)
    said = f"version {restored.number} of {model} is champion again, instead of {fallen.number}"
    _announce(registry, restored.number, why)
    outcome = {"model": model, "champion": restored.number, "previous": fallen.number}
    _say(outcome, said, as_json)


def batch(
    model: Annotated[str | None, typer.Option("--model", "-m", help="a registered name")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="items a list")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="a TOML file")] = None,
    as_json: AsJson = False,
) -> None:
    """Write items for every user, and items like every item, as Parquet."""
    given: dict[str, Any] = {"tracking.model": model, "batch.n": n}
    chosen = load_config(config, {name: value for name, value in given.items() if value})
    calm()
    # Prefect takes seconds to import; only this command needs it.
    from flows.recommend import recommend

    with nullcontext() if as_json else listening(Watch(Console())), served():
        made = recommend(chosen)
    said = f"{made.users:,} users and {made.items:,} items of {made.model} version {made.version}"
    _say(made.model_dump(), f"{said} in {made.latest}", as_json)


def up(
    prefect_port: Annotated[int, typer.Option(help="of the Prefect server")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="of MLflow")] = 5000,
) -> None:
    """Start a Prefect server, MLflow and a worker on this machine, and deploy."""
    # Not calm: the servers and the runs of the worker would take over that they log nothing.
    from flows import local

    local.up(Path.cwd(), prefect_port=prefect_port, mlflow_port=mlflow_port, told=print)
    print(f"logs are in {local.FOLDER}; recsys down ends all of it")


def down() -> None:
    """End what `recsys up` has started."""
    from flows import local

    local.down(Path.cwd(), told=print)


def deploy() -> None:
    """Tell the Prefect server of the deployments in prefect.yaml, their queues and automations."""
    calm()
    from flows import deploy as deployments

    for name in deployments.deploy(Path.cwd()):
        print(f"deployed {name}")


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
    """Ask for a run of a deployment; by default wait for it and end with its exit code."""
    calm()
    from flows import trigger as runs

    def told(run: runs.Triggered) -> None:
        if not as_json:
            print(
                f"{run.name}: {run.state}{f' ({run.message})' if run.message else ''}", flush=True
            )

    found = runs.trigger(name, pairs(parameters or []), wait=wait, seconds=seconds, told=told)
    _say({**asdict(found), "exit_code": found.exit_code}, found.url, as_json)
    if wait and not found.over:
        raise typer.Exit(runs.TIMEOUT_EXIT)
    raise typer.Exit(found.exit_code)


def _registry(model: str) -> tuple[Any, str]:
    uri = tracking_uri()
    require_registry(uri)
    from recsys.tracking.registry import Registry, whoami

    return Registry(uri, model), whoami()


def _announce(registry: Any, version: str, why: str) -> None:
    """Tell the Prefect server's automations, if there is a server."""
    if not os.environ.get("PREFECT_API_URL"):
        return
    calm()
    # Prefect takes seconds to import.
    from tasks.promote import announce

    settings = {"tracking.uri": registry.uri, "tracking.model": registry.model}
    announce(load_config(None, settings), version, "promoted", [why])


def _say(outcome: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(outcome, indent=1, ensure_ascii=False) if as_json else text)
