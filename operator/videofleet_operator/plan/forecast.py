"""What work to expect at a time of the day: a season of quarter hours, learned day by day.

A quarter that nobody watched keeps what earlier days said; a day that was busier than the last moves the season half
way. Nothing is expected before a whole quarter was watched.
"""

from dataclasses import dataclass
from typing import Final

SLOT_S: Final = 900.0
SLOTS: Final = 96  # of a day
LEARN: Final = 0.5  # how much of a slot's expectation is the latest day
DAY_S: Final = SLOT_S * SLOTS


@dataclass(frozen=True)
class Season:
    """Service seconds a second for every quarter of the day; None where nothing was ever seen."""

    rates: tuple[float | None, ...] = (None,) * SLOTS
    slot: int | None = None  # which quarter since the epoch is being watched
    watched_s: float = 0.0
    work_s: float = 0.0

    def with_work(self, from_s: float, to_s: float, work_s: float) -> "Season":
        """Takes in what arrived between two looks; a look into a new quarter closes the old one."""
        slot = int(to_s // SLOT_S)
        if slot == self.slot:
            return Season(self.rates, slot, self.watched_s + to_s - from_s, self.work_s + work_s)
        return Season(self._closed(), slot, 0.0, 0.0)

    def expected(self, from_s: float, to_s: float) -> float | None:
        """The busiest quarter between two times; None when none of them is known."""
        slots = range(int(from_s // SLOT_S), int(to_s // SLOT_S) + 1)
        known = [rate for slot in slots if (rate := self.rates[slot % SLOTS]) is not None]
        return max(known, default=None)

    def _closed(self) -> tuple[float | None, ...]:
        if self.slot is None or self.watched_s < SLOT_S / 2:
            return self.rates
        index, seen = self.slot % SLOTS, self.work_s / self.watched_s
        before = self.rates[index]
        now = seen if before is None else before + LEARN * (seen - before)
        return (*self.rates[:index], now, *self.rates[index + 1 :])
