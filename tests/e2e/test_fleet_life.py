"""A fleet's life as the platform engineer sees it: kubectl, a broken model, deletion. The order is the story's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "examples/tiny.yaml"

pytestmark = pytest.mark.timeout(300)


def conditions(system: Any) -> dict[str, dict[str, str]]:
    fleet = json.loads(system.kubectl("get", "vg", "tiny", "-o", "json", "--show-managed-fields"))
    return {
        item["type"]: item
        for item in fleet["status"]["conditions"]
        if item["observedGeneration"] == fleet["metadata"]["generation"]
    }


def with_model(system: Any, source: str) -> str:
    """The example with another model, as a file."""
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["spec"]["model"]["source"] = source
    path = system.folder / "changed.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return str(path)


def test_applying_again_changes_nothing(system: Any) -> None:
    system.kubectl("apply", "--server-side", "--field-manager=videofleet-cli", "-f", str(EXAMPLE))
    first = json.loads(system.kubectl("get", "vg", "tiny", "-o", "json", "--show-managed-fields"))
    system.kubectl("apply", "--server-side", "--field-manager=videofleet-cli", "-f", str(EXAMPLE))
    again = json.loads(system.kubectl("get", "vg", "tiny", "-o", "json", "--show-managed-fields"))
    assert again["metadata"]["generation"] == first["metadata"]["generation"] == 1
    managers = {entry["manager"]: entry for entry in again["metadata"]["managedFields"]}
    assert "f:spec" not in managers["videofleet"]["fieldsV1"], "the operator never writes spec"
    assert "finalizers" not in again["metadata"]


def test_the_fleet_is_ready_and_its_columns_say_so(system: Any) -> None:
    system.kubectl("wait", "--for=condition=Ready", "vg/tiny", "--timeout=120s")
    header, row = system.kubectl("get", "vg").splitlines()
    assert header.split()[:2] == ["NAME", "READY"]
    assert row.split()[:2] == ["tiny", "True"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"tiers": [{"name": "x", "width": 130, "height": 128, "numFrames": 17, "numInferenceSteps": 4}]}, "multiple"),
        ({"tiers": [{"name": "x", "width": 128, "height": 128, "numFrames": 16, "numInferenceSteps": 4}]}, "numFrames"),
        ({"model": {"source": "https://example.com/model"}}, "spec.model.source"),
        ({"scaling": {"minReplicas": -1}}, "spec.scaling.minReplicas"),
    ],
)
def test_a_broken_rule_is_refused_with_path_and_remedy(system: Any, patch: dict[str, Any], words: str) -> None:
    said = system.kubectl("patch", "vg", "tiny", "--type=merge", "-p", json.dumps({"spec": patch}), check=False)
    assert 'The VideoGenerator "tiny" is invalid' in said
    assert words in said


def test_a_missing_model_is_named_and_the_old_revision_keeps_serving(
    system: Any, eventually: Callable[..., Any]
) -> None:
    system.kubectl("apply", "--server-side", "--force-conflicts", "-f", with_model(system, "pvc://models/nothing"))

    def degraded() -> dict[str, dict[str, str]] | None:
        seen = conditions(system)
        return seen if seen.get("Degraded", {}).get("reason") == "ModelNotFound" else None

    seen = eventually(degraded, 60)
    assert (seen["Ready"]["status"], seen["Degraded"]["status"], seen["Stalled"]["status"]) == ("True", "True", "True")
    assert "spec.model.source" in seen["Degraded"]["message"]
    assert "keeps serving" in seen["Degraded"]["message"]
    job = system.submit("still here", tier="preview")
    eventually(lambda: system.video(job)["status"] == "completed", 60)


def test_going_back_heals_without_a_restart(system: Any, eventually: Callable[..., Any]) -> None:
    (worker,) = system.pids("videofleet-worker")[:1]
    system.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(EXAMPLE))
    eventually(lambda: conditions(system).get("Degraded", {}).get("status") == "False", 60)
    assert worker in system.pids("videofleet-worker")


def test_deletion_cancels_what_waits_and_leaves_no_process(system: Any, eventually: Callable[..., Any]) -> None:
    jobs = [system.submit(f"too late {number}") for number in range(24)]  # more than it makes meanwhile
    system.kubectl("delete", "vg", "tiny", "--wait=true")
    eventually(lambda: not system.pids("videofleet-worker"), 60)
    eventually(lambda: all(system.video(job)["status"] in ("completed", "failed") for job in jobs), 60)
    last = system.video(jobs[-1])
    assert (last["status"], last["error"]["code"]) == ("failed", "fleet_deleted")
    assert "VideoGenerator was deleted" in last["error"]["message"]
    status, problem = system.http("POST", "/v1/videos", {"prompt": "anyone?"})
    assert 400 <= status < 500, problem
    left = system.kubectl("get", "deployments,controllerrevisions,configmaps,services,pods", "-o", "name")
    assert "tiny" not in left


def test_the_same_name_can_come_back(system: Any) -> None:
    assert "created" in system.kubectl("apply", "-f", str(EXAMPLE))
    assert "unchanged" in system.kubectl("apply", "-f", str(EXAMPLE))
    system.kubectl("wait", "--for=condition=Ready", "vg/tiny", "--timeout=120s")
    assert "unchanged" in system.kubectl("apply", "-f", str(EXAMPLE)), "neither defaults nor status drift"
