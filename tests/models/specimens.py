"""A fleet's policy, its jobs and their results: complete and valid, so that a test names only what it is about."""

import os
import time
from typing import Any

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import NewJob, VideoRequest, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.tiers import Tier

FLEET = "0b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a10"
SMALL = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)


def policy(fleet_uid: str = FLEET, **changes: object) -> FleetPolicy:
    """One tier, one stable revision `r1`, one retry or two."""
    fields = {
        "fleet": "studio/tiny",
        "fleet_uid": fleet_uid,
        "architecture": Architecture.WAN22_T2V_A14B,
        "tiers": [SMALL],
        "tracks": {"r1": Track.STABLE},
        "max_depth": 10_000,
        "max_attempts": 3,
        "store": "videos",
    }
    return FleetPolicy.model_validate(fields | changes)


def new_job(fleet_uid: str = FLEET, *, prompt: str = "a red car", tier: Tier = SMALL, **fields: Any) -> NewJob:
    """A job nobody has submitted yet, of the tenant `studio`."""
    job_id = ids.job_id(fleet_uid, time.time_ns() // 1_000_000, os.urandom(10))
    request = VideoRequest(prompt=prompt, seed=1, tier=tier)
    own = {"id": job_id, "fleet_uid": fleet_uid, "tenant": "studio", "request": request}
    return NewJob.model_validate(own | fields)


def result(attempt: int = 1, **changes: object) -> VideoResult:
    """What a worker of `r1` would tell."""
    fields = {
        "store": "videos",
        "video_key": f"{attempt}/video.mp4",
        "thumbnail_key": f"{attempt}/thumbnail.jpg",
        "video_bytes": 1,
        "tier": SMALL,
        "seed": 1,
        "revision": "r1",
        "attempt": attempt,
        "seconds_per_step": 0.5,
        "worker_seconds": 1.0,
    }
    return VideoResult.model_validate(fields | changes)
