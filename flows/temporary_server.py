"""A temporary Prefect server for one run; it ends with the process that started it.

Prefect starts a temporary server by itself, and leaves it running if the run is killed. This one
reads from a pipe that its starter holds open, and looks who its parent is: the system closes the
pipe and hands on the process whatever happens to the starter, and the server ends.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn

from flows.prefect_api import VARIABLE, configured, require_api
from flows.prefect_database import PrefectDatabaseError, check_prefect_database, starting_alone
from recsys.base.errors import RecsysError
from recsys.base.proxies import require_usable_proxies, spare_loopback

STARTUP = 180  # seconds, on a busy machine with a fresh home
GRACE = 5  # seconds for what is under way when the server ends
NOT_NEEDED = "not needed"
REFUSED = "refused: "  # before the parts of the error


class ServerError(RecsysError):
    """No Prefect server could be started."""

    exit_code = 5


@contextmanager
def served(meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have a Prefect server to report to: the one that is configured, or one for the time being.

    Processes that are started inside report to the same one.

    Parameters
    ----------
    meanwhile : callable
        What to do while a server starts, such as imports that take seconds as well.

    Raises
    ------
    ServerError
        If it does not start.
    RegistryError
        If the one that is configured does not answer.
    """
    spare_loopback()
    require_usable_proxies()
    # Only an imported Prefect can have settings that the environment does not show. Importing it
    # takes a second, so otherwise the new process is left to find them.
    known = _configured() if "prefect" in sys.modules else bool(os.environ.get(VARIABLE))
    if known:
        _require_configured()
        yield
        return
    process = _start()
    try:
        meanwhile()
        port = _port(process)
        if port is None:
            _require_configured()
            yield
            return
        from prefect.context import refresh_global_settings_context
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            temporary_settings,
        )

        address = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = address
        # Nobody waits for heartbeats there, and a flow run that sends them ends up to a second
        # late, as their thread sleeps for that long.
        settings = {PREFECT_API_URL: address, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        # For threads that Prefect starts: without it, that which hands on the events of worker
        # processes would start a server of its own.
        refresh_global_settings_context()
        try:
            with temporary_settings(settings):
                try:
                    yield
                finally:
                    _send_the_rest()
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            refresh_global_settings_context()
    finally:
        _stop(process)


def _configured() -> bool:
    """Whether Prefect's settings name a server, or forbid a temporary one."""
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    return bool(PREFECT_API_URL.value()) or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value()


def _send_the_rest() -> None:
    """Send the logs and events that still wait; later, Prefect would try in vain for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    def send() -> None:
        for queue in (APILogWorker, EventsWorker):
            queue.drain_all(timeout=GRACE)

    # In a thread of its own, for where an event loop runs it would return what has to be awaited.
    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    sending.join(2 * GRACE)


def _require_configured() -> None:
    """Have the configured server answer, if there is an address."""
    address = configured() if "prefect" in sys.modules else os.environ.get(VARIABLE)
    if address:
        require_api(address)


def _start() -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "flows.temporary_server", str(os.getpid())],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # An interrupt from the keyboard is for the run, which has something to report then.
        start_new_session=True,
    )


def _port(process: subprocess.Popen[str]) -> int | None:
    """The port that a new server says; None if it found that none was needed."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if said == NOT_NEEDED:
        return None
    if said.startswith(REFUSED):
        process.wait()
        raise PrefectDatabaseError(*json.loads(said.removeprefix(REFUSED)))
    if not said.isdigit():
        raise ServerError(
            f"Prefect's temporary server did not start (exit code {process.wait()})",
            "a server within some seconds",
            "see its messages above, or start one (prefect server start) and set PREFECT_API_URL",
        )
    return int(said)


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(2 * GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def main() -> None:
    """Serve on a free port of the loopback, print which, and end with the parent process.

    The parent's process id is the one argument. Its end is noticed from the first line on, however
    long the server takes to start.
    """
    gc.disable()  # a sixth of what the imports take
    serving: list[uvicorn.Server] = []
    watch = threading.Thread(target=_end_with, args=(int(sys.argv[1]), serving), daemon=True)
    watch.start()
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # As Prefect starts its own: without the user interface and the scheduler.
    os.environ |= {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    if _configured():
        print(NOT_NEEDED, flush=True)
        return
    try:
        check_prefect_database()
    except PrefectDatabaseError as fault:
        print(REFUSED + json.dumps(fault.args), flush=True)
        return
    from prefect.server.api.server import create_app

    starting = ExitStack()
    try:
        starting.enter_context(starting_alone())
    except RecsysError as fault:
        print(REFUSED + json.dumps(fault.args), flush=True)
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        settings = uvicorn.Config(create_app(), log_level="error", lifespan="on")
        server = uvicorn.Server(settings)
        serving.append(server)
        announce = threading.Thread(
            target=_print_port, args=(server, starting, listener), daemon=True
        )
        announce.start()
        server.run(sockets=[listener])


def _print_port(server: uvicorn.Server, starting: ExitStack, listener: socket.socket) -> None:
    """Print the port once the server answers."""
    if not _started(server):
        os._exit(1)
    # Collections leave out what has been imported, which stays.
    gc.freeze()
    gc.enable()
    starting.close()
    with suppress(OSError):  # nobody may be there to read it any more
        print(listener.getsockname()[1], flush=True)
    # Whatever else is printed would fill a pipe that nobody reads.
    os.dup2(2, 1)


def _end_with(parent: int, serving: list[uvicorn.Server]) -> None:
    """End this process when its parent has ended or has closed the pipe."""
    # A process that the parent has forked may hold the pipe open beyond its end.
    while os.getppid() == parent and not _closed(sys.stdin.fileno()):
        pass
    for server in serving:
        # A database that is brought up to date is not left half way.
        _started(server)
        # Services that are cut off say so in a hundred lines, before the one line of the run.
        logging.disable(logging.CRITICAL)
        server.should_exit = True
        time.sleep(GRACE)
    # What is not serving yet has nothing to finish, and a request that never ends must not keep it.
    os._exit(0)


def _closed(pipe: int, seconds: float = 0.5) -> bool:
    """Whether the other end of a pipe is closed, after so many seconds at most."""
    readable = select.select([pipe], [], [], seconds)[0]
    return bool(readable) and not os.read(pipe, 1024)


def _started(server: uvicorn.Server) -> bool:
    """Wait until the server answers; False if it takes too long."""
    end = time.monotonic() + STARTUP
    while not server.started and time.monotonic() < end:
        time.sleep(0.05)
    return server.started


if __name__ == "__main__":
    main()
