"""Deployments as an operator meets them: up, deploy, trigger, the REST call, events, down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.deploy import automations
from tests.fixtures.paths import RARE_COLLECTIONS, ROOT
from tests.fixtures.planted import write_planted
from tests.fixtures.ports import free_port
from tests.fixtures.prefect_harness import migrated_home
from tests.fixtures.processes import finished
from tests.fixtures.taken import Taking, taking_server
from tests.fixtures.tracking_database import tracking_database


@dataclass(frozen=True)
class Site:
    """A copy of the project in which everything has been brought up."""

    folder: Path
    api: str
    mlflow: str
    arguments: list[str]

    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
        return kept | {
            "PREFECT_HOME": str(self.folder.parent / "home"),
            "PREFECT_API_URL": self.api,
            # A worker looks for runs every second, which saves these tests a minute.
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            # Only what is started in the project's folder sees its packages: runs have to go there.
            "PYTHONPATH": RARE_COLLECTIONS,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return finished(self.folder, arguments, self.environment())

    def post(self, path: str, **body: Any) -> Any:
        return self.asked("POST", path, json=body).json()

    def asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        # 503 is what Prefect answers while its database is locked; its own client asks again, too.
        for _ in range(10):
            answer = httpx.request(method, f"{self.api}{path}", timeout=180, **options)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return answer.raise_for_status()

    def services(self) -> dict[str, Any]:
        text = (self.folder / "data/output/up/services.json").read_text(encoding="utf-8")
        return {entry["name"]: entry for entry in json.loads(text)}

    def automations(self) -> dict[str, Any]:
        """What the server has, by name, field by field but for when."""
        own = {"created", "updated"}
        found = self.post("/automations/filter")
        return {a["name"]: {n: v for n, v in a.items() if n not in own} for a in found}

    def trigger(self, name: str, *arguments: str, **parameters: Any) -> Any:
        """What `recsys trigger` printed, with the data and the model of these tests."""
        given = {
            "config.data.likes": f'"{self.folder}/in/likes.psv"',
            "config.data.features": f'"{self.folder}/in/feats.psv"',
            "config.tracking.model": '"sample"',
            "config.evaluate.bootstrap_samples": 50,
            "config.evaluate.baseline_trials": 0,
            "config.evaluate.half_width": 0,
            "config.evaluate.withheld": "false",
            "config.search.item_to_item_trials": 1,
            **parameters,
        }
        options = [f"--param={name}={value}" for name, value in given.items()]
        done = self.run("trigger", name, "--json", *options, *arguments)
        assert done.stdout, done.stderr
        return json.loads(done.stdout) | {"code": done.returncode}


def until(condition: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} seconds: {condition}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "project"
    for part in ("flows", "tasks", "recsys"):
        shutil.copytree(ROOT / part, folder / part)  # with the bytecode that there is
    shutil.copy(ROOT / "prefect.yaml", folder)
    write_planted(folder / "in")
    tracking_database(folder / "mlruns")
    migrated_home(folder.parent / "home")
    ports = free_port(), free_port()
    made = Site(
        folder,
        f"http://127.0.0.1:{ports[0]}/api",
        f"http://127.0.0.1:{ports[1]}",
        ["up", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])],
    )
    try:
        # Inside: where it takes too long, it is killed, and what it has started is ended below.
        up = made.run(*made.arguments)
        assert up.returncode == 0, up.stdout + up.stderr
        assert (
            "deployed train/nightly, refresh/refresh, recommend/recommend, train/smoke" in up.stdout
        )
        yield made
    finally:
        made.run("down")


@dataclass(frozen=True)
class Inbox:
    """Where alerts arrive."""

    server: Taking

    @property
    def address(self) -> str:
        return f"{self.server.address}/token"

    def alert(self, kind: str) -> dict[str, Any]:
        """The first alert of a kind, when it has come."""

        def found() -> list[dict[str, Any]]:
            alerts = [json.loads(each.body) for each in self.server.taken]
            return [each for each in alerts if each["alert"] == kind]

        return until(found)[0]


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with taking_server() as server:
        yield Inbox(server)


SLEEPER = """
from prefect import flow, tags

