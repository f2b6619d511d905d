"""Real servers for tests: PostgreSQL from Debian's package, and an S3 server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

S3_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Nothing asks for credentials of a machine in somebody's cloud.
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps initdb out of the search path."""
    found = shutil.which("initdb")
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    # Links in the search path may lead to one program and not to the others.
    programs = [*candidates, *([Path(found).resolve()] if found else [])]
    return programs[0].parent if programs else None


@contextmanager
def postgres(databases: tuple[str, ...]) -> Iterator[str]:
    """A PostgreSQL of its own with empty databases; yields "liked@127.0.0.1:PORT"."""
    programs = postgres_folder()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # PostgreSQL refuses to run as root, and pytest's own folders are root's alone.
    user = "nobody" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()

    def run(*command: str) -> None:
        done = subprocess.run(command, user=user, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr

    process = None
    try:
        run(str(programs / "initdb"), "-D", str(data), "-U", "liked", "-A", "trust", "-N")
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
        process = subprocess.Popen(
            [*command, "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        at = "-h", "127.0.0.1", "-p", str(port), "-U", "liked"
        ready = [str(programs / "pg_isready"), *at]
        while subprocess.run(ready, capture_output=True).returncode:
            assert process.poll() is None, "PostgreSQL did not start"
            time.sleep(0.1)
        for name in databases:
            run(str(programs / "createdb"), *at, name)
        yield f"liked@127.0.0.1:{port}"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # TERM would wait for those who are connected
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def s3(bucket: str) -> Iterator[dict[str, str]]:
    """An S3 server with one bucket; yields the variables by which clients find it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        variables = S3_VARIABLES | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket=bucket)
            yield variables
    finally:
        server.stop()


@contextmanager
def prefect_server(folder: Path, **variables: str) -> Iterator[str]:
    """A Prefect server with a home of its own; yields its API address."""
    import httpx

    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env=os.environ | {"PREFECT_HOME": str(folder)} | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}/api"
        for _ in range(600):
            try:
                httpx.get(f"{address}/health", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the Prefect server did not start"
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)
