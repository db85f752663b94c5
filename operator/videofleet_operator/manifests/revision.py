"""A revision: the resolved spec of a worker, its hash, and the ControllerRevision and ConfigMap that keep it.

Invariant: the hash covers what the spec sets and nothing else, so that neither an operator upgrade nor a
new default makes a new revision; everything a pod template needs is in the ControllerRevision, so that the
template of a revision never changes.
"""

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from videofleet.queue import Durability
from videofleet.weights import folder_name
from videofleet.wire import Wire
from videofleet.workerspec import Decode, Guidance, Parallelism, Warmup, WorkerSpec
from videofleet_operator.crd.quantities import duration_s, quantity_bytes, ratio
from videofleet_operator.crd.source import parse_source
from videofleet_operator.crd.spec import REVISION_FIELDS, VideoGeneratorSpec
from videofleet_operator.installation import Installation
from videofleet_operator.manifests.names import SPEC_KEY, metadata, revision_labels, revision_name
from videofleet_operator.observed import FleetSeen


class Fetching(Wire):
    """How the weights come to a pod that no mount brings them to."""

    name: str  # of the folder in the cache
    commit: str = ""  # of a hub
    secret: str | None = None
    claim: str | None = None  # that keeps what was fetched; None: the pod's own disk
    max_bytes: int | None = None
    hub_endpoint: str | None = None


class ResolvedRevision(Wire):
    """Everything that makes a revision's pods what they are; `data` of its ControllerRevision."""

    v: int = 1
    worker: WorkerSpec
    installation: str
    source: str
    image: str
    gpu_resource: str
    resources: dict[str, dict[str, str]]
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    termination_grace_s: int
    store_claim: str | None = None  # claim that holds the store; None: a Secret of the store's name
    redis_secret: str
    durability: str | None = None  # None: the worker's default
    decode_resources: dict[str, dict[str, str]] | None = None  # of a decoder
    signing_secret: str | None = None  # None: no provenance is written
    fetching: Fetching | None = None  # None: the source is mounted as it is

    @property
    def revision(self) -> str:
        """The hash."""
        return self.worker.revision


def revision_hash(spec: VideoGeneratorSpec) -> str:
    """Ten hex digits over the revision's fields that differ from their defaults."""
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=REVISION_FIELDS)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:10]


def resolve(spec: VideoGeneratorSpec, installation: Installation) -> ResolvedRevision:
    """The revision that this spec asks for; its store must be one of the installation's."""
    worker, decode = spec.worker, spec.worker.decode
    return ResolvedRevision(
        worker=WorkerSpec(
            revision=revision_hash(spec),
            architecture=spec.model.architecture,
            dtype=spec.model.dtype,
            guidance=Guidance(
                high_noise=_number(spec.model.guidance.high_noise), low_noise=_number(spec.model.guidance.low_noise)
            ),
            speed=spec.model.speed,
            attention=spec.model.attention,
            dtype_fallback=spec.model.dtype_fallback,
            gpus=worker.gpus,
            parallelism=Parallelism(**worker.parallelism.model_dump()),
            offload=worker.offload,
            decode=_decode(spec),
            tiers=spec.resolved_tiers(),
            warmup=Warmup(
                max_runs=spec.warmup.max_runs,
                stable_within=ratio(spec.warmup.stable_within),
                timeout_s=duration_s(spec.warmup.timeout),
                loading_timeout_s=duration_s(spec.warmup.loading_timeout),
            ),
            store=spec.output.store,
            watermark=spec.output.watermark,
        ),
        installation=installation.name,
        source=spec.model.source,
        image=worker.image or installation.worker_image,
        gpu_resource=worker.gpu_resource,
        resources=_plain(worker.resources) if worker.resources else {},
        decode_resources=_plain(decode.resources) if decode and decode.resources else None,
        node_selector=dict(worker.node_selector or {}),
        tolerations=[_plain(toleration) for toleration in worker.tolerations or []],
        termination_grace_s=duration_s(worker.termination_grace_period),
        store_claim=installation.stores[spec.output.store],
        redis_secret=installation.redis_secret,
        signing_secret=spec.output.signing_secret,
        fetching=_fetching(spec, installation),
        durability=None if installation.durability is Durability.AOF else installation.durability,
    )


def _decode(spec: VideoGeneratorSpec) -> Decode | None:
    decode, gpus = spec.worker.decode, min(1, spec.worker.gpus)
    if decode is None:
        return None
    return Decode(replicas=decode.replicas, gpus=gpus if decode.gpus is None else decode.gpus)


def _fetching(spec: VideoGeneratorSpec, installation: Installation) -> Fetching | None:
    """None when the source is mounted and nobody asks for a copy of it."""
    model, cache = spec.model, spec.worker.weight_cache
    if not parse_source(model.source).is_remote and cache is None:
        return None
    return Fetching(
        name=folder_name(model.source, model.revision or ""),
        commit=model.revision or "",
        secret=model.secret,
        claim=cache.persistent_volume_claim if cache else None,
        max_bytes=quantity_bytes(cache.max_size) if cache and cache.max_size else None,
        hub_endpoint=installation.hub_endpoint if model.source.startswith("hf://") else None,
    )


def resolved_from(data: Any) -> ResolvedRevision | None:
    """A kept revision; None when another version wrote it in a form that this one cannot read."""
    try:
        return ResolvedRevision.model_validate(data)
    except ValidationError:
        return None


def controller_revision(fleet: FleetSeen, revision: ResolvedRevision, number: int) -> dict[str, Any]:
    """The record of a revision."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _revision_metadata(fleet, revision),
        "revision": number,
        "data": _plain(revision),
    }


def config_map(fleet: FleetSeen, revision: ResolvedRevision) -> dict[str, Any]:
    """What the worker reads."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _revision_metadata(fleet, revision),
        "immutable": True,
        "data": {SPEC_KEY: revision.worker.to_json()},
    }


def _revision_metadata(fleet: FleetSeen, revision: ResolvedRevision) -> dict[str, Any]:
    name = revision_name(fleet.name, revision.revision)
    return metadata(fleet, name, revision_labels(fleet.name, revision.revision))


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain
