"""The chart with an S3 store: Secrets mounted by gateway and worker, a video that went through the bucket."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from videofleet_cli.demo import cluster

ROOT = Path(__file__).parents[2]
KEY = "vf_e2e_0123456789abcdef0123456789abcdef"

pytestmark = pytest.mark.timeout(300)


def test_a_video_goes_through_the_bucket(tmp_path: Path, s3_secret: Path, handle: Callable[..., Any]) -> None:
    running = cluster.start(tmp_path / "dev", ROOT / "build" / "models")
    try:
        install(running, {file.name: file.read_text() for file in s3_secret.iterdir()})
        (tmp_path / "key").write_text(KEY)
        system = handle(
            tmp_path, {"KUBECONFIG": str(running.kubeconfig), "VIDEOFLEET_API_KEY_FILE": str(tmp_path / "key")}
        )
        address = system.kubectl("get", "service", "videofleet-gateway", "-o", "jsonpath={.spec.clusterIP}")
        system.env["VIDEOFLEET_GATEWAY"] = f"http://{address}:8080"
        system.kubectl("apply", "-f", str(ROOT / "examples" / "tiny.yaml"))
        system.kubectl("wait", "--for=condition=Ready", "vg/tiny", "--timeout=120s")
        done = system.videofleet("submit", "a fox", "--tier=preview", "-o", str(tmp_path / "fox.mp4"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "fox.mp4").stat().st_size > 1000
        pod = json.loads(system.kubectl("get", "pods", "-l", "videofleet.dev/fleet=tiny", "-o", "json"))["items"][0]
        assert "hunter2" not in json.dumps(pod), "credentials are mounted, never in a spec"
    finally:
        running.stop()


def install(running: cluster.Running, options: dict[str, str]) -> None:
    values = {
        "redis": {"url": running.redis_url()},
        "gateway": {
            "replicas": 1,
            "keys": [{"id": "e2e", "tenant": "e2e", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}],
        },
        "stores": [{"name": "videos", "options": options}],
    }
    config = helm.Config(kubeconfig_path=running.kubeconfig, namespace="default", storage_driver="memory")
    with helm.Chart.load(ROOT / "charts" / "videofleet") as chart, config:
        config.install(chart, "videofleet", values, namespace="default", timeout=120)
