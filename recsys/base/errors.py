"""Errors shown to people: what was found, what was expected, what to do."""

from __future__ import annotations

from recsys.base.redaction import one_line

# The exit code of a run whose challenger was held: nothing failed, but it deserves a look.
HELD_EXIT = 7


class RecsysError(Exception):
    """An error that the person running the pipeline can correct, as one line.

    Parameters
    ----------
    found : str
        What was found, with the name of the file, column, option or version.
    expected : str
        What was expected instead.
    action : str
        What to do.
    """

    exit_code = 3

    def __init__(self, found: str, expected: str = "", action: str = "") -> None:
        # Names in messages come from data, which may have line breaks, megabytes and passwords.
        # Prefect passes exceptions between processes by their text, as the only argument.
        self.found, self.expected, self.action = map(one_line, (found, expected, action))
        super().__init__(self.found, self.expected, self.action)

    def __str__(self) -> str:
        parts = self.found, self.expected and f"expected {self.expected}", self.action
        return "; ".join(part for part in parts if part)


class InputError(RecsysError):
    """The data cannot be used as it is."""


class ConfigError(RecsysError):
    """An option or the configuration file is wrong."""

    exit_code = 2


class NotFoundError(RecsysError):
    """A user, item, tag, data set or version does not exist."""

    exit_code = 4


class RegistryError(RecsysError):
    """The tracking server or model registry gives no valid answer."""

    exit_code = 5


class OutageError(RegistryError):
    """The tracking server or model registry does not answer at the moment."""


class UnavailableError(RecsysError):
    """A server of answers cannot be reached, or does not answer in time."""

    exit_code = 5


class DownloadError(RecsysError):
    """A data set could not be downloaded completely."""

    exit_code = 6


class StorageError(RecsysError):
    """A disk is full, or a folder may not be written to."""

    exit_code = 8


class WorkerError(RecsysError):
    """Processes that trained were killed again and again."""

    exit_code = 1
