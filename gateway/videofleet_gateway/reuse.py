"""An earlier video instead of a new one, where everything that changes pixels is the same.

A candidate fits when it was made by the stable revision of the moment, in the very tier that is asked for, from an
equal request: same seed, so a request without one never fits. The new job gets a copy of the files and lives and leaves
by itself. What cannot be copied is made anew.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from videofleet import objects
from videofleet.jobs import Job, JobState, NewJob, VideoRequest, VideoResult
from videofleet.policy import CacheScope, FleetPolicy, Track
from videofleet.queue import JobNotFound, Owed, Submitted, TenantLimits
from videofleet.store import StoreError
from videofleet.tiers import Tier
from videofleet_gateway.services import Services

_NO_PIXELS: Final = {"v", "output_prefix", "allow_fallback"}  # fields that change nothing one can see
_COPY_S: Final = 1.0  # of the time that a submission has; a new video is better than no answer
_SHARED: Final = "*"  # a scope that is no tenant's name


@dataclass(frozen=True)
class Copy:
    """Files that a new job may take over."""

    result: VideoResult
    owed: Owed


def digest(request: VideoRequest) -> str:
    """SHA-256 of all that changes pixels. A field that is not known here counts: it can only cost a hit.

    White space is collapsed, as the pipeline does before it reads a prompt.
    """
    fields = request.model_dump(mode="json", exclude=_NO_PIXELS)
    fields |= {name: re.sub(r"\s+", " ", fields[name]).strip() for name in ("prompt", "negative_prompt")}
    fields["tier"] = _shape(request.tier)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def scope(policy: FleetPolicy, tenant: str) -> str | None:
    """Who shares results with this tenant; None: nobody reuses any."""
    return {CacheScope.NONE: None, CacheScope.TENANT: tenant, CacheScope.FLEET: _SHARED}[policy.cache]


def fits(job: Job, request: VideoRequest, policy: FleetPolicy) -> bool:
    """Whether the job's video is what this request would give now."""
    result = job.result
    return (
        job.state is JobState.SUCCEEDED
        and result is not None
        and policy.tracks.get(result.revision) is Track.STABLE
        and _shape(result.tier) == _shape(request.tier)
    )


def _shape(tier: Tier) -> tuple[int, ...]:
    return tier.width, tier.height, tier.num_frames, tier.num_inference_steps, tier.fps


async def submit_or_reuse(
    services: Services, new: NewJob, policy: FleetPolicy, limits: TenantLimits, *, reuses: bool
) -> Submitted:
    """Queues the job; where an earlier video fits, it has succeeded on return. Raises: as JobQueue.submit."""
    where = scope(policy, new.tenant) if reuses else None
    if where is None:
        return await services.queue.submit(new, limits)
    found = digest(new.request)
    copy = await _copied(services, new, policy, await services.queue.cache.candidates(policy.fleet_uid, where, found))
    submitted = await services.queue.submit(new, limits)
    if not submitted.created:
        return submitted
    await services.queue.cache.remember(submitted.job, where, found)
    is_hit = copy is not None and await services.queue.cache.answered(submitted.job, copy.result, copy.owed)
    services.metrics.cache.labels("hit" if is_hit else "miss").inc()
    return Submitted(await services.queue.get(submitted.job.id), created=True) if is_hit else submitted


async def _copied(services: Services, new: NewJob, policy: FleetPolicy, candidates: list[str]) -> Copy | None:
    """The files of the first candidate that fits, under the new job's own key."""
    for job_id in candidates:
        try:
            job = await services.queue.get(job_id)
        except JobNotFound:
            continue
        if job.result is None or not fits(job, new.request, policy):
            continue
        place = new.request.output_prefix, new.id, 0
        folder = objects.attempt_folder(*place)
        owed = await services.queue.cache.owe(new.fleet_uid, job.result.store, folder)
        keys = {"video_key": objects.video_key(*place), "thumbnail_key": objects.thumbnail_key(*place)}
        if job.result.spritesheet_key:
            keys["spritesheet_key"] = objects.spritesheet_key(*place)
        if job.result.provenance_key:  # it names the job that the video was made for
            keys["provenance_key"] = objects.provenance_key(*place)
        try:
            store = services.store(job.result.store)
            async with services.asking(store.name, _COPY_S):
                for name, key in keys.items():
                    await store.copy(getattr(job.result, name), key)
        except StoreError:
            continue
        return Copy(job.result.model_copy(update=keys | {"attempt": 0, "worker_seconds": 0.0}), owed)
    return None
