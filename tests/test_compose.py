"""The image and a team's compose file: what they refer to is there, nothing is open or secret."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.paths import ROOT

FILE = ROOT / "docs" / "compose.yaml"
RECIPE = ROOT / "Dockerfile"
SETTINGS = {"POSTGRES_PASSWORD": "secret", "MINIO_PASSWORD": "secret and more"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def test_services_refer_to_what_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "minio", "mlflow", "prefect", "worker"} <= set(services)
    conditions = {"service_healthy", "service_completed_successfully", "service_started"}
    for name, service in services.items():
        assert "image" in service, name
        depends = service.get("depends_on", {})
        assert set(depends) <= set(services), name
        for other, how in depends.items() if isinstance(depends, dict) else ():
            assert how["condition"] in conditions
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]


def test_addresses_name_services(compose: dict[str, Any]) -> None:
    text = yaml.safe_dump(compose["services"])
    hosts = set(re.findall(r"://(?:[^@/\s]+@)?([a-z0-9.]+)", text))
    buckets, loopback = {"team"}, {"127.0.0.1"}
    assert hosts <= set(compose["services"]) | buckets | loopback


def test_ports_are_on_loopback_only_and_secrets_come_from_outside(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name:
                assert re.match(r"\$\{(POSTGRES|MINIO)_PASSWORD", value), name


def test_images_are_plain_names(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert re.fullmatch(r"[a-z-]+(/[a-z-]+)?(:[0-9]+)?", service["image"])
    text = RECIPE.read_text(encoding="utf-8")
    (base,) = set(re.findall(r"^FROM (\S+)", text, re.M))
    assert re.fullmatch(r"python:3\.\d+-slim", base)


def test_servers_of_the_image_are_asked_whether_they_answer(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if service["image"] != "liked-this":
            continue
        ports = {port.rpartition(":")[2] for port in service.get("ports", [])}
        asked = re.findall(r"127\.0\.0\.1:(\d+)", str(service["healthcheck"].get("test", "")))
        assert set(asked) == ports, name
        assert service["healthcheck"].get("disable", False) is not bool(ports)


def test_the_image_has_what_its_addresses_need() -> None:
    recipe = RECIPE.read_text(encoding="utf-8")
    pinned = "".join((ROOT / name).read_text() for name in re.findall(r"-r (\S+)", recipe))
    # The databases of MLflow and Prefect, and files in the S3-like store.
    for package in ("psycopg", "psycopg-binary", "asyncpg", "boto3", "s3fs", "mlflow", "prefect"):
        assert re.search(rf"^{package}(\[\w+\])?==", pinned, re.M), package


def test_compose_itself_accepts_it() -> None:
    docker = shutil.which("docker")
    found = docker and subprocess.run([docker, "compose", "version"], capture_output=True)
    if not found or found.returncode:
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        [str(docker), "compose", "-f", str(FILE), "config", "--quiet"],
        env=SETTINGS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_recipe_is_one_that_hadolint_accepts() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(RECIPE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def copied() -> list[tuple[str, str]]:
    """What the recipe copies from the project, and where to."""
    lines = RECIPE.read_text(encoding="utf-8").splitlines()
    parts = [line.split()[1:] for line in lines if re.match("COPY (?!--from)", line)]
    return [(source, target) for *sources, target in parts for source in sources]


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder that every user of this machine reaches."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_is_copied_is_enough_for_who_may_not_write(project: Path) -> None:
    """The image's files in a folder, of which data and registry alone are the user's."""
    recipe = RECIPE.read_text(encoding="utf-8")
    for source, target in copied():
        into = project / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, into)
    user = 10001 if os.getuid() == 0 else os.getuid()
    assert "USER 10001" in recipe
    written = re.search(r"mkdir -p ([^&\\]+)", recipe)
    assert written is not None
    for name in ("home", *written[1].split()):
        (project / name).mkdir(parents=True, exist_ok=True)
        os.chown(project / name, user, -1)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("MLFLOW", "PREFECT"))}
        own = {"HOME": str(project / "home"), "PYTHONPATH": str(project)}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=project, env=kept | own, user=user, capture_output=True, text=True,
        )  # fmt: skip

    try:
        reached = run("-c", "import pydantic").returncode == 0
    except PermissionError:
        reached = False
    if not reached:  # an environment in a home folder; what is copied can be tried all the same
        user = os.getuid()
    read = run("-m", "recsys.cli", "datasets")
    assert read.returncode == 0, read.stderr
    assert "sample" in read.stdout
    served = run("-m", "recsys.cli", "serve")
    assert served.returncode == 5, served.stderr
    assert "no model registry at sqlite:///mlruns/mlflow.db" in served.stderr
