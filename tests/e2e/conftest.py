"""A whole installation on one machine, as `videofleet demo --keep` leaves it, and what users do with it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class System:
    """A running installation below `folder`."""

    folder: Path
    env: dict[str, str]

    def videofleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the CLI to its end."""
        command = (sys.executable, "-m", "videofleet_cli.main", *arguments)
        env = os.environ | self.env | {"COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=self.folder, check=False)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Runs kubectl, with our plugin on PATH; returns what it printed, both streams."""
        if shutil.which("kubectl") is None:
            pytest.skip("kubectl (1.27 or newer) is not on PATH")
        places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"KUBECONFIG": self.env["KUBECONFIG"], "PATH": places, "COLUMNS": "200"}
        done = subprocess.run(("kubectl", *arguments), capture_output=True, text=True, env=env, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def http(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        """One request to the gateway: status and JSON; (0, None) when it does not answer."""
        key = Path(self.env["VIDEOFLEET_API_KEY_FILE"]).read_text().strip()
        request = urllib.request.Request(
            self.env["VIDEOFLEET_GATEWAY"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, None

    def submit(self, prompt: str, **fields: Any) -> str:
        """Submits until it is accepted; the Idempotency-Key makes asking again harmless."""
        key = f"e2e-{time.monotonic_ns()}"

        def accepted() -> Any:
            status, body = self.http("POST", "/v1/videos", {"prompt": prompt, **fields}, **{"Idempotency-Key": key})
            assert status in (0, 200, 202, 503), body
            return body if status in (200, 202) else None

        return str(wait_for(accepted, 60)["id"])

    def video(self, job: str) -> Any:
        """A job as the gateway shows it; None while it does not answer."""
        status, body = self.http("GET", f"/v1/videos/{job}")
        return body if status == 200 else None

    def kill(self, program: str) -> int:
        """SIGKILLs the main process of the one container that runs this program; returns its pid."""
        (pid,) = self.pids(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def pids(self, program: str) -> list[int]:
        """Processes of this installation whose command line has the program as its own or its script's name."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").split()  # redis writes its own
                place = (process / "environ").read_bytes() + bytes((process / "cwd").readlink())
                ours = bytes(self.folder) in place + b"".join(words)
            except OSError:
                continue
            if ours and any(Path(os.fsdecode(word)).name == program for word in words[:2]):
                found.append(int(process.name))
        return found


def wait_for(look: Callable[[], Any], limit_s: float) -> Any:
    """What `look` returns once it is true. Raises: TimeoutError with the last value."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"not within {limit_s} s; the last look gave {look()!r}")


def start_system(folder: Path, *options: str) -> System:
    """`videofleet demo --keep`, with its first video made."""
    command = (sys.executable, "-m", "videofleet_cli.main", "demo", "--keep", *options)
    done = subprocess.run(
        (*command, f"--state={folder}/dev", f"--output={folder}/demo"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    exports = (shlex.split(line)[1] for line in (folder / "demo" / "env").read_text().splitlines())
    return System(folder, dict(export.split("=", 1) for export in exports))


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any], float], Any]:
    """`eventually(look, limit_s)`: what `look` returns once it is true."""
    return wait_for


@pytest.fixture(scope="session")
def handle() -> type[System]:
    """`handle(folder, env)`: a handle on an installation that the test made itself."""
    return System


@pytest.fixture(scope="session")
def begin() -> Callable[..., System]:
    """`begin(folder, *options)`: an installation by `videofleet demo --keep` with these options."""
    return start_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One installation for the tests of a module."""
    running = start_system(tmp_path_factory.mktemp("system"))
    yield running
    done = running.videofleet("dev", "down", f"--state={running.folder}/dev")
    assert done.returncode == 0, done.stdout + done.stderr
