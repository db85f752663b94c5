"""How weights come into a pod: mounted as they are, or fetched by an init container onto a volume. Pure.

Only the fetcher may write to that volume and sees the source's Secret; the worker reads.
"""

from dataclasses import dataclass
from typing import Any, Final

from videofleet_operator.crd.source import parse_source
from videofleet_operator.manifests.revision import Fetching, ResolvedRevision

_MODELS: Final = "/var/lib/videofleet/models"  # claims that hold a source
_WEIGHTS: Final = "/var/lib/videofleet/weights"  # what was fetched
_SECRET: Final = "/etc/videofleet/source"  # noqa: S105 - where one is mounted


@dataclass(frozen=True)
class WeightVolume:
    """A volume and who mounts it."""

    volume: dict[str, Any]
    worker: dict[str, Any] | None
    fetcher: dict[str, Any] | None


def model_path(revision: ResolvedRevision) -> str:
    """Where the worker finds the model."""
    if revision.fetching:
        return f"{_WEIGHTS}/{revision.fetching.name}"
    return _source_path(revision)


def fetch_args(revision: ResolvedRevision, fetching: Fetching) -> list[str]:
    """What and where to, for `videofleet-worker fetch`."""
    is_remote = parse_source(revision.source).is_remote
    return [
        f"--source={revision.source}" if is_remote else f"--source=file://{_source_path(revision)}",
        f"--cache={_WEIGHTS}",
        f"--name={fetching.name}",
        f"--architecture={revision.worker.architecture}",
        f"--worker-revision={revision.revision}",
        *([f"--revision={fetching.commit}"] if fetching.commit else []),
        *([f"--secret={_SECRET}"] if fetching.secret else []),
        *([f"--max-bytes={fetching.max_bytes}"] if fetching.max_bytes else []),
    ]


def weight_volumes(revision: ResolvedRevision) -> list[WeightVolume]:
    """The source's claim or Secret, and the volume for what is fetched."""
    fetching, volumes = revision.fetching, []
    if (claim := parse_source(revision.source).claim) is not None:
        volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        mount = {"name": "model", "mountPath": f"{_MODELS}/{claim}", "readOnly": True}
        volumes.append(WeightVolume(volume, None if fetching else mount, mount))
    if fetching is None:
        return volumes
    where: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": fetching.claim}} if fetching.claim else {"emptyDir": {}}
    )
    mount = {"name": "weights", "mountPath": _WEIGHTS}
    volumes.append(WeightVolume({"name": "weights"} | where, mount | {"readOnly": True}, mount))
    if fetching.secret:
        volume = {"name": "source", "secret": {"secretName": fetching.secret}}
        volumes.append(WeightVolume(volume, None, {"name": "source", "mountPath": _SECRET, "readOnly": True}))
    return volumes


def _source_path(revision: ResolvedRevision) -> str:
    source = parse_source(revision.source)
    return source.path if source.claim is None else f"{_MODELS}/{source.claim}/{source.path}".rstrip("/")
