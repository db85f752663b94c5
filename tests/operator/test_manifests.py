"""Revision hashes and pods: restricted whatever the spec says, in the fleet's namespace only, and never changing."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.queue import Durability
from videofleet.workerspec import Guidance, Offload, Parallelism, WorkerSpec
from videofleet_operator.crd.spec import parse_spec
from videofleet_operator.installation import ConfigError, Installation, read_installation
from videofleet_operator.manifests.children import contains, deployment, disruption_budget, fleet_children
from videofleet_operator.manifests.pod import pod_template
from videofleet_operator.manifests.revision import (
    config_map,
    controller_revision,
    resolve,
    resolved_from,
    revision_hash,
)
from videofleet_operator.observed import FleetSeen

FLEET = FleetSeen("studio", "wan", "11111111-2222-3333-4444-555555555555", 1, {}, {})
INSTALLATION = Installation(
    "main", ("studio",), "worker:1", "videofleet-redis", {"videos": None, "disk": "videos-claim"}, ("studio", "lease")
)
SPEC = {
    "model": {"architecture": "wan2.2-t2v-a14b", "source": "pvc://weights/wan/a14b"},
    "tiers": [{"name": "small", "width": 128, "height": 128, "numFrames": 17, "numInferenceSteps": 4}],
    "output": {"store": "videos"},
}


def resolved(**changes):
    return resolve(parse_spec(copy.deepcopy(SPEC) | changes), INSTALLATION)


def pod_of(**changes):
    return deployment(FLEET, resolved(**changes), 1)["spec"]["template"]["spec"]


def test_defaults_written_out_do_not_change_the_hash():
    filled = parse_spec(SPEC).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert revision_hash(parse_spec(filled)) == revision_hash(parse_spec(SPEC))


def test_the_hash_is_the_same_in_every_release():
    assert revision_hash(parse_spec(SPEC)) == "f5da76ba18", "changing it would restart every worker of every fleet"


@pytest.mark.parametrize(
    ("changes", "is_new"),
    [
        ({"model": SPEC["model"] | {"dtype": "bfloat16"}}, True),
        ({"worker": {"image": "worker:2"}}, True),
        ({"worker": {"terminationGracePeriod": "31m"}}, True),
        ({"tiers": [SPEC["tiers"][0] | {"fps": 8}]}, True),
        ({"warmup": {"maxRuns": 5}}, True),
        ({"model": SPEC["model"] | {"speed": "exact"}}, False),
        ({"model": SPEC["model"] | {"speed": "turbo"}}, True),
        ({"model": SPEC["model"] | {"attention": "auto"}}, True),
        ({"output": {"store": "disk"}}, True),
        ({"output": {"store": "videos", "prefix": "x", "retention": "1h", "cache": "fleet"}}, False),
        ({"output": {"store": "videos", "watermark": "made with AI"}}, True),
        ({"output": {"store": "videos", "signingSecret": "signing"}}, True),
        ({"queue": {"maxDepth": 1, "batchMaxWait": "5m", "weights": {"studio": 3}}}, False),
        ({"access": {"tenants": ["a"]}}, False),
        ({"scaling": {"minReplicas": 7}}, False),
        ({"worker": {"gpus": 1}}, False),
        ({"worker": {"parallelism": {"cfg": 1}}}, False),
        ({"worker": {"gpus": 2, "parallelism": {"cfg": 2}}}, True),
    ],
)
def test_what_makes_a_new_revision(changes, is_new):
    assert (revision_hash(parse_spec(SPEC | changes)) != revision_hash(parse_spec(SPEC))) is is_new


def test_a_record_gives_back_the_same_deployment():
    revision = resolved(worker={"nodeSelector": {"a": "b"}, "resources": {"limits": {"memory": "1Gi", "cpu": 2}}})
    record = json.loads(json.dumps(controller_revision(FLEET, revision, 1)))
    assert deployment(FLEET, resolved_from(record["data"]), 1) == deployment(FLEET, revision, 1)
    assert resolved_from({"v": 99}) is None


def test_the_worker_reads_what_the_operator_writes():
    spec = WorkerSpec.model_validate_json(config_map(FLEET, resolved())["data"]["worker.json"])
    assert (spec.gpus, spec.tiers[0].fps, spec.warmup.stable_within, spec.warmup.timeout_s) == (1, 16, 0.05, 1800)


def test_arguments_of_a_worker_with_a_secret_store():
    assert pod_of()["containers"][0]["args"] == [
        "--spec=/etc/videofleet/revision/worker.json",
        "--model=/var/lib/videofleet/models/weights/wan/a14b",
        "--redis-url-file=/etc/videofleet/redis/url",
        "--store-folder=videos=/etc/videofleet/stores/videos",
        "--installation=main",
        "--fleet-uid=11111111-2222-3333-4444-555555555555",
        "--scratch=/tmp/videofleet",
        "--grace-period-s=1800",
        "--termination-log=/dev/termination-log",
    ]


def test_a_fleet_that_signs_mounts_its_key():
    pod = pod_of(output={"store": "videos", "signingSecret": "signing"})
    assert "--signing-key=/etc/videofleet/signing/ed25519.pem" in pod["containers"][0]["args"]
    assert {"name": "signing", "secret": {"secretName": "signing"}} in pod["volumes"]
    assert "signing" not in json.dumps(pod_of())


def test_only_a_durability_that_is_not_the_default_is_an_argument():
    waiting = dataclasses.replace(INSTALLATION, durability=Durability.WAIT)
    pod = deployment(FLEET, resolve(parse_spec(SPEC), waiting), 1)["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-1] == "--durability=wait"
    assert not any("durability" in argument for argument in pod_of()["containers"][0]["args"])


def test_arguments_of_a_worker_with_a_claim_as_store_and_a_model_in_its_image():
    pod = pod_of(output={"store": "disk"}, model=SPEC["model"] | {"source": "file:///models/wan"})
    assert "--store=disk=file:///var/lib/videofleet/stores/disk" in pod["containers"][0]["args"]
    assert "--model=/models/wan" in pod["containers"][0]["args"]
    assert [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v] == [
        "videos-claim"
    ]


@pytest.mark.parametrize(
    ("worker", "limits", "shm"),
    [
        ({"gpus": 0}, {}, []),
        ({"gpus": 0, "parallelism": {"cfg": 2}}, {}, []),
        ({"gpus": 1}, {"limits": {"nvidia.com/gpu": "1"}}, ["8Gi"]),
        (
            {"gpus": 8, "parallelism": {"cfg": 2, "ulysses": 4, "shardWeights": True}},
            {"limits": {"nvidia.com/gpu": "8"}},
            ["32Gi"],
        ),
    ],
    ids=["CPU", "two ranks on the CPU", "1", "8"],
)
def test_gpus_bring_their_resource_and_shared_memory(worker, limits, shm):
    pod = pod_of(worker=worker)
    assert pod["containers"][0]["resources"] == limits
    volumes = [volume.get("emptyDir", {}) for volume in pod["volumes"]]
    assert [volume["sizeLimit"] for volume in volumes if volume.get("medium") == "Memory"] == shm


def test_what_is_not_given_is_not_written_so_that_older_files_stay_the_same():
    written = json.loads(config_map(FLEET, resolved())["data"]["worker.json"])
    assert not {"parallelism", "offload", "guidance", "speed", "attention"} & set(written)
    assert resolved(worker={"offload": "group"}).worker.offload is Offload.GROUP


def test_the_worker_is_told_the_guidance_of_silent_requests():
    model = SPEC["model"] | {"guidance": {"highNoise": "4", "lowNoise": "3.5"}}
    spec = WorkerSpec.model_validate_json(config_map(FLEET, resolved(model=model))["data"]["worker.json"])
    assert spec.guidance == Guidance(high_noise=4.0, low_noise=3.5)


def test_the_worker_is_told_how_its_ranks_share():
    worker = {"gpus": 4, "parallelism": {"cfg": 2, "ulysses": 2, "shardWeights": True}}
    spec = WorkerSpec.model_validate_json(config_map(FLEET, resolved(worker=worker))["data"]["worker.json"])
    assert (spec.parallelism, spec.parallelism.ranks) == (Parallelism(cfg=2, ulysses=2, shard_weights=True), 4)


def test_the_progress_deadline_lies_beyond_warm_up():
    assert deployment(FLEET, resolved(warmup={"timeout": "6h"}), 1)["spec"]["progressDeadlineSeconds"] > 6 * 3600


VOLUME_KINDS = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def restricted_violations(template):
    """Pod Security Standards `restricted`, and ours on top: read-only root, no token, no secret in the environment."""
    pod = template["spec"]
    security = pod["securityContext"]
    yield from (key for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace") if pod.get(key))
    if not (
        security.get("runAsNonRoot")
        and security.get("runAsUser")
        and security["seccompProfile"]["type"] == "RuntimeDefault"
    ):
        yield "pod securityContext"
    if pod.get("automountServiceAccountToken") is not False:
        yield "token"
    for volume in pod["volumes"]:
        if set(volume) - {"name"} - VOLUME_KINDS:
            yield f"volume {volume}"
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        context = container["securityContext"]
        if context != {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }:
            yield "container securityContext"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield "hostPort"
        yield from (entry["name"] for entry in container["env"] if "secretKeyRef" in entry.get("valueFrom", {}))


TEXT = st.text("ab-/.0:", min_size=1, max_size=12)
WORKERS = st.fixed_dictionaries(
    {},
    optional={
        "gpus": st.integers(0, 1),
        "image": TEXT,
        "nodeSelector": st.dictionaries(TEXT, TEXT, max_size=3),
        "tolerations": st.lists(
            st.fixed_dictionaries({}, optional={"key": TEXT, "operator": st.just("Exists")}), max_size=2
        ),
        "resources": st.fixed_dictionaries(
            {}, optional={"limits": st.just({"memory": "1Gi"}), "requests": st.just({"cpu": 1})}
        ),
        "terminationGracePeriod": st.sampled_from(["10s", "30m", "24h"]),
    },
)


MODELS = [{"source": source} for source in ("pvc://weights/x", "file:///m", "pvc://weights", "s3://weights/x")]
MODELS += [{"source": "hf://studio/wan", "revision": "0" * 40, "secret": "hub"}]
CACHES = [{}, {"weightCache": {"persistentVolumeClaim": "cache", "maxSize": "200Gi"}}]


@given(WORKERS, st.sampled_from(MODELS), st.sampled_from(CACHES), st.sampled_from(["videos", "disk"]))
def test_every_pod_is_restricted_and_stays_in_its_namespace(worker, model, cache, store):
    revision = resolved(worker=worker | cache, output={"store": store}, model=SPEC["model"] | model)
    children = [deployment(FLEET, revision, 1), config_map(FLEET, revision), controller_revision(FLEET, revision, 1)]
    children += [disruption_budget(FLEET, revision.revision), *fleet_children(FLEET)]
    assert list(restricted_violations(children[0]["spec"]["template"])) == []
    assert {child["metadata"]["namespace"] for child in children} == {"studio"}
    assert json.dumps(children).count('"namespace"') == len(children)
    assert all(child["metadata"]["ownerReferences"][0]["uid"] == FLEET.uid for child in children)


def test_a_canary_in_trouble_does_not_keep_stable_workers_on_their_nodes():
    """Each revision has a budget of its own, and a worker that is not warm never counts against a drain."""
    stable, canary = resolved(), resolved(worker={"nodeSelector": {"a": "b"}})
    budgets = [disruption_budget(FLEET, revision.revision)["spec"] for revision in (stable, canary)]
    for budget, revision, other in zip(budgets, (stable, canary), (canary, stable), strict=True):
        pods = {each.revision: pod_template(FLEET, each)["metadata"]["labels"] for each in (revision, other)}
        assert contains(pods[revision.revision], budget["selector"]["matchLabels"])
        assert not contains(pods[other.revision], budget["selector"]["matchLabels"])
        assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_contains_ignores_what_others_added():
    assert contains({"a": [{"b": 1, "c": 2}], "x": 0}, {"a": [{"b": 1}]})
    assert not contains({"a": [1, 2]}, {"a": [1]})
    assert not contains(None, {"a": 1})


def test_operator_yaml_is_read_or_refused_with_the_place(tmp_path):
    file = tmp_path / "operator.yaml"
    file.write_text(
        "{installation: main, namespaces: [studio], workerImage: w, redisSecret: r,"
        " stores: [{name: videos}, {name: disk, persistentVolumeClaim: claim}], lease: vf/operator}"
    )
    assert read_installation(file).lease == ("vf", "operator")
    assert read_installation(file).stores == {"videos": None, "disk": "claim"}
    file.write_text("installation: main")
    with pytest.raises(ConfigError, match="namespaces"):
        read_installation(file)
