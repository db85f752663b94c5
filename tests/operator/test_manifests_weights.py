"""Who fetches weights, where they lie, and who may write there; what the fetcher says reaches the conditions."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.weights import folder_name
from videofleet_operator.crd.quantities import quantity_bytes
from videofleet_operator.crd.spec import parse_spec
from videofleet_operator.installation import Installation
from videofleet_operator.manifests.children import deployment
from videofleet_operator.manifests.names import REVISION_LABEL
from videofleet_operator.manifests.revision import resolve
from videofleet_operator.observe import pod_seen
from videofleet_operator.observed import FleetSeen

FLEET = FleetSeen("studio", "wan", "11111111-2222-3333-4444-555555555555", 1, {}, {})
INSTALLATION = Installation("main", ("studio",), "worker:1", "redis", {"videos": None}, ("studio", "lease"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = {"source": "hf://Wan-AI/Wan2.2", "revision": COMMIT, "secret": "hub-token"}
BUCKET = {"source": "s3://weights/wan/a14b", "secret": "bucket"}
VOLUME = {"source": "pvc://weights/wan"}
CACHE = {"weightCache": {"persistentVolumeClaim": "cache", "maxSize": "1.5Gi"}}


def pod_of(model, worker=None, installation=INSTALLATION):
    spec = {
        "model": {"architecture": "wan2.2-t2v-a14b"} | model,
        "worker": worker or {},
        "tiers": [{"name": "small", "width": 128, "height": 128, "numFrames": 17, "numInferenceSteps": 4}],
        "output": {"store": "videos"},
    }
    return deployment(FLEET, resolve(parse_spec(spec), installation), 1)["spec"]["template"]["spec"]


def argument(container, name):
    return next((a.partition("=")[2] for a in container["args"] if a.startswith(f"--{name}=")), None)


def mounts(container):
    return {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}


def test_a_mounted_source_needs_no_fetcher():
    assert "initContainers" not in pod_of(VOLUME)
    assert "initContainers" not in pod_of({"source": "file:///models/wan"})


def test_the_fetcher_writes_what_the_worker_reads():
    pod = pod_of(HUB)
    (fetcher,), (worker,) = pod["initContainers"], pod["containers"]
    assert fetcher["command"] == ["videofleet-worker", "fetch"]
    assert (argument(fetcher, "source"), argument(fetcher, "revision")) == (HUB["source"], COMMIT)
    assert f"{argument(fetcher, 'cache')}/{argument(fetcher, 'name')}" == argument(worker, "model")
    assert argument(fetcher, "name") == folder_name(HUB["source"], COMMIT)
    assert mounts(fetcher)["weights"] is False
    assert mounts(worker)["weights"] is True


def test_only_the_fetcher_sees_the_secret():
    pod = pod_of(HUB)
    assert mounts(pod["initContainers"][0])["source"] is True
    assert "source" not in mounts(pod["containers"][0])
    assert {"name": "source", "secret": {"secretName": "hub-token"}} in pod["volumes"]


def test_without_a_cache_weights_live_and_die_with_the_pod():
    assert {"name": "weights", "emptyDir": {}} in pod_of(BUCKET)["volumes"]


def test_a_cache_is_shared_and_bounded():
    pod = pod_of(BUCKET, CACHE)
    assert {"name": "weights", "persistentVolumeClaim": {"claimName": "cache"}} in pod["volumes"]
    assert argument(pod["initContainers"][0], "max-bytes") == str(3 << 29)


def test_a_volume_can_be_copied_into_a_cache():
    (fetcher,) = pod_of(VOLUME, CACHE)["initContainers"]
    assert argument(fetcher, "source") == "file:///var/lib/videofleet/models/weights/wan"
    assert mounts(fetcher)["model"] is True
    assert "model" not in mounts(pod_of(VOLUME, CACHE)["containers"][0])


def test_a_mirror_of_the_hub_is_for_hub_sources():
    mirrored = dataclasses.replace(INSTALLATION, hub_endpoint="https://mirror")
    env = {entry["name"]: entry.get("value") for entry in pod_of(HUB, None, mirrored)["initContainers"][0]["env"]}
    assert env["HF_ENDPOINT"] == "https://mirror"
    assert "HF_ENDPOINT" not in str(pod_of(BUCKET, None, mirrored))


@given(st.sampled_from([HUB, BUCKET, VOLUME]), st.sampled_from(["a", "b"]))
def test_another_commit_or_source_has_another_folder(model, last):
    other = {**model, "source": f"{model['source']}-{last}"}
    place = argument(pod_of(model, CACHE)["containers"][0], "model")
    assert argument(pod_of(other, CACHE)["containers"][0], "model") != place
    commit = {**HUB, "revision": COMMIT[::-1]}
    assert argument(pod_of(commit)["containers"][0], "model") != argument(pod_of(HUB)["containers"][0], "model")


@pytest.mark.parametrize(("text", "size"), [("12", 12), ("1k", 1000), ("1.5Gi", 3 << 29), ("2T", 2 * 10**12)])
def test_quantities_are_bytes(text, size):
    assert quantity_bytes(text) == size


def test_milli_bytes_are_refused():
    with pytest.raises(ValueError, match="200Gi"):
        quantity_bytes("5m")


def pod_with(init_state, **last):
    init = {"name": "weights", "state": init_state} | ({"lastState": last} if last else {})
    waiting = {"name": "worker", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"initContainerStatuses": [init], "containerStatuses": [waiting]}
    return pod_seen({"metadata": {"name": "p", "labels": {}}, "status": status}, None, REVISION_LABEL)


def test_a_failing_fetcher_speaks_for_the_pod():
    ended = {"exitCode": 1, "reason": "Error", "message": '{"reason": "ModelNotFound"}'}
    seen = pod_with({"waiting": {"reason": "CrashLoopBackOff"}}, terminated=ended)
    assert (seen.waiting_reason, seen.exit_code, seen.termination_message) == (
        "CrashLoopBackOff",
        1,
        '{"reason": "ModelNotFound"}',
    )


def test_a_fetcher_that_is_done_gives_the_word_to_the_worker():
    seen = pod_with({"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert (seen.waiting_reason, seen.exit_code) == ("PodInitializing", None)
