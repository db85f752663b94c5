"""`videofleet dev fault` breaks a running cluster on purpose, and a controller gets over it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videofleet_cli.dev import app
from videofleet_cli.exits import CommandError, Exit
from videofleet_devcluster import daemon
from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule, Faults
from videofleet_devcluster.client import CONFIG_MAPS, ApiError, Resource, connected

DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "dev"
    daemon.stop(tmp_path / "dev")


def fault(*argv: str) -> Any:
    """Runs `videofleet dev fault … --json` and reads what it prints."""
    done = CliRunner().invoke(app, ["fault", *argv, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_a_rule_is_added_strikes_is_counted_and_cleared(state: Path, tmp_path: Path) -> None:
    running = daemon.start(state, tmp_path / "models", gpus=0)
    where = ("--state", str(state))
    matching = ("--verb", "create", "--resource", "configmaps", "--name", "")
    (rule,) = fault("add", *matching, "--action", "applied-error", "--code", "503", *where)
    assert (rule["action"], rule["count"], rule["hits"]) == ("applied-error", 1, 0)

    async def create() -> None:
        async with connected(Path(running.kubeconfig)) as client:
            with pytest.raises(ApiError, match="503 ServiceUnavailable"):
                await client.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
            assert (await client.get(CONFIG_MAPS, "default", "a"))["metadata"]["name"] == "a", "it was applied"

    asyncio.run(create())
    assert fault("list", *where)[0]["hits"] == 1
    assert fault("clear", *where) == []
    assert "everything works" in CliRunner().invoke(app, ["fault", "list", *where]).output


def test_without_a_cluster_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="videofleet dev up") as caught:
        CliRunner().invoke(app, ["fault", "list", "--state", str(tmp_path)], catch_exceptions=False)
    assert caught.value.exit_code is Exit.REFUSED


async def test_controllers_get_over_broken_watches_and_lost_answers(world: Any, faults: Faults) -> None:
    rules = [
        faults.add(FaultRule(FaultAction.BREAK_WATCH, resource="deployments", count=2)),
        faults.add(FaultRule(FaultAction.COMPACT, resource="replicasets")),
        faults.add(FaultRule(FaultAction.APPLIED_ERROR, verb="create", resource="replicasets")),
        faults.add(FaultRule(FaultAction.APPLIED_DROP, verb="create", resource="pods")),
    ]
    container = {"name": "c", "image": "none", "command": ["sleep", "600"]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    await world.create(DEPLOYMENTS, "d", spec=spec)

    async def settled() -> bool:
        status = (await world.client.get(DEPLOYMENTS, "default", "d")).get("status", {})
        return bool(status.get("readyReplicas") == 2 and status.get("replicas") == 2)

    await world.until(settled)
    assert [rule.hits > 0 for rule in rules] == [True] * 4
