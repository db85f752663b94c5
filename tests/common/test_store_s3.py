"""The object store on a real S3 server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from videofleet.store import ObjectNotFound, ObjectStore, StoreError

OPTIONS = {
    "aws_access_key_id": "id",
    "aws_secret_access_key": "hunter2",
    "aws_region": "us-east-1",
    "allow_http": "true",
}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    command = [sys.executable, "-u", "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        endpoint = next(match[0] for line in server.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="id",
            aws_secret_access_key="hunter2",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="videos")
        client.close()
        yield endpoint
        server.kill()


async def test_put_read_and_remove(s3_endpoint: str, tmp_path: Path) -> None:
    store = ObjectStore.from_url("videos", "s3://videos/studio", OPTIONS | {"aws_endpoint": s3_endpoint})
    data = bytes(range(256)) * 30_000
    (tmp_path / "video.mp4").write_bytes(data)
    await store.put_file("job/1/video.mp4", tmp_path / "video.mp4", "video/mp4")
    assert (await store.head("job/1/video.mp4")).size_bytes == len(data)
    assert b"".join([chunk async for chunk in store.read("job/1/video.mp4", start=1_000_000)]) == data[1_000_000:]
    await store.remove("job/1/video.mp4")
    with pytest.raises(ObjectNotFound):
        await store.head("job/1/video.mp4")


async def test_a_missing_bucket_is_an_error_without_credentials(s3_endpoint: str, tmp_path: Path) -> None:
    store = ObjectStore.from_url("videos", "s3://nowhere", OPTIONS | {"aws_endpoint": s3_endpoint})
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StoreError) as error:
        await store.put_file("x", tmp_path / "x", "text/plain")
    assert "hunter2" not in str(error.value)
