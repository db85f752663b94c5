"""The node's decisions: paths, environment, volumes, back-off, status; tables over plain objects."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from videofleet_devcluster.node.environment import ConfigError, container_env, expanded, service_env
from videofleet_devcluster.node.paths import rewriter
from videofleet_devcluster.node.probes import Streak
from videofleet_devcluster.node.proxy import wanted_listeners
from videofleet_devcluster.node.status import (
    ContainerStatus,
    back_off_s,
    go_duration,
    pod_status,
    running,
    terminated,
    waiting,
)
from videofleet_devcluster.node.volumes import MountError, mount, place_volume

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/r/data"),
        ("/data/x", "/r/data/x"),
        ("/database", "/database"),
        ("--spec=/etc/v/worker.json", "--spec=/r/etc/v/worker.json"),
        ("--store=videos=file:///data/s", "--store=videos=file:///r/data/s"),
        ("a:/data:/etc/v", "a:/r/data:/r/etc/v"),
        ("https://host/data/x", "https://host/data/x"),
        ("/other/data", "/other/data"),
        ("/data/deep/x", "/r/data/deep/x"),
        ("cat /etc/v/a '/data/b'", "cat /r/etc/v/a '/r/data/b'"),
    ],
)
def test_mount_paths_are_rewritten_at_path_boundaries(text: str, expected: str) -> None:
    assert rewriter(Path("/r"), ["/data", "/data/deep", "/etc/v"])(text) == expected


def test_a_path_is_rewritten_once_even_when_the_root_lies_below_a_mount() -> None:
    rewrite = rewriter(Path("/tmp/state/root"), ["/tmp"])
    assert rewrite("--scratch=/tmp/x") == "--scratch=/tmp/state/root/tmp/x"
    assert rewrite(rewrite("--scratch=/tmp/x")) == "--scratch=/tmp/state/root/tmp/x"


POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "U", "labels": {"l": "1"}, "annotations": {}},
    "spec": {"nodeName": "node"},
    "status": {"podIP": "127.64.0.9"},
}
OBJECTS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("secrets", "n", "s"): {"data": {"key": base64.b64encode(b"secret").decode()}},
    ("configmaps", "n", "c"): {"data": {"key": "value"}},
    ("persistentvolumeclaims", "n", "claim"): {"spec": {}},
    ("nodes", "", "node"): {"status": {"allocatable": {"memory": "4Gi"}}},
}


def find(kind: Any, namespace: str, name: str) -> Any:
    return OBJECTS.get((kind.plural, namespace, name))


def env_of(*entries: dict[str, Any], **container: Any) -> dict[str, str]:
    return container_env({"env": list(entries)} | container, POD, find, {"BASE": "b"})


def test_environment_values_come_from_everywhere() -> None:
    env = env_of(
        {"name": "A", "value": "$(BASE)-$(NOPE)-$$(BASE)"},
        {"name": "B", "value": "$(A)!"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['l']"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "O", "valueFrom": {"secretKeyRef": {"name": "no", "key": "key", "optional": True}}},
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
    )
    assert env == {
        "BASE": "b",
        "P_key": "value",
        "A": "b-$(NOPE)-$(BASE)",
        "B": "b-$(NOPE)-$(BASE)!",
        "IP": "127.64.0.9",
        "L": "1",
        "S": "secret",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret n/s"),
        ({"fileKeyRef": {}}, "valueFrom fileKeyRef of X is not supported by this node"),
    ],
)
def test_a_missing_reference_reads_as_the_kubelets(source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env_of({"name": "X", "valueFrom": source})


def test_expansion_keeps_what_it_does_not_know() -> None:
    assert expanded("$(A) $$ $$(A) $(B) $A", {"A": "1"}) == "1 $ $(A) $(B) $A"


def test_services_appear_in_the_environment() -> None:
    service = {
        "metadata": {"name": "my-redis", "namespace": "n"},
        "spec": {"clusterIP": "127.10.0.1", "ports": [{"name": "tcp-main", "port": 6379}]},
    }
    headless = {
        "metadata": {"name": "h", "namespace": "n"},
        "spec": {"clusterIP": "None", "ports": [{"port": 1}]},
    }
    elsewhere = service | {"metadata": {"name": "x", "namespace": "other"}}
    assert service_env([service, headless, elsewhere], "n") == {
        "MY_REDIS_SERVICE_HOST": "127.10.0.1",
        "MY_REDIS_SERVICE_PORT": "6379",
        "MY_REDIS_SERVICE_PORT_TCP_MAIN": "6379",
    }


def test_files_of_a_config_map_follow_it(tmp_path: Path) -> None:
    volume = {
        "name": "v",
        "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]},
    }
    objects = dict(OBJECTS)

    def find_here(kind: Any, namespace: str, name: str) -> Any:
        return objects.get((kind.plural, namespace, name))

    place_volume({"name": "v", "configMap": {"name": "c"}}, POD, find_here, tmp_path / "v", "")
    assert (tmp_path / "v" / "key").read_text() == "value"
    objects["configmaps", "n", "c"] = {"data": {"other": "new"}}
    place_volume({"name": "v", "configMap": {"name": "c"}}, POD, find_here, tmp_path / "v", "")
    assert {path.name: path.read_text() for path in (tmp_path / "v").iterdir()} == {"other": "new"}
    place_volume(volume, POD, find_here, tmp_path / "p", "")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"other", "key"}


@pytest.mark.parametrize(
    ("volume", "cause"),
    [
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "s", "items": [{"key": "k", "path": "k"}]}}, "non-existent secret key: k"),
        ({"persistentVolumeClaim": {"claimName": "no"}}, 'persistentvolumeclaim "no" not found'),
        ({"persistentVolumeClaim": {"claimName": "claim"}}, 'persistentvolumeclaim "claim" is not bound'),
        ({"hostPath": {"path": "/does/not/exist"}}, "hostPath type check failed"),
        ({"csi": {}}, "volumes of type csi are not supported"),
    ],
)
def test_a_volume_that_cannot_be_mounted_says_why(volume: Any, cause: str, tmp_path: Path) -> None:
    with pytest.raises(MountError, match=f'MountVolume.SetUp failed for volume "v" : .*{cause}'):
        place_volume({"name": "v"} | volume, POD, find, tmp_path, "")


def test_mounts_are_links_below_the_root(tmp_path: Path) -> None:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/a/b"}, {"name": "v", "mountPath": "/s", "subPath": "x"}]}
    folder = tmp_path / "v"
    folder.mkdir()
    mount(container, tmp_path / "root", {"v": folder})
    (tmp_path / "root/a/b/file").write_text("1")
    (tmp_path / "root/s/file").write_text("2")
    assert ((folder / "file").read_text(), (folder / "x/file").read_text()) == ("1", "2")


def test_back_off_doubles_from_the_second_failure() -> None:
    assert [back_off_s(n, 10) for n in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [go_duration(s) for s in (10, 80, 300, 0.05)] == ["10s", "1m20s", "5m0s", "50ms"]


def test_a_streak_decides_at_its_threshold() -> None:
    streak = Streak(success_threshold=1, failure_threshold=3)
    assert [streak.add(ok) for ok in (False, False, True, False, False, False)] == [
        *(None, None, True),
        *(None, None, False),
    ]


def ended(code: int) -> dict[str, Any]:
    return terminated(code, "", "", NOW, NOW, "")


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [waiting("ContainerCreating")], "Pending"),
        ("Always", [running(NOW)], "Running"),
        ("Always", [ended(1)], "Running"),
        ("Never", [ended(0), running(NOW)], "Running"),
        ("Never", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(3)], "Failed"),
        ("OnFailure", [ended(3)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
    ],
)
def test_the_phase_follows_the_containers(policy: str, states: list[Any], phase: str) -> None:
    pod = {"metadata": {}, "spec": {"restartPolicy": policy}}
    containers = [ContainerStatus(f"c{i}", "", state=state) for i, state in enumerate(states)]
    assert pod_status(pod, "127.64.0.1", [], containers, NOW, NOW)["phase"] == phase


def test_a_container_in_back_off_keeps_the_pod_running_but_not_ready() -> None:
    container = ContainerStatus("c", "", state=waiting("CrashLoopBackOff"), last_state=ended(137))
    status = pod_status({"metadata": {}, "spec": {}}, "127.64.0.1", [], [container], NOW, NOW)
    assert status["phase"] == "Running"
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [c]",
    )
    assert status["containerStatuses"][0]["lastState"]["terminated"]["signal"] == 9


def test_a_service_listens_only_with_ready_endpoints() -> None:
    service = {
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"clusterIP": "127.10.0.1", "ports": [{"port": 80, "name": ""}]},
    }

    def slice_(ready: bool) -> dict[str, Any]:
        meta = {"name": "s-x", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"}}
        endpoint = {"addresses": ["127.64.0.1"], "conditions": {"ready": ready}}
        return {"metadata": meta, "ports": [{"name": "", "port": 8080}], "endpoints": [endpoint]}

    assert wanted_listeners([service], [slice_(True)]) == {("127.10.0.1", 80): (("127.64.0.1", 8080),)}
    assert wanted_listeners([service], [slice_(False)]) == {}
    real = service | {"spec": service["spec"] | {"clusterIP": "10.96.0.1"}}
    assert wanted_listeners([real], [slice_(True)]) == {}
