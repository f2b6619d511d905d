"""The program `recsys`: the library's commands, and those that start flows."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from recsys.cli.commands import COMMANDS as OF_THE_LIBRARY
from recsys.cli.commands import Command, command_line, run

OF_FLOWS: Mapping[str, Command] = {
    "promote": Command(
        "flows.commands.registry", "promote", "Make a version champion by hand, past the gate."
    ),
    "rollback": Command(
        "flows.commands.registry", "rollback", "Make the previous champion champion again."
    ),
    "batch": Command(
        "flows.commands.batch",
        "batch",
        "Write items for every user, and items like every item, as Parquet.",
    ),
    "backtest": Command(
        "flows.commands.backtest",
        "backtest",
        "Replay what the pipeline would have chosen at successive points in time.",
    ),
    "up": Command(
        "flows.commands.deployments",
        "up",
        "Start a Prefect server, MLflow and a worker on this machine, and deploy.",
    ),
    "down": Command("flows.commands.deployments", "down", "End what `recsys up` has started."),
    "worker": Command(
        "flows.commands.deployments",
        "worker",
        "Take the runs of deployments, a process for each, until it is told to end.",
    ),
    "deploy": Command(
        "flows.commands.deployments",
        "deploy",
        "Tell the Prefect server of the deployments in prefect.yaml, their queues and automations.",
    ),
    "trigger": Command(
        "flows.commands.deployments",
        "trigger",
        "Ask for a run of a deployment; by default wait for it and end with its exit code.",
    ),
    "doctor": Command(
        "flows.commands.doctor",
        "doctor",
        "Look at everything that a run needs, and say what is wrong and what to do.",
    ),
    "train": Command(
        "flows.commands.training",
        "train",
        "Retrain: likes and tags in, a tuned, measured, registered recommender out.",
    ),
}
"""The commands that start flows or reach a Prefect server, in the order of the help."""

COMMANDS: Mapping[str, Command] = {**OF_THE_LIBRARY, **OF_FLOWS}


def main() -> None:
    """Run the program; the exit code says how it went."""
    sys.exit(run(command_line(COMMANDS)))


if __name__ == "__main__":
    main()
