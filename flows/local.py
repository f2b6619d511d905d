"""Local: a Prefect server, MLflow and a worker on this machine, started and ended together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from flows.deploy import deploy
from flows.prefect_database import check_prefect_database, starting_alone
from recsys.base.errors import RecsysError

FOLDER = Path("data/output/up")  # logs, and what was started
STARTED = "services.json"
STARTUP = 180  # seconds, on a busy machine
GRACE = 20  # seconds to end by itself
# No server sends telemetry. MLflow's jobs are not used and double the time it takes to start.
SERVER_VARIABLES = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class LocalError(RecsysError):
    """A service could not be started."""

    exit_code = 5


@dataclass(frozen=True)
class Service:
    """A process that was started.

    Parameters
    ----------
    name : str
    pid : int
    created : float
        When, as the system counts it: the process id may have been given to another process since.
    address : str
        Where it is to be found; empty for one that only asks others.
    """

    name: str
    pid: int
    created: float
    address: str = ""

    def process(self) -> psutil.Process | None:
        """The process, if it is still there."""
        try:
            found = psutil.Process(self.pid)
            same = found.create_time() == self.created
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def up(
    folder: Path, *, prefect_port: int, mlflow_port: int, report: Callable[[str], None]
) -> list[Service]:
    """Start what is not running yet, on the loopback, and deploy; what runs already is left.

    Parameters
    ----------
    folder : Path
        The project's.
    prefect_port, mlflow_port : int
    report : callable
        Called with a line for every step.

    Raises
    ------
    LocalError
        If a port is taken, or a service does not come up; what was started is ended again.
    """
    running = {service.name: service for service in _running(folder)}
    prefect, mlflow = (f"http://127.0.0.1:{port}" for port in (prefect_port, mlflow_port))
    for name, port in (("prefect", prefect_port), ("mlflow", mlflow_port)):
        if name not in running:
            _free(name, port)
    if "prefect" not in running:
        check_prefect_database()
        with starting_alone():
            pass  # it starts from a database that is there
    for name, service in running.items():
        report(f"{name} is running already{f' at {service.address}' if service.address else ''}")
    begun: list[Service] = []

    def start(name: str, command: Sequence[str], address: str = "", health: str = "") -> None:
        if name in running:
            return
        begun.append(_start(folder, name, command, f"{prefect}/api", address))
        _remember(folder, [*running.values(), *begun])
        if health:
            _wait(folder, begun[-1], health)
        report(f"{name} is up{f' at {address}' if address else ''}")

    try:
        start("prefect", _prefect(prefect_port), prefect, f"{prefect}/api/health")
        start("mlflow", _mlflow(folder, mlflow_port), mlflow, f"{mlflow}/health")
        report(f"deployed {', '.join(deploy(folder, f'{prefect}/api'))}")
        start("worker", ["flows.cli", "worker", "--name", f"local-{prefect_port}"])
    except BaseException:
        _end(folder, begun)
        raise
    return [*running.values(), *begun]


def down(folder: Path, report: Callable[[str], None]) -> None:
    """End exactly what `up` started, the worker first."""
    running = _running(folder)
    if not running:
        report("nothing was up")
        return
    _end(folder, running)
    for service in reversed(running):
        report(f"{service.name} is down")


def _prefect(port: int) -> list[str]:
    return ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def _mlflow(folder: Path, port: int) -> list[str]:
    (folder / "mlruns").mkdir(exist_ok=True)
    store = f"sqlite:///{(folder / 'mlruns/mlflow.db').resolve()}"
    artifacts = (folder / "mlruns/artifacts").resolve().as_uri()
    return [
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store, "--default-artifact-root", artifacts),
    ]


def _start(folder: Path, name: str, command: Sequence[str], api: str, address: str) -> Service:
    log = folder / FOLDER / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, **SERVER_VARIABLES, "PREFECT_API_URL": api}
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *command],
            # Deployments say themselves which folder they are of.
            cwd=log.parent,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return Service(name, process.pid, psutil.Process(process.pid).create_time(), address)


def _wait(folder: Path, service: Service, health: str) -> None:
    end = time.monotonic() + STARTUP
    while time.monotonic() < end and service.process() is not None:
        try:
            if httpx.get(health, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    log = folder / FOLDER / f"{service.name}.log"
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    raise LocalError(
        f"{service.name} did not come up; it said: {' / '.join(last) or 'nothing'}",
        "a server that answers",
        f"see {log}",
    )


def _free(name: str, port: int) -> None:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
    except httpx.ConnectError:
        return
    except httpx.HTTPError:
        pass
    raise LocalError(
        f"something else answers at port {port}, where {name} should",
        "a free port",
        f"end it, or choose another with --{name}-port",
    )


def _running(folder: Path) -> list[Service]:
    try:
        found = json.loads((folder / FOLDER / STARTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    services = [Service(**entry) for entry in found]
    return [service for service in services if service.process() is not None]


def _remember(folder: Path, services: Sequence[Service]) -> None:
    path = folder / FOLDER / STARTED
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps([asdict(s) for s in services], indent=1), encoding="utf-8")
    scratch.replace(path)


def _end(folder: Path, services: Sequence[Service]) -> None:
    """Ask each to end, the last one first, then its children; what does not is killed."""
    for service in reversed(services):
        process = service.process()
        if process is None:
            continue
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, left = psutil.wait_procs(family, timeout=GRACE)
        for member in left:
            member.terminate()
        for member in psutil.wait_procs(left, timeout=GRACE / 4)[1]:
            member.kill()
    _remember(folder, [s for s in _running(folder) if s not in services])
