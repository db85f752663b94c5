"""The program as the kubelet starts it: a process of its own, signals, exit codes, nothing left running."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from videofleet.beacons import WorkerState
from videofleet.jobs import JobState
from videofleet.workerspec import WorkerSpec
from videofleet_worker.settings import Settings

Fleet = Any  # the fixture's class lives in conftest.py


def arguments(fleet: Fleet, spec: WorkerSpec) -> list[str]:
    """What the operator writes into the pod."""
    (fleet.folder / "worker.json").write_text(spec.to_json())
    (fleet.folder / "url").write_text(fleet.redis_url)
    return [
        f"--spec={fleet.folder}/worker.json",
        f"--model={fleet.model}",
        f"--redis-url-file={fleet.folder}/url",
        f"--store=videos=file://{fleet.store}",
        f"--installation={fleet.installation}",
        f"--fleet-uid={fleet.uid}",
        f"--scratch={fleet.folder}/scratch",
        f"--termination-log={fleet.folder}/termination.json",
        "--port=0",
    ]


Process = asyncio.subprocess.Process


@pytest.fixture
async def program(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> AsyncIterator[Process]:
    """A worker program that has been started."""
    long_folder = fleet.folder / ("temporary" * 12)
    long_folder.mkdir()
    with (fleet.folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "videofleet_worker",
            *arguments(fleet, spec_with()),
            env={**os.environ, "POD_NAME": "pod-1", "BIND_ADDRESS": "127.0.0.1", "TMPDIR": str(long_folder)},
            stderr=log,
            start_new_session=True,
        )
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def ready(fleet: Fleet) -> None:
    async def is_ready() -> bool:
        return [beacon.state for beacon in await fleet.queue.beacons(fleet.uid)] == [WorkerState.READY]

    await fleet.until(is_ready, "the worker is ready")


async def test_sigterm_to_its_whole_group_finishes_the_job_and_exits_0(fleet: Fleet, program: Process) -> None:
    await ready(fleet)
    children = psutil.Process(program.pid).children(recursive=True)
    job = await fleet.submit(fleet.preview.model_copy(update={"num_inference_steps": 60}))
    await fleet.denoising(job)
    os.killpg(program.pid, signal.SIGTERM)
    assert (await fleet.ended(job)).state is JobState.SUCCEEDED
    assert await program.wait() == 0
    await fleet.until(lambda: not any(alive(child) for child in children), "no child is left")
    lines = [json.loads(line) for line in (fleet.folder / "log").read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert not (fleet.folder / "termination.json").exists()


async def test_kill_9_leaves_nothing_running(fleet: Fleet, program: Process) -> None:
    await ready(fleet)
    children = psutil.Process(program.pid).children(recursive=True)
    assert len(children) >= 2, "fork server and compute"
    program.kill()
    await program.wait()
    await fleet.until(lambda: not any(alive(child) for child in children), "no child is left")


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_supervisor_is_free_of_torch_and_small_before_its_first_video() -> None:
    code = (
        "import sys, videofleet_worker.supervisor\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'av', 'numpy', 'PIL', 'aiohttp'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_a_running_supervisor_has_not_mapped_torch(fleet: Fleet, program: Process) -> None:
    await ready(fleet)
    files = {Path(entry.path).name for entry in psutil.Process(program.pid).memory_maps()}
    assert not [name for name in files if "torch" in name]
    assert [name for name in files if name.startswith("libavcodec")], "it has encoded the warm-up clip"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--store=videos": "--store=other"}, "--store=videos=URL"),
        ({"--store=videos=file://": "--store=videos"}, "NAME=URL"),
        ({"worker.json": "nothing.json"}, "worker.json of the operator"),
        ({"--redis-url-file=": "--redis-url-file=/nowhere"}, "mount the Redis Secret"),
    ],
    ids=["another store", "no url", "no spec", "no redis file"],
)
def test_wrong_arguments_are_answered_with_a_remedy(
    fleet: Fleet,
    spec_with: Callable[..., WorkerSpec],
    change: dict[str, str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ((before, after),) = change.items()
    given = [
        argument.replace(before, after) if before in argument else argument
        for argument in arguments(fleet, spec_with())
    ]
    with pytest.raises(SystemExit):
        Settings.parse(given)
    assert words in capsys.readouterr().err


def test_the_redis_url_is_not_in_the_settings_text(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    settings = Settings.parse(arguments(fleet, spec_with()))
    assert settings.redis_url == fleet.redis_url
    assert fleet.redis_url not in repr(settings)
