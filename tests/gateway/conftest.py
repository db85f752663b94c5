"""A real gateway process on a real Redis and a real folder store, and a worker of a few lines."""

import asyncio
import hashlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from videofleet.architectures import Architecture
from videofleet.jobs import Claim, ErrorCode, Job, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.store import ObjectStore
from videofleet.tiers import Tier

SMALL = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
PREVIEW = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
VIDEO_BYTES = bytes(range(256)) * 8192  # 2 MiB: more than one chunk
THUMBNAIL_BYTES = b"\xff\xd8\xff" + b"thumbnail"
LONERS = [f"loner{number}" for number in range(200)]  # tenants that see one fleet only


class RedisServer(Protocol):
    """What these tests need of the Redis child."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


def policy(number: int, fleet: str, tenants: list[str] | None, **changes: Any) -> FleetPolicy:
    fields: dict[str, Any] = {
        "fleet": fleet,
        "fleet_uid": f"0b5c2c0e-6f3f-4d0e-9d55-{number:012x}",
        "architecture": Architecture.WAN22_T2V_A14B,
        "tiers": [SMALL, PREVIEW],
        "tracks": {"r1": Track.STABLE},
        "max_depth": 1_000_000,
        "max_attempts": 3,
        "tenants": tenants,
        "store": "videos",
        "output_prefix": "out",
    }
    return FleetPolicy.model_validate(fields | changes)


# `rich` may use several fleets, so that it can be ambiguous, closed and full.
POLICIES = [
    policy(1, "studio/tiny", [*LONERS, "rich"]),
    policy(2, "ads/tiny", ["rich"]),
    policy(3, "ads/five-b", ["rich"], architecture=Architecture.WAN22_TI2V_5B),
    policy(4, "studio/full", ["rich"], max_depth=0),
    policy(5, "studio/gone", ["rich"]),
    policy(6, "studio/secret", ["nobody"]),
]


@dataclass
class Gateway:
    """A running `videofleet-gateway` and how to talk to it."""

    redis_url: str
    folder: Path
    installation: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")
    extra_arguments: tuple[str, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)  # tenant → when its key expires
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free, socket.socket() as free_too:
            free.bind(("127.0.0.1", 0))
            free_too.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
            self.health_port: int = free_too.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.health_url = f"http://127.0.0.1:{self.health_port}"
        self.store_argument = f"--store=videos=file://{self.folder}/store"
        self.store = ObjectStore.from_url("videos", f"file://{self.folder}/store")
        for tenant in [*LONERS, "rich", "idler"]:
            self.keys[tenant] = new_key(tenant)
        self.write_keys()

    @property
    def keys_file(self) -> Path:
        return self.folder / "keys.json"

    def write_keys(self) -> None:
        """As a Secret volume does it: a new file swapped in."""
        entries = [
            {"id": key.split("_")[1], "sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant}
            | ({"role": self.roles[tenant]} if tenant in self.roles else {})
            | ({"expires": self.ends[tenant]} if tenant in self.ends else {})
            for tenant, key in self.keys.items()
        ]
        fresh = self.folder / "keys.new"
        fresh.write_text(json.dumps({"keys": entries, "tenants": self.rules}))
        fresh.replace(self.keys_file)

    def let_in(self, issuer: str, **changes: Any) -> None:
        """Writes the sign-in file; one that is there is swapped like the keys."""
        fields = {
            "issuer": issuer,
            "clientId": "videofleet",
            "clientSecret": "not-in-any-log",
            "redirectUrl": f"{self.url}/login/callback",
            "tenantClaim": "groups",
            "tenants": {"painters": "rich", "staff": "idler"},
        }
        fresh = self.folder / "oidc.new"
        fresh.write_text(json.dumps(fields | changes))
        fresh.replace(self.folder / "oidc.json")
        if (argument := f"--oidc-file={self.folder}/oidc.json") not in self.extra_arguments:
            self.extra_arguments += (argument,)

    def publish(self) -> None:
        async def all_fleets() -> None:
            async with JobQueue.connect(self.redis_url, self.installation) as queue:
                for each in POLICIES:
                    await queue.publish_policy(each)
                await queue.close_fleet(POLICIES[4].fleet_uid, ErrorCode.FLEET_DELETED)

        asyncio.run(all_fleets())

    def start(self) -> None:
        (self.folder / "redis-url").write_text(self.redis_url + "\n")
        command = [sys.executable, "-m", "videofleet_gateway", f"--installation={self.installation}"]
        command += [f"--redis-url-file={self.folder}/redis-url", f"--keys-file={self.keys_file}"]
        command += [self.store_argument, f"--port={self.port}", f"--health-port={self.health_port}"]
        command += self.extra_arguments
        with (self.folder / "stderr").open("ab") as stderr:
            environment = os.environ | {"BIND_ADDRESS": "127.0.0.1"}
            self.process = subprocess.Popen(command, stderr=stderr, env=environment)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        raise TimeoutError("the gateway did not start:\n" + self.log())

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    def session(self, tenant: str) -> aiohttp.ClientSession:
        """HTTP with the tenant's key; what is asked of a probe or of the metrics goes to their own port."""
        headers = {"Authorization": f"Bearer {self.keys[tenant]}"}
        return aiohttp.ClientSession(self.url, headers=headers, middlewares=(self._to_its_port,))

    async def _to_its_port(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> Any:
        if request.url.path in ("/healthz", "/readyz", "/metrics"):
            request.url = request.url.with_port(self.health_port)
        return await send(request)


def new_key(tenant: str) -> str:
    return f"vf_{tenant}k_{secrets.token_urlsafe(32)}"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer) -> Iterator[Gateway]:
    """One gateway for all tests that do not disturb it; each takes a tenant of its own."""
    server = Gateway(shared_redis.url, tmp_path_factory.mktemp("gateway"), extra_arguments=("--drain-delay=0",))
    server.publish()
    server.start()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.fixture
