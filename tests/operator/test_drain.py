"""The handshake of a scale-down, against workers, a queue and a ReplicaSet that do what they like in between."""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from videofleet_operator.plan.drain import MARK_MS, DrainPlan, WorkerSeen, plan_drain

NOW_MS = 1_000_000_000


def worker(name: str, *, is_ready: bool = True, is_idle: bool = True, is_costed: bool = False) -> WorkerSeen:
    return WorkerSeen(name, is_ready, is_idle, is_costed, made_s=float(ord(name)))


def marked(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, NOW_MS + MARK_MS)


def test_the_idle_worker_is_marked_and_nothing_else_happens_yet() -> None:
    alive = [worker("a", is_idle=False), worker("b"), worker("c", is_idle=False)]
    assert plan_drain(2, 3, alive, {}, NOW_MS) == DrainPlan(3, marked("b"))


def test_a_drained_worker_gets_the_cost_first_and_only_then_the_deployment_shrinks() -> None:
    alive = [worker("a"), worker("b", is_ready=False)]
    plan = plan_drain(1, 2, alive, marked("b"), NOW_MS)
    assert (plan.replicas, plan.cost) == (2, ("b",))
    alive[1] = replace(alive[1], is_costed=True)
    assert plan_drain(1, 2, alive, marked("b"), NOW_MS).replicas == 1


def test_a_marked_worker_that_is_busy_is_waited_for() -> None:
    alive = [worker("a", is_idle=False), worker("b", is_idle=False)]
    plan = plan_drain(1, 2, alive, marked("b"), NOW_MS)
    assert (plan.replicas, plan.cost) == (2, ())


def test_nothing_shrinks_while_another_pod_is_not_ready() -> None:
    """A ReplicaSet would take that one; it may become ready, and busy, before it does."""
    alive = [worker("a"), worker("b", is_ready=False, is_costed=True), worker("c", is_ready=False, is_idle=False)]
    plan = plan_drain(2, 3, alive, marked("b"), NOW_MS)
    assert plan.replicas == 3


def test_pods_that_wait_for_a_node_go_at_once_unless_a_busy_one_could_go_instead() -> None:
    alive = [worker("a"), replace(worker("b", is_ready=False), is_placed=False), worker("c", is_ready=False)]
    assert plan_drain(2, 3, alive, {}, NOW_MS) == DrainPlan(2)
    alive[2] = worker("c", is_ready=False, is_idle=False)
    assert plan_drain(2, 3, alive, {}, NOW_MS) == DrainPlan(3)


def test_a_mark_that_is_about_to_lapse_is_renewed_before_it_is_relied_on() -> None:
    alive = [worker("a"), worker("b", is_ready=False)]
    plan = plan_drain(1, 2, alive, {"b": NOW_MS + 5_000}, NOW_MS)
    assert (plan.replicas, plan.cost, plan.marks) == (2, (), marked("b"))


def test_when_kubernetes_took_another_the_drained_one_serves_again() -> None:
    plan = plan_drain(1, 1, [worker("b", is_ready=False, is_costed=True)], marked("b"), NOW_MS)
    assert plan == DrainPlan(1, {}, uncost=("b",))


def test_new_demand_takes_the_marks_back() -> None:
    alive = [worker("a"), worker("b", is_ready=False, is_costed=True)]
    assert plan_drain(4, 2, alive, marked("b"), NOW_MS) == DrainPlan(4, {}, uncost=("b",))


@dataclass
class Pod:
    """A worker as the machine plays it."""

    is_warm: bool = False
    job: bool = False
    is_costed: bool = False
    is_draining: bool = False  # NotReady because it is marked and has no job


class ScaleDown(RuleBasedStateMachine):
    """The operator, the workers and the ReplicaSet take turns in any order; the operator sees old news at times."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: dict[str, Pod] = {}
        self.wanted, self.desired, self.made, self.now_ms = 3, 3, 0, NOW_MS
        self.marks: dict[str, int] = {}
        self.killed = 0

    def alive(self) -> list[WorkerSeen]:
        return [
            WorkerSeen(name, pod.is_warm and not pod.is_draining, not pod.job, pod.is_costed, float(name[1:]))
            for name, pod in self.pods.items()
        ]

    @rule(desired=st.integers(0, 6))
    def demand_changes(self, desired: int) -> None:
        self.desired = desired

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    @rule()
    def operator_plans(self) -> None:
        plan = plan_drain(self.desired, self.wanted, self.alive(), self.marks, self.now_ms)
        if plan.replicas < self.wanted and len(self.pods) == self.wanted:
            drained = sum(pod.is_costed for pod in self.pods.values())
            assert self.wanted - plan.replicas <= drained, "smaller by more than are drained"
        for name, costed in [(name, True) for name in plan.cost] + [(name, False) for name in plan.uncost]:
            self.pods[name].is_costed = costed
        self.marks, self.wanted = plan.marks, plan.replicas
        self.replica_set_acts()  # controllers act within seconds: the marks outlive them by their margin

    def replica_set_acts(self) -> None:
        while len(self.pods) < self.wanted:
            self.made += 1
            self.pods[f"p{self.made}"] = Pod()
        surplus = len(self.pods) - self.wanted
        order = sorted(self.alive(), key=lambda seen: (seen.is_ready, not seen.is_costed, -seen.made_s))
        for seen in order[: max(0, surplus)]:
            self.killed += self.pods.pop(seen.name).job

    @rule(data=st.data())
    def worker_lives(self, data: st.DataObject) -> None:
        if not self.pods:
            return
        name = data.draw(st.sampled_from(sorted(self.pods)))
        pod, is_marked = self.pods[name], self.marks.get(name, 0) > self.now_ms
        if not pod.is_warm:
            pod.is_warm = True
        elif pod.job:
            pod.job = False
        elif is_marked:
            pod.is_draining = True
        elif pod.is_draining:
            pod.is_draining = False
        else:
            pod.job = True  # the queue never runs dry

    @invariant()
    def no_job_was_killed(self) -> None:
        assert self.killed == 0

    def teardown(self) -> None:
        """Left alone, it arrives at what is wanted."""
        for _ in range(60):
            self.now_ms += 5_000
            for name, pod in self.pods.items():
                pod.is_warm, pod.job = True, False
                pod.is_draining = self.marks.get(name, 0) > self.now_ms
            self.operator_plans()
        assert len(self.pods) == self.desired
        assert not self.marks
        assert not any(pod.is_costed for pod in self.pods.values())


ScaleDown.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestScaleDown = ScaleDown.TestCase
