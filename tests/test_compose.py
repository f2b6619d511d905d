"""The team's compose file: what it refers to is there, nothing is open, no secret is written."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.fixtures.paths import ROOT

FILE = ROOT / "docs" / "compose.yaml"
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
    (base,) = set(
        re.findall(r"^FROM (\S+)$", compose["x-python"]["build"]["dockerfile_inline"], re.M)
    )
    assert re.fullmatch(r"python:3\.\d+-slim", base)


def test_the_image_has_what_its_addresses_need(compose: dict[str, Any]) -> None:
    recipe = compose["x-python"]["build"]["dockerfile_inline"]
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
