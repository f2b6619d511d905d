"""The command line of the library: data sets, settings, and questions to a trained model."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.cli.commands import COMMANDS as COMMANDS
    from recsys.cli.commands import Command as Command
    from recsys.cli.commands import command_line as command_line
    from recsys.cli.commands import main as main
    from recsys.cli.commands import run as run

__all__ = ["COMMANDS", "Command", "command_line", "main", "run"]
__getattr__, __dir__ = lazily(
    __name__, {".commands": ["COMMANDS", "Command", "command_line", "main", "run"]}
)
