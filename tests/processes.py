"""Training runs as processes of their own, started fast and killed with -9 wherever they are."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.planted import write_planted

# Forked from a process that has imported everything already: real processes, without the seconds
# of importing.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.processes_preloaded"])

SETTINGS: dict[str, Any] = {
    "data.likes": "in/likes.psv",
    "data.features": "in/feats.psv",
    "search.trials": 4,
    "search.max_epochs": 40,
    "search.batch": 2,
    # So that a search lasts long enough to be killed in, and to be cut off from its server.
    "search.space.initialisation": "random",
    "evaluate.als_trials": 1,
    "evaluate.bootstrap_samples": 50,
    "gate.bootstrap_samples": 50,
}
ARGUMENTS = ["train", "--json-lines", *(f"--set={n}={value}" for n, value in SETTINGS.items())]


@dataclass
class Ended:
    """What a run said before it ended, and how it ended."""

    code: int | None
    events: list[dict[str, Any]]
    errors: str

    @classmethod
    def read(cls, code: int | None, said: Path, errors: Path) -> Ended:
        """From the files that a run wrote its two outputs to; either may never have come to be."""
        lines = said.read_text().splitlines() if said.exists() else []
        # The last line of a process that was killed may be half a line.
        events = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]
        return cls(code, events, errors.read_text() if errors.exists() else "")

    def stages(self) -> dict[str, bool]:
        """Finished stages by name, and whether they were reused."""
        done = [event for event in self.events if event["event"] == "StageDone"]
        # Every run reports, whatever it made.
        return {e["stage"]: e["reused"] for e in done if e["stage"] != "report"}

    def trials(self) -> dict[int, tuple[Any, ...]]:
        """Trials that ended, with everything that must be the same again."""
        return {
            e["number"]: (e["precision"], e["epochs"], e["reason"], str(e["configuration"]))
            for e in self.events
            if e["event"] == "TrialDone" and e["status"] != "paused"
        }

    def seconds(self) -> dict[tuple[int, int], float]:
        """CPU seconds by trial and epoch: they show what was trained and what was recalled."""
        told = [e for e in self.events if e["event"] == "TrialDone"]
        return {(e["number"], e["epochs"]): e["seconds"] for e in told}

    @property
    def outcome(self) -> dict[str, Any]:
        """The winner, its metrics and baselines, and the content of every stage."""
        assert self.events, self.errors
        last = self.events[-1]
        assert last["event"] == "Outcome", self.errors
        counts = {stage: dict(found) for stage, found in last["counts"].items()}
        counts["evaluate"].pop("seconds")
        # Where the report lies is named after the run in MLflow.
        return {**last, "counts": counts, "report": Path(last["report"]).name}


@dataclass
class Run:
    """A training run in a folder.

    Parameters
    ----------
    folder : Path
        With the likes in `in/`; everything is written below it.
    arguments : list of str
        Of the command line, behind the usual ones.
    said : str
        The file in the folder that holds what it says.
    humble : bool
        It has to obey the rights of files, even if it is root's.
    """

    folder: Path
    arguments: list[str] = field(default_factory=list)
    said: str = "said"
    humble: bool = False

    def __post_init__(self) -> None:
        self.process = FORKS.Process(target=_run, args=(self,), daemon=True)

    def start(self) -> Run:
        self.output.unlink(missing_ok=True)
        self.process.start()
        return self

    @property
    def output(self) -> Path:
        return self.folder / self.said

    @property
    def errors(self) -> Path:
        return self.output.with_suffix(".errors")

    def wait(self, seconds: float | None = None) -> Ended | None:
        """How it ended; None if it goes on after so long."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            return None
        return Ended.read(self.process.exitcode, self.output, self.errors)

    def ended(self) -> Ended:
        found = self.wait()
        assert found is not None
        return found

    def kill(self) -> Ended:
        self.process.kill()
        return self.ended()

    def told(self, count: int, event: str = "StageDone") -> bool:
        """Whether it has told of so many events of a kind."""
        text = self.output.read_text() if self.output.exists() else ""
        return text.count(f'"event": "{event}"') >= count


def _run(run: Run) -> None:
    os.chdir(run.folder)
    for path, number in ((run.output, 1), (run.errors, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    if run.humble:
        _give_up_capabilities()
    sys.argv = ["recsys", *ARGUMENTS, *run.arguments]
    from flows.cli import main

    main()


def _give_up_capabilities() -> None:
    """Do without what lets root write where nobody may (capset of capabilities(7))."""
    version, own = 0x20080522, 0
    header, none = (ctypes.c_uint32 * 2)(version, own), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


def planted_folder(folder: Path) -> Path:
    """A folder to run in, with planted likes and features."""
    write_planted(folder / "in", users=60, likes=10)
    return folder
