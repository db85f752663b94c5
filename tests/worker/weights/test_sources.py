"""Buckets and folders give the same model as the hub; ranges make it, in parallel, part by part."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.architectures import Architecture
from videofleet.beacons import WorkerFault
from videofleet.store import ObjectStore
from videofleet_worker import manifest
from videofleet_worker.faults import Fault
from videofleet_worker.status import Status
from videofleet_worker.weights import command, download
from videofleet_worker.weights.bucket import BucketSource
from videofleet_worker.weights.cache import Entry
from videofleet_worker.weights.fetch import Fetch
from videofleet_worker.weights.source import RemoteFile, SourceAway

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def nobody_is_told(_: Fault) -> None:
    """What a download waits for, untold."""


def nobody_listens(_done: int, _of: int) -> None:
    """An advance that nobody wants to hear of."""


async def uploaded(folder: Path, secret: Path, prefix: str, *, sealed: bool = False) -> str:
    """Puts a folder into the bucket; its source."""
    store = ObjectStore.from_folder("videos", secret)
    names = [*manifest.names_in(folder), *([manifest.NAME] if sealed else [])]
    for file in [folder / name for name in names]:
        await store.put_file(f"{prefix}/{file.relative_to(folder).as_posix()}", file, "application/octet-stream")
    return f"s3://videos/studio/{prefix}"


async def test_a_bucket_gives_the_same_model(fetch: Any, upstream: Path, s3_secret: Path) -> None:
    source = await uploaded(upstream, s3_secret, "tiny")
    log = await asyncio.to_thread(fetch, f"--secret={s3_secret}", source=source)
    assert (fetch.model / WEIGHTS).read_bytes() == (upstream / WEIGHTS).read_bytes()
    assert manifest.damaged_files(fetch.model, nobody_listens) == []
    assert "hunter2" not in str(log)


async def test_a_bucket_s_own_manifest_is_obeyed(fetch: Any, upstream: Path, s3_secret: Path) -> None:
    manifest.write_manifest(upstream)
    (upstream / WEIGHTS).write_bytes((upstream / WEIGHTS).read_bytes()[:-1] + b"x")
    source = await uploaded(upstream, s3_secret, "sealed", sealed=True)
    message = await asyncio.to_thread(fetch.refused, f"--secret={s3_secret}", source=source)
    assert message["reason"] == WorkerFault.MODEL_CORRUPT
    assert WEIGHTS in message["message"]


@pytest.mark.parametrize(("source", "words"), [("s3://videos/nothing", "no model_index.json"), ("file:///nothing", "")])
def test_a_place_without_a_model(fetch: Any, s3_secret: Path, source: str, words: str) -> None:
    message = fetch.refused(f"--secret={s3_secret}", source=source)
    assert message["reason"] == WorkerFault.MODEL_NOT_FOUND
    assert words in message["message"]


def test_a_mounted_folder_can_be_copied_into_a_cache(fetch: Any, upstream: Path) -> None:
    fetch(source=f"file://{upstream}")
    assert manifest.damaged_files(fetch.model, nobody_listens) == []
    assert not (fetch.model / "run.py").exists()


def test_a_full_disk_is_a_reason(fetch: Any, tmp_path: Path, upstream: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    message = fetch.refused("--max-bytes=100000", source=f"file://{upstream}")
    assert message["reason"] == WorkerFault.WEIGHTS_DISK
    assert "maxSize" in message["message"]


class Stumbling:
    """A source that fails every other time, and counts what was read."""

    def __init__(self, inner: BucketSource) -> None:
        self.inner = inner
        self.reads: list[tuple[str, int]] = []
        self.calls = 0

    async def files(self) -> list[RemoteFile]:
        return await self.inner.files()

    async def read(self, name: str, start: int, end: int) -> bytes:
        self.calls += 1
        if self.calls % 2:
            raise SourceAway("not now")
        self.reads.append((name, start))
        return await self.inner.read(name, start, end)

    async def close(self) -> None:
        return None


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """So that a small file has many."""
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    return 1000


async def test_parts_that_are_there_are_not_read_again(tmp_path: Path, small_parts: int) -> None:
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "a").write_bytes(data := bytes(range(251)) * 50)
    source = Stumbling(BucketSource.from_url(f"file://{tmp_path}/upstream", None))
    files = await source.files()
    (tmp_path / "to").mkdir()
    await download.Download(source, files, tmp_path / "to", nobody_is_told).run(nobody_listens)
    assert (tmp_path / "to" / "a").read_bytes() == data
    assert sorted(source.reads) == [("a", start) for start in range(0, len(data), small_parts)]
    journal = tmp_path / "to" / download.JOURNAL
    journal.write_text("\n".join(journal.read_text().split("\n")[:-4]) + "\n12")  # killed while it wrote a line
    source.reads.clear()
    await download.Download(source, files, tmp_path / "to", nobody_is_told).run(nobody_listens)
    assert len(source.reads) == 3
    assert (tmp_path / "to" / "a").read_bytes() == data


async def test_a_source_that_changed_meanwhile_starts_over(tmp_path: Path, small_parts: int) -> None:
    (tmp_path / "upstream").mkdir()
    (tmp_path / "to").mkdir()
    for text in ("old", "new"):
        (tmp_path / "upstream" / "a").write_text(text * small_parts)
        source = BucketSource.from_url(f"file://{tmp_path}/upstream", None)
        await download.Download(source, await source.files(), tmp_path / "to", nobody_is_told).run(nobody_listens)
        assert (tmp_path / "to" / "a").read_text() == text * small_parts


async def test_a_source_that_stays_away_is_told_and_then_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Stumbling):
        async def read(self, name: str, start: int, end: int) -> bytes:
            raise SourceAway("the hub answers 503")

    (tmp_path / "to").mkdir()
    source = Away(BucketSource.from_url(f"file://{tmp_path}", None))
    monkeypatch.setattr(download, "TELL_AFTER_S", 0.1)
    told: list[Fault] = []
    work = download.Download(source, [RemoteFile("a", 10)], tmp_path / "to", told.append, patience_s=1.0)
    with pytest.raises(Fault) as caught:
        await work.run(nobody_listens)
    assert {fault.reason for fault in told} == {WorkerFault.STORE_UNREACHABLE}
    assert caught.value.reason is WorkerFault.STORE_UNREACHABLE
    assert "503" in caught.value.message


async def test_what_a_fetch_waits_for_is_in_the_beacon_until_it_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: dict[Architecture, Path]
) -> None:
    monkeypatch.setattr(download, "TELL_AFTER_S", 0.0)
    shutil.copytree(models[Architecture.WAN22_T2V_A14B], tmp_path / "upstream")
    source = Stumbling(BucketSource.from_url(f"file://{tmp_path}/upstream", None))
    status = Status("worker-0", "rev-1")
    told: list[tuple[str, WorkerFault | None]] = []
    tell = command._Teller(status)

    def say(what: str, hindrance: Fault | None = None) -> None:
        tell(what, hindrance)
        told.append((what, status.beacon().reason))

    await Fetch(Entry(tmp_path / "cache" / "model"), lambda: source, Architecture.WAN22_T2V_A14B, say).run()
    assert told[0] == ("not now", WorkerFault.STORE_UNREACHABLE), "while it lists"
    assert ("fetching weights", WorkerFault.STORE_UNREACHABLE) in told
    assert told[-1][1] is None


async def test_progress_is_told_in_bytes_and_ends_at_all(
    tmp_path: Path, small_parts: int, models: dict[Architecture, Path]
) -> None:
    shutil.copytree(models[Architecture.WAN22_T2V_A14B], tmp_path / "upstream")
    source = BucketSource.from_url(f"file://{tmp_path}/upstream", None)
    files = await source.files()
    (tmp_path / "to").mkdir()
    seen: list[tuple[int, int]] = []
    advance: Callable[[int, int], None] = lambda done, of: seen.append((done, of))  # noqa: E731 - a list's append, bound
    await download.Download(source, files, tmp_path / "to", nobody_is_told).run(advance)
    total = sum(file.size_bytes for file in files)
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
