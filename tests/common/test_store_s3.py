"""The object store on a real S3 server."""

import shutil
from pathlib import Path

import pytest

from videofleet.store import ObjectNotFound, ObjectStore, StoreError


async def test_put_read_and_remove(s3_secret: Path, tmp_path: Path) -> None:
    store = ObjectStore.from_folder("videos", s3_secret)
    data = bytes(range(256)) * 30_000
    (tmp_path / "video.mp4").write_bytes(data)
    await store.put_file("job/1/video.mp4", tmp_path / "video.mp4", "video/mp4")
    assert (await store.head("job/1/video.mp4")).size_bytes == len(data)
    assert b"".join([chunk async for chunk in store.read("job/1/video.mp4", start=1_000_000)]) == data[1_000_000:]
    await store.remove("job/1/video.mp4")
    with pytest.raises(ObjectNotFound):
        await store.head("job/1/video.mp4")


async def test_a_missing_bucket_is_an_error_without_credentials(s3_secret: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(s3_secret, tmp_path / "wrong")
    (wrong / "url").write_text("s3://nowhere")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StoreError) as error:
        await ObjectStore.from_folder("videos", wrong).put_file("x", tmp_path / "x", "text/plain")
    assert "hunter2" not in str(error.value)
