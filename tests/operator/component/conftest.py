"""The real operator process against the devcluster's API server over TLS, with the rights of its Role and no more."""

import asyncio
import copy
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from videofleet.queue import JobQueue
from videofleet_devcluster.apiserver.server import ApiServer
from videofleet_operator.cache import CHILD_KINDS
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import KubeError
from videofleet_operator.kube.paths import RBAC_RULES, collection, item, lease_rules

ROOT = Path(__file__).parents[3]
NAMESPACE = "studio"
LEASE = "videofleet-operator"
SPEC: dict[str, Any] = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())["spec"]
CORE = ("ConfigMap", "Service", "ServiceAccount", "Pod", "Event")  # kinds without a group
ADMIN = "/apis/rbac.authorization.k8s.io/v1/namespaces"


LOOK_EVERY_S = 0.05


async def eventually(check: Callable[[], Any], within_s: float = 60) -> Any:
    """The first true answer of a function, awaited if need be; fails with the last answer when none comes in time."""
    deadline = time.monotonic() + within_s
    answer: Any = None
    while time.monotonic() < deadline:
        answer = check()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not within {within_s} s; last: {answer}")


class FakeNode:
    """Deployment controller and kubelet in a few lines: pods come, are warm at once unless broken, and go."""

    def __init__(self, api: ApiServer, kube: KubeClient) -> None:
        self._api, self._kube = api, kube
        self._made = itertools.count(1)
        self.broken: dict[str, dict[str, Any]] = {}  # revision → how its container looks instead of ready
        self.resting: set[str] = set()  # pods that have drained

    async def run(self) -> None:
        while True:
            for deployment in self._api.store.listed(("apps", "deployments")):
                try:
                    await self._step(deployment)
                except KubeError:
                    continue  # like the real ones it just tries again
            await asyncio.sleep(LOOK_EVERY_S)

    async def _step(self, deployment: dict[str, Any]) -> None:
        meta, wanted = deployment["metadata"], deployment["spec"]["replicas"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        pods = sorted(self._pods(meta["uid"]), key=self._stays)
        for pod in pods[: max(0, len(pods) - wanted)]:
            path = item("Pod", meta["namespace"], pod["metadata"]["name"])
            await self._kube.send("DELETE", path, {"gracePeriodSeconds": "0"})
        pods = pods[max(0, len(pods) - wanted) :]
        for _ in range(wanted - len(pods)):
            template = deployment["spec"]["template"]
            name = f"{meta['name']}-{next(self._made)}"
            metadata = {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            pods.append(await self._kube.send("POST", collection("Pod", meta["namespace"]), body=body))
        for pod in pods:
            await self._show(pod)
        ready = sum(map(self._is_ready, pods))
        await self._set_status("Deployment", deployment, {"replicas": wanted, "readyReplicas": ready})

    def _stays(self, pod: dict[str, Any]) -> tuple[bool, int, int]:
        """A ReplicaSet's order of those that go: NotReady, cheap, young."""
        cost = int((pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", 0))
        return self._is_ready(pod), cost, -int(pod["metadata"]["name"].rpartition("-")[2])

    def _pods(self, owner: str) -> list[dict[str, Any]]:
        pods = self._api.store.listed(("", "pods"))
        return [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == owner]

    def _is_ready(self, pod: dict[str, Any]) -> bool:
        meta = pod["metadata"]
        return meta["labels"]["videofleet.dev/revision"] not in self.broken and meta["name"] not in self.resting

    async def _show(self, pod: dict[str, Any]) -> None:
        look = self.broken.get(pod["metadata"]["labels"]["videofleet.dev/revision"])
        ready = {"type": "Ready", "status": "True" if self._is_ready(pod) else "False"}
        status: dict[str, Any] = {"phase": "Running", "conditions": [ready]}
        status["containerStatuses"] = [
            {
                "name": "worker",
                "image": "x",
                "imageID": "",
                "ready": self._is_ready(pod),
                "restartCount": 0,
                **(look or {}),
            }
        ]
        await self._set_status("Pod", pod, status)

    async def _set_status(self, kind: str, obj: dict[str, Any], status: dict[str, Any]) -> None:
        if all(obj.get("status", {}).get(key) == value for key, value in status.items()):
            return
        path = item(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        await self._kube.merge(f"{path}/status", {"status": status})


@dataclass
class Operator:
    """The operator as a child process."""

    folder: Path
    kubeconfig: Path
    redis_url: str
    installation: str
    namespaces: tuple[str, ...] = (NAMESPACE,)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "operator.log"
        (self.folder / "url").write_text(self.redis_url)
        document = {
            "installation": self.installation,
            "namespaces": list(self.namespaces),
            "workerImage": "videofleet-worker:test",
            "redisSecret": "videofleet-redis",
            "stores": [{"name": "videos", "persistentVolumeClaim": "videos"}],
            "lease": f"{self.namespaces[0]}/{LEASE}",
        }
        (self.folder / "operator.yaml").write_text(yaml.safe_dump(document))

    @property
    def arguments(self) -> list[str]:
        folder = self.folder
        return [f"--config={folder}/operator.yaml", f"--redis-url-file={folder}/url", f"--port={self.port}"]

    @property
    def environment(self) -> dict[str, str]:
        own = {"KUBECONFIG": str(self.kubeconfig), "BIND_ADDRESS": "127.0.0.1", "POD_NAME": self.folder.name}
        return {**os.environ, **own}

    def start(self) -> None:
        command = [sys.executable, "-m", "videofleet_operator", *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)

    def stop(self) -> int:
        """As Kubernetes does: SIGTERM. Returns: the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class World:
    """Everything a test needs, and short ways to say what it does and sees."""

    api: ApiServer
    kube: KubeClient
    queue: JobQueue
    node: FakeNode
    operator: Operator
    namespace: str = NAMESPACE

    async def apply(self, spec: dict[str, Any] | None = None, name: str = "tiny") -> None:
        await self.kube.apply(
            {
                "apiVersion": "videofleet.dev/v1alpha1",
                "kind": "VideoGenerator",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec or SPEC,
            }
        )

    async def make_lease(self) -> None:
        await make_lease(self.kube, self.namespace)

    async def lease(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.kube.get(item("Lease", self.namespace, LEASE))).get("spec", {})
        return found

    async def delete(self, name: str = "tiny") -> None:
        await self.kube.delete(item("VideoGenerator", self.namespace, name))

    def stored(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind in the namespace, straight from the API server's store: a look costs no request."""
        plural = collection(kind, self.namespace).rpartition("/")[2]
        group = collection(kind, "").split("/")[2] if kind not in CORE else ""
        return copy.deepcopy(self.api.store.listed((group, plural), self.namespace))

    async def get(self, name: str = "tiny") -> dict[str, Any]:
        return next(found for found in self.stored("VideoGenerator") if found["metadata"]["name"] == name)

    async def uid(self, name: str = "tiny") -> str:
        return str((await self.get(name))["metadata"]["uid"])

    async def condition(self, kind: str, name: str = "tiny") -> tuple[str, str, str]:
        """status, reason, message; only of the present generation."""
        return self.condition_of(await self.get(name), kind)

    @staticmethod
    def condition_of(found: dict[str, Any], kind: str) -> tuple[str, str, str]:
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == kind and condition["observedGeneration"] == found["metadata"]["generation"]:
                return condition["status"], condition["reason"], condition["message"]
        return "", "", ""

    async def is_settled(self, name: str = "tiny") -> bool:
        """Ready, not progressing, and the policy names the target."""
        found = await self.get(name)
        revisions = found.get("status", {}).get("revisions", {})
        policy = await self.queue.policy(found["metadata"]["uid"])
        return (
            self.condition_of(found, "Ready")[0] == "True"
            and self.condition_of(found, "Progressing")[0] == "False"
            and revisions.get("stable") == revisions.get("target")
            and policy is not None
            and set(policy.tracks) == {revisions["target"]}
        )

    async def children(self) -> dict[str, dict[str, Any]]:
        """`Kind/name` → object, of everything the operator makes."""
        return {
            f"{kind}/{found['metadata']['name']}": found
            for kind in CHILD_KINDS
            if kind != "Pod"
            for found in self.stored(kind)
            if found["metadata"].get("ownerReferences")
        }

    async def ready_worker(self, revision: str) -> str:
        return next(
            pod["metadata"]["name"]
            for pod in self.stored("Pod")
            if pod["metadata"]["labels"]["videofleet.dev/revision"] == revision
        )


async def kube_client(kubeconfig: Path) -> KubeClient:
    configuration = Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    return KubeClient(ApiClient(configuration))


async def make_lease(kube: KubeClient, namespace: str) -> None:
    """The Lease, unheld, as the chart makes it."""
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}}
    await kube.send("POST", collection("Lease", namespace), body=body)


async def install(api: ApiServer, kube: KubeClient, namespace: str) -> str:
    """CRD, namespace, ServiceAccount and Role as the chart makes them. Returns: the operator's token."""
    crd = yaml.safe_load((ROOT / "crds/videogenerators.yaml").read_text())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await kube.send("POST", path, body=crd)
    await kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}}
    await kube.send("POST", collection("ServiceAccount", namespace), body=account)
    await make_lease(kube, namespace)
    role = {"metadata": {"name": "operator"}, "rules": RBAC_RULES + lease_rules(LEASE)}
    await kube.send("POST", f"{ADMIN}/{namespace}/roles", body=role)
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }
    await kube.send("POST", f"{ADMIN}/{namespace}/rolebindings", body=binding)
    return api.mint_token(namespace, "operator")


@pytest.fixture
async def world(tmp_path: Path, redis_url: str, installation: str) -> AsyncIterator[World]:
    """Cluster with CRD, a node, Redis, and an operator not started yet, whose log must hold no traceback at the end."""
    api = await ApiServer().start()
    kube = await kube_client(api.kubeconfig(tmp_path / "admin"))
    token = await install(api, kube, NAMESPACE)
    node = FakeNode(api, kube)
    running = asyncio.create_task(node.run())
    operator = Operator(tmp_path / "operator", api.kubeconfig(tmp_path / "kubeconfig", token), redis_url, installation)
    async with JobQueue.connect(redis_url, installation) as queue:
        yield World(api, kube, queue, node, operator)
    operator.kill()
    if running.done():
        running.result()  # the node must not have died
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await kube.__aexit__()
    await api.stop()
    if operator.log.exists():
        assert "Traceback" not in operator.log.read_text()
        assert max(map(len, operator.log.read_text().splitlines()), default=0) < 2000, "settings or objects in the log"


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Awaitable[Any]]:
    """`eventually`, for tests."""
    return eventually


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session
