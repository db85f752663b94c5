"""What people type and what they read: a recording of kubectl against a real server, replayed."""

import re
from pathlib import Path

import pytest
import yaml

FIXTURE = Path(__file__).parent / "fixtures" / "kubectl-1.32.yaml"
RECORDED = yaml.safe_load(FIXTURE.read_text())
VARIABLE = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r'(resourceVersion: |Resource Version: +)"?\d+"?', r"\1<version>"),
    (r"\bd-[a-z0-9]{8,10}-[a-z0-9]{5}\b", "<pod>"),
    (r"\bd-[a-z0-9]{8,10}\b", "<replica set>"),
    (r"\b(\d+m)?\d+s\b", "<age>"),
    (r"(?<=\S) {2,}", "  "),  # columns are as wide as what stands in them
)


def normal(command: str, printed: str) -> list[str]:
    """The lines without names, times, uids and versions."""
    for pattern, replacement in VARIABLE:
        printed = re.sub(pattern, replacement, printed)
    lines = [line.rstrip() for line in printed.rstrip().splitlines()]
    if "rollout status" in command:
        return lines[-2:]  # how many steps it sees before is a matter of the machine
    if "get events" not in command:
        return lines
    # The recorded cluster had no nodes and told so again and again; another one schedules these pods and fails to run
    # their image. What the controllers tell is the same, in an order that depends on the second they tell it in.
    told_by_controllers = [line for line in lines if re.search("ScalingReplicaSet|SuccessfulCreate", line)]
    return sorted(told_by_controllers)


@pytest.fixture
async def wire(when, then, make):
    """The namespace of the recording; it and the definition are gone afterwards, whatever happens."""
    crd = "customresourcedefinitions/widgets.wire.example.com"
    assert (await when.creates("namespaces", {"metadata": {"name": "wire"}})).status == 201
    yield
    there = type(when)(when.http, "wire")
    if (await there.http("GET", "/apis/wire.example.com/v1alpha1/namespaces/wire/widgets/a")).status == 200:
        path = "/apis/wire.example.com/v1alpha1/namespaces/wire/widgets/a"
        patch = {"metadata": {"finalizers": None}}
        await there.http("PATCH", path, patch, kind="application/merge-patch+json")
    for name in ("namespaces/wire", crd):
        await when.deletes(name)
        await then.eventually_gone(name)


@pytest.fixture
def controllers_keep_up(when, eventually):
    """Waits until the Deployment's controller has seen what it is now: two changes at once are another rollout."""

    async def look():
        answer = await type(when)(when.http, "wire").reads("deployments/d")
        if answer.status == 404:
            return True
        made, status = answer.body, answer.body.get("status", {})
        seen = status.get("observedGeneration") == made["metadata"]["generation"]
        return seen and status.get("replicas", 0) >= made["spec"]["replicas"]

    return lambda: eventually(look)


async def test_kubectl_prints_what_it_printed(wire, kubectl, controllers_keep_up, tmp_path):
    for name, manifest in RECORDED["manifests"].items():
        (tmp_path / name).write_text(yaml.safe_dump(manifest))
    for step in RECORDED["steps"]:
        await controllers_keep_up()
        done = await kubectl(*step["command"].split(" "), folder=tmp_path)
        printed = normal(step["command"], done.stdout + done.stderr)
        assert (done.returncode, printed) == (step["exit"], normal(step["command"], step["printed"])), step["command"]
