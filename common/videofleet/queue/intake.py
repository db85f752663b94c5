"""Fleets whose intake a person has paused: what waits and runs goes on, nothing new comes in.

One set for the whole installation, so that a gateway reads all of them at once. A pause outlives every restart and ends
only when somebody ends it.
"""

from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer


class Intake:
    """The pauses of an installation. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._redis = connection.redis
        self._key = keys.paused(installation)

    async def paused(self) -> set[str]:
        """UIDs of the fleets that take nothing new."""
        return set(await answer(self._redis.smembers(self._key)))

    async def pause(self, fleet_uid: str) -> bool:
        """Returns: whether it was open before."""
        return bool(await answer(self._redis.sadd(self._key, fleet_uid)))

    async def resume(self, fleet_uid: str) -> bool:
        """Returns: whether it was paused before."""
        return bool(await answer(self._redis.srem(self._key, fleet_uid)))
