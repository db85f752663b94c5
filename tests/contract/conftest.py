"""The cluster that the contract is checked on, and plain HTTP to it.

By default it is the embedded one, started for the session in a process of its own; with
VIDEOFLEET_TEST_KUBECONFIG=FILE it is that one. Nothing else here or in the cases knows which it is.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet_devcluster import daemon
from videofleet_devcluster.client import Access

PATIENCE_S = 60.0


@dataclass
class Answer:
    """A response, read."""

    status: int
    body: Any
    headers: Any

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def meta(self) -> dict[str, Any]:
        return self.body["metadata"]

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def uid(self) -> str:
        return self.meta["uid"]

    @property
    def version(self) -> int:
        return int(self.meta["resourceVersion"])

    @property
    def spec(self) -> dict[str, Any]:
        return self.body["spec"]

    @property
    def state(self) -> dict[str, Any]:
        """The object's status; empty when it has none yet."""
        return self.body.get("status") or {}

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Code, reason and message of a Status."""
        assert self.body["kind"] == "Status", self.body
        assert self.body["status"] == "Failure"
        assert self.body["code"] == self.status
        return self.status, self.body["reason"], self.body["message"]

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        """Field, reason and message of every cause in a Status."""
        return [(c.get("field", ""), c["reason"], c["message"]) for c in self.body["details"]["causes"]]


class Http:
    """One user's requests."""

    def __init__(self, session: aiohttp.ClientSession, server: str, token: str | None) -> None:
        self.session, self.server = session, server
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **headers: str
    ) -> Answer:
        data = None if body is None else json.dumps(body)
        sent = self._headers | ({"Content-Type": kind} if data else {}) | headers
        async with self.session.request(method, self.server + path, data=data, headers=sent) as response:
            raw = await response.text()
            is_json = response.content_type == "application/json" and raw
            return Answer(response.status, json.loads(raw) if is_json else raw, response.headers)

    def as_user(self, token: str | None, session: aiohttp.ClientSession | None = None) -> "Http":
        """The same server for somebody else."""
        return Http(session or self.session, self.server, token)

    @contextlib.asynccontextmanager
    async def lines(self, path: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
        """A function that returns the next JSON line of a streamed answer."""
        async with self.session.get(self.server + path, headers=self._headers) as response:
            assert response.status == 200, await response.text()

            async def following() -> dict[str, Any]:
                async with asyncio.timeout(PATIENCE_S):
                    return json.loads(await response.content.readline())

            yield following


async def until(question: Callable[[], Awaitable[Any]], limit_s: float = PATIENCE_S) -> Any:
    """Asks until the answer is true, and returns that. Raises: AssertionError with the last answer."""
    answer: Any = None
    try:
        async with asyncio.timeout(limit_s):
            while not (answer := await question()):  # noqa: ASYNC110 - the cluster sets no event of ours
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {limit_s} s; the last answer was {answer!r}") from None
    return answer


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an administrator of the cluster under test."""
    named = os.environ.get("VIDEOFLEET_TEST_KUBECONFIG")
    if named:
        yield Path(named)
        return
    folder = tmp_path_factory.mktemp("contract")
    state = daemon.start(folder / "dev", folder / "models", gpus=0)
    yield Path(state.kubeconfig)
    daemon.stop(folder / "dev")


@pytest.fixture(scope="session")
def access(kubeconfig: Path) -> Access:
    """What the kubeconfig says."""
    return Access.read(kubeconfig)


Open = Callable[..., contextlib.AbstractAsyncContextManager[Http]]


@pytest.fixture(scope="session")
def connect(access: Access) -> Open:
    """`connect()`: the administrator; `connect(anonymously=True)`: somebody without certificate and token."""
    admin, nobody = access.ssl_context(), Access(access.server, access.ca_pem, None, None, None, access.verify)

    @contextlib.asynccontextmanager
    async def opened(*, anonymously: bool = False) -> AsyncIterator[Http]:
        context = nobody.ssl_context() if anonymously else admin
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as session:
            yield Http(session, access.server, None if anonymously else access.token)

    return opened


@pytest.fixture(scope="session")
def once(connect: Open) -> Callable[[Callable[[Http], Coroutine[Any, Any, None]]], None]:
    """Runs a coroutine function of the administrator to its end, for fixtures that outlive an event loop."""

    def run(work: Callable[[Http], Coroutine[Any, Any, None]]) -> None:
        failures: list[BaseException] = []

        async def connected() -> None:
            async with connect() as http:
                await work(http)

        def thread() -> None:
            try:
                asyncio.run(connected())
            except BaseException as error:  # handed to the caller
                failures.append(error)

        worker = threading.Thread(target=thread)
        worker.start()
        worker.join()
        if failures:
            raise failures[0]

    return run


@pytest.fixture(scope="session")
def node(joined_node: Any) -> Iterator[str]:
    """The name of a node of ours that has joined the cluster and runs processes, with two GPUs."""
    with joined_node("--gpus=2") as (name, _):
        yield name


@pytest.fixture(scope="session")
def fake_node(joined_node: Any) -> Iterator[str]:
    """The name of a node of ours that runs nothing; its pods are ready after a moment."""
    with joined_node("--fake-ready-after=0.2") as (name, _):
        yield name


@pytest.fixture(scope="session", autouse=True)
def lost_node(request: pytest.FixtureRequest, joined_node: Any, once: Any) -> Iterator[str]:
    """A node that was killed as the session began, and a namespace of the same name; its Deployment had a pod there.

    A cluster gives a silent node up after 40 seconds or more; so they pass while other cases run.
    """
    if not any("lost_node" in item.name for item in request.session.items):
        yield "no case asks for it"
        return
    with joined_node("--fake-ready-after=0.2") as (name, process):
        once(lambda http: _inhabit(http, name))
        process.kill()
        yield name
        once(lambda http: _abandon(http, name))


async def _inhabit(http: Http, name: str) -> None:
    tolerations = [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    container = {"name": "c", "image": "img:1", "command": ["none"]}
    spec = {"nodeSelector": {"kubernetes.io/hostname": name}, "tolerations": tolerations, "containers": [container]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": spec}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    deployment = head | {"spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    path = f"/apis/apps/v1/namespaces/{name}/deployments"
    assert (await http("POST", "/api/v1/namespaces", namespace)).status == 201
    assert (await http("POST", path, deployment)).status == 201

    async def is_up() -> bool:
        return (await http("GET", f"{path}/d")).state.get("availableReplicas") == 1

    await until(is_up)
    # Until the cluster gives it up it looks well, and a pod of another case that came here would never end.
    taint = {"spec": {"taints": [{"key": "contract.example.com/lost", "effect": "NoSchedule"}]}}
    done = await http("PATCH", f"/api/v1/nodes/{name}", taint, kind="application/merge-patch+json")
    assert done.status == 200


async def _abandon(http: Http, name: str) -> None:
    await http("DELETE", f"/api/v1/namespaces/{name}")

    async def is_gone() -> bool:
        await http("DELETE", f"/api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})  # no kubelet answers
        return (await http("GET", f"/api/v1/namespaces/{name}")).status == 404

    await until(is_gone)


@pytest.fixture(scope="session")
def joined_node(kubeconfig: Path, once: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`with joined_node(*options) as (name, process)`: `videofleet dev node`, in the cluster until the end."""

    @contextlib.contextmanager
    def joined(*options: str) -> Iterator[tuple[str, Any]]:
        name, folder = f"contract-{secrets.token_hex(3)}", tmp_path_factory.mktemp("node")
        command = (sys.executable, "-m", "videofleet_cli.main", "dev", "node", f"--kubeconfig={kubeconfig}")
        command += (f"--name={name}", f"--state={folder / 'state'}", *options)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)

        async def is_ready(http: Http) -> None:
            async def ready() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                found = await http("GET", f"/api/v1/nodes/{name}")
                conditions = (found.state.get("conditions") or []) if found.status == 200 else []
                return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

            await until(ready)

        async def is_forgotten(http: Http) -> None:
            await http("DELETE", f"/api/v1/nodes/{name}")
            await http("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")

        try:
            once(is_ready)
            yield name, process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
            once(is_forgotten)

    return joined


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Awaitable[Any]]:
    """`await eventually(question)`: its answer, once that is true."""
    return until


Kubectl = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    """Runs the real kubectl, as the administrator; skipped where there is none."""
    binary = shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl (1.27 or newer) is not on PATH")

    async def run(
        *args: str, stdin: Any = None, folder: Path | None = None, namespace: str = ""
    ) -> subprocess.CompletedProcess[str]:
        scope = (f"--namespace={namespace}",) if namespace else ()
        command = (binary, f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}/cache", *scope, *args)
        text = None if stdin is None else json.dumps(stdin)
        return await asyncio.to_thread(
            subprocess.run, command, input=text, capture_output=True, text=True, timeout=100, check=False, cwd=folder
        )

    return run