def own_gateway(tmp_path: Path, redis_server: RedisServer) -> Iterator[Gateway]:
    """A gateway with a Redis of its own, to disturb. Not started."""
    server = Gateway(redis_server.url, tmp_path / "gateway", extra_arguments=("--drain-delay=0",))
    server.publish()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.wait()


PEOPLE = [
    {"sub": "ada", "groups": ["staff", "painters"], "email": "ada@example.com", "name": "Ada Lovelace"},
    {"sub": "guest", "groups": ["visitors"]},
]


@pytest.fixture(scope="session")
def identity_provider() -> Iterator[str]:
    """The issuer of a real OpenID provider that knows `PEOPLE`. By name, so that to a browser it is another site."""
    if importlib.util.find_spec("oidc_provider_mock") is None:
        pytest.skip("needs an identity provider: pip install --no-deps -r requirements/oidc-test-server.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", f"--port={port}", "--require-nonce=true"]
    command += [f"--user-claims={json.dumps(person)}" for person in PEOPLE]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, "the identity provider did not start"
        time.sleep(0.05)
    yield f"http://localhost:{port}"
    process.terminate()
    process.wait(timeout=30)


_free_loners = iter(LONERS)


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses; it may use studio/tiny only."""
    return next(_free_loners)


@pytest.fixture
async def http(gateway: Gateway, tenant: str) -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP with the tenant's key."""
    async with gateway.session(tenant) as session:
        yield session


Work = Callable[[Gateway, str], Awaitable[Job]]


@pytest.fixture
def work() -> Work:
    """A worker that finishes the job of this id: claims it, stores real files, commits."""
    return _work


async def _work(gateway: Gateway, job_id: str) -> Job:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        job = await queue.get(job_id)
        claim = await _claim(queue, job)
        key = f"{claim.job.request.output_prefix}/{job_id}/{claim.attempt}"
        video, thumbnail = gateway.folder / f"{job_id}.mp4", gateway.folder / f"{job_id}.jpg"
        video.write_bytes(VIDEO_BYTES)
        thumbnail.write_bytes(THUMBNAIL_BYTES)
        await gateway.store.put_file(f"{key}/video.mp4", video, "video/mp4")
        for name in ("thumbnail", "spritesheet"):
            await gateway.store.put_file(f"{key}/{name}.jpg", thumbnail, "image/jpeg")
        done = VideoResult(
            store="videos",
            video_key=f"{key}/video.mp4",
            thumbnail_key=f"{key}/thumbnail.jpg",
            spritesheet_key=f"{key}/spritesheet.jpg",
            video_bytes=len(VIDEO_BYTES),
            tier=job.request.tier,
            seed=job.request.seed,
            revision="r1",
            attempt=claim.attempt,
            seconds_per_step=0.1,
            worker_seconds=0.5,
        )
        await queue.succeed(claim, done)
        return await queue.get(job_id)


async def _claim(queue: JobQueue, job: Job) -> Claim:
    """This job's claim; others of the shared fleet that came first are passed over (their lease just lapses)."""
    while True:
        (claim,) = (await queue.claim(job.fleet_uid, worker="test-worker", revision="r1")).claims
        if claim.job.id == job.id:
            return claim
