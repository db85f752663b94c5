"""The gauges of fleets: what a status and a queue say is what a scrape says, and nothing is told that is not known."""

from prometheus_client import CollectorRegistry, generate_latest

from videofleet.jobs import Priority, QueueStats, WaitingFigures
from videofleet_operator.fleet_metrics import FleetGauges


def scraped(gauges):
    registry = CollectorRegistry()
    registry.register(gauges)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def generator(**status):
    return {"metadata": {"namespace": "studio", "name": "wan"}, "status": status}


def test_workers_canary_fallback_and_standby_are_those_of_the_status():
    gauges = FleetGauges()
    rollout = {"canaryRevision": "abc", "weight": "2.5%"}
    gauges.generators = [generator(replicas=3, readyReplicas=2, rollout=rollout, fallback={"share": "100%"})]
    assert scraped(gauges) == {
        'videofleet_fleet_workers{fleet="studio/wan",state="wanted"}': 3,
        'videofleet_fleet_workers{fleet="studio/wan",state="ready"}': 2,
        'videofleet_fleet_canary_weight_ratio{fleet="studio/wan"}': 0.025,
        'videofleet_fleet_fallback_share_ratio{fleet="studio/wan"}': 1,
        'videofleet_fleet_standby_active{fleet="studio/wan"}': 0,
    }


def test_a_standby_that_serves_is_told_and_an_undo_of_a_person_is_none():
    gauges = FleetGauges()
    name = 'videofleet_fleet_standby_active{fleet="studio/wan"}'
    gauges.generators = [generator(rollout={"undo": {"revision": "a", "instead": "b", "failed": "b"}})]
    assert scraped(gauges)[name] == 1
    gauges.generators = [generator(rollout={"undo": {"revision": "a", "instead": "b"}})]
    assert scraped(gauges)[name] == 0


def test_a_fleet_without_a_status_has_no_workers_and_no_queue():
    gauges = FleetGauges()
    gauges.generators = [{"metadata": {"namespace": "studio", "name": "wan"}}]
    told = scraped(gauges)
    assert told['videofleet_fleet_workers{fleet="studio/wan",state="ready"}'] == 0
    assert not [name for name in told if "jobs" in name or "wait" in name or "canary" in name]


def test_the_queue_is_told_by_priority():
    gauges = FleetGauges()
    waits = {Priority.INTERACTIVE: WaitingFigures(jobs=2), Priority.BATCH: WaitingFigures(jobs=5)}
    gauges.queues = {"studio/wan": QueueStats(waiting=7, running=3, oldest_wait_s=61.5, by_priority=waits)}
    assert scraped(gauges) == {
        'videofleet_fleet_waiting_jobs{fleet="studio/wan",priority="interactive"}': 2,
        'videofleet_fleet_waiting_jobs{fleet="studio/wan",priority="batch"}': 5,
        'videofleet_fleet_running_jobs{fleet="studio/wan"}': 3,
        'videofleet_fleet_oldest_wait_seconds{fleet="studio/wan"}': 61.5,
    }
