"""A worker whose store is S3, by a mounted Secret."""

from pathlib import Path
from typing import Any

import av

from videofleet.jobs import JobState
from videofleet.store import ObjectStore
from videofleet_worker.settings import StoreSource


async def test_a_video_lands_in_the_bucket(fleet: Any, s3_secret: Path, tmp_path: Path) -> None:
    async with fleet.worker(store=StoreSource("videos", folder=s3_secret)):
        job = await fleet.ended(await fleet.submit(fleet.preview))
    assert job.state is JobState.SUCCEEDED
    store = ObjectStore.from_folder("videos", s3_secret)
    assert (await store.head(job.result.thumbnail_key)).size_bytes > 0
    video = tmp_path / "video.mp4"
    video.write_bytes(b"".join([chunk async for chunk in store.read(job.result.video_key)]))
    assert video.stat().st_size == job.result.video_bytes
    with av.open(video) as container:
        assert len(list(container.decode(video=0))) == fleet.preview.num_frames