@flow(name="sleeper")
def sleep():
    import time
    time.sleep(600)

with tags("neglected"):
    sleep()
"""


@pytest.fixture(scope="module")
def neglected(site: Site) -> dict[str, str]:
    """Runs that no worker takes, that do not begin, that are killed, as the automations see them.

    Those of `recsys deploy`, with a tag of their own so that they need not wait an hour.
    """
    times = map(timedelta, (0, 0, 0), (10, 40, 45))
    for automation in automations("neglected", *times):
        site.post("/automations/", **automation.model_dump(mode="json"))
    site.post("/work_pools/", name="nobody", type="process")
    (flow,) = site.post("/flows/filter", flows={"name": {"any_": ["train"]}})
    deployment = site.post(
        "/deployments/", name="waiting", flow_id=flow["id"], work_pool_name="nobody",
        tags=["neglected"],
    )  # fmt: skip
    late = site.post(f"/deployments/{deployment['id']}/create_flow_run")
    # As a worker leaves a run when it is killed between taking it and starting its process.
    taken = {"type": "PENDING", "name": "Submitting"}
    stuck = site.post(f"/deployments/{deployment['id']}/create_flow_run", state=taken)
    path = "/work_pools/nobody/queues/default"
    site.asked("PATCH", path, json={"concurrency_limit": 1})
    waiting = site.run("trigger", "waiting", "--seconds", "3")
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        env={**site.environment(), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"},
    )
    running = {"tags": {"all_": ["neglected"]}, "state": {"name": {"any_": ["Running"]}}}
    (silent,) = until(lambda: site.post("/flow_runs/filter", flow_runs=running))
    beaten = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]},
                         "resource": {"id": [f"prefect.flow-run.{silent['id']}"]}}}  # fmt: skip
    until(lambda: site.post("/events/filter", **beaten)["events"])
    process.kill()
    process.wait()
    return {
        "late": late["id"], "stuck": stuck["id"], "silent": silent["id"],
        "name of stuck": stuck["name"], "said": waiting.stdout,
    }  # fmt: skip


@pytest.fixture(scope="module")
def promoted(site: Site, neglected: dict[str, str]) -> Any:
    """A run of the deployment `smoke` that made a champion, while others were neglected."""
    return site.trigger("smoke")


def test_all_is_up_and_a_second_up_leaves_it(site: Site) -> None:
    before = site.services()
    assert list(before) == ["prefect", "mlflow", "worker"]
    assert httpx.get(f"{site.mlflow}/health", timeout=60).text == "OK"
    for line in psutil.Process(before["prefect"]["pid"]).cmdline():
        assert "0.0.0.0" not in line  # noqa: S104
    deployed, rules = seen(site), safeguards(site)
    again = site.run(*site.arguments)
    assert again.returncode == 0, again.stderr
    assert "worker is running already" in again.stdout
    assert site.services() == before
    # It deploys again, too.
    assert (seen(site), safeguards(site)) == (deployed, rules)
    assert deployed == (
        [
            "lists after a promotion",
            "recsys: late runs are cancelled",
            "recsys: silent runs have crashed",
            "recsys: stuck runs have crashed",
        ],
        {"default": None, "sample": 1},
        4,
    )
    assert [rule["actions"][0]["type"] for _, rule in sorted(rules.items())] == [
        "cancel-flow-run", "change-flow-run-state", "change-flow-run-state",
    ]  # fmt: skip


def seen(site: Site) -> tuple[Any, ...]:
    """Names of automations, places of queues and how many deployments there are."""
    queues = site.post("/work_pools/recsys/queues/filter")
    limits = {queue["name"]: queue["concurrency_limit"] for queue in queues}
    return sorted(site.automations()), limits, len(site.post("/deployments/filter"))


def safeguards(site: Site) -> dict[str, Any]:
    """Our own automations, with the numbers of triggers, by which the server counts the time.

    What Prefect's own command makes of prefect.yaml gets new ones.
    """
    found = site.automations()
    return {name: rule for name, rule in found.items() if name.startswith("recsys")}


def test_deploying_again_restores_what_was_changed(site: Site, inbox: Inbox) -> None:
    rules = safeguards(site)
    # One that has been changed is as it was, but for whether it is on.
    for rule in rules.values():
        changed = {n: rule[n] for n in ("name", "description", "tags", "trigger")}
        changed["trigger"].pop("id")
        nothing = {"enabled": False, "actions": [{"type": "do-nothing"}]}
        site.asked("PUT", f"/automations/{rule['id']}", json={**changed, **nothing})
    # And now with alerts.
    alerting = site.run("deploy", "--alert", inbox.address)
    assert "alerts go to 1 place" in alerting.stdout, alerting.stderr
    told = {n: rule for n, rule in site.automations().items() if n.startswith("recsys: alert")}
    assert len(told) == 6
    assert "/token" not in json.dumps(told)
    assert site.run("deploy", "--alert", inbox.address).returncode == 0
    assert {n: rule for n, rule in site.automations().items() if n in told} == told
    restored = site.automations()
    for name, rule in rules.items():
        assert restored[name]["actions"] == rule["actions"]
        assert restored[name]["enabled"] is False
        site.asked("PATCH", f"/automations/{rule['id']}", json={"enabled": True})


def test_the_night_is_scheduled(site: Site) -> None:
    # Deployed, but never scheduled: that is what a server with the wrong libraries does.
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = until(
        lambda: [r for r in site.post("/flow_runs/filter", **wanted) if r["auto_scheduled"]]
    )
    assert {run["expected_start_time"][11:19] for run in runs} == {"03:00:00"}


def test_the_form_in_prefect_knows_the_settings(site: Site) -> None:
    (nightly,) = site.post("/deployments/filter", deployments={"name": {"any_": ["nightly"]}})
    schema = nightly["parameter_openapi_schema"]
    assert schema["definitions"]["Search"]["properties"]["trials"]["minimum"] == 1
    assert schema["definitions"]["Config"]["properties"]["protocol"]["enum"] == [
        "standard",
        "article",
    ]
    assert nightly["global_concurrency_limit"]["limit"] == 1


def test_a_triggered_run_promotes_and_lists_follow(site: Site, promoted: Any) -> None:
    assert (promoted["code"], promoted["state"], promoted["over"]) == (0, "Completed", True)
    assert promoted["name"].startswith("sample 20")  # the model, and the day
    latest = site.folder / "data/output/batch/sample"
    until(latest.exists)
    manifest = json.loads((latest / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"]["model"] == "sample"

    # The lists are there a moment before their run is over.
    def states() -> list[str]:
        runs = site.post("/flow_runs/filter", deployments={"name": {"any_": ["recommend"]}})
        return [run["state_name"] for run in runs]

    until(lambda: "Running" not in states())
    assert states() == ["Completed"]


def test_the_run_left_report_progress_and_logs(site: Site, promoted: Any) -> None:
    artifacts = site.post(
        "/artifacts/filter", artifacts={"flow_run_id": {"any_": [promoted["id"]]}}
    )
    # Prefect lists the results that it keeps among them, without a type.
    kinds = {artifact["type"]: artifact for artifact in artifacts if artifact["type"]}
    assert set(kinds) == {"markdown", "progress"}
    assert kinds["progress"]["data"] == 100.0
    assert kinds["markdown"]["key"] == "report-sample"
    for part in ("How good it is", "What the gate found", "What came in", "What it answers"):
        assert f"## {part}" in kinds["markdown"]["data"]
    logs = until(
        lambda: site.post("/logs/filter", logs={"flow_run_id": {"any_": [promoted["id"]]}})
    )
    assert any("ingest: " in entry["message"] for entry in logs)


def test_the_doctor_sees_server_worker_and_schedule(site: Site, promoted: Any) -> None:
    assert promoted["code"] == 0
    done = site.run("doctor", "--set", "data.likes=in/likes.psv", "--set", "tracking.model=sample")
    said = {line[2:16].strip(): line for line in done.stdout.splitlines()}
    for name, part in (
        ("champion", "version 1 of sample"),
        ("prefect", f"{site.api}, Prefect "),
        ("worker", "local-"),
        ("schedule", "next nightly, 20"),
        ("automations", "3 watch over the runs"),
    ):
        assert said[name].startswith("✓"), done.stdout + done.stderr
        assert part in said[name]


def test_a_held_run_says_so_to_whoever_waits(site: Site, promoted: Any, inbox: Inbox) -> None:
    assert promoted["code"] == 0
    values = {"learning_rate": 1e-4, "no_components": 2, "initialisation": "random"}
    hopeless: dict[str, Any] = {
        f"config.search.space.{name}": value for name, value in values.items()
    }
    hopeless["config.search.item_to_item_trials"] = 0
    held = site.trigger("smoke", **{"config.search.max_epochs": 2, "config.seed": 5, **hopeless})
    assert (held["code"], held["state"]) == (7, "Held")
    assert "no worse than the champion" in held["message"]
    wanted = {"event": {"name": ["recsys.champion.held"]}}
    (event,) = until(lambda: site.post("/events/filter", filter=wanted)["events"])
    assert event["resource"]["prefect.resource.id"] == "recsys.model.sample"
    assert event["payload"]["version"] == "2"
    told = inbox.alert("held")
    assert (told["run"], told["state"], told["message"]) == (held["name"], "Held", held["message"])
    assert held["id"] in told["page"]


def test_a_failed_run_and_one_that_takes_longer(
    site: Site, neglected: dict[str, str], inbox: Inbox
) -> None:
    assert neglected
    failed = site.trigger("smoke", **{"config.data.likes": '"/nowhere/likes.psv"'})
    assert (failed["code"], failed["state"]) == (1, "StageFailed")
    assert "/nowhere/likes.psv" in failed["message"]
    assert inbox.alert("failed")["message"] == failed["message"]
    # Of a deployment that no worker takes runs of: they are not over, however fast this machine is.
    late = site.trigger("waiting", "--seconds", "0.1")
    assert (late["code"], late["over"]) == (9, False)
    unasked = site.trigger("waiting", "--no-wait")
    assert (unasked["code"], unasked["over"]) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["smoke", "--param", "config.serch.trials=2"], 2, "serch"),
        (["smoke", "--param", "config.dataset.x=2"], 2, "dataset, which is a value"),
        (["smoke", "--param", "trials"], 2, "name=value"),
        (["nightlong"], 4, "there are nightly, recommend, refresh, smoke"),
        (["refresh/nightly"], 4, "no deployment refresh/nightly"),
    ],
)
def test_a_wrong_trigger_is_refused(site: Site, arguments: list[str], code: int, said: str) -> None:
    done = site.run("trigger", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_rest_call_of_the_documentation(site: Site) -> None:
    text = (ROOT / "docs/operating/schedules.md").read_text(encoding="utf-8")
    start = text.index("curl -s $PREFECT_API_URL/deployments/name/")
    script = text[start : text.index("```", start)]
    # As often as it is asked again above; without --fail it would print refusals as well.
    script = script.replace("curl -s", "curl -s --fail --retry 10 --retry-delay 1")
    done = subprocess.run(
        ["bash", "-ec", script], env=site.environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["parameters"]["config"] == {"dataset": "sample", "seed": 3}
    run_id = json.loads(done.stdout)["id"]
    site.asked("DELETE", f"/flow_runs/{run_id}")


PYTHON = """
from prefect.deployments import run_deployment
config = {"data": {"likes": "in/likes.psv", "features": "in/feats.psv"},
          "tracking": {"model": "sample"},
          "evaluate": {"baseline_trials": 0, "bootstrap_samples": 50, "half_width": 0}}
