"""Clips on their way through a revision's decoders: offered by the worker that denoised them, taken by a decoder.

The job keeps running under its worker's lease; here travels where its latents lie, and never a prompt. Invariants: one
decoder has an order, by its token, and loses it to the next when it falls silent; what a decoder that has lost an order
says or stores is never used. An order whose owner falls silent is forgotten.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from pydantic import Field

from videofleet.jobs import ClipLook, VideoRequest
from videofleet.queue import keys
from videofleet.queue.connection import Connection, answer
from videofleet.queue.errors import LeaseLost
from videofleet.wire import Wire

LEASE_MS: Final = 30_000  # as a job's: a dead decoder's order is free again after this


class DecodeOrder(Wire):
    """What is to become of which latents."""

    job: str
    attempt: int
    request: VideoRequest = Field(repr=False)  # without what a person wrote
    latents_key: str  # in the fleet's store
    is_golden: bool = False  # the clip is compared with others


class Decoded(Wire):
    """A decoder's answer: a clip in the store, or why there is none."""

    folder: str = ""  # of its files in the store
    video_bytes: int = 0
    look: ClipLook | None = None  # of a golden clip
    flaw: str | None = None  # for which the output gate refused it
    error: str | None = None  # that kept this decoder from making it


@dataclass(frozen=True)
class TakenOrder:
    """An order in a decoder's hands."""

    id: str
    revision: str
    order: DecodeOrder
    token: str = field(repr=False)


@dataclass(frozen=True)
class OrderState:
    """What the owner of an order hears."""

    answer: Decoded | None
    tries: int  # decoders that have taken it
    is_anyone_there: bool  # a decoder of the revision was heard of in the last 15 s


class Decodes:
    """The orders of all fleets. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def is_anyone_there(self, fleet_uid: str, revision: str) -> bool:
        """Whether a decoder of the revision was heard of in the last 15 s."""
        key = keys.decoders(self._prefix(fleet_uid), revision)
        return bool(await answer(self._connection.redis.exists(key)))

    async def ask(self, fleet_uid: str, revision: str, order_id: str, order: DecodeOrder) -> OrderState:
        """Puts it into the line, once, and tells how it stands. The owner asks every minute, or it is forgotten."""
        raw, tries, decoders = await self._connection.run(
            "decode_ask", self._prefix(fleet_uid), order_id, revision, order.to_json()
        )
        return OrderState(Decoded.model_validate_json(raw) if raw else None, int(tries), bool(decoders))

    async def withdraw(self, fleet_uid: str, revision: str, order_id: str) -> None:
        """The owner has its answer, or wants none; a decoder that still has it is told so at its next beat."""
        await self._connection.run("decode_withdraw", self._prefix(fleet_uid), order_id, revision)

    async def take(self, fleet_uid: str, revision: str) -> TakenOrder | None:
        """The oldest order that no decoder has; asking also tells owners that a decoder is there."""
        token = secrets.token_hex(16)
        found = await self._connection.run("decode_take", self._prefix(fleet_uid), revision, token, LEASE_MS)
        return TakenOrder(found[0], revision, DecodeOrder.model_validate_json(found[1]), token) if found else None

    async def beat(self, fleet_uid: str, taken: TakenOrder) -> None:
        """Keeps it. Raises: LeaseLost, when another decoder has it or nobody wants it any more."""
        await self._owned("decode_beat", fleet_uid, taken, LEASE_MS)

    async def give_back(self, fleet_uid: str, taken: TakenOrder) -> None:
        """To the next decoder, at once. Raises: LeaseLost."""
        await self._owned("decode_beat", fleet_uid, taken, 0)

    async def settle(self, fleet_uid: str, taken: TakenOrder, decoded: Decoded) -> None:
        """Hands the outcome to the owner. Raises: LeaseLost; what was stored is of no use then."""
        await self._owned("decode_answer", fleet_uid, taken, decoded.to_json())

    async def _owned(self, name: str, fleet_uid: str, taken: TakenOrder, last: str | int) -> None:
        args = taken.id, taken.revision, taken.token, last
        if await self._connection.run(name, self._prefix(fleet_uid), *args) == "lost":
            raise LeaseLost("the order was withdrawn, or another decoder has it")

    def _prefix(self, fleet_uid: str) -> str:
        return keys.fleet_prefix(self._installation, fleet_uid)
