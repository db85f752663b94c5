"""Ending tasks for certain, and work that an event may cut short."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

AGAIN_S: Final = 1.0  # so that what is done at a task's end is seldom cut short itself


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels until every task has ended: redis-py swallows a cancellation that meets it while it connects."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None once the event has cancelled it."""
    task, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        await end(task, waiting)
