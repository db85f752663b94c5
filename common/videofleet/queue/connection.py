"""The way to Redis: scripts and reads over one connection pool, and what an answer that fails means.

A call whose reply was lost is sent once more; durable calls return only when the durability mode's word is given.
"""

import re
from collections.abc import Awaitable
from typing import Any, Final, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from videofleet.queue import scripts
from videofleet.queue.durability import WAIT_MS, Durability
from videofleet.queue.errors import QueueUnavailable
from videofleet.queue.pipelining import Flights

_CONNECT_S: Final = 1.0
_REPLY_S: Final = 1.5  # no call blocks; the gateway owes its 503 within 2 s
_DOWN: Final = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError)
_REFUSAL: Final = re.compile(  # at the beginning, or quoted in a script's error
    r"(?:^|[ :]-)(OOM|READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|BUSY)\b"
)
_FULL: Final = "Redis is full: raise its `maxmemory`, or remove finished jobs; those accepted are kept and go on"


class Connection:
    """One pool. Every call raises QueueUnavailable when Redis is not there."""

    def __init__(self, redis: Redis, durability: Durability) -> None:
        self.redis = redis
        self.durability = durability
        self._flights = Flights(redis)
        self._scripts = {name: redis.register_script(scripts.source(name)) for name in scripts.NAMES}

    @classmethod
    def to(cls, url: str, durability: Durability) -> Self:
        """Connects at first use and reconnects by itself."""
        redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT_S,
            socket_timeout=_REPLY_S,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            protocol=2,
        )
        return cls(redis, durability)

    async def run(self, name: str, prefix: str, *args: str | int | float) -> Any:
        """The script's answer."""
        return await answer(self._flights.call(self._scripts[name], prefix, args))

    async def run_durably(self, name: str, prefix: str, *args: str | int | float) -> Any:
        """The script's answer, once it would survive. Asked again, a script that had run before waits as well."""
        if self.durability is not Durability.WAIT:
            return await self.run(name, prefix, *args)
        async with self.redis.pipeline(transaction=False) as pipe:  # WAIT counts for its own connection
            await self._scripts[name](keys=[prefix], args=list(args), client=pipe)
            pipe.execute_command("WAIT", 1, WAIT_MS)
            reply, replicas = await answer(pipe.execute())
        if not replicas:
            raise QueueUnavailable(f"no replica of Redis confirmed within {WAIT_MS} ms")
        return reply


async def answer(reply: Awaitable[Any] | Any) -> Any:
    """Redis' reply; what means that Redis is not there becomes QueueUnavailable, and a refusal keeps its words."""
    try:
        return await reply
    except _DOWN as error:
        raise QueueUnavailable(f"Redis does not answer ({type(error).__name__})") from error
    except OutOfMemoryError as error:
        raise QueueUnavailable(_FULL) from error
    except RedisError as error:
        refusal = _REFUSAL.search(str(error))
        if refusal is None:
            raise
        word = refusal[1]
        raise QueueUnavailable(_FULL if word == "OOM" else f"Redis is not ready ({word})") from error
