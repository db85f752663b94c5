"""The worker's pod template, `restricted` by the Pod Security Standards whatever the spec says.

The container's root is read-only; it writes to /tmp (scratch), and to the store's claim when the store is one. Secrets
are mounted files, never environment. The template of a revision is made once and never changes.
"""

from typing import Any, Final

from videofleet.workerspec import Decode
from videofleet_operator.manifests.names import (
    SPEC_KEY,
    WORKER_PORT,
    decoder_labels,
    revision_labels,
    revision_name,
    service_account_name,
)
from videofleet_operator.manifests.revision import Fetching, ResolvedRevision
from videofleet_operator.manifests.weights import fetch_args, model_path, weight_volumes
from videofleet_operator.observed import FleetSeen

_USER: Final = 65532  # "nonroot" of distroless images; no meaning on the node
_SPEC_DIR: Final = "/etc/videofleet/revision"
_REDIS_DIR: Final = "/etc/videofleet/redis"
_SIGNING_DIR: Final = "/etc/videofleet/signing"
_STORE_SECRETS: Final = "/etc/videofleet/stores"
_STORE_CLAIMS: Final = "/var/lib/videofleet/stores"
_SCRATCH: Final = "/tmp/videofleet"  # noqa: S108 - an emptyDir of the pod's own
_CHECK_EVERY_S: Final = 2
_SHM_GIB: Final = 8  # at least; it counts as the pod's memory once it is used
_SHM_GIB_PER_GPU: Final = 4
_POD_NAME: Final = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_template(fleet: FleetSeen, revision: ResolvedRevision) -> dict[str, Any]:
    """Template of the revision's Deployment."""
    volumes = _volumes(fleet, revision)
    mounts = [mount for _, mount in volumes if mount is not None]
    spec: dict[str, Any] = {
        "serviceAccountName": service_account_name(fleet.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": revision.termination_grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(fleet, revision, mounts)],
        "volumes": [volume for volume, _ in volumes],
    }
    if revision.fetching:
        spec["initContainers"] = [_fetcher(fleet, revision, revision.fetching, mounts)]
    if revision.node_selector:
        spec["nodeSelector"] = revision.node_selector
    if revision.tolerations:
        spec["tolerations"] = revision.tolerations
    return {"metadata": {"labels": revision_labels(fleet.name, revision.revision)}, "spec": spec}


def decoder_template(fleet: FleetSeen, revision: ResolvedRevision, decode: Decode) -> dict[str, Any]:
    """Template of the Deployment of the revision's decoders: the same program, weights, store and Secrets."""
    worker = revision.worker.model_copy(update={"gpus": decode.gpus})
    resources = revision.decode_resources or {}
    template = pod_template(fleet, revision.model_copy(update={"worker": worker, "resources": resources}))
    (container,) = template["spec"]["containers"]
    container |= {"name": "decoder", "command": ["videofleet-worker", "decode"]}
    return template | {"metadata": {"labels": decoder_labels(fleet.name, revision.revision)}}


def _container(fleet: FleetSeen, revision: ResolvedRevision, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "worker",
        "image": revision.image,
        "command": ["videofleet-worker"],
        "args": _args(fleet, revision),
        "env": _POD_NAME,
        "ports": [{"name": "http", "containerPort": WORKER_PORT}],
        "resources": _resources(revision),
        "securityContext": _RESTRICTED,
        "volumeMounts": mounts,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    } | _probes(revision)


def _fetcher(
    fleet: FleetSeen, revision: ResolvedRevision, fetching: Fetching, worker_mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Brings the weights before the worker starts, which then needs no way out to their source."""
    shared = [mount for mount in worker_mounts if mount["name"] in ("redis", "tmp")]
    own = [each.fetcher for each in weight_volumes(revision) if each.fetcher is not None]
    env = [{"name": "HF_HOME", "value": f"{_SCRATCH}/hub"}]
    if fetching.hub_endpoint:
        env.append({"name": "HF_ENDPOINT", "value": fetching.hub_endpoint})
    return {
        "name": "weights",
        "image": revision.image,
        "command": ["videofleet-worker", "fetch"],
        "args": [
            *fetch_args(revision, fetching),
            f"--redis-url-file={_REDIS_DIR}/url",
            f"--installation={revision.installation}",
            f"--fleet-uid={fleet.uid}",
            "--termination-log=/dev/termination-log",
        ],
        "env": _POD_NAME + env,
        "resources": {kind: dict(amounts) for kind, amounts in revision.resources.items()},
        "securityContext": _RESTRICTED,
        "volumeMounts": shared + own,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def _args(fleet: FleetSeen, revision: ResolvedRevision) -> list[str]:
    store = revision.worker.store
    where = (
        f"--store={store}=file://{_STORE_CLAIMS}/{store}"
        if revision.store_claim
        else f"--store-folder={store}={_STORE_SECRETS}/{store}"
    )
    return [
        f"--spec={_SPEC_DIR}/{SPEC_KEY}",
        f"--model={model_path(revision)}",
        f"--redis-url-file={_REDIS_DIR}/url",
        where,
        f"--installation={revision.installation}",
        f"--fleet-uid={fleet.uid}",
        f"--scratch={_SCRATCH}",
        f"--grace-period-s={revision.termination_grace_s}",
        "--termination-log=/dev/termination-log",
        *([f"--signing-key={_SIGNING_DIR}/ed25519.pem"] if revision.signing_secret else []),
        *([f"--durability={revision.durability}"] if revision.durability else []),
    ]


def _resources(revision: ResolvedRevision) -> dict[str, Any]:
    resources: dict[str, Any] = {kind: dict(amounts) for kind, amounts in revision.resources.items()}
    if revision.worker.gpus:
        resources.setdefault("limits", {})[revision.gpu_resource] = str(revision.worker.gpus)
    return resources


def _probes(revision: ResolvedRevision) -> dict[str, Any]:
    """Startup waits for the supervisor only, up in a second; liveness guards loading and warm-up too."""

    def probe(path: str, failures: int, timeout_s: int = 2) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": "http"},
            "periodSeconds": _CHECK_EVERY_S,
            "timeoutSeconds": timeout_s,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe("/healthz", failures=150),
        "livenessProbe": probe("/healthz", failures=30, timeout_s=5),
        "readinessProbe": probe("/readyz", failures=2),
    }


def _volumes(fleet: FleetSeen, revision: ResolvedRevision) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each volume with its mount in the worker."""
    name = revision_name(fleet.name, revision.revision)
    store = revision.worker.store
    pairs: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
        _mounted("spec", {"configMap": {"name": name}}, _SPEC_DIR, read_only=True),
        _mounted("redis", {"secret": {"secretName": revision.redis_secret}}, _REDIS_DIR, read_only=True),
        _mounted("tmp", {"emptyDir": {}}, "/tmp"),  # noqa: S108 - an emptyDir of the pod's own
    ]
    if revision.store_claim:
        claim = {"persistentVolumeClaim": {"claimName": revision.store_claim}}
        pairs.append(_mounted("store", claim, f"{_STORE_CLAIMS}/{store}"))
    else:
        secret = {"secret": {"secretName": store}}
        pairs.append(_mounted("store", secret, f"{_STORE_SECRETS}/{store}", read_only=True))
    if revision.signing_secret:
        secret = {"secret": {"secretName": revision.signing_secret}}
        pairs.append(_mounted("signing", secret, _SIGNING_DIR, read_only=True))
    pairs += [(each.volume, each.worker) for each in weight_volumes(revision)]
    if revision.worker.gpus:
        size = f"{max(_SHM_GIB, _SHM_GIB_PER_GPU * revision.worker.gpus)}Gi"
        memory = {"emptyDir": {"medium": "Memory", "sizeLimit": size}}
        pairs.append(_mounted("shm", memory, "/dev/shm"))  # noqa: S108 - NCCL and CUDA expect it there
    return pairs


def _mounted(
    name: str, source: dict[str, Any], path: str, *, read_only: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    mount: dict[str, Any] = {"name": name, "mountPath": path}
    return {"name": name, **source}, mount | ({"readOnly": True} if read_only else {})
