"""The program as a child process, a real gateway on a real Redis for it to talk to, and a worker of a few lines."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from videofleet.architectures import Architecture
from videofleet.jobs import ErrorCode, Job, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.store import ObjectStore
from videofleet.tiers import Tier

FLEET_UID = "0b5c2c0e-6f3f-4d0e-9d55-0000000000c1"
TIERS = [
    Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16),
    Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16),
]
VIDEO_BYTES = b"not really an MP4" * 100_000


@dataclass
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str


class Command:
    """A running `videofleet`, to wait for or to interrupt."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def done(self) -> Done:
        out, err = await asyncio.wait_for(self.process.communicate(), 30)
        assert self.process.returncode is not None
        return Done(self.process.returncode, out.decode(), err.decode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


Start = Callable[..., Awaitable[Command]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts `videofleet` with these arguments and environment; kills what a failed test leaves."""
    running: list[Command] = []
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(("VIDEOFLEET_", "KUBECONFIG"))
    }

    async def begin(*arguments: str, **variables: str) -> Command:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "videofleet_cli.main", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=environment | {"HOME": str(tmp_path), "COLUMNS": "80"} | variables,
        )
        running.append(Command(process))
        return running[-1]

    yield begin
    for command in running:
        if command.process.returncode is None:
            command.process.kill()
            await command.process.wait()


@dataclass
class Gateway:
    """A running gateway, and the worker's side of its queue."""

    url: str
    key_file: Path
    queue: JobQueue
    store: ObjectStore
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"VIDEOFLEET_GATEWAY": self.url, "VIDEOFLEET_API_KEY_FILE": str(self.key_file)}

    async def waiting_job(self) -> Job:
        """The tenant's only unfinished job, once it is there."""
        async with asyncio.timeout(60):
            while True:
                page = await self.queue.page([FLEET_UID], "studio", after=None, limit=10, newest_first=True)
                if found := [job for job in page if not job.state.is_terminal]:
                    return found[0]
                await asyncio.sleep(0.02)

    async def make(self, job: Job) -> None:
        """Does what a worker does with the job."""
        (claim,) = (await self.queue.claim(FLEET_UID, worker="w", revision="r1")).claims
        assert claim.job.id == job.id
        (self.folder / "made").write_bytes(VIDEO_BYTES)
        await self.store.put_file("made", self.folder / "made", "video/mp4")
        result = VideoResult(
            store="videos",
            video_key="made",
            thumbnail_key="made",
            video_bytes=len(VIDEO_BYTES),
            tier=job.request.tier,
            seed=job.request.seed,
            revision="r1",
            attempt=1,
            seconds_per_step=0.1,
            worker_seconds=1,
        )
        await self.queue.succeed(claim, result)

    async def lose_worker(self) -> None:
        """Spends an attempt of the next job as drains without end do: by giving it back too often."""
        (claim,) = (await self.queue.claim(FLEET_UID, worker="w", revision="r1")).claims
        await self.queue.give_back(claim)

    async def spoil(self) -> None:
        """Fails the next job for good."""
        (claim,) = (await self.queue.claim(FLEET_UID, worker="w", revision="r1")).claims
        await self.queue.fail(claim, ErrorCode.NOT_FINITE, "NaN in the latents", retry=False)


@pytest.fixture
async def gateway(redis_url: str, installation: str, queue: JobQueue, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with one fleet, studio/tiny, and one tenant."""
    await queue.publish_policy(
        FleetPolicy(
            fleet="studio/tiny",
            fleet_uid=FLEET_UID,
            architecture=Architecture.WAN22_T2V_A14B,
            tiers=TIERS,
            tracks={"r1": Track.STABLE},
            max_depth=10,
            max_attempts=3,
            store="videos",
        )
    )
    key = "vf_me_" + "s" * 32
    entry = {"id": "me", "tenant": "studio", "sha256": hashlib.sha256(key.encode()).hexdigest()}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [entry]}))
    (tmp_path / "key").write_text(key + "\n")
    (tmp_path / "redis-url").write_text(redis_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"--installation={installation}", f"--redis-url-file={tmp_path}/redis-url", "--drain-delay=0"]
    command += [f"--keys-file={tmp_path}/keys.json", f"--store=videos=file://{tmp_path}/store", f"--port={port}"]
    command += ["--health-port=0"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "videofleet_gateway", *command),
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"BIND_ADDRESS": "127.0.0.1"},
    )
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                break
    store = ObjectStore.from_url("videos", f"file://{tmp_path}/store")
    yield Gateway(f"http://127.0.0.1:{port}", tmp_path / "key", queue, store, tmp_path)
    process.terminate()
    await process.wait()