run = run_deployment("refresh/own", parameters={"config": config})
print(run.state.name, run.state.result()["model"])
"""


def test_a_flow_serves_itself_and_a_program_gets_the_outcome(site: Site, promoted: Any) -> None:
    assert promoted["code"] == 0
    serve = 'from flows.refresh import refresh; refresh.serve(name="own", cron="0 4 * * *")'
    said = site.folder.parent / "served.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", serve],
            cwd=site.folder, env=site.environment(), stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wanted = {"name": {"any_": ["own"]}}
        until(lambda: site.post("/deployments/filter", deployments=wanted))
        done = subprocess.run(
            [sys.executable, "-c", PYTHON], cwd=site.folder, env=site.environment(),
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        served = said.read_text(encoding="utf-8")
        assert done.stdout.split() == ["Completed", "sample"], done.stderr + served
    finally:
        # How long Prefect takes to end by itself is its own affair: half a minute was seen.
        for member in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


def test_runs_that_nobody_takes_or_that_fall_silent_are_ended(
    site: Site, neglected: dict[str, str]
) -> None:
    def state(run: str) -> Any:
        found = httpx.get(f"{site.api}/flow_runs/{run}", timeout=60).raise_for_status().json()
        return found["state"]

    late = until(lambda: s if (s := state(neglected["late"]))["type"] == "CANCELLED" else None)
    assert late["name"] == "Cancelled"
    silent = until(lambda: s if (s := state(neglected["silent"]))["type"] == "CRASHED" else None)
    assert "no sign of life for 40 seconds" in silent["message"]
    stuck = until(lambda: s if (s := state(neglected["stuck"]))["type"] == "CRASHED" else None)
    assert stuck["message"] == "taken by a worker, and not begun after 45 seconds"


def test_who_waits_says_which_run_holds_the_place(neglected: dict[str, str]) -> None:
    assert f"(waits for {neglected['name of stuck']}, Submitting since 20" in neglected["said"]


@pytest.mark.parametrize("command", [["trigger", "smoke"], ["worker"]], ids=lambda one: one[0])
def test_without_a_server_one_line_says_so(site: Site, command: list[str]) -> None:
    gone = {**site.environment(), "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    done = finished(site.folder, command, gone)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no Prefect server answers at http://127.0.0.1:")


def test_a_taken_port_is_named_and_nothing_starts(site: Site, tmp_path: Path) -> None:
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    taken = site.mlflow.rpartition(":")[2]
    up = ["up", "--prefect-port", str(free_port()), "--mlflow-port", taken]
    done = finished(tmp_path, up, site.environment())
    assert done.returncode == 5
    assert f"something else answers at port {taken}, where mlflow should" in done.stderr
    assert not (tmp_path / "data").exists()


def test_down_ends_what_up_started_and_nothing_else(site: Site) -> None:
    services = site.services()
    started = [psutil.Process(entry["pid"]) for entry in services.values()]
    families = [p for own in started for p in (own, *own.children(recursive=True))]
    bystander = subprocess.Popen(["sleep", "60"])
    # As if the number of a process that ended were somebody else's now.
    path = site.folder / "data/output/up/services.json"
    stolen = {"name": "old", "pid": bystander.pid, "created": 1.0, "address": ""}
    path.write_text(json.dumps([*services.values(), stolen]), encoding="utf-8")
    done = site.run("down")
    assert done.stdout.splitlines() == ["worker is down", "mlflow is down", "prefect is down"]
    assert not [process for process in families if process.is_running()]
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert site.run("down").stdout.strip() == "nothing was up"
