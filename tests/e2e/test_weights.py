"""Weights from a hub onto a shared volume, as the platform engineer sees it: progress, a video, a second start."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from videofleet_cli.demo import cluster

ROOT = Path(__file__).parents[2]
KEY = "vf_e2e_0123456789abcdef0123456789abcdef"
CLAIMS = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def hub() -> Iterator[Any]:
    """A hub that has the tiny model."""
    spec = importlib.util.spec_from_file_location("hub_server", ROOT / "tests/hub_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hub = module.Hub(ROOT / "build/models/tiny-a14b")
    yield hub
    hub.close()


@pytest.fixture
def installed(tmp_path: Path, hub: Any, handle: Callable[..., Any]) -> Iterator[Any]:
    """An installation whose hub is ours, with a claim for the cache."""
    running = cluster.start(tmp_path / "dev", ROOT / "build" / "models")
    try:
        values = {
            "redis": {"url": running.redis_url()},
            "gateway": {
                "replicas": 1,
                "keys": [{"id": "e2e", "tenant": "e2e", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}],
            },
            "hub": {"endpoint": hub.url},
        }
        config = helm.Config(kubeconfig_path=running.kubeconfig, namespace="default", storage_driver="memory")
        with helm.Chart.load(ROOT / "charts" / "videofleet") as chart, config:
            config.install(chart, "videofleet", values, namespace="default", timeout=120)
        (tmp_path / "key").write_text(KEY)
        system = handle(
            tmp_path, {"KUBECONFIG": str(running.kubeconfig), "VIDEOFLEET_API_KEY_FILE": str(tmp_path / "key")}
        )
        address = system.kubectl("get", "service", "videofleet-gateway", "-o", "jsonpath={.spec.clusterIP}")
        system.env["VIDEOFLEET_GATEWAY"] = f"http://{address}:8080"
        (tmp_path / "claims.yaml").write_text(CLAIMS)
        system.kubectl("apply", "-f", str(tmp_path / "claims.yaml"))
        yield system
    finally:
        running.stop()


def applied(system: Any, commit: str) -> None:
    """The smallest fleet, with its weights from the hub."""
    manifest = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())
    manifest["spec"]["model"] |= {"source": "hf://studio/tiny", "revision": commit}
    manifest["spec"]["worker"]["weightCache"] = {"persistentVolumeClaim": "cache", "maxSize": "1Gi"}
    (system.folder / "fleet.yaml").write_text(yaml.safe_dump(manifest))
    system.kubectl("apply", "-f", str(system.folder / "fleet.yaml"))


def message(system: Any, condition: str) -> str:
    path = f"jsonpath={{.status.conditions[?(@.type=='{condition}')].message}}"
    return str(system.kubectl("get", "vg", "tiny", "-o", path))


def pod_of(system: Any) -> str:
    pods = json.loads(system.kubectl("get", "pods", "-l", "videofleet.dev/fleet=tiny", "-o", "json"))["items"]
    return next((pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]), "")


def test_weights_come_from_the_hub_once(
    installed: Any, hub: Any, eventually: Callable[[Callable[[], Any], float], Any]
) -> None:
    applied(installed, "f" * 40)
    eventually(lambda: "no commit ffffffff" in message(installed, "Ready"), 60)
    installed.kubectl("delete", "vg", "tiny")
    hub.delay_s = 1.5
    applied(installed, "0123456789abcdef0123456789abcdef01234567")
    eventually(lambda: "fetching weights" in message(installed, "Progressing"), 60)
    hub.delay_s = 0.0
    installed.kubectl("wait", "--for=condition=Ready", "vg/tiny", "--timeout=120s")
    done = installed.videofleet("submit", "a fox", "--tier=preview", "-o", str(installed.folder / "fox.mp4"))
    assert done.returncode == 0, done.stderr
    read, first = hub.read.total(), pod_of(installed)
    installed.kubectl("delete", "pod", first)
    eventually(lambda: pod_of(installed) not in ("", first), 60)
    installed.kubectl("wait", "--for=condition=Ready", "vg/tiny", "--timeout=120s")
    done = installed.videofleet("submit", "two foxes", "--tier=preview", "-o", str(installed.folder / "foxes.mp4"))
    assert done.returncode == 0, done.stderr
    assert hub.read.total() == read, "the second start found everything in the cache"
