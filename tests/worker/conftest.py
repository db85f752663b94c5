"""Real tiny models, and real workers over a real Redis and a folder as store."""

import asyncio
import importlib.util
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from videofleet.architectures import Architecture
from videofleet.ids import job_id
from videofleet.jobs import Job, JobState, NewJob, Priority, VideoRequest
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import JobQueue
from videofleet.queue.keys import fleet_prefix
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, Warmup, WorkerSpec
from videofleet_worker.engine import Engine
from videofleet_worker.lease import StopReason
from videofleet_worker.settings import Settings, StoreSource
from videofleet_worker.supervisor import Worker

REPOSITORY = Path(__file__).parents[2]
A14B, TI2V_5B = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B
PREVIEW = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
SMALL = Tier(name="small", width=128, height=128, num_frames=17, num_inference_steps=4, fps=16)
LONG = PREVIEW.model_copy(update={"num_inference_steps": 300})  # not done before a test that is starved interrupts it
SLOW = PREVIEW.model_copy(update={"num_inference_steps": 2000})  # not done within the shortest grace period
SHORT_GRACE_S = 15.0  # leaves 12 for a last step and its state, however slow the disk
PROMPT = "zebra-crossing at 04:17"
REVISION = "rev-1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers start processes that import torch: on a machine with better things to do that takes minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def build_tiny() -> ModuleType:
    """models/build_tiny.py as a module."""
    spec = importlib.util.spec_from_file_location("build_tiny", REPOSITORY / "models/build_tiny.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models(build_tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[Architecture, Path]:
    """One tiny model of each architecture."""
    folder = tmp_path_factory.mktemp("models")
    for architecture in Architecture:
        build_tiny.build(folder / architecture, architecture)
    return {architecture: folder / architecture for architecture in Architecture}


@pytest.fixture
def spec_with() -> Callable[..., WorkerSpec]:
    """Makes specs: quickly warm ones of the 64×64×9 tier, unless told otherwise."""
    return worker_spec


@pytest.fixture
def model(models: dict[Architecture, Path], tmp_path: Path) -> Path:
    """A copy of the A14B-shaped model, to damage."""
    return Path(shutil.copytree(models[A14B], tmp_path / "model"))


@pytest.fixture
def poison(model: Path) -> Callable[[str], None]:
    """Puts NaN into every weight of a component of `model`."""

    def put_nan(component: str) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        file = next((model / component).glob("*.safetensors"))
        tensors = {name: torch.full_like(tensor, float("nan")) for name, tensor in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})

    return put_nan


def worker_spec(**changes: Any) -> WorkerSpec:
    """A spec that is warm in a moment."""
    values = {
        "revision": REVISION,
        "architecture": A14B,
        "dtype": Dtype.FLOAT16,
        "gpus": 0,
        "tiers": [PREVIEW],
        "warmup": Warmup(max_runs=2, stable_within=0.5, timeout_s=300),
        "store": "videos",
    }
    return WorkerSpec.model_validate(values | changes)


async def until(condition: Callable[[], Awaitable[bool] | bool], what: str, timeout_s: float = 120.0) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if await answer if isinstance(answer, Awaitable) else answer:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"not within {timeout_s} s: {what}")


class Fleet:
    """One fleet's queue as a user and a test see it, and the workers of it."""

    small, preview, long, slow = SMALL, PREVIEW, LONG, SLOW
    short_grace_s = SHORT_GRACE_S
    prompt = PROMPT
    until = staticmethod(until)

    def __init__(self, queue: JobQueue, redis_url: str, installation: str, folder: Path, model: Path) -> None:
        self.queue = queue
        self.redis_url = redis_url
        self.installation = installation
        self.folder = folder
        self.model = model
        self.uid = str(uuid4())
        self.store = folder / "store"

    async def open(self, max_attempts: int = 3, **rules: Any) -> None:
        await self.queue.publish_policy(
            FleetPolicy(
                fleet="default/tiny",
                fleet_uid=self.uid,
                architecture=A14B,
                tiers=[SMALL, PREVIEW],
                tracks={REVISION: Track.STABLE},
                max_depth=100,
                max_attempts=max_attempts,
                store="videos",
                **rules,
            )
        )

    def settings(self, spec: WorkerSpec, **changes: Any) -> Settings:
        values: dict[str, Any] = {
            "spec": spec,
            "model": self.model,
            "redis_url": self.redis_url,
            "store": StoreSource("videos", url=f"file://{self.store}"),
            "installation": self.installation,
            "fleet_uid": self.uid,
            "worker": "worker-0",
            "scratch": self.folder / "scratch",
            "termination_log": self.folder / "termination.json",
            "bind_address": "127.0.0.1",
            "port": 0,
            "grace_period_s": 60.0,
            "checkpoint_every_s": 60.0,
        }
        return Settings(**(values | changes))

    @asynccontextmanager
    async def worker(
        self, spec: WorkerSpec | None = None, *, min_step_timeout_s: float = 60.0, **changes: Any
    ) -> AsyncIterator[Worker]:
        """A running worker in this process, ready or failed; its compute is a process of its own."""
        settings = self.settings(spec or worker_spec(), **changes)
        engine = Engine(settings.spec, settings.model, settings.scratch, min_step_timeout_s=min_step_timeout_s)
        worker = Worker(settings, self.queue, engine)
        life = asyncio.create_task(worker.run())
        try:
            await until(lambda: worker.status.is_ready or life.done(), "the worker is ready")
            yield worker
        finally:
            for held in worker.held:
                held.stop(StopReason.LOST)
            worker.begin_drain()
            await life

    async def submit(self, tier: Tier = PREVIEW, *, priority: Priority = Priority.STANDARD, **request: Any) -> str:
        identity = job_id(self.uid, int(time.time() * 1000), secrets.token_bytes(10))
        values: dict[str, Any] = {"prompt": PROMPT, "seed": 7, "tier": tier}
        made = VideoRequest(**(values | request))
        await self.queue.submit(NewJob(id=identity, fleet_uid=self.uid, tenant="me", request=made, priority=priority))
        return identity

    async def ended(self, job: str) -> Job:
        async def is_terminal() -> bool:
            return (await self.queue.get(job)).state.is_terminal

        await until(is_terminal, "the job ends")
        return await self.queue.get(job)

    async def denoising(self, job: str) -> None:
        """Waits until the job is some steps along."""

        async def has_begun() -> bool:
            progress = (await self.queue.get(job)).progress
            return progress is not None and progress.step > 0

        await until(has_begun, "the job denoises")

    async def in_state(self, job: str, state: JobState) -> None:
        async def is_so() -> bool:
            return (await self.queue.get(job)).state is state

        await until(is_so, f"the job is {state}")

    async def lapse(self, job: str) -> None:
        """The job's lease runs out, without the wait."""
        prefix = fleet_prefix(self.installation, self.uid)
        await self.queue._redis.zadd(f"{prefix}:running", {job: 1})
        assert await self.queue.reap(self.uid) == [job]

    @property
    def videos(self) -> list[Path]:
        return sorted(self.store.rglob("*.mp4"))

    @property
    def termination(self) -> dict[str, str]:
        return json.loads((self.folder / "termination.json").read_text())


@pytest.fixture
async def fleet(
    queue: JobQueue, redis_url: str, installation: str, tmp_path: Path, models: dict[Architecture, Path]
) -> Fleet:
    """A fleet whose policy is published and which has no worker yet."""
    fleet = Fleet(queue, redis_url, installation, tmp_path, models[A14B])
    await fleet.open()
    return fleet


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps take milliseconds; more threads would only wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
