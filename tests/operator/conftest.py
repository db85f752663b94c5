"""A cluster in memory for the pure core: it executes plans and plays Deployment controller, kubelet and Redis."""

import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from videofleet.beacons import WorkerBeacon
from videofleet.feedback import Feedback
from videofleet.jobs import Outcomes, QueueStats
from videofleet.policy import FleetPolicy
from videofleet_operator.installation import Installation
from videofleet_operator.manifests.names import DECODER_LABEL, REVISION_LABEL
from videofleet_operator.observed import DeploymentSeen, FleetSeen, Measure, Observed, PodSeen, QueueSeen, RevisionSeen
from videofleet_operator.plan.actions import Action, Apply, CostPod, Delete, MarkTrack, Scale, Stage
from videofleet_operator.plan.fleet import Plan, plan_fleet
from videofleet_operator.plan.memory import Memory

UID = "11111111-2222-3333-4444-555555555555"
START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = {
    "model": {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/tiny"},
    "tiers": [{"name": "small", "width": 128, "height": 128, "numFrames": 17, "numInferenceSteps": 4}],
    "output": {"store": "videos"},
}

LEASE = ("studio", "videofleet-operator")
INSTALLATION = Installation("main", ("studio",), "worker:1", "videofleet-redis", {"videos": None}, LEASE)


def _all_ready(revision: str, wanted: int) -> DeploymentSeen:
    return DeploymentSeen(revision, False, wanted, wanted, wanted)


@dataclass
class SimulatedCluster:
    """Level-triggered like the real thing: `tick` observes, plans, executes; `settle` does so until nothing changes."""

    spec: Any = field(default_factory=lambda: copy.deepcopy(SPEC))
    generation: int = 1
    epoch: int = 1  # of the leader
    is_paused: bool = False
    status: dict[str, Any] = field(default_factory=dict)
    now: datetime = START
    revisions: dict[str, RevisionSeen] = field(default_factory=dict)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    decoders: dict[str, dict[str, Any]] = field(default_factory=dict)  # all of them ready
    decoder_pods: list[PodSeen] = field(default_factory=list)  # that are not
    config_maps: set[str] = field(default_factory=set)
    disruption_budgets: set[str] = field(default_factory=set)
    fleet_children: dict[str, Any] = field(default_factory=dict)  # by kind
    pods: dict[str, PodSeen] = field(default_factory=dict)
    beacons: list[WorkerBeacon] = field(default_factory=list)
    policy: FleetPolicy | None = None
    waiting: int = 0
    redis_is_up: bool = True
    broken: set[str] = field(default_factory=set)  # revisions whose workers never become ready
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)  # how their pods look, by revision
    command: str | None = None  # by annotation
    gpus: int | None = None  # of all nodes, one a worker; None: enough
    counted: dict[str, Outcomes] = field(default_factory=dict)  # how attempts ended, by revision
    writes: int = 0
    made: int = 0  # pods, ever
    events: list[str] = field(default_factory=list)
    installation: Installation = INSTALLATION
    memory: Memory | None = None  # of the operator; None after its restart
    opinions: list[Feedback] = field(default_factory=list)
    measures: tuple[Measure, ...] = ()  # Prometheus' answers
    demand: dict[str, Any] = field(default_factory=dict)  # further figures of the queue

    def change(self, **fields: Any) -> None:
        """Replaces top-level fields of the spec."""
        self.spec = copy.deepcopy(self.spec) | fields
        self.generation += 1

    def observe(self) -> Observed:
        stats = QueueStats(**{"waiting": self.waiting, "running": 0, "oldest_wait_s": 0, **self.demand})
        return Observed(
            fleet=FleetSeen(
                "studio",
                "tiny",
                UID,
                self.generation,
                copy.deepcopy(self.spec),
                copy.deepcopy(self.status),
                self.is_paused,
                self.command,
            ),
            revisions=tuple(self.revisions.values()),
            deployments=tuple(
                DeploymentSeen(name, seen["stable"], seen["wanted"], self.count(name), self.count(name, True))
                for name, seen in self.deployments.items()
            ),
            config_maps=frozenset(self.config_maps),
            disruption_budgets=frozenset(self.disruption_budgets),
            fleet_children=dict(self.fleet_children),
            pods=tuple(self.pods.values()),
            decoders=tuple(_all_ready(name, seen["wanted"]) for name, seen in self.decoders.items()),
            decoder_pods=tuple(self.decoder_pods),
            queue=QueueSeen(stats, tuple(self.beacons), self.policy, tuple(self.counted.values()), tuple(self.opinions))
            if self.redis_is_up
            else None,
            memory=self.memory,
            measures=self.measures,
        )

    def count(self, revision: str, ready: bool = False) -> int:
        return sum(pod.revision == revision and (pod.is_ready or not ready) for pod in self.pods.values())

    def plan(self) -> Plan:
        return plan_fleet(self.observe(), self.installation, self.epoch, self.now)

    def tick(self, crash_after: int | None = None) -> Plan:
        """One reconcile; `crash_after` n writes it dies."""
        plan = self.plan()
        self.memory = plan.memory
        for write in self._writes_of(plan)[:crash_after]:
            write()
            self.writes += 1
        return plan

    def _writes_of(self, plan: Plan) -> list[Any]:
        def publish() -> None:
            self.policy = plan.policy

        def write_status() -> None:
            self.status = plan.status or {}

        builds = [action for action in plan.actions if action.stage is Stage.BUILD]
        retires = [action for action in plan.actions if action.stage is Stage.RETIRE]
        writes = [lambda action=action: self.perform(action) for action in builds]
        if plan.policy and self.redis_is_up:
            writes.append(publish)
        if not plan.policy or self.redis_is_up:
            writes += [lambda action=action: self.perform(action) for action in retires]
        self.events += [event.reason for event in plan.events]
        return writes + ([write_status] if plan.status else [])

    def perform(self, action: Action) -> None:
        match action:
            case Apply(manifest=manifest):
                self._apply(manifest)
            case Scale(deployment=name, replicas=replicas):
                found, revision = self._deployment(name)
                found[revision]["wanted"] = replicas
            case CostPod(pod=name, is_costed=is_costed):
                self.look_of(name, is_costed=is_costed)
            case MarkTrack(deployment=name, is_stable=is_stable):
                self.deployments[name.split("-")[-1]]["stable"] = is_stable
            case Delete(kind="Deployment", name=name):
                found, revision = self._deployment(name)
                del found[revision]
            case Delete(kind="ConfigMap", name=name):
                self.config_maps.remove(name)
            case Delete(kind="PodDisruptionBudget", name=name):
                self.disruption_budgets.remove(name)
            case Delete(name=name):
                del self.revisions[name.split("-")[-1]]

    def _deployment(self, name: str) -> tuple[dict[str, dict[str, Any]], str]:
        parts = name.split("-")
        return (self.decoders, parts[-2]) if parts[-1] == "decoder" else (self.deployments, parts[-1])

    def _apply(self, manifest: dict[str, Any]) -> None:
        labels = manifest["metadata"]["labels"]
        revision = labels.get(REVISION_LABEL)
        match manifest["kind"]:
            case "Deployment" if DECODER_LABEL in labels:
                assert labels[DECODER_LABEL] not in self.decoders, "a template never changes"
                self.decoders[labels[DECODER_LABEL]] = {"wanted": manifest["spec"]["replicas"]}
            case "ControllerRevision":
                self.revisions[revision] = RevisionSeen(revision, manifest["revision"], manifest["data"])
            case "Deployment":
                assert revision not in self.deployments, "a template never changes"
                self.deployments[revision] = {"wanted": manifest["spec"]["replicas"], "stable": False}
            case "ConfigMap":
                assert manifest["metadata"]["name"] not in self.config_maps, "it is immutable"
                self.config_maps.add(manifest["metadata"]["name"])
            case "PodDisruptionBudget":
                self.disruption_budgets.add(manifest["metadata"]["name"])
            case kind:
                self.fleet_children[kind] = manifest

    def serve(self, jobs: int, bad: dict[str, float] | None = None, slow: dict[str, float] | None = None) -> None:
        """Jobs as the policy divides them; shares of a revision's jobs that fail or are slow, spread evenly."""
        assert self.policy is not None
        rule = self.policy.canary
        stable = next(revision for revision, track in self.policy.tracks.items() if track == "stable")
        to_canary = jobs * rule.weight_permille // 1000 if rule else 0
        for revision, count in ((stable, jobs - to_canary), (rule.revision if rule else stable, to_canary)):
            row = self.counted.get(revision, Outcomes(revision=revision, tier="small"))
            attempts = row.attempts + count
            share_bad, share_slow = (bad or {}).get(revision, 0.0), (slow or {}).get(revision, 0.0)
            changes = {"attempts": attempts, "steps": attempts, "step_s": float(attempts), "paced": attempts}
            changes |= {"alone": attempts, "alone_s": float(attempts)}
            changes["attempt_failures"] = row.attempt_failures + round(count * share_bad)
            changes["slow"] = row.slow + round(count * share_slow)
            self.counted[revision] = row.model_copy(update=changes)

    def count_of(self, revision: str, **counts: float) -> None:
        """Adds to a revision's counters."""
        row = self.counted.get(revision, Outcomes(revision=revision, tier="small"))
        self.counted[revision] = row.model_copy(update={key: getattr(row, key) + n for key, n in counts.items()})

    def live(self, jobs: int, ticks: int = 1, **shares: Any) -> None:
        """Serves so many jobs every ten seconds and plans after each."""
        for _ in range(ticks):
            self.serve(jobs, **shares)
            self.run_pods()
            self.now += timedelta(seconds=10)
            self.tick()

    @property
    def rollout(self) -> dict[str, Any]:
        return self.status["rollout"]

    def run_pods(self) -> None:
        """Deployment controller and kubelet: as many pods as wanted, warm unless their revision is broken."""
        for revision, seen in self.deployments.items():
            alive = [name for name, pod in self.pods.items() if pod.revision == revision]
            alive.sort(key=lambda name: (self.pods[name].is_ready, not self.pods[name].is_costed))
            for name in alive[: max(0, len(alive) - seen["wanted"])]:
                del self.pods[name]
            for index in range(len(alive), seen["wanted"]):
                self.made += 1
                name = f"tiny-{revision}-{self.made}-{index}"
                self.pods[name] = PodSeen(name, revision, False, made_s=self.now.timestamp())
            is_ready = revision not in self.broken
            self.look(revision, is_ready=is_ready, **({} if is_ready else self.faults.get(revision, {})))
        self.pods = {name: pod for name, pod in self.pods.items() if pod.revision in self.deployments}
        self._schedule()
        for name in (self.policy.marks if self.policy else {}).keys() & self.pods.keys():
            self.look_of(name, is_ready=False)  # it has no job and turns NotReady

    def _schedule(self) -> None:
        """Those that came first have the GPUs."""
        if self.gpus is not None:
            for name in sorted(self.pods, key=lambda name: int(name.split("-")[2]))[self.gpus :]:
                self.look_of(
                    name, is_ready=False, unschedulable="0/1 nodes are available: Insufficient nvidia.com/gpu."
                )

    def settle(self) -> None:
        """Until a tick changes nothing; fails when it never ends."""
        for _ in range(20):
            before = self.writes
            self.run_pods()
            self.now += timedelta(seconds=1)
            self.tick()
            if self.writes == before:
                return
        raise AssertionError("does not converge")

    def condition(self, kind: str) -> tuple[str, str, str]:
        """status, reason, message."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"], found["message"]

    @property
    def target(self) -> str:
        return self.status["revisions"]["target"]

    @property
    def stable(self) -> str | None:
        return self.status["revisions"].get("stable")

    def look_of(self, name: str, **fields: Any) -> None:
        """Changes what one pod looks like."""
        self.pods[name] = replace(self.pods[name], **fields)

    def look(self, revision: str, **fields: Any) -> None:
        """Changes what the pods of a revision look like."""
        for name, pod in self.pods.items():
            if pod.revision == revision:
                self.pods[name] = replace(pod, **fields)


@pytest.fixture(scope="session")
def new_cluster() -> type[SimulatedCluster]:
    """Makes clusters; session-wide, so that properties can use it."""
    return SimulatedCluster
