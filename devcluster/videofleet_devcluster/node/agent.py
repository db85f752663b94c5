"""The node itself: registers, watches its pods, gives each an address and a runner, and ends what was deleted.

Invariant: one runner per pod uid, and when `run` ends no process of any pod is left.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from videofleet_devcluster import client as kinds
from videofleet_devcluster.client import ApiClient, Recorder, Resource, connected
from videofleet_devcluster.controllers.scheduler import requests_of
from videofleet_devcluster.informer import Informer, run_synced
from videofleet_devcluster.node.container import ContainerRunner
from videofleet_devcluster.node.environment import service_env
from videofleet_devcluster.node.fake import FakeNode
from videofleet_devcluster.node.logs import LogServer
from videofleet_devcluster.node.pod import PodRunner, Surroundings
from videofleet_devcluster.node.proxy import ServiceProxy
from videofleet_devcluster.node.registration import BEAT_S, GPU, Registration, machine_capacity, pod_addresses
from videofleet_devcluster.objects import ENDED, Object, is_deleting, key_of, phase_of, uid_of
from videofleet_devcluster.processes import Processes, until_signalled

_INHERITED: Final = ("LANG", "LC_ALL", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "USER")
_SHUTDOWN_GRACE_S: Final = 3.0
_RETRY_S: Final = 1.0
_REFERENCES: Final = (kinds.SECRETS, kinds.CONFIG_MAPS, kinds.CLAIMS, kinds.VOLUMES)


class Node:
    """Runs the pods that are bound to `name`, in the folder `home`; their logs go to its sibling `logs`.

    `first_back_off_s` is the pause before a container's second restart, `beat_s` that between two signs of life.
    """

    def __init__(
        self, client: ApiClient, processes: Processes, name: str, home: Path, gpus: int = 0,
        first_back_off_s: float = 10.0, beat_s: float = BEAT_S,
    ) -> None:  # fmt: skip
        self._client, self._name, self._home = client, name, home.absolute()
        self._gpu_count, self._beat_s = gpus, beat_s
        events = Recorder(client, "kubelet", name)
        self._surroundings = Surroundings(self._home, client, processes, self._find, events, first_back_off_s)
        self._runners: dict[str, PodRunner] = {}
        self._gpus: dict[str, list[int]] = {}  # pod uid → device numbers
        self._addresses = pod_addresses()
        self._pods = Informer(client, kinds.PODS, f"spec.nodeName={name}")
        self._services, self._slices = Informer(client, kinds.SERVICES), Informer(client, kinds.ENDPOINT_SLICES)
        self._references = {kind.plural: Informer(client, kind) for kind in _REFERENCES}
        self._proxy, self._traffic_changed = ServiceProxy(), asyncio.Event()
        self._logs = LogServer(self._log_file, self._is_running)
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled; then ends all its pods, without deleting them."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._logs.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._begin(tasks)
        finally:
            await self._proxy.close()
            endings = [runner.end(_SHUTDOWN_GRACE_S, delete=False) for runner in self._runners.values()]
            await asyncio.gather(*endings, return_exceptions=True)
            await self._logs.close()

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        for informer in self._references.values():
            informer.listen(lambda obj, _: self._reference_changed(obj))
        for informer in (self._services, self._slices):
            informer.listen(lambda _obj, _before: self._traffic_changed.set())
        self._pods.listen(lambda pod, _: self._pod_changed(pod))
        await run_synced(tasks, (*self._references.values(), self._services, self._slices))
        capacity = machine_capacity(self._gpu_count)
        registration = Registration(self._client, self._name, capacity, self._logs.port, self._beat_s)
        await registration.register()
        tasks.create_task(self._pods.run())
        tasks.create_task(self._route())
        tasks.create_task(registration.keep_beating(self._publish_all))
        self.registered.set()

    def _publish_all(self) -> None:
        for runner in self._runners.values():
            runner.space.changed()

    async def _route(self) -> None:
        while True:
            await self._traffic_changed.wait()
            self._traffic_changed.clear()
            if not await self._proxy.update(self._services.all(), self._slices.all()):
                asyncio.get_running_loop().call_later(_RETRY_S, self._traffic_changed.set)

    def _find(self, kind: Resource, namespace: str, name: str) -> Object | None:
        return self._references[kind.plural].get((namespace, name))

    def _reference_changed(self, obj: Object) -> None:
        for runner in self._runners.values():
            if key_of(obj)[0] in ("", key_of(runner.pod)[0]):
                runner.nudge()

    def _pod_changed(self, pod: Object) -> None:
        uid, gone = uid_of(pod), not self._pods.holds(pod)
        runner = self._runners.get(uid)
        if runner is None and not gone and (is_deleting(pod) or phase_of(pod) not in ENDED):
            runner = self._runners[uid] = self._runner(pod)
            if not is_deleting(pod):
                runner.start()
        if runner is not None and (gone or is_deleting(pod)):
            grace_s = 0.0 if gone else float(pod["metadata"].get("deletionGracePeriodSeconds", 30))
            runner.end(grace_s, delete=True).add_done_callback(lambda _: self._ended(uid))

    def _runner(self, pod: Object) -> PodRunner:
        services = self._services.all() if pod["spec"].get("enableServiceLinks", True) else []
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self._take_gpus(pod)))
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        env |= service_env(services, key_of(pod)[0])
        return PodRunner(pod, next(self._addresses), env, self._surroundings)

    def _take_gpus(self, pod: Object) -> list[int]:
        """Devices of the pod's own; the scheduler has counted, so there are enough."""
        using = (uid for uid, runner in self._runners.items() if phase_of(runner.pod) not in ENDED)
        taken = {number for uid in using for number in self._gpus[uid]}
        free = [number for number in range(self._gpu_count) if number not in taken]
        mine = self._gpus[uid_of(pod)] = free[: int(requests_of(pod).get(GPU, 0))]
        return mine

    def _ended(self, uid: str) -> None:
        self._runners.pop(uid, None)
        self._gpus.pop(uid, None)

    def _container(self, namespace: str, pod: str, container: str) -> tuple[PodRunner, ContainerRunner] | None:
        mine = (runner for runner in self._runners.values() if key_of(runner.pod) == (namespace, pod))
        named = ((runner, each) for runner in mine for each in runner.all if each.status.name == container)
        return next(named, None)

    def _log_file(self, namespace: str, pod: str, container: str, previous: bool) -> Path | None:
        found = self._container(namespace, pod, container)
        return found and found[0].space.log_of(container, found[1].status.restart_count - previous)

    def _is_running(self, namespace: str, pod: str, container: str) -> bool:
        found = self._container(namespace, pod, container)
        return found is not None and "running" in found[1].status.state


async def run_node(kubeconfig: Path, name: str, folder: Path, gpus: int, fake_ready_after_s: float | None) -> None:
    """Runs a node alone until SIGTERM or SIGINT; then its pods' processes end and the pods stay in the API."""
    async with Processes() as processes, connected(kubeconfig) as client:
        if fake_ready_after_s is not None:
            await until_signalled(FakeNode(client, name, gpus, fake_ready_after_s).run())
        else:
            await until_signalled(Node(client, processes, name, folder / "node", gpus).run())
