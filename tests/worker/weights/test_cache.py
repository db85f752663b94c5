"""A shared volume: one fetches, the others wait; what was used least recently makes room; what is in use stays."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.beacons import WorkerFault
from videofleet_worker import manifest
from videofleet_worker.faults import Fault
from videofleet_worker.weights.cache import Entry, in_use
from videofleet_worker.weights.eviction import disk_bytes, make_room

KB = 1024


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Entry]:
    """Puts a finished model of some size into the cache, used some hours ago."""

    def put(name: str, hours_ago: float, size_kb: int = 400) -> Entry:
        entry = Entry(tmp_path / "cache" / name)
        entry.prepare()
        (entry.staging / "weights").write_bytes(os.urandom(size_kb * KB))
        manifest.write_manifest(entry.staging)
        entry.publish()
        entry.touch()
        then = time.time() - hours_ago * 3600
        os.utime(entry.lock("use"), (then, then))
        return entry

    return put


def fresh(tmp_path: Path) -> Entry:
    entry = Entry(tmp_path / "cache" / "new")
    entry.prepare()
    return entry


def names(tmp_path: Path) -> set[str]:
    return {folder.name for folder in (tmp_path / "cache").iterdir() if not folder.name.startswith(".")}


def test_the_least_recently_used_goes_first(tmp_path: Path, keep: Callable[..., Entry]) -> None:
    keep("old", 9)
    keep("older", 10)
    keep("newest", 2)
    assert make_room(fresh(tmp_path), 400 * KB, max_bytes=1400 * KB) == ["older"]
    assert names(tmp_path) == {"old", "newest"}


def test_room_that_is_there_costs_nobody(tmp_path: Path, keep: Callable[..., Entry]) -> None:
    keep("old", 9)
    assert make_room(fresh(tmp_path), 400 * KB, max_bytes=None) == []
    assert names(tmp_path) == {"old"}


def test_what_a_worker_uses_stays_and_the_next_one_goes(tmp_path: Path, keep: Callable[..., Entry]) -> None:
    used = keep("older", 10)
    keep("old", 9)
    with in_use(used.folder):
        assert make_room(fresh(tmp_path), 400 * KB, max_bytes=1000 * KB) == ["old"]
        with pytest.raises(Fault) as caught:
            make_room(fresh(tmp_path), 800 * KB, max_bytes=1000 * KB)
    assert caught.value.reason is WorkerFault.WEIGHTS_DISK
    assert "in use" in caught.value.message
    assert make_room(fresh(tmp_path), 800 * KB, max_bytes=1000 * KB) == ["older"]


def test_what_was_fetched_a_moment_ago_stays(tmp_path: Path, keep: Callable[..., Entry]) -> None:
    keep("fresh", 0)
    with pytest.raises(Fault):
        make_room(fresh(tmp_path), 400 * KB, max_bytes=500 * KB)
    assert names(tmp_path) == {"fresh"}


def test_a_damaged_model_makes_way_while_others_still_read_it(tmp_path: Path, keep: Callable[..., Entry]) -> None:
    entry = keep("model", 5)
    reader = (entry.folder / "weights").open("rb")
    first = reader.read(10)
    keep("model", 5)
    reader.seek(0)
    assert reader.read(10) == first
    assert (entry.folder / "weights").read_bytes()[:10] != first
    reader.close()


def test_two_workers_fetch_once(fetch: Any, hub: Any) -> None:
    hub.delay_s = 0.3
    workers = [fetch.start() for _ in range(2)]
    logs = [worker.communicate(timeout=90)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], logs
    assert hub.read["transformer/diffusion_pytorch_model.safetensors"] == 1
    assert any("waiting for another worker" in log for log in logs)


def test_the_lock_of_a_killed_fetch_is_free(fetch: Any, hub: Any) -> None:
    hub.delay_s = 0.5
    process = fetch.start()
    while not (fetch.root / ".partial" / "tiny" / ".parts").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    hub.delay_s = 0.0
    log = fetch()
    assert not any("waiting" in str(line) for line in log)


def test_a_fetch_evicts_another_model(fetch: Any) -> None:
    fetch(model=fetch.root / "first")
    then = time.time() - 7200
    os.utime(fetch.root / ".locks" / "first.use", (then, then))
    size = disk_bytes(fetch.root / "first")
    fetch(f"--max-bytes={int(size * 1.5)}", model=fetch.root / "second")
    assert sorted(folder.name for folder in fetch.root.iterdir() if not folder.name.startswith(".")) == ["second"]


async def test_a_worker_keeps_its_model_from_eviction(fleet: Any, keep: Callable[..., Entry], tmp_path: Path) -> None:
    import shutil

    entry = keep("tiny", 5)
    shutil.rmtree(entry.folder)
    shutil.copytree(fleet.model, entry.folder)
    async with fleet.worker(model=entry.folder) as worker:
        assert worker.status.is_ready
        with pytest.raises(Fault):
            make_room(fresh(tmp_path), 400 * KB, max_bytes=500 * KB)
        assert entry.folder.exists()
    assert make_room(fresh(tmp_path), 400 * KB, max_bytes=500 * KB) == ["tiny"]
