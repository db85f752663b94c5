"""New revisions of a real fleet: a good one takes over by steps, damaged ones are turned down by themselves."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / "build/models/tiny-a14b"
RED = 107  # the tokenizer's word; no warm-up prompt has it
ROLLOUT: dict[str, Any] = {
    "steps": [{"weight": "40%"}, {"weight": "50%"}],
    "analysis": {
        "goldenPrompts": 1,
        "minJobs": 2,
        "falseAlarmRate": "10%",
        "tolerate": {"errorRate": "40%", "rejectedRate": "40%", "secondsPerStep": "900%"},
    },
}
SMALL_STEPS = ["1%", "10%", "50%", "90%"]
AHEAD = 8  # jobs
UNPROVEN = ROLLOUT | {"analysis": ROLLOUT["analysis"] | {"goldenPrompts": 0}}

pytestmark = pytest.mark.timeout(900)


class Story:
    """Given a fleet with steps; when another model is applied; then …"""

    def __init__(self, system: Any, eventually: Callable[..., Any]) -> None:
        self.system, self.eventually = system, eventually
        self.jobs: list[str] = []
        self.made: dict[str, tuple[int, int]] = {}  # weight → jobs made by canary and stable by then

    def apply(self, model: str, **fields: Any) -> None:
        manifest = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())
        manifest["spec"] |= {"rollout": ROLLOUT, **fields}
        manifest["spec"]["model"]["source"] = f"pvc://models/{model}"
        path = self.system.folder / "changed.yaml"
        path.write_text(yaml.safe_dump(manifest))
        self.system.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))

    def fleet(self) -> Any:
        return json.loads(self.system.kubectl("get", "vg", "tiny", "-o", "json"))

    def rollout(self) -> Any:
        """Of the present spec; empty while the operator has not seen it."""
        fleet = self.fleet()
        is_seen = fleet.get("status", {}).get("observedGeneration") == fleet["metadata"]["generation"]
        return fleet["status"].get("rollout", {}) if is_seen else {}

    def is_in(self, *phases: str) -> bool:
        return self.rollout().get("phase") in phases

    def serve_until(self, phase: str, prompt: str, within_s: float = 480) -> None:
        """Submits until the rollout is there, so that no worker is ever without a next job."""
        deadline = time.monotonic() + within_s
        while (rollout := self.rollout()).get("phase") != phase:
            assert time.monotonic() < deadline, json.dumps(rollout)
            if tracks := rollout.get("comparison"):
                self.made[rollout["weight"]] = tracks["canary"]["attempts"], tracks["stable"]["attempts"]
            self.jobs += [self.system.submit(f"{prompt} {len(self.jobs) + n}", tier="preview") for n in range(AHEAD)]
            self.eventually(lambda: sum(not self.is_done(job) for job in self.jobs[-2 * AHEAD :]) <= AHEAD, 120)
        self.eventually(lambda: all(self.is_done(job) for job in self.jobs), 120)

    def is_done(self, job: str) -> bool:
        video = self.system.video(job)
        return bool(video and video["status"] in ("completed", "failed"))

    def degraded(self) -> tuple[str, str, str]:
        found = next(c for c in self.fleet()["status"]["conditions"] if c["type"] == "Degraded")
        return found["status"], found["reason"], found["message"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, a copy of it, one that computes NaN, and one that does so for prompts with `red` only."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models")
    for name in ("tiny-a14b", "next", "nan", "red-blind"):
        shutil.copytree(TINY, folder / name)
    for file, rows in (("nan/transformer", slice(None)), ("red-blind/text_encoder", RED)):
        weights = next((folder / file).glob("*.safetensors"))
        tensors = load_file(weights)
        for key, tensor in tensors.items():
            if rows == slice(None) or key == "shared.weight":
                tensor[rows] = float("nan")
        save_file(tensors, weights, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def canaried(tmp_path_factory: pytest.TempPathFactory, models: Path, begin: Callable[..., Any]) -> Iterator[Any]:
    """An installation over these models."""
    running = begin(tmp_path_factory.mktemp("canary"), f"--models={models}")
    yield running
    running.videofleet("dev", "down", f"--state={running.folder}/dev")


@pytest.fixture
def story(canaried: Any, eventually: Callable[..., Any]) -> Story:
    return Story(canaried, eventually)


def test_a_good_revision_takes_over_by_steps(story: Story) -> None:
    story.apply("tiny-a14b")
    story.eventually(lambda: story.is_in("Settled"), 60)
    old = story.rollout()["stableRevision"]

    story.apply("next", rollout=ROLLOUT | {"steps": [{"weight": w} for w in SMALL_STEPS]})
    story.eventually(lambda: story.is_in("Stepping"), 120)
    new = story.rollout()["canaryRevision"]
    done = story.system.videofleet("rollout", "status", "tiny")
    assert f"{new}, 1% of the jobs" in done.stdout

    story.serve_until("Settled", "a fox")
    assert [weight for weight in story.made if weight != "100%"] == SMALL_STEPS
    canary, stable = story.made["1%"]
    assert canary <= (canary + stable + 2 * AHEAD) / 100 + 1
    assert story.rollout()["stableRevision"] == new
    assert all(story.system.video(job)["status"] == "completed" for job in story.jobs)
    selected = ("get", "deployments", "-l", "videofleet.dev/fleet=tiny", "-o", "json")
    deployments = json.loads(story.system.kubectl(*selected))["items"]
    replicas = {one["metadata"]["labels"]["videofleet.dev/revision"]: one["spec"]["replicas"] for one in deployments}
    assert (replicas[old], replicas[new]) == (0, 1)


def test_a_revision_that_computes_nan_gets_no_job_and_stays_rejected(story: Story) -> None:
    before = story.rollout()["stableRevision"]
    story.apply("nan")
    story.eventually(lambda: story.is_in("Rejected"), 120)
    status, reason, message = story.degraded()
    assert (status, reason) == ("True", "CanaryRejected")
    assert "NotFinite" in message
    assert f"Revision {before} keeps serving" in message
    assert story.system.videofleet("rollout", "status", "tiny").returncode == 1

    story.apply("nan", queue={"maxDepth": 77})
    story.eventually(lambda: story.rollout() != {}, 60)
    assert story.is_in("Rejected"), "the manifest still names it"


def test_one_that_fails_on_some_jobs_is_found_out_and_every_job_is_delivered(story: Story) -> None:
    before = story.rollout()["stableRevision"]
    story.apply("red-blind", rollout=UNPROVEN)  # a golden prompt would find it out
    story.eventually(lambda: story.is_in("Stepping"), 120)
    assert story.rollout()["canaryRevision"] != before
    story.serve_until("Rejected", "a red fox")
    assert story.rollout()["stableRevision"] == before
    story.eventually(lambda: all(story.is_done(job) for job in story.jobs), 120)
    assert all(story.system.video(job)["status"] == "completed" for job in story.jobs)
    assert story.degraded()[1] == "CanaryRejected"

    story.apply("next")
    story.eventually(lambda: story.degraded()[0] == "False", 60)
    assert story.rollout()["stableRevision"] == before
