"""Who competes in a run: VideoFleet at several patiences, KEDA by its target, the KPA, fixed fleets, a static rule.

The clairvoyant bound is a fleet that always has every worker and pays only while it works: no autoscaler with as many
workers can be below its waits, and none can pay less.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from videofleet_cli.simulator.baselines import Fixed, Keda, Kpa, StaticFallback
from videofleet_cli.simulator.engine import Fleet
from videofleet_cli.simulator.figures import Figures, figures
from videofleet_cli.simulator.orders import Autoscaler
from videofleet_cli.simulator.ours import VideoFleet
from videofleet_cli.simulator.workload import Job
from videofleet_cli.simulator.world import World
from videofleet_operator.plan.fallback import FallbackRules
from videofleet_operator.plan.scaling import ScalingRules

KEDA_TARGETS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
PATIENCES_S: Final = ((30, 60), (60, 300), (120, 600), (120, 1800), (300, 1800), (600, 3600))  # down, to zero
KILLING_GRACE_S: Final = 30.0  # Kubernetes' default, that most workers are run with
TIER_COSTS: Final = (1.0, 0.433, 0.057)  # 720p, 480p and preview of examples/wan-a14b.yaml, by pixels × frames × steps


@dataclass(frozen=True)
class Scene:
    """What every competitor of a run has in common."""

    jobs: Sequence[Job]
    world: World
    gpus: int  # of a worker
    rules: ScalingRules
    tier_costs: tuple[float, ...] = TIER_COSTS
    step_every_s: float = 60.0


@dataclass(frozen=True)
class Row:
    """One competitor and what it came to."""

    family: str  # VideoFleet, VideoFleet with fallback, KEDA+HPA, …
    figures: Figures


def ours(scene: Scene, *, with_fallback: bool, name: str) -> VideoFleet:
    """VideoFleet by the scene's rules."""
    fallback = FallbackRules(scene.tier_costs, scene.rules.target_wait_s, scene.step_every_s)
    return VideoFleet(scene.rules, fallback if with_fallback else None, name)


def lineup(scene: Scene) -> list[Row]:
    """Every competitor, one after the other, and the bound."""
    rows = [Row(family, run(scene, scaler)) for family, scaler in _competitors(scene)]
    killing = replace(scene, world=replace(scene.world, grace_s=KILLING_GRACE_S))
    killer = Keda(2.0, scene.rules.min_replicas, scene.rules.max_replicas)
    killer.name += ", 30 s grace"
    return [*rows, Row("KEDA+HPA, 30 s grace", run(killing, killer)), Row("clairvoyant bound", clairvoyant(scene))]


def run(scene: Scene, scaler: Autoscaler) -> Figures:
    """One competitor."""
    account = Fleet(scene.jobs, scene.world, scaler).run()
    return figures(scaler.name, account, scene.rules.target_wait_s, scene.gpus)


def clairvoyant(scene: Scene) -> Figures:
    """The bound."""
    world = replace(scene.world, max_pods=scene.rules.max_replicas, cold_start_s=0.0, mtbf_s=None, rollouts_s=())
    account = Fleet(scene.jobs, world, Fixed(scene.rules.max_replicas)).run()
    account.pod_s = account.busy_s
    return figures("clairvoyant bound", account, scene.rules.target_wait_s, scene.gpus)


def _competitors(scene: Scene) -> Iterable[tuple[str, Autoscaler]]:
    low, high = scene.rules.min_replicas, scene.rules.max_replicas
    for with_fallback in (True, False):
        family = "VideoFleet, fallback" if with_fallback else "VideoFleet"
        for down_s, zero_s in PATIENCES_S:
            rules = replace(scene.rules, scale_down_after_s=down_s, scale_to_zero_after_s=zero_s)
            name = f"{family}, down after {down_s} s, to zero {zero_s} s"
            yield family, ours(replace(scene, rules=rules), with_fallback=with_fallback, name=name)
    yield from (("KEDA+HPA", Keda(target, low, high)) for target in KEDA_TARGETS)
    yield from (
        ("KEDA+HPA, static fallback", StaticFallback(Keda(t, low, high), scene.tier_costs[1])) for t in (1.0, 4.0)
    )
    yield from (("Knative KPA", Kpa(target, low, high)) for target in (1.0, 3.0))
    yield from (("fixed", Fixed(count)) for count in sorted({1, max(1, high // 4), max(1, high // 2), high}))
