"""Orders to a revision's decoders on a real Redis: one at a time has an order, and nobody who lost one is heard."""

from typing import Any

import pytest

from videofleet.jobs import VideoRequest
from videofleet.queue import Decoded, DecodeOrder, LeaseLost

Fleet = Any  # the fixture's class lives in conftest.py
MADE = Decoded(folder="films/1/abc", video_bytes=7)


def order(fleet: Fleet, job: str = "j1") -> DecodeOrder:
    request = VideoRequest(prompt="", seed=1, tier=fleet.full)
    return DecodeOrder(job=job, attempt=1, request=request, latents_key=f"films/{job}/latents")


async def lapse(fleet: Fleet, *orders: str) -> None:
    """The leases of their decoders run out, without the wait."""
    await fleet.redis.zadd(f"{fleet.prefix}:decodes:r1", dict.fromkeys(orders, 1), xx=True)


async def test_an_order_is_taken_once_answered_once_and_leaves_nothing(ruled: Fleet) -> None:
    decodes, uid = ruled.queue.decodes, ruled.uid
    assert not await decodes.is_anyone_there(uid, "r1")
    assert await decodes.take(uid, "r1") is None
    assert await decodes.is_anyone_there(uid, "r1")
    assert not await decodes.is_anyone_there(uid, "r2"), "decoders are a revision's own"
    for _ in range(2):  # a lost reply is asked for again
        state = await decodes.ask(uid, "r1", "j1/1", order(ruled))
        assert (state.answer, state.tries, state.is_anyone_there) == (None, 0, True)
    assert await decodes.take(uid, "r2") is None, "another revision's decoder has another decoder"
    taken = await decodes.take(uid, "r1")
    assert taken.order == order(ruled)
    assert await decodes.take(uid, "r1") is None
    await decodes.beat(uid, taken)
    await decodes.settle(uid, taken, MADE)
    state = await decodes.ask(uid, "r1", "j1/1", order(ruled))
    assert (state.answer, state.tries) == (MADE, 1)
    assert await decodes.take(uid, "r1") is None
    await decodes.withdraw(uid, "r1", "j1/1")
    left = [key async for key in ruled.redis.scan_iter(f"{ruled.prefix}:decode:*")]
    assert left == []


async def test_a_silent_decoder_loses_its_order_and_is_not_heard_any_more(ruled: Fleet) -> None:
    decodes, uid = ruled.queue.decodes, ruled.uid
    await decodes.ask(uid, "r1", "j1/1", order(ruled))
    zombie = await decodes.take(uid, "r1")
    await lapse(ruled, "j1/1")
    second = await decodes.take(uid, "r1")
    assert second.order == zombie.order
    for late in (decodes.beat(uid, zombie), decodes.give_back(uid, zombie), decodes.settle(uid, zombie, MADE)):
        with pytest.raises(LeaseLost):
            await late
    assert (await decodes.ask(uid, "r1", "j1/1", order(ruled))).tries == 2
    await decodes.settle(uid, second, MADE)
    assert (await decodes.ask(uid, "r1", "j1/1", order(ruled))).answer == MADE


async def test_orders_come_in_turn_and_one_given_back_is_free_at_once(ruled: Fleet) -> None:
    decodes, uid = ruled.queue.decodes, ruled.uid
    await decodes.ask(uid, "r1", "j1/1", order(ruled))
    first = await decodes.take(uid, "r1")
    await decodes.give_back(uid, first)
    again = await decodes.take(uid, "r1")
    assert again.id == "j1/1"
    with pytest.raises(LeaseLost):
        await decodes.settle(uid, first, MADE)


async def test_a_withdrawn_order_ends_its_decoding(ruled: Fleet) -> None:
    decodes, uid = ruled.queue.decodes, ruled.uid
    await decodes.ask(uid, "r1", "j1/1", order(ruled))
    taken = await decodes.take(uid, "r1")
    await decodes.withdraw(uid, "r1", "j1/1")
    with pytest.raises(LeaseLost):
        await decodes.beat(uid, taken)
    assert await decodes.take(uid, "r1") is None


async def test_an_order_of_a_dead_owner_is_forgotten(ruled: Fleet) -> None:
    decodes, uid = ruled.queue.decodes, ruled.uid
    await decodes.ask(uid, "r1", "j1/1", order(ruled))
    assert 0 < await ruled.redis.pttl(f"{ruled.prefix}:decode:j1/1") <= 60_000
    await ruled.redis.delete(f"{ruled.prefix}:decode:j1/1")  # the minute is over
    assert await decodes.take(uid, "r1") is None
    assert await ruled.redis.zcard(f"{ruled.prefix}:decodes:r1") == 0
