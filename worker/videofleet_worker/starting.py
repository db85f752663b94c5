"""Starting compute in the dtype asked for, or in the one that holds the model.

float16 reaches 65,504 and some checkpoints go beyond; warm-up shows it as NaN. Then everything is loaded again in
bfloat16, in fresh processes, and the worker says so for as long as it lives. Damaged weights are not finite in either.
"""

import contextlib
import logging
import time
from pathlib import Path

from videofleet.beacons import TierTiming, WorkerFault
from videofleet.workerspec import Dtype, DtypeFallback
from videofleet_worker import protocol
from videofleet_worker.engine import Engine
from videofleet_worker.faults import Fault
from videofleet_worker.media import write_video
from videofleet_worker.status import Status

log = logging.getLogger(__name__)


async def started(engine: Engine, fallback: DtypeFallback, status: Status) -> list[protocol.TierWarmed]:
    """The tiers' last clips, once all of them are warm. Raises: Fault."""
    try:
        return await _start(engine, status)
    except Fault as fault:
        other = fallback is DtypeFallback.BFLOAT16 and engine.dtype is not Dtype.BFLOAT16
        if fault.reason is not WorkerFault.NOT_FINITE or not other:
            raise
        asked = engine.dtype
        log.warning("loading again in bfloat16", extra={"reason": fault.reason, "fault": fault.message})
        engine.use(Dtype.BFLOAT16)
        place = fault.message.partition(";")[0]
        clips = await _start(engine, status)
        status.note = f"The model is served in bfloat16, because {asked} does not hold it ({place})"
        return clips


async def _start(engine: Engine, status: Status) -> list[protocol.TierWarmed]:
    clips: list[protocol.TierWarmed] = []
    await engine.start(status.enter, clips.append)
    return clips


def encode_warmup(clip: protocol.TierWarmed) -> TierTiming:
    """Encodes the clip as a job's would be: the last part of the path to be proven and timed."""
    video = Path(clip.frames.path).with_suffix(".mp4")
    begun = time.perf_counter()
    try:
        write_video(clip.frames, video, title="warm-up", comment="")
    finally:
        for file in (video, Path(clip.frames.path)):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
    return TierTiming(
        tier=clip.tier,
        runs=clip.runs,
        seconds_per_step=clip.seconds_per_step,
        decode_s=clip.decode_s,
        encode_s=time.perf_counter() - begun,
        batch=clip.batch,
    )
