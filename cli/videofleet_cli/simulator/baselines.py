"""What others do: KEDA with an HPA, Knative's KPA, fixed fleets, and a static fallback rule.

Formulas, intervals and tolerances are those of their sources: HPA `ceil(metric / target)` within a tolerance of 10 %,
every 15 s, scale-down stabilised over 300 s, scale-up by the larger of 4 pods and 100 % in 15 s; KEDA polls every
30 s, owns 0↔1 and goes to zero 300 s after the last activity. KPA looks every 2 s, averages over 60 s, panics over 6 s.
"""

import math
from collections import deque
from typing import Final

from videofleet_cli.simulator.orders import DegradeRule, Orders, View

HPA_SYNC_S: Final = 15.0
KEDA_POLL_S: Final = 30.0
STABILISE_S: Final = 300.0
COOLDOWN_S: Final = 300.0
TOLERANCE: Final = 0.1


class Fixed:
    """Always as many."""

    every_s = 600.0

    def __init__(self, workers: int) -> None:
        self.name = f"fixed {workers}"
        self._workers = workers

    def look(self, view: View, now_s: float) -> Orders:
        """As many as ever."""
        return Orders(self._workers)


class Keda:
    """KEDA's Redis scaler on waiting + running jobs, with the HPA it makes."""

    every_s = HPA_SYNC_S

    def __init__(self, target: float, low: int, high: int) -> None:
        self.name = f"KEDA+HPA, target {target:g}"
        self._target, self._low, self._high = target, low, high
        self._metric, self._polled_s = 0, -math.inf
        self._active_s = -math.inf
        self._wishes: deque[tuple[float, int]] = deque()

    def look(self, view: View, now_s: float) -> Orders:
        """One HPA sync; the metric is as old as KEDA's last poll."""
        if now_s - self._polled_s >= KEDA_POLL_S:
            self._metric, self._polled_s = sum(view.waiting) + view.running, now_s
            if self._metric:
                self._active_s = now_s
        if view.wanted == 0:
            return Orders(max(1, self._low) if self._metric else self._low)
        if not self._metric and self._low == 0 and now_s - self._active_s > COOLDOWN_S:
            self._wishes.clear()
            return Orders(0)
        return Orders(self._stabilised(self._wish(view.wanted), view.wanted, now_s))

    def _wish(self, current: int) -> int:
        usage = self._metric / self._target / current
        if abs(usage - 1) <= TOLERANCE:
            return current
        return math.ceil(self._metric / self._target)

    def _stabilised(self, wish: int, current: int, now_s: float) -> int:
        wish = min(max(wish, 1, self._low), self._high, current + max(4, current))
        self._wishes.append((now_s, wish))
        while self._wishes[0][0] <= now_s - STABILISE_S:
            self._wishes.popleft()
        return wish if wish >= current else min(current, max(count for _, count in self._wishes))


class Kpa:
    """Knative's KPA on concurrency = waiting + running, a target of jobs for each worker."""

    every_s = 2.0
    window_s, panic_s, panic_at, target_share, grace_s = 60.0, 6.0, 2.0, 0.7, 30.0

    def __init__(self, target: float, low: int, high: int) -> None:
        self.name = f"Knative KPA, target {target:g}"
        self._target, self._low, self._high = target * self.target_share, low, high
        self._seen: deque[tuple[float, int]] = deque()
        self._panic_until_s = -math.inf
        self._most = 0

    def look(self, view: View, now_s: float) -> Orders:
        """One tick."""
        self._seen.append((now_s, sum(view.waiting) + view.running))
        while self._seen[0][0] <= now_s - self.window_s:
            self._seen.popleft()
        stable = sum(count for _, count in self._seen) / len(self._seen)
        recent = [count for at_s, count in self._seen if at_s > now_s - self.panic_s]
        ready = max(1, sum(worker.is_ready for worker in view.workers))
        want_stable = math.ceil(stable / self._target)
        want_panic = math.ceil(sum(recent) / len(recent) / self._target)
        if want_panic / ready >= self.panic_at:
            self._panic_until_s = now_s + self.window_s
        if now_s < self._panic_until_s:
            self._most = max(self._most, want_panic, view.wanted)
            want = self._most
        else:
            self._most = 0
            want = max(want_stable, math.floor(ready / 2) if view.wanted else 0)
        return Orders(min(max(want, self._low), self._high))


class StaticFallback:
    """Another autoscaler plus a common rule: with 80 % of the workers busy everybody gets the tier below."""

    def __init__(self, inner: Keda, scale: float) -> None:
        self.name = f"{inner.name}, fallback at 80 %"
        self.every_s = inner.every_s
        self._inner = inner
        self._rule = DegradeRule(scale, 1.0, frozenset({0, 1, 2}))

    def look(self, view: View, now_s: float) -> Orders:
        """The other's orders with the rule."""
        ready = sum(worker.is_ready for worker in view.workers)
        is_busy = view.running > 0.8 * ready if ready else any(view.waiting)
        return Orders(self._inner.look(view, now_s).wanted, degrade=self._rule if is_busy else None)
