"""`spec.worker.decode`: decoders of a revision come, follow its workers, stay while those leave, and go with it."""

from typing import Any

import pytest

from videofleet_operator.crd.spec import parse_spec
from videofleet_operator.gpu_meter import gpus_held
from videofleet_operator.manifests.children import decoder_deployment, deployment, disruption_budget
from videofleet_operator.manifests.revision import ResolvedRevision, resolve, resolved_from, revision_hash
from videofleet_operator.observed import FleetSeen, Observed, PodSeen

Cluster = Any  # the fixture's class lives in conftest.py


@pytest.fixture
def cluster(new_cluster: Any) -> Cluster:
    """A fleet that nobody has seen yet."""
    return new_cluster()


FLEET = FleetSeen("studio", "tiny", "uid", 1, {}, {})


def with_decode(cluster: Cluster, workers: int, **decode: Any) -> None:
    cluster.change(worker={"gpus": 0, "decode": decode}, scaling={"minReplicas": workers, "maxReplicas": 4})


def resolved(cluster: Cluster, worker: dict[str, Any]) -> ResolvedRevision:
    return resolve(parse_spec(cluster.spec | {"worker": worker}), cluster.installation)


def current(cluster: Cluster) -> str:
    return revision_hash(parse_spec(cluster.spec))


def test_decoders_follow_the_workers_of_their_revision(cluster: Cluster) -> None:
    cluster.settle()
    assert cluster.decoders == {}, "nobody asked for any"
    with_decode(cluster, workers=3, replicas=2)
    cluster.settle()
    new = current(cluster)
    wanted = min(2, cluster.deployments[new]["wanted"])
    assert cluster.decoders == {new: {"wanted": wanted}}
    assert cluster.status["decoders"] == {"replicas": wanted, "ready": wanted}
    assert cluster.status["readyReplicas"] == sum(pod.is_ready for pod in cluster.pods.values()), "workers alone count"


def test_a_decoder_that_cannot_start_says_why(cluster: Cluster) -> None:
    with_decode(cluster, workers=1, replicas=1)
    cluster.settle()
    said = '{"reason": "StoreUnreachable", "message": "store videos: writing failed; check the url"}'
    waits = PodSeen("d", current(cluster), is_ready=False, waiting_reason="CrashLoopBackOff", termination_message=said)
    cluster.decoder_pods = [waits]
    cluster.tick()
    words = "StoreUnreachable: store videos: writing failed; check the url. Workers decode meanwhile."
    assert cluster.status["decoders"]["message"] == words
    assert cluster.condition("Ready")[0] == "True", "the fleet serves"
    cluster.decoder_pods = []
    cluster.tick()
    assert "message" not in cluster.status["decoders"]


def test_those_of_a_retired_revision_stay_until_its_last_worker_has_left(cluster: Cluster) -> None:
    with_decode(cluster, workers=1, replicas=1)
    cluster.settle()
    old = current(cluster)
    leaving = PodSeen("busy", old, is_ready=False, is_terminating=True)
    cluster.change(worker={"gpus": 0})
    cluster.command = f"promote:{current(cluster)}"
    cluster.settle()
    cluster.pods["busy"] = leaving
    cluster.decoders[old]["wanted"] = 1
    cluster.tick()
    assert cluster.decoders[old]["wanted"] == 1
    del cluster.pods["busy"]
    cluster.tick()
    assert cluster.decoders[old]["wanted"] == 0


def test_a_decoder_is_no_worker_to_any_selector(cluster: Cluster) -> None:
    revision = resolved(
        cluster, {"gpus": 2, "parallelism": {"cfg": 2}, "decode": {"resources": {"limits": {"cpu": "2"}}}}
    )
    decode = revision.worker.decode
    assert decode is not None
    made, workers = decoder_deployment(FLEET, revision, decode, 2), deployment(FLEET, revision, 1)
    labels = made["spec"]["template"]["metadata"]["labels"]
    for selector in (
        workers["spec"]["selector"]["matchLabels"],
        disruption_budget(FLEET, revision.revision)["spec"]["selector"]["matchLabels"],
    ):
        assert not selector.items() <= labels.items()
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["videofleet-worker", "decode"]
    assert container["resources"] == {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}
    assert workers["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_a_record_gives_back_the_same_decoders_and_one_without_them_is_as_it_was(cluster: Cluster) -> None:
    revision = resolved(cluster, {"gpus": 0, "decode": {"replicas": 3}})
    assert revision.worker.decode is not None
    assert (revision.worker.decode.replicas, revision.worker.decode.gpus) == (3, 0)
    record = revision.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert resolved_from(record) == revision
    plain = resolved(cluster, {"gpus": 0})
    assert "decode" not in plain.worker.to_json()
    assert "decodeResources" not in plain.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize(
    ("worker", "held"), [({"gpus": 4, "decode": {}}, 4 + 2), ({"gpus": 4, "decode": {"gpus": 0}}, 4), ({"gpus": 0}, 0)]
)
def test_gpus_of_decoders_are_counted(worker: dict[str, Any], held: int) -> None:
    fleet = FleetSeen("studio", "tiny", "uid", 1, {"worker": worker}, {})
    assert (
        gpus_held(
            Observed(
                fleet, pods=(PodSeen("w", "r", is_ready=True),), decoder_pods=2 * (PodSeen("d", "r", is_ready=True),)
            )
        )
        == held
    )
