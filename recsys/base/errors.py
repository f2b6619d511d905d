"""The errors a person sees: what was found, what was expected, what to do."""

from __future__ import annotations

from recsys.base.redaction import one_line

# The exit code of a run whose challenger was held: all went well, and somebody should look.
HELD_EXIT = 7


class RecsysError(Exception):
    """Something the person running the pipeline can mend, said in one line.

    Parameters
    ----------
    found : str
        What was met, with the name of the file, column, option or version.
    expected : str
        What would have been right.
    action : str
        What to do now.
    """

    exit_code = 3

    def __init__(self, found: str, expected: str = "", action: str = "") -> None:
        # Names in a message come from data: a line break, a megabyte or a password stays out of it.
        # Prefect hands an exception on, between processes, as its whole text in one argument.
        self.found, self.expected, self.action = map(one_line, (found, expected, action))
        super().__init__(self.found, self.expected, self.action)

    def __str__(self) -> str:
        parts = self.found, self.expected and f"expected {self.expected}", self.action
        return "; ".join(part for part in parts if part)


class InputError(RecsysError):
    """The data cannot be used as they are."""


class ConfigError(RecsysError):
    """An option or the configuration file is wrong."""

    exit_code = 2


class NotFoundError(RecsysError):
    """A user, item, tag, dataset or version that is not there."""

    exit_code = 4


class RegistryError(RecsysError):
    """The tracking server or model registry does not answer as one."""

    exit_code = 5


class OutageError(RegistryError):
    """The tracking server or model registry does not answer now; later it may."""


class DownloadError(RecsysError):
    """A dataset could not be fetched whole."""

    exit_code = 6


class StorageError(RecsysError):
    """A disk that is full, or a folder that may not be written to."""

    exit_code = 8
