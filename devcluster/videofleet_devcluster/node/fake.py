"""A node that runs nothing: its pods become Ready after a delay. For scale tests."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from videofleet_devcluster.client import PODS, ApiClient, ignoring
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer, run_synced
from videofleet_devcluster.node.registration import BEAT_S, GPU, Registration, pod_addresses
from videofleet_devcluster.node.status import ContainerStatus, pod_status, running, terminated
from videofleet_devcluster.objects import ENDED, Key, Object, is_deleting, phase_of, status_of, uid_of

_ROOM: Final = {"cpu": "1000k", "memory": "1000Ti", "pods": "60000"}


class FakeNode:
    """Claims to run the pods that are bound to `name`."""

    def __init__(self, client: ApiClient, name: str, gpus: int, ready_after_s: float, beat_s: float = BEAT_S) -> None:
        self._client, self._ready_after_s = client, ready_after_s
        self._registration = Registration(client, name, _ROOM | {GPU: str(gpus)}, beat_s=beat_s)
        self._pods = Informer(client, PODS, f"spec.nodeName={name}")
        self._loop = Loop("fake node", self._pod)
        self._since: dict[str, tuple[float, datetime]] = {}  # pod uid → when it came, by both clocks
        self._addresses = pod_addresses()
        self.registered = asyncio.Event()

    async def run(self) -> None:
        self._pods.listen(self._pod_changed)
        async with asyncio.TaskGroup() as tasks:
            await self._registration.register()
            await run_synced(tasks, [self._pods])
            tasks.create_task(self._loop.run())
            tasks.create_task(self._registration.keep_beating(self._say_again))
            self.registered.set()

    def _pod_changed(self, pod: Object, _: Object | None) -> None:
        if not self._pods.holds(pod):
            self._since.pop(uid_of(pod), None)
        elif is_deleting(pod) or phase_of(pod) not in ("Running", *ENDED):
            self._loop.hear(pod)

    def _say_again(self) -> None:
        for pod in self._pods.all():
            self._loop.hear(pod)

    async def _pod(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None:
            return None
        if is_deleting(pod):
            with ignoring(404, 409):
                await self._client.delete(PODS, *key, uid=uid_of(pod), grace_s=0)
            return None
        clock = asyncio.get_running_loop()
        arrived, since = self._since.setdefault(uid_of(pod), (clock.time(), datetime.now(UTC)))
        left_s = arrived + self._ready_after_s - clock.time()
        if left_s > 0:
            return left_s
        address = status_of(pod).get("podIP") or next(self._addresses)
        body = {"metadata": {"uid": uid_of(pod)}, "status": _status(pod, address, since)}
        await self._client.patch(PODS, *key, body, "status")
        return None


def _status(pod: Object, address: str, since: datetime) -> Object:
    """Every container runs, and those that come before have done their work."""
    now, spec = datetime.now(UTC), pod["spec"]
    done, runs = terminated(0, "", "", since, now, ""), running(now)
    inits = [ContainerStatus(c["name"], c.get("image", ""), done) for c in spec.get("initContainers") or []]
    containers = [ContainerStatus(c["name"], c["image"], runs, ready=True, started=True) for c in spec["containers"]]
    return pod_status(pod, address, inits, containers, since, now)
