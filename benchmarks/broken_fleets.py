"""Fleets in which something is wrong, each with the reason and a word of the remedy that its status must show.

Shared by tests/e2e/test_twelve_faults.py, which reads them all, and bench_faults.py, which takes the time of each.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

from videofleet_cli.demo import cluster

ROOT = Path(__file__).parents[1]
TINY = ROOT / "build/models/tiny-a14b"
NAMESPACES = ("default", "quota", "bare", "denied")


@dataclass(frozen=True)
class Wrong:
    """One fault: where the fleet is, what its spec changes, and what Ready must say."""

    name: str
    reason: str
    words: str  # of the remedy
    spec: dict[str, Any]
    namespace: str = "default"


def model(folder: str) -> dict[str, Any]:
    """The part of a spec that names a folder of the claim `models`."""
    return {"model": {"source": f"pvc://models/{folder}"}}


HUGE = {"name": "huge", "width": 512, "height": 512, "numFrames": 81, "numInferenceSteps": 50}
FAULTS = [
    Wrong("quota", "PodsRefused", "raise the quota", {}, "quota"),
    Wrong("bad-image", "ImagePullFailed", "spec.worker.image", {"worker": {"image": "registry.example.com/Worker"}}),
    Wrong("no-gpu", "Unschedulable", "Insufficient nvidia.com/gpu", {"worker": {"gpus": 1}}),
    Wrong("missing", "ModelNotFound", "spec.model.source", model("nothing")),
    Wrong("corrupt", "ModelCorrupt", "again", model("truncated")),
    Wrong("pickled", "ModelUnsafe", "safetensors", model("pickled")),
    Wrong("mistaken", "ModelMismatch", "architecture", {"model": {"architecture": "wan2.2-ti2v-5b"}}),
    Wrong("slow", "WarmupTimeout", "spec.warmup.timeout", {"warmup": {"timeout": "10s"}, "tiers": [HUGE]}),
    Wrong("not-finite", "NotFinite", "dtype", model("nan")),
    Wrong("bare", "SecretMissing", "videofleet-redis", {}, "bare"),
    Wrong("denied", "StoreUnreachable", "credentials", {}, "denied"),
]


def damaged_models(folder: Path) -> Path:
    """The tiny model and what can become of one."""
    for name in ("tiny-a14b", "truncated", "pickled", "nan"):
        shutil.copytree(TINY, folder / name)
    weights = next((folder / "truncated/transformer").glob("*.safetensors"))
    os.truncate(weights, weights.stat().st_size // 2)
    weights = next((folder / "pickled/transformer").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    fill_with_nan(next((folder / "nan/transformer").glob("*.safetensors")))
    return folder


def fill_with_nan(file: Path) -> None:
    """Every number of a safetensors file."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: torch.full_like(tensor, float("nan")) for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def install(running: cluster.Running) -> None:
    """The chart, for all of the namespaces."""
    key = {"id": "e2e", "tenant": "e2e", "sha256": hashlib.sha256(b"nobody's key").hexdigest()}
    values = {
        "namespaces": list(NAMESPACES),
        "redis": {"url": running.redis_url()},
        "gateway": {"replicas": 1, "keys": [key]},
        "stores": [{"name": "videos", "persistentVolumeClaim": {"existing": "videos"}}],
    }
    config = helm.Config(kubeconfig_path=running.kubeconfig, namespace="default", storage_driver="memory")
    with helm.Chart.load(ROOT / "charts" / "videofleet") as chart, config:
        config.install(chart, "videofleet", values, namespace="default", timeout=120)


def furnish(system: Any, running: cluster.Running, models: Path) -> None:
    """What a platform team provides in each namespace; `bare` lacks the Secret, `denied` a store to write to."""
    for namespace in NAMESPACES[1:]:
        system.kubectl("create", "namespace", namespace)
    install(running)
    fault = ("dev", "fault", "add", "--action=error", f"--state={running.state}", "--code=403", "--count=0")
    done = system.videofleet(*fault, "--verb=create", "--resource=pods", "--namespace=quota")
    assert done.returncode == 0, done.stderr
    store = system.folder / "videos"
    store.mkdir()
    secret = json.loads(system.kubectl("get", "secret", "videofleet-redis", "-o", "json"))
    secret["metadata"] = {"name": "videofleet-redis"}
    apply(system, secret, "denied")
    for namespace in NAMESPACES:
        if namespace != "default":
            apply(system, *claim(namespace, "models", str(models)), namespace)
        apply(system, *claim(namespace, "videos", "/proc" if namespace == "denied" else str(store)), namespace)


def claim(namespace: str, name: str, path: str) -> list[dict[str, Any]]:
    """A PersistentVolume on a folder and the claim bound to it."""
    size = {"storage": "1Gi"}
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {"capacity": size, "hostPath": {"path": path}, "claimRef": {"namespace": namespace, "name": name}}
    made = [("PersistentVolume", f"{namespace}-{name}", volume), ("PersistentVolumeClaim", name, {})]
    made[1][2].update({"resources": {"requests": size}, "volumeName": f"{namespace}-{name}"})
    return [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": called}, "spec": common | spec}
        for kind, called, spec in made
    ]


def fleet(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The example's manifest with another name and sections of its spec changed."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())
    manifest["metadata"]["name"] = name
    for section, change in changes.items():
        is_map = isinstance(change, dict)
        manifest["spec"][section] = manifest["spec"].get(section, {}) | change if is_map else change
    return manifest


def apply(system: Any, *objects_and_namespace: Any) -> None:
    """`kubectl apply` of objects; the namespace comes last."""
    *objects, namespace = objects_and_namespace
    file = system.folder / "applied.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    system.kubectl("apply", "--server-side", "-n", namespace, "-f", str(file))


def condition(system: Any, name: str, type_: str, namespace: str = "default") -> dict[str, str]:
    """Of a fleet; empty while it has none of that type."""
    status = json.loads(system.kubectl("get", "vg", name, "-n", namespace, "-o", "json")).get("status", {})
    found: dict[str, str] = next((c for c in status.get("conditions", []) if c["type"] == type_), {})
    return found
