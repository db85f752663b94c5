"""Rendering the chart with the real Helm engine, and two judges of what comes out.

The restricted Pod Security Standard is written down here from its definition, not from the chart.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "videofleet"
MINIMAL = {"redis": {"existingSecret": "videofleet-redis"}}
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def chart() -> Iterator[helm.Chart]:
    with helm.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: helm.Chart) -> Render:
    """Objects for some values; Redis is given unless the values say otherwise."""

    def rendered(values: dict[str, Any] | None = None, name: str = "videofleet") -> list[dict[str, Any]]:
        files = chart.render(MINIMAL | (values or {}), name=name, namespace="studio")
        texts = (text for path, text in files.items() if not path.endswith("NOTES.txt"))
        return [document for text in texts for document in yaml.safe_load_all(text) if document]

    return rendered


@pytest.fixture(scope="session")
def schema_faults() -> Callable[[dict[str, Any]], list[str]]:
    """What Kubernetes' own strict schema says against an object."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.37.0-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]

    def faults(manifest: dict[str, Any]) -> list[str]:
        group, _, version = manifest["apiVersion"].rpartition("/")
        name = f"{manifest['kind']}-{group.split('.')[0] + '-' if group else ''}{version}".lower()
        text = (folder / f"{name}.json").read_text().replace("/api/_definitions.json#", "#")
        schema = {key: value for key, value in json.loads(text).items() if key != "$id"} | {"$defs": definitions}
        return [f"{error.instance_path}: {error.message}" for error in jsonschema_rs.iter_errors(schema, manifest)]

    return faults


@pytest.fixture(scope="session")
def restricted_faults() -> Callable[[dict[str, Any]], list[str]]:
    """What the restricted standard, and our own additions to it, say against a pod spec."""
    return _restricted_faults


_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def _restricted_faults(pod: dict[str, Any]) -> list[str]:
    security = pod.get("securityContext", {})
    faults = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        faults += [f"volume {volume['name']} is a {kind}" for kind in kinds - _VOLUMES]
        if "emptyDir" in kinds and "sizeLimit" not in volume["emptyDir"]:
            faults.append(f"emptyDir {volume['name']} has no sizeLimit")
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        faults.append("may run as root")
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        faults.append("no seccomp profile")
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        faults += [f"{container['name']}: {fault}" for fault in _container_faults(container)]
    return faults


def _container_faults(container: dict[str, Any]) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may escalate privileges"
    if security.get("privileged"):
        yield "is privileged"
    if security.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if security.get("runAsUser") == 0 or security.get("runAsNonRoot") is False:
        yield "runs as root"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "has a writable root"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "has a host port"
    if not container.get("command"):
        yield "has no explicit command"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or not resources.get("requests"):
        yield "has no memory limit or no requests"
