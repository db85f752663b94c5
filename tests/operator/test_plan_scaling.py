"""Scaling through the whole plan: replicas, marks, costs, conditions, status and Events of one fleet."""

from datetime import timedelta

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet_operator.plan.actions import CostPod, Scale

SCALING = {"maxReplicas": 4, "targetWait": "1m", "scaleDownAfter": "1m", "scaleToZeroAfter": "5m"}


def scaled_cluster(new_cluster, **scaling):
    cluster = new_cluster()
    cluster.change(scaling={**SCALING, **scaling})
    cluster.settle()
    return cluster


def let_pass(cluster, seconds: float, step_s: float = 10) -> None:
    """Time in which operator, controllers and workers do their part."""
    for _ in range(int(seconds / step_s)):
        cluster.now += timedelta(seconds=step_s)
        cluster.run_pods()
        drain_marked(cluster)
        cluster.tick()


def drain_marked(cluster) -> None:
    """The workers obey: marked ones turn NotReady. The ReplicaSet of the fake takes the last pods, so mark fits."""
    marks = cluster.policy.marks if cluster.policy else {}
    cluster.beacons = []
    for name, pod in list(cluster.pods.items()):
        revision, draining = pod.revision, name in marks
        cluster.look_of(name, is_ready=not draining)
        state = WorkerState.DRAINING if draining else WorkerState.READY
        cluster.beacons.append(WorkerBeacon(worker=name, revision=revision, state=state))


def load(cluster, waiting: int, each_s: float, running: int = 0) -> None:
    cluster.waiting = waiting
    cluster.demand = {
        "running": running,
        "waiting_cost_s": waiting * each_s,
        "running_remaining_s": running * each_s,
        "arrived_s_total": cluster.demand.get("arrived_s_total", 0) + waiting * each_s,
    }


def test_a_new_fleet_proves_itself_with_one_worker_though_nobody_asks(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster)
    assert cluster.deployments[cluster.stable]["wanted"] == 1


def test_work_scales_out_to_the_maximum_and_says_why(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster)
    load(cluster, 20, 60)
    cluster.tick()
    assert cluster.deployments[cluster.stable]["wanted"] == 4
    scaling = cluster.status["scaling"]
    assert (scaling["desired"], scaling["reason"]) == (4, "ScaledUp")
    assert "20 jobs wait with 20 min of work" in scaling["message"]
    assert scaling["history"][0]["before"] == 1
    assert "ScaledUp" in cluster.events


def test_an_idle_fleet_goes_down_by_the_handshake_then_to_zero_and_comes_back(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster)
    load(cluster, 20, 60)
    cluster.tick()
    let_pass(cluster, 60)
    cluster.waiting, cluster.demand = 0, {"arrived_s_total": cluster.demand["arrived_s_total"]}
    let_pass(cluster, 240)
    assert cluster.deployments[cluster.stable]["wanted"] == 1
    let_pass(cluster, 400)
    assert cluster.deployments[cluster.stable]["wanted"] == 0
    assert cluster.condition("Ready")[:2] == ("True", "ScaledToZero")
    assert cluster.condition("Progressing")[0] == cluster.condition("Degraded")[0] == "False"
    load(cluster, 1, 20)
    cluster.tick()
    assert cluster.deployments[cluster.stable]["wanted"] == 1
    cluster.pods.clear()
    cluster.tick()
    assert cluster.condition("Ready")[:2] == ("False", "WarmingUp")
    assert cluster.condition("Degraded")[0] == "False", "a fleet that comes from zero has lost nothing"
    let_pass(cluster, 20)
    assert cluster.condition("Ready")[:2] == ("True", "WorkersReady")


def test_marks_come_before_costs_and_costs_before_fewer_replicas(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster, minReplicas=2)
    let_pass(cluster, 70)
    cluster.change(scaling={**SCALING, "minReplicas": 1})
    cluster.tick()
    (victim,) = cluster.policy.marks
    assert cluster.policy.valid_until_ms is not None, "a mark lapses with its operator"
    assert cluster.deployments[cluster.stable]["wanted"] == 2
    drain_marked(cluster)
    plan = cluster.tick()
    assert [(action.pod, action.is_costed) for action in plan.actions if isinstance(action, CostPod)] == [
        (victim, True)
    ]
    assert cluster.deployments[cluster.stable]["wanted"] == 2
    plan = cluster.tick()
    assert [action.replicas for action in plan.actions if isinstance(action, Scale)] == [1]


def test_advisory_only_tells(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster, mode="Advisory")
    load(cluster, 20, 60)
    cluster.tick()
    assert cluster.deployments[cluster.stable]["wanted"] == 1
    assert cluster.status["scaling"]["desired"] == 4


def test_while_redis_is_away_nothing_shrinks_and_the_status_stays(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster, minReplicas=3)
    told = cluster.status["scaling"]
    cluster.redis_is_up = False
    cluster.change(scaling={**SCALING, "minReplicas": 1})
    let_pass(cluster, 600)
    assert cluster.deployments[cluster.stable]["wanted"] == 3
    assert cluster.status["scaling"] == told


def test_a_short_resource_is_named_in_status_and_events(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster)
    load(cluster, 2, 90)
    cluster.tick()
    cluster.run_pods()
    name = sorted(cluster.pods)[-1]
    cluster.look_of(name, is_ready=False, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    load(cluster, 20, 90)
    cluster.tick()
    assert cluster.deployments[cluster.stable]["wanted"] == 2
    assert cluster.status["scaling"]["reason"] == "ResourceShort"
    assert "no node has nvidia.com/gpu to spare" in cluster.status["scaling"]["message"]
    assert "ResourceShort" in cluster.events


def test_the_sentence_of_the_moment_is_not_written_at_every_look(new_cluster) -> None:
    cluster = scaled_cluster(new_cluster)
    load(cluster, 4, 15)
    cluster.tick()
    cluster.run_pods()
    cluster.tick()
    cluster.now += timedelta(seconds=5)
    cluster.demand["waiting_cost_s"] = 50
    assert cluster.plan().status is None
    cluster.now += timedelta(seconds=30)
    assert cluster.plan().status is not None
