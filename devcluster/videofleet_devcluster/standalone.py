"""A node on its own that joins a cluster by kubeconfig: `videofleet dev node`."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from videofleet_devcluster.client import connected
from videofleet_devcluster.node.agent import Node
from videofleet_devcluster.node.fake import FakeNode
from videofleet_devcluster.processes import Processes


async def run_node(kubeconfig: Path, name: str, folder: Path, gpus: int, fake_ready_after_s: float | None) -> None:
    """Runs the node until SIGTERM or SIGINT; then its pods' processes end and the pods stay in the API."""
    async with Processes() as processes, connected(kubeconfig) as client:
        if fake_ready_after_s is not None:
            await until_signalled(FakeNode(client, name, gpus, fake_ready_after_s).run())
        else:
            await until_signalled(Node(client, processes, name, folder / "node", gpus).run())


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work, and cancels it on SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
