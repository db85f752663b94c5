"""The life of one pod: volumes, init containers, containers, and an orderly end.

Everything it does shows in the pod's status, which one publisher writes whenever something changed. The pod
object is deleted for good only after its last process is gone.
"""

import asyncio
import contextlib
import logging
import math
import shutil
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from videofleet_devcluster.client import PODS, ApiClient, ApiError
from videofleet_devcluster.events import Recorder
from videofleet_devcluster.node.container import ContainerRunner, Workspace
from videofleet_devcluster.node.credentials import pod_kubeconfig, pod_token
from videofleet_devcluster.node.environment import Find
from videofleet_devcluster.node.status import pod_status, waiting
from videofleet_devcluster.node.volumes import MountError, mount, place_volume
from videofleet_devcluster.objects import Object, key_of
from videofleet_devcluster.processes import Processes

_log: Final = logging.getLogger(__name__)
_RETRY_S: Final = 1.0


class PodRunner:
    """Runs one pod. `nudge` tells it that something it may refer to changed."""

    def __init__(
        self,
        pod: Object,
        address: str,
        home: Path,
        client: ApiClient,
        processes: Processes,
        find: Find,
        events: Recorder,
        inherited: dict[str, str],
        first_back_off_s: float,
    ) -> None:
        namespace, name = key_of(pod)
        uid = pod["metadata"]["uid"]
        self.pod = pod | {"status": (pod.get("status") or {}) | {"podIP": address, "hostIP": "127.0.0.1"}}
        self.address, self._client, self._find, self._events = address, client, find, events
        self._since = datetime.now(UTC)
        self._token = ""
        self._dirty, self._nudged = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self._grace_s = math.inf
        self.space = Workspace(
            pod=self.pod,
            address=address,
            folder=home / "pods" / uid,
            logs=home.parent / "logs" / "pods" / f"{namespace}_{name}_{uid}",
            processes=processes,
            find=find,
            inherited=inherited | {"BIND_ADDRESS": address},
            first_back_off_s=first_back_off_s,
            changed=self._dirty.set,
            tell=self._tell,
        )
        spec, earlier = pod["spec"], _earlier_starts(pod)
        policy = spec.get("restartPolicy", "Always")
        init_policy = "OnFailure" if policy == "Always" else policy
        self.inits = [ContainerRunner(c, self.space, init_policy) for c in spec.get("initContainers") or []]
        self.containers = [
            ContainerRunner(c, self.space, policy, earlier.get(c["name"], 0)) for c in spec["containers"]
        ]
        if self.inits:
            for container in self.containers:
                container.status.state = waiting("PodInitializing")

    def start(self) -> None:
        """Begins in the background."""
        self._dirty.set()
        self._spawn(self._publish())
        self._life = self._spawn(self._live())

    def nudge(self) -> None:
        """Has missing references looked up again, and mounted files brought up to date."""
        self._nudged.set()

    def end(self, grace_s: float, delete: bool) -> asyncio.Task[None]:
        """Begins the end of the pod, or hurries one that has more grace; done when no process is left.

        With `delete` the pod is removed from the API at last.
        """
        if self._end is None:
            self._end = asyncio.create_task(self._finish(grace_s, delete))
        elif grace_s < self._grace_s:
            self._spawn(self._stop(grace_s))
        self._grace_s = min(grace_s, self._grace_s)
        return self._end

    async def _stop(self, grace_s: float) -> None:
        await asyncio.gather(*(runner.stop(grace_s) for runner in (*self.inits, *self.containers)))

    async def _finish(self, grace_s: float, delete: bool) -> None:
        await self._stop(grace_s)
        self._nudged.set()  # in case it waits for something to mount
        if self._life is not None:
            await asyncio.wait([self._life], timeout=_RETRY_S)
        if delete:
            await self._write_status()
            with contextlib.suppress(ApiError, aiohttp.ClientError):
                uid = self.pod["metadata"]["uid"]
                await self._client.delete(PODS, *key_of(self.pod), uid=uid, grace_s=0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self.space.folder, ignore_errors=True)
        if delete:
            await asyncio.to_thread(shutil.rmtree, self.space.logs, ignore_errors=True)

    async def _live(self) -> None:
        if not await self._mounted():
            return
        self._spawn(self._keep_mounted())
        for init in self.inits:
            if await init.run() != 0 or self._end is not None:
                return
        async with asyncio.TaskGroup() as tasks:
            for container in self.containers:
                tasks.create_task(container.run())

    async def _mounted(self) -> bool:
        """Mounts everything and waits for what is missing; False when the pod is to end meanwhile."""
        while self._end is None:
            self._nudged.clear()
            try:
                if not self._token:
                    self._token = await pod_token(self._client, self.pod)
                self._mount()
            except MountError as error:
                self._tell("Warning", "FailedMount", str(error))
            except (OSError, aiohttp.ClientError) as error:
                self._tell("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
            else:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), _RETRY_S)
        return False

    async def _keep_mounted(self) -> None:
        """Brings files up to date when their objects change; a vanished object leaves the files."""
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            with contextlib.suppress(MountError, OSError):
                self._mount()

    def _mount(self) -> None:
        folder = self.space.folder
        folders = {
            volume["name"]: place_volume(volume, self.pod, self._find, folder / "volumes" / volume["name"], self._token)
            for volume in self.pod["spec"].get("volumes") or []
        }
        for runner, container in zip((*self.inits, *self.containers), _containers_of(self.pod), strict=True):
            mount(container, runner.root, folders)
        if self._token:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / "kubeconfig"
            path.touch(mode=0o600)
            path.write_text(pod_kubeconfig(self._client.access, self._token, key_of(self.pod)[0]))
            self.space.inherited["KUBECONFIG"] = str(path)

    async def _publish(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._write_status():
                await asyncio.sleep(_RETRY_S)
                self._dirty.set()

    async def _write_status(self) -> bool:
        """Writes the status as it is now; False when it has to be tried again."""
        inits, containers = ([r.status for r in runners] for runners in (self.inits, self.containers))
        status = pod_status(self.pod, self.address, inits, containers, self._since, datetime.now(UTC))
        try:
            body = {"metadata": {"uid": self.pod["metadata"]["uid"]}, "status": status}
            await self._client.patch(PODS, *key_of(self.pod), body, "status")
        except ApiError as error:
            return error.code in (404, 409)  # it is gone, or another pod took its name
        except (aiohttp.ClientError, TimeoutError):
            return False
        self.pod["status"] = status
        return True

    def _tell(self, severity: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._spawn(self._events.record(self.pod, PODS, severity, reason, message))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("pod task failed", extra={"pod": "/".join(key_of(self.pod))}, exc_info=task.exception())


def _containers_of(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def _earlier_starts(pod: Object) -> dict[str, int]:
    """Restart counts to go on from when an earlier node process already ran this pod."""
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or []
    return {s["name"]: int(s["restartCount"]) + 1 for s in statuses if s.get("containerID")}
