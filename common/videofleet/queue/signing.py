"""Keys that every gateway replica signs with and checks by: made by whoever needs one first, one for each day.

Yesterday's key is still good, so a signature holds for a day at least and two at most; nobody has to rotate anything.
Workers have no access to them (a Redis ACL user of a fleet sees the fleet's keys only).
"""

import secrets
import time
from typing import Final

from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer

DAY_S: Final = 86_400
_KEPT_S: Final = 3 * DAY_S  # clocks of replicas may differ
_KEY_BYTES: Final = 32


class SigningKeys:
    """The keys, remembered. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._redis = connection.redis
        self._installation = installation
        self._known: dict[int, bytes] = {}

    async def today(self) -> tuple[int, bytes]:
        """The day's number and its key, to sign with."""
        day = int(time.time() // DAY_S)
        if (known := await self.of(day)) is None:
            fresh = secrets.token_hex(_KEY_BYTES)
            await answer(self._redis.set(keys.signing(self._installation, day), fresh, nx=True, ex=_KEPT_S))
            known = await self.of(day)
        if known is None:
            raise LookupError("Redis lost a key that it had just taken")
        return day, known

    async def of(self, day: int) -> bytes | None:
        """The key of that day, to check by; None when it is too old or was never made."""
        if abs(day - time.time() // DAY_S) > 1:
            return None
        if day not in self._known:
            found = await answer(self._redis.get(keys.signing(self._installation, day)))
            if found is None:
                return None
            self._known = {each: key for each, key in self._known.items() if abs(each - day) <= 1}
            self._known[day] = bytes.fromhex(found)
        return self._known[day]
