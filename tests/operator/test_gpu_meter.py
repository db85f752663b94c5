"""GPU-seconds by fleet: what pods hold between two looks, and nothing of a fleet that is gone."""

import pytest

from videofleet_operator import gpu_meter
from videofleet_operator.gpu_meter import GpuMeter, gpus_of
from videofleet_operator.metrics import REGISTRY
from videofleet_operator.observed import FleetSeen, Observed, PodSeen


def fleet(pods: int) -> Observed:
    seen = FleetSeen("studio", "metered", "uid", 1, {"worker": {"gpus": 4}}, {})
    return Observed(seen, pods=tuple(PodSeen(f"w{n}", "r", is_ready=False) for n in range(pods)))


def metered() -> float | None:
    return REGISTRY.get_sample_value("videofleet_fleet_gpu_seconds_total", {"fleet": "studio/metered"})


def test_pods_hold_their_gpus_from_the_first_look_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr(gpu_meter.time, "monotonic", lambda: next(clock))
    meter = GpuMeter()
    meter.look(fleet(2))
    assert metered() == 0
    meter.look(fleet(1))
    assert metered() == 2 * 4 * 10
    meter.look(fleet(0))
    assert metered() == 2 * 4 * 10 + 1 * 4 * 20
    meter.forget(("studio", "metered"))
    assert metered() is None


@pytest.mark.parametrize(("spec", "gpus"), [({"worker": {"gpus": 0}}, 0), ({}, 1), (None, 1), ({"worker": "x"}, 1)])
def test_gpus_of_a_worker(spec: object, gpus: int) -> None:
    assert gpus_of(spec) == gpus
