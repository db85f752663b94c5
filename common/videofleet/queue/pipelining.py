"""Script calls that begin in one turn of the event loop travel together: one write, one read, one connection.

Under load that halves what a submission costs. A call alone waits for nobody. Calls are independent: an error of one is
its own, only a lost connection is everybody's.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

_MOST: Final = 64  # in one flight, so that the first answer does not wait for hundreds


class Flights:
    """Calls over one pool."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[_Call] = []
        self._in_flight: set[asyncio.Task[None]] = set()

    async def call(self, script: AsyncScript, prefix: str, args: Sequence[str | int | float]) -> Any:
        """The script's answer. Raises: RedisError."""
        call = _Call(script, prefix, args)
        self._waiting.append(call)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._depart)
        return await call.reply

    def _depart(self) -> None:
        waiting, self._waiting = self._waiting, []
        for begin in range(0, len(waiting), _MOST):
            flight = asyncio.create_task(self._fly(waiting[begin : begin + _MOST]))
            self._in_flight.add(flight)
            flight.add_done_callback(self._in_flight.discard)

    async def _fly(self, calls: "Sequence[_Call]") -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    pipe.evalsha(call.script.sha, 1, call.prefix, *call.args)
                replies = await pipe.execute(raise_on_error=False)
            for call, reply in zip(calls, replies, strict=True):
                await call.land(reply)
        except Exception as error:  # each caller gets it, and judges it
            for call in calls:
                call.fail(error)


class _Call:
    """One call and who waits for it."""

    def __init__(self, script: AsyncScript, prefix: str, args: Sequence[str | int | float]) -> None:
        self.script = script
        self.prefix = prefix
        self.args = args
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def land(self, reply: Any) -> None:
        """Hands over the answer. A Redis that was restarted does not know the script: then it is sent in full."""
        if isinstance(reply, NoScriptError):
            reply = await self.script(keys=[self.prefix], args=list(self.args))
        if isinstance(reply, Exception):
            self.fail(reply)
        elif not self.reply.done():  # whoever asked may be gone
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Hands over an error."""
        if not self.reply.done():
            self.reply.set_exception(error)
