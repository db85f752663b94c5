"""The life of one pod: its token, volumes, init containers, containers, and an orderly end.

Everything it does shows in the pod's status, which one publisher writes whenever something changed. The pod object is
deleted for good only after its last process is gone.
"""

import asyncio
import contextlib
import logging
import math
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from videofleet_devcluster.client import PODS, SERVICE_ACCOUNTS, ApiClient, ApiError, Recorder, kubeconfig
from videofleet_devcluster.node.container import ContainerRunner, Workspace
from videofleet_devcluster.node.environment import Find
from videofleet_devcluster.node.status import pod_status, waiting
from videofleet_devcluster.node.volumes import MountError, mount, place_volume
from videofleet_devcluster.objects import Object, key_of, status_of, uid_of
from videofleet_devcluster.processes import Processes

_log: Final = logging.getLogger(__name__)
_RETRY_S: Final = 1.0
_END_S: Final = 15.0  # longer than a container waits for its last words
_TOKEN_S: Final = 365 * 24 * 3600  # not renewed: a pod of a development cluster does not live for a year


@dataclass(frozen=True)
class Surroundings:
    """What all pods of a node share."""

    home: Path
    client: ApiClient
    processes: Processes
    find: Find
    events: Recorder
    first_back_off_s: float


class PodRunner:
    """Runs one pod, its address its own. `nudge` tells it that something it may refer to changed."""

    def __init__(self, pod: Object, address: str, inherited: dict[str, str], around: Surroundings) -> None:
        self.pod = pod | {"status": status_of(pod) | {"podIP": address, "hostIP": "127.0.0.1"}}
        self.address, self._client, self._around = address, around.client, around
        self._since, self._token, self._grace_s = datetime.now(UTC), "", math.inf
        self._dirty, self._nudged = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self._deletes = False  # the pod, at its end
        self.space = Workspace(
            pod=self.pod,
            address=address,
            folder=around.home / "pods" / uid_of(pod),
            logs=around.home.parent / "logs" / "pods" / "_".join((*key_of(pod), uid_of(pod))),
            processes=around.processes,
            find=around.find,
            inherited=inherited | {"BIND_ADDRESS": address},
            first_back_off_s=around.first_back_off_s,
            changed=self._dirty.set,
            tell=self._tell,
        )
        # An earlier node process may have run this pod: its restart counts go on.
        earlier = {s["name"]: int(s["restartCount"]) + 1 for s in _statuses(pod) if s.get("containerID")}
        policy, inits = pod["spec"].get("restartPolicy", "Always"), pod["spec"].get("initContainers") or []
        init_policy = "OnFailure" if policy == "Always" else policy
        self.inits = [ContainerRunner(c, self.space, init_policy) for c in inits]
        mains = pod["spec"]["containers"]
        self.containers = [ContainerRunner(c, self.space, policy, earlier.get(c["name"], 0)) for c in mains]
        for container in self.containers if inits else ():
            container.status.state = waiting("PodInitializing")

    @property
    def all(self) -> list[ContainerRunner]:
        return self.inits + self.containers

    def start(self) -> None:
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
        self._deletes = delete
        if self._end is None:
            self._end = asyncio.create_task(self._finish(grace_s))
        elif grace_s < self._grace_s:
            self._spawn(self._stop(grace_s))
        self._grace_s = min(grace_s, self._grace_s)
        return self._end

    async def _stop(self, grace_s: float) -> None:
        await asyncio.gather(*(runner.stop(grace_s) for runner in self.all))

    async def _finish(self, grace_s: float) -> None:
        await self._stop(grace_s)
        self._nudged.set()  # in case it waits for something to mount
        if self._life is not None:
            await asyncio.wait([self._life], timeout=_END_S)
        if self._deletes:
            await self._write_status()
            await self._delete()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for folder in (self.space.folder, *((self.space.logs,) if self._deletes else ())):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _delete(self) -> None:
        """Until the API has it, or the node ends first: nobody else would let go of the pod."""
        while self._deletes:
            try:
                await self._client.delete(PODS, *key_of(self.pod), uid=uid_of(self.pod), grace_s=0)
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_RETRY_S)

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
                self._token = self._token or await pod_token(self._client, self.pod)
                self._mount()
            except MountError as error:
                self._tell("FailedMount", str(error), warning=True)
            except (OSError, aiohttp.ClientError) as error:
                self._tell("FailedMount", f"MountVolume.SetUp failed: {error}", warning=True)
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
        folder, find = self.space.folder, self._around.find
        folders = {
            volume["name"]: place_volume(volume, self.pod, find, folder / "volumes" / volume["name"], self._token)
            for volume in self.pod["spec"].get("volumes") or []
        }
        for runner in self.all:
            mount(runner.container, runner.root, folders)
        if self._token:
            access, path = self._client.access, folder / "kubeconfig"
            config = kubeconfig(access.server, (access.ca_pem or "").encode(), self._token, key_of(self.pod)[0])
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(config, sort_keys=False))
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
            body = {"metadata": {"uid": uid_of(self.pod)}, "status": status}
            await self._client.patch(PODS, *key_of(self.pod), body, "status")
        except ApiError as error:
            return error.code in (404, 409)  # it is gone, or another pod took its name
        except (aiohttp.ClientError, TimeoutError):
            return False
        self.pod["status"] = status
        return True

    def _tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._spawn(self._around.events.record(self.pod, PODS, reason, message, warning=warning))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("pod task failed", extra={"pod": "/".join(key_of(self.pod))}, exc_info=task.exception())


def _statuses(pod: Object) -> list[Object]:
    return status_of(pod).get("containerStatuses") or []


async def pod_token(client: ApiClient, pod: Object) -> str:
    """A token bound to the pod; empty when it wants none. Raises MountError when there is no such account."""
    namespace, name = key_of(pod)
    account = pod["spec"].get("serviceAccountName") or "default"
    try:
        wanted = pod["spec"].get("automountServiceAccountToken")
        if wanted is None:
            wanted = (await client.get(SERVICE_ACCOUNTS, namespace, account)).get("automountServiceAccountToken", True)
        if not wanted:
            return ""
        bound_to = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid_of(pod)}
        spec = {"audiences": [], "expirationSeconds": _TOKEN_S, "boundObjectRef": bound_to}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await client.request("POST", SERVICE_ACCOUNTS.path(namespace, account, "token"), body)
    except ApiError as error:
        raise MountError("kube-api-access", f"failed to fetch token: {error.message}") from error
    return str(answer["status"]["token"])
