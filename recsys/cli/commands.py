"""The commands by name; the module of each is imported when that command is run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from recsys.base.errors import RecsysError
from recsys.base.proxies import spare_loopback

# Typer has no name of its own for it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_NUMBER = re.compile(r"-\d")


class _WithIds(TyperCommand):
    """A command among whose arguments may be ids that begin with a dash."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `-7` for an id, as no option begins with a digit; say how others are given."""
        takes_ids = any(one.param_type_name == "argument" for one in self.params)
        if takes_ids and any(map(_NUMBER.match, args)):
            ctx.ignore_unknown_options = True
        try:
            return super().parse_args(ctx, args)
        except _UsageError as fault:
            option = getattr(fault, "option_name", None)
            if takes_ids and isinstance(option, str):
                said = f"an id that begins with a dash goes to the end, behind --: -- {option}"
                fault.message = f"{fault.message}; {said}"  # type: ignore[attr-defined]
            raise


@dataclass(frozen=True)
class Command:
    """A command that is imported when it is run, or when its own help is asked for.

    Parameters
    ----------
    module : str
    function : str
        In the module; its signature becomes the command's arguments and options.
    summary : str
        What the help says of it. It stands here so that a list of all commands imports none.
    """

    module: str
    function: str
    summary: str

    def load(self, name: str) -> Any:
        """Import the function and make a command of that name from it."""
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        function = getattr(import_module(self.module), self.function)
        app.command(name, help=self.summary, cls=_WithIds)(function)
        return typer.main.get_command(app)


COMMANDS: Mapping[str, Command] = {
    "datasets": Command("recsys.cli.datasets", "list_named", "List the named data sets."),
    "settings": Command(
        "recsys.cli.settings",
        "settings",
        "Print every setting with its default, as a TOML file to start from.",
    ),
    "inspect": Command(
        "recsys.cli.inspection",
        "inspect",
        "Show what files look like, and write a configuration that reads them.",
    ),
    "split": Command(
        "recsys.cli.splitting",
        "split",
        "Write the split of a configuration as files of likes, for others to measure on.",
    ),
    "recommend": Command(
        "recsys.cli.questions",
        "recommend",
        "Items for a user, or for a user never seen who likes some items or tags.",
    ),
    "rank": Command(
        "recsys.cli.questions",
        "rank",
        "Items of your own, in the order in which a user likes them.",
    ),
    "similar": Command(
        "recsys.cli.questions", "similar", "Items like an item, or like a new one with some tags."
    ),
    "tag": Command(
        "recsys.cli.questions", "tag", "Items sorted by tags, whether they have them or not."
    ),
    "suggest-tags": Command(
        "recsys.cli.questions", "suggest_tags", "Tags that an item could have and has not."
    ),
    "similar-tags": Command("recsys.cli.questions", "similar_tags", "Tags like a tag."),
    "audience": Command(
        "recsys.cli.questions",
        "audience",
        "Users most likely to like an item that they have not liked yet.",
    ),
    "explain": Command(
        "recsys.cli.questions",
        "explain",
        "A user's score for an item, taken apart into what adds up to it.",
    ),
    "index": Command(
        "recsys.cli.models", "index", "Build the approximate index of a large model; needs faiss."
    ),
    "serve": Command(
        "recsys.cli.servers",
        "serve",
        "Answer questions over HTTP with the champion, whichever it becomes.",
    ),
    "online": Command(
        "recsys.cli.online",
        "online",
        "Show which of two versions is better with real users, as far as that is known.",
    ),
    "rules": Command(
        "recsys.cli.rules",
        "rules",
        "Check house rules against a model, and show lists with them.",
    ),
    "expect": Command(
        "recsys.cli.expectations",
        "expect",
        "Check what is expected of a model's answers, on any version.",
    ),
    "forget": Command(
        "recsys.cli.forgetting",
        "forget",
        "Delete what is stored of users, and leave them out of all that comes.",
    ),
    "gallery": Command(
        "recsys.cli.servers", "gallery", "Look at what the champion has learned, in a browser."
    ),
    "curve": Command(
        "recsys.cli.models",
        "curve",
        "One configuration's learning curve, as the founding article draws it, logged in MLflow.",
    ),
}
"""The library's own commands, in the order of the help."""


class _OnDemand(TyperGroup):
    """A group whose commands are only named and described until one of them is asked for."""

    deferred: Mapping[str, Command] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the arguments name, then resolve them as usual."""
        if args and args[0] in self.deferred:
            self.commands[args[0]] = self.deferred[args[0]].load(args[0])
        return super().resolve_command(ctx, args)


def command_line(commands: Mapping[str, Command] = COMMANDS) -> Callable[[], Any]:
    """The program `recsys` with some commands.

    Parameters
    ----------
    commands : mapping of str to Command
        In the order in which the help lists them.

    Returns
    -------
    callable
        Reads `sys.argv`, runs what that says, and raises SystemExit.
    """
    app = typer.Typer(
        name="recsys",
        cls=_OnDemand,
        help="Retrain and ask 'people who liked this' recommenders.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    group = typer.main.get_command(app)
    assert isinstance(group, _OnDemand)
    group.deferred = commands
    group.commands.update(
        {name: TyperCommand(name, help=command.summary) for name, command in commands.items()}
    )
    return group


def _options(
    debug: Annotated[bool, typer.Option(help="show tracebacks of errors")] = False,
) -> None:
    if debug:
        os.environ["RECSYS_DEBUG"] = "1"


def run(program: Callable[[], Any]) -> int:
    """Run a program; an error that its user can correct becomes one line and an exit code."""
    spare_loopback()
    try:
        program()
    except RecsysError as fault:
        if os.environ.get("RECSYS_DEBUG"):
            raise
        print(f"error: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


def main() -> None:
    """Run the library's own commands, without those that start flows."""
    sys.exit(run(command_line()))
