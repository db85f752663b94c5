"""A launch that is called off, as often as one likes, leaves no process and no socket behind."""

import asyncio
import gc
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from videofleet.workerspec import Parallelism, WorkerSpec
from videofleet_worker.ranks import Ranks, fork_server
from videofleet_worker.tasks import end

A_START_S = 0.8


class SlowForkServer:
    """The real one, when torch is being imported still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[BaseProcess] = []
        monkeypatch.setattr("videofleet_worker.tasks.AGAIN_S", A_START_S / 8)  # some cancellations in a start

    def Process(self, **rank: Any) -> BaseProcess:  # noqa: N802 - multiprocessing's name
        process = fork_server().Process(**rank)
        begin = process.start

        def start_slowly() -> None:
            time.sleep(A_START_S)
            del process.start  # a process is pickled on its way
            begin()
            self.started.append(process)

        process.start = start_slowly
        return process


@pytest.mark.parametrize("after_s", [0.0, A_START_S / 2])
async def test_a_launch_that_is_called_off_leaves_nothing_behind(
    after_s: float, spec_with: Callable[..., WorkerSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Any = SlowForkServer(monkeypatch)
    ranks = Ranks(server, spec_with(parallelism=Parallelism(cfg=2)), tmp_path)
    launch = asyncio.create_task(ranks.launch())
    await asyncio.sleep(after_s)
    await end(launch)
    await ranks.kill()
    assert launch.cancelled()
    assert len(server.started) == 1, "the second rank was not begun"
    assert ranks.pids == []
    with pytest.raises(ValueError, match="process object is closed"):
        _ = server.started[0].pid  # which is only closed once it has ended
    gc.collect()  # an open socket would be a ResourceWarning, and an error here
