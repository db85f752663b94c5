"""The election's arithmetic, and a world of candidates with clocks of their own: never two that may write."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videofleet_operator.election import (
    LEASE_S,
    RENEW_EVERY_S,
    RETRY_S,
    WRITE_FOR_S,
    LeaseSeen,
    Sighting,
    Term,
    next_epoch,
    seconds_to_wait,
    sighting,
)

FREE = LeaseSeen("", 0, "", LEASE_S, "1")
HELD = LeaseSeen("other", 3, "noon", LEASE_S, "7")


@pytest.mark.parametrize(
    ("holder", "seen_s_ago", "wait_s"),
    [("", 0, 0), ("me", 0, 0), ("other", 4, LEASE_S - 4), ("other", LEASE_S, 0), ("other", 99, 0)],
)
def test_a_candidate_respects_a_holder_until_its_promise_ends(holder, seen_s_ago, wait_s):
    seen = Sighting(replace(HELD, holder=holder), 100.0 - seen_s_ago)
    assert seconds_to_wait(seen, "me", 100.0) == wait_s


def test_only_a_new_renewal_starts_the_wait_anew():
    seen = sighting(None, HELD, 10.0)
    relabelled = replace(HELD, version="8")  # somebody changed a label
    assert sighting(seen, relabelled, 15.0) == Sighting(relabelled, 10.0)
    assert sighting(seen, replace(HELD, renewed="later"), 15.0).since_s == 15.0


def test_epochs_rise_even_when_the_lease_was_made_anew():
    assert next_epoch(FREE, 0) == 1
    assert next_epoch(HELD, 0) == 4
    assert next_epoch(FREE, 8) == 8  # Redis knew 7


def test_the_numbers_keep_the_promise_of_15_s_and_leave_a_margin():
    assert LEASE_S + RETRY_S <= 15
    assert RENEW_EVERY_S + RETRY_S < WRITE_FOR_S < LEASE_S


@dataclass
class Candidate:
    """A process with a clock of its own offset, which may be paused between any two of its steps."""

    name: str
    offset_s: float
    seen: Sighting | None = None
    term: Term | None = None
    asleep_until_s: float = 0.0
    sent: tuple[LeaseSeen, float, int] | None = None  # a write on its way: precondition, when it began, epoch

    def may_write(self, now_s: float) -> bool:
        return self.term is not None and now_s + self.offset_s < self.term.until_s


@dataclass
class Server:
    lease: LeaseSeen = FREE
    writes: int = 0
    epochs: list[int] = field(default_factory=list)

    def write(self, precondition: LeaseSeen, holder: str, epoch: int) -> LeaseSeen | None:
        if precondition.version != self.lease.version:
            return None
        self.writes += 1
        self.lease = LeaseSeen(holder, epoch, f"renewal {self.writes}", LEASE_S, f"v{self.writes}")
        if not self.epochs or self.epochs[-1] != epoch:
            self.epochs.append(epoch)
        return self.lease


def step(candidate: Candidate, server: Server, now_s: float) -> None:
    """As `Leadership` does it, in two halves: what is sent now arrives at the next step, whenever that is."""
    mine = now_s + candidate.offset_s
    if candidate.sent is not None:
        precondition, began_s, epoch = candidate.sent
        candidate.sent = None
        lease = server.write(precondition, candidate.name, epoch)
        candidate.term = Term(epoch, began_s + WRITE_FOR_S) if lease else None
        candidate.seen = Sighting(lease, began_s) if lease else candidate.seen
        candidate.asleep_until_s = now_s + (RENEW_EVERY_S if lease else RETRY_S)
    elif now_s < candidate.asleep_until_s:
        return
    elif candidate.term is not None and mine < candidate.term.until_s:
        candidate.sent = (candidate.seen.lease, mine, candidate.term.epoch)
    else:
        candidate.term = None
        candidate.seen = sighting(candidate.seen, server.lease, mine)
        if seconds_to_wait(candidate.seen, candidate.name, mine) == 0:
            candidate.sent = (candidate.seen.lease, mine, next_epoch(server.lease, 0))
        else:
            candidate.asleep_until_s = now_s + RETRY_S


@settings(max_examples=200, deadline=None)
@given(
    offsets=st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=3),
    runs=st.lists(st.tuples(st.floats(0.1, 20), st.sets(st.integers(0, 2))), min_size=5, max_size=60),
)
def test_never_may_two_write_whatever_is_paused_and_whatever_clocks_say(offsets, runs):
    server = Server()
    candidates = [Candidate(f"c{number}", offset) for number, offset in enumerate(offsets)]
    now_s = 0.0
    for pause_s, awake in runs:
        now_s += pause_s
        for number, candidate in enumerate(candidates):
            if number in awake:
                step(candidate, server, now_s)
        assert sum(candidate.may_write(now_s) for candidate in candidates) <= 1
    assert server.epochs == sorted(set(server.epochs)), "an epoch belongs to one term"
