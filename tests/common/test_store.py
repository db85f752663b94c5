"""The object store, on a folder: whole objects, ranges, clear errors."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from videofleet.store import ObjectNotFound, ObjectStore, StoreError


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.from_url("videos", f"file://{tmp_path}/store")


async def test_what_is_put_is_read_back_whole_and_in_ranges(store: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    source = tmp_path / "video.mp4"
    source.write_bytes(data)
    await store.put_file("a/b/video.mp4", source, "video/mp4")
    assert (await store.head("a/b/video.mp4")).size_bytes == len(data)
    assert b"".join([chunk async for chunk in store.read("a/b/video.mp4")]) == data
    assert b"".join([chunk async for chunk in store.read("a/b/video.mp4", start=5, end=1_200_000)]) == data[5:1_200_000]


async def test_an_upload_that_is_called_off_leaves_nothing_behind(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "state"
    source.write_bytes(bytes(300_000))
    for number in range(60):  # at another moment each time
        uploading = asyncio.create_task(store.put_file(f"job-{number}/state", source, "application/octet-stream"))
        await asyncio.sleep(number * 1e-5)
        uploading.cancel()
        await asyncio.wait({uploading})
        await store.remove_folder(f"job-{number}")
    assert [key async for page in store.pages("") for key, _ in page] == []


FULL = """
import asyncio, resource, sys
from pathlib import Path
from videofleet.store import ObjectNotFound, ObjectStore, StoreError, end_process

async def main(folder):
    source = Path(folder, "video.mp4")
    source.write_bytes(bytes(4 << 20))
    store = ObjectStore.from_url("videos", f"file://{folder}/store")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    try:
        await store.put_file("out/a/1/video.mp4", source, "video/mp4")
    except StoreError as error:
        print("told:", error)
    try:
        await store.head("out/a/1/video.mp4")
    except ObjectNotFound:
        print("nothing of it is there")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.put_file("out/a/2/video.mp4", source, "video/mp4")
    print([key async for page in store.pages("out") for key, _ in page])

asyncio.run(main(sys.argv[1]))
end_process(0)
"""


def test_a_full_disk_is_told_leaves_no_half_and_ends(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: writing fails in the middle."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, nothing, left = done.stdout.splitlines()
    assert told.startswith("told: store videos: writing failed")
    assert nothing == "nothing of it is there"
    assert left == "['out/a/2/video.mp4']"


ENDING = """
import asyncio, atexit, sys
from videofleet.store import ObjectStore, end_process

async def main():
    await ObjectStore.from_url("videos", f"file://{sys.argv[1]}").put_file("video", sys.argv[2], "video/mp4")

atexit.register(print, "let go")
asyncio.run(main())
end_process(3)
"""


def test_a_program_whose_last_act_is_an_upload_ends_as_it_says(tmp_path: Path) -> None:
    source = tmp_path / "video.mp4"
    source.write_bytes(bytes(4 << 20))
    command = [sys.executable, "-c", ENDING, str(tmp_path / "store"), str(source)]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    ends = [(program.communicate()[0], program.returncode) for program in programs]
    assert ends == [("let go\n", 3)] * len(programs)


async def test_a_missing_object_is_told_apart(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        await store.head("nothing")
    await store.remove("nothing")


async def test_an_object_can_be_removed(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    await store.put_file("k", tmp_path / "x", "text/plain")
    await store.remove("k")
    with pytest.raises(ObjectNotFound):
        await store.head("k")


async def test_a_folder_is_removed_with_all_that_is_in_it_and_nothing_else(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for key in ("job/checkpoint/r1", "job/checkpoint/r2", "job/checkpoints", "job/1/video.mp4"):
        await store.put_file(key, tmp_path / "x", "text/plain")
    await store.remove_folder("job/checkpoint")
    await store.remove_folder("job/checkpoint")
    assert [key for key in ("job/checkpoint/r1", "job/checkpoint/r2") if await _is_there(store, key)] == []
    assert await _is_there(store, "job/checkpoints")
    assert await _is_there(store, "job/1/video.mp4")


async def _is_there(store: ObjectStore, key: str) -> bool:
    try:
        await store.get_file(key, Path("/dev/null"))
    except ObjectNotFound:
        return False
    return True


def test_a_store_is_opened_from_a_mounted_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    with pytest.raises(StoreError, match="needs a key `url`"):
        ObjectStore.from_folder("videos", secret)
    (secret / "url").write_text("s3://bucket/prefix\n")
    (secret / "aws_access_key_id").write_text("id")
    (secret / "aws_secret_access_key").write_text("hunter2")
    (secret / "aws_region").write_text("eu-west-1")
    (secret / "aws_endpoint").write_text("http://127.0.0.1:9")
    (secret / "allow_http").write_text("true")
    assert not ObjectStore.from_folder("videos", secret).is_folder


def test_nonsense_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreError) as error:
        ObjectStore.from_url("videos", "gopher://user:hunter2@x")
    assert "videos" in str(error.value)
    assert "hunter2" not in str(error.value)
