"""GPU-seconds that fleets hold, from the first sight of a pod to its last: starting and terminating pods count too.

Pods are seen at every reconcile, and a change of pods asks for one, so between two looks their number stood still.
"""

import time
from typing import Any

from videofleet_operator.metrics import GPU_SECONDS
from videofleet_operator.observed import Observed
from videofleet_operator.plan.shortage import gpus_of
from videofleet_operator.workqueue import Key


class GpuMeter:
    """Counts into GPU_SECONDS. A fleet that is gone is not shown any more."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[float, int]] = {}  # when last seen, GPUs then

    def look(self, observed: Observed) -> None:
        """The fleet as it is now."""
        now, key = time.monotonic(), observed.fleet.key
        since, gpus = self._held.get(key, (now, 0))
        GPU_SECONDS.labels(observed.fleet.full_name).inc(gpus * (now - since))
        self._held[key] = (now, gpus_held(observed))

    def forget(self, key: Key) -> None:
        """The fleet is gone."""
        if self._held.pop(key, None) is not None:
            GPU_SECONDS.remove("/".join(key))


def gpus_held(observed: Observed) -> int:
    """GPUs of all pods, as the spec says: workers and decoders."""
    gpus = gpus_of(observed.fleet.spec)
    return len(observed.pods) * gpus + len(observed.decoder_pods) * _decoder_gpus(observed.fleet.spec, gpus)


def _decoder_gpus(spec: Any, gpus: int) -> int:
    try:
        return int(spec["worker"]["decode"]["gpus"])
    except (KeyError, TypeError, ValueError):
        return min(1, gpus)
