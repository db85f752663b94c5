"""What goes wrong in real installations, each with the reason and the remedy that the status then shows."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broken_fleets import FAULTS, Wrong, apply, condition, damaged_models, fleet, furnish

from videofleet_cli.demo import cluster

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, handle: Callable[..., Any]) -> Iterator[Any]:
    """An installation over four namespaces, with every fault applied."""
    folder, models = tmp_path_factory.mktemp("broken"), damaged_models(tmp_path_factory.mktemp("models"))
    running = cluster.start(folder / "dev", models)
    try:
        system = handle(folder, {"KUBECONFIG": str(running.kubeconfig)})
        furnish(system, running, models)
        for wrong in FAULTS:
            apply(system, fleet(wrong.name, wrong.spec), wrong.namespace)
        yield system
    finally:
        running.stop()


@pytest.mark.parametrize("wrong", FAULTS, ids=lambda wrong: wrong.name)
def test_a_fault_shows_its_reason_and_its_remedy(broken: Any, eventually: Callable[..., Any], wrong: Wrong) -> None:
    def ready() -> dict[str, str]:
        return condition(broken, wrong.name, "Ready", wrong.namespace)

    eventually(lambda: ready().get("reason") not in (None, "WarmingUp"), 120)
    assert (ready()["status"], ready()["reason"]) == ("False", wrong.reason)
    assert wrong.words in ready()["message"]


def test_a_worker_that_keeps_dying_is_a_crash_loop(broken: Any, eventually: Callable[..., Any]) -> None:
    for wrong in FAULTS:
        broken.kubectl("delete", "vg", wrong.name, "-n", wrong.namespace)
    eventually(lambda: not broken.pids("videofleet-worker"), 60)
    apply(broken, fleet("dying", {}), "default")

    def is_looping() -> bool:
        for pid in broken.pids("videofleet-worker"):
            os.kill(pid, signal.SIGKILL)
        return condition(broken, "dying", "Ready").get("reason") == "CrashLoop"

    eventually(is_looping, 120)
    assert "log" in condition(broken, "dying", "Ready")["message"]


def test_a_dead_redis_is_named(broken: Any, eventually: Callable[..., Any]) -> None:
    (redis,) = broken.pids("redis-server")
    os.kill(redis, signal.SIGSTOP)
    try:
        eventually(lambda: condition(broken, "dying", "Degraded").get("reason") == "QueueUnreachable", 60)
    finally:
        os.kill(redis, signal.SIGCONT)
    eventually(lambda: condition(broken, "dying", "Degraded").get("reason") != "QueueUnreachable", 60)
