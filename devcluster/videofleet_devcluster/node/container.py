"""One container as one supervised process: start, probe, restart with back-off, stop.

Invariant: when `run` returns, no process of the container is left. Decisions (restart? how long to wait?)
are the pure functions of status.py; what the container needs from its pod comes in as a `Workspace`.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from videofleet_devcluster.node.environment import ConfigError, Find, container_env, expanded
from videofleet_devcluster.node.logs import record, text_of
from videofleet_devcluster.node.paths import rewriter
from videofleet_devcluster.node.probes import Streak, attempt
from videofleet_devcluster.node.status import (
    ContainerStatus,
    back_off_s,
    go_duration,
    restarts,
    running,
    terminated,
    waiting,
)
from videofleet_devcluster.node.temporary import short_name
from videofleet_devcluster.objects import Object, key_of
from videofleet_devcluster.processes import Child, Processes, kill_group, stop

_RESET_AFTER_S: Final = 600.0
_EAGER_S: Final = 0.25  # a pod that was never ready is looked at this often: it only becomes Ready sooner
_RETRY_S: Final = 1.0
_MESSAGE_BYTES: Final = 4096
_LOG_TAIL_BYTES: Final = 2048
_TERMINATION_LOG: Final = "/dev/termination-log"

Tell = Callable[[Literal["Normal", "Warning"], str, str], None]


@dataclass
class Workspace:
    """What a container gets from its pod."""

    pod: Object
    address: str
    folder: Path
    logs: Path
    processes: Processes
    find: Find
    inherited: dict[str, str]
    first_back_off_s: float
    changed: Callable[[], None]
    """Publishes the pod's status."""
    tell: Tell
    """Records an Event about the pod: severity, reason, message."""

    def log_of(self, container: str, restart: int) -> Path:
        """The log file of one run of a container."""
        return self.logs / container / f"{restart}.log"


class ContainerRunner:
    """Runs one container of a pod by its restart policy."""

    def __init__(self, container: Object, workspace: Workspace, policy: str, restart_count: int = 0) -> None:
        self._container, self._space, self._policy = container, workspace, policy
        image = container.get("image", "")
        self.status = ContainerStatus(container["name"], image, restart_count=restart_count)
        self.root: Path = workspace.folder / "root" / container["name"]
        self._temporary = self.root / "tmp"
        self._child: Child | None = None
        self._recording: asyncio.Future[None] = asyncio.Future()
        self._stopping = asyncio.Event()
        self._message_path: str = container.get("terminationMessagePath", _TERMINATION_LOG)
        mounts = [entry["mountPath"] for entry in container.get("volumeMounts") or []]
        self._rewrite = rewriter(self.root, [*mounts, self._message_path])

    async def run(self) -> int:
        """Runs and restarts until the policy or `stop` says that it is over; the last exit code."""
        with short_name(self._temporary) as self._temporary:
            return await self._run_by_policy()

    async def _run_by_policy(self) -> int:
        failures = 0
        while not self._stopping.is_set():
            began = datetime.now(UTC)
            await self._run_once()
            code = self.status.exit_code or 0
            if self._stopping.is_set() or not restarts(self._policy, code):
                return code
            ran_s = (datetime.now(UTC) - began).total_seconds()
            failures = 1 if ran_s > _RESET_AFTER_S else failures + 1
            self.status.last_state = self.status.state
            await self._back_off(back_off_s(failures, self._space.first_back_off_s))
            self.status.restart_count += 1
        return self.status.exit_code or 0

    async def stop(self, grace_s: float) -> None:
        """preStop, SIGTERM, the grace, SIGKILL, and no restart. A second call only shortens the grace."""
        is_first = not self._stopping.is_set()
        self._stopping.set()
        if self._child is None or self._child.returncode is not None:
            return
        if is_first:
            self._space.tell("Normal", "Killing", f"Stopping container {self.status.name}")
            await self._kill(grace_s)
        else:
            await stop(self._child, grace_s)

    async def _kill(self, grace_s: float) -> None:
        if self._child is None:
            return
        clock = asyncio.get_running_loop()
        deadline = clock.time() + grace_s
        hook = (self._container.get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0:
            failure = await attempt(hook, self._container, self._space.address, self._execute, grace_s)
            if failure:
                self._space.tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {failure}")
        await stop(self._child, max(0.0, deadline - clock.time()))

    async def _run_once(self) -> None:
        launch = await self._launch()
        if launch is None:
            return
        began = datetime.now(UTC)
        try:
            self._child = await self._spawn(*launch)
        except OSError as error:
            text = f'exec: "{launch[0][0]}": {error.strerror or error}'
            self.status.state = terminated(128, "StartError", text, began, began, "")
            self._space.tell("Warning", "Failed", f"Error: {text}")
            self._space.changed()
            return
        self.status.container_id = f"process://{self._child.pid}"
        self.status.state = running(began)
        self._space.tell("Normal", "Started", f"Started container {self.status.name}")
        self._space.changed()
        probing = asyncio.create_task(self._probe())
        try:
            if self._stopping.is_set():  # it was told to while the program started
                await stop(self._child, 0)
            code = await self._space.processes.finished(self._child)
        finally:
            if self._child.returncode is None:
                kill_group(self._child)
            probing.cancel()
            with contextlib.suppress(TimeoutError):  # somebody who left the group may hold the pipe for ever
                await asyncio.wait_for(asyncio.gather(probing, self._recording, return_exceptions=True), _RETRY_S)
        self.status.ready = self.status.started = False
        message, identity = self._termination_message(code), self.status.container_id
        self.status.state = terminated(code, "", message, began, datetime.now(UTC), identity)
        self._space.changed()

    async def _launch(self) -> tuple[list[str], dict[str, str]] | None:
        """The command line and environment, waiting for what they refer to; None when stopped meanwhile."""
        while not self._stopping.is_set():
            try:
                return self._command()
            except ConfigError as error:
                state = waiting(_reason(self._container), str(error))
                if state != self.status.state:
                    self.status.state = state
                    self._space.tell("Warning", "Failed", f"Error: {error}")
                    self._space.changed()
            await self._pause(_RETRY_S)
        return None

    def _command(self) -> tuple[list[str], dict[str, str]]:
        if not self._container.get("command"):
            raise ConfigError("no command specified; this node has no images, so the manifest must carry it")
        env = container_env(self._container, self._space.pod, self._space.find, self._space.inherited)
        words = [*self._container["command"], *(self._container.get("args") or [])]
        # What the node itself gives are real paths already, perhaps below a mountPath's name: /tmp/state/…
        given = self._space.inherited
        env = {name: value if given.get(name) == value else self._rewrite(value) for name, value in env.items()}
        own = {"HOME": str(self.root), "TMPDIR": str(self._temporary)}
        return [self._rewrite(expanded(word, env)) for word in words], env | own

    async def _spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        message = self._file_of_message()
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_bytes(b"")
        log = self._space.log_of(self.status.name, self.status.restart_count)
        log.parent.mkdir(parents=True, exist_ok=True)
        asked = self._container.get("workingDir")
        folder = Path(self._rewrite(asked)) if asked else self.root
        reader, writer = os.pipe()
        try:
            child = await self._space.processes.spawn(argv, env, folder, writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._recording = asyncio.create_task(record(reader, log))
        return child

    def _file_of_message(self) -> Path:
        return self.root / self._message_path.strip("/")

    def _termination_message(self, code: int) -> str:
        file = self._file_of_message()
        text = file.read_bytes()[:_MESSAGE_BYTES] if file.is_file() else b""
        by_log = self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not text and code != 0 and by_log:
            log = self._space.log_of(self.status.name, self.status.restart_count)
            text = text_of(log.read_bytes().splitlines(keepends=True))[-_LOG_TAIL_BYTES:]
        return text.decode(errors="replace")

    async def _back_off(self, seconds: float) -> None:
        if seconds == 0:
            return
        namespace, name = key_of(self._space.pod)
        subject = f"restarting failed container={self.status.name} pod={name}_{namespace}"
        uid = self._space.pod["metadata"]["uid"]
        message = f"back-off {go_duration(seconds)} {subject}({uid})"
        self.status.state = waiting("CrashLoopBackOff", message)
        where = f"{self.status.name} in pod {name}_{namespace}({uid})"
        self._space.tell("Warning", "BackOff", f"Back-off restarting failed container {where}")
        self._space.changed()
        await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but wakes when the container is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _execute(self, command: list[str]) -> tuple[int, str]:
        _, env = self._command()
        with tempfile.TemporaryFile() as output:
            try:
                argv = [self._rewrite(word) for word in command]
                child = await self._space.processes.spawn(argv, env, self.root, output.fileno())
            except OSError as error:
                return 126, f'exec: "{command[0]}": {error.strerror}'
            try:
                code = await self._space.processes.finished(child)
            except asyncio.CancelledError:
                await stop(child, 0)
                raise
            output.seek(0)
            return code, output.read(_MESSAGE_BYTES).decode(errors="replace")

    async def _probe(self) -> None:
        startup = self._container.get("startupProbe")
        if startup and not await self._startup(startup):
            return
        self.status.started = True
        readiness, liveness = self._container.get("readinessProbe"), self._container.get("livenessProbe")
        if not readiness:
            self.status.ready = True
        self._space.changed()
        async with asyncio.TaskGroup() as tasks:
            if readiness:
                tasks.create_task(self._readiness(readiness))
            if liveness:
                tasks.create_task(self._liveness(liveness))

    async def _startup(self, probe: Object) -> bool:
        async for passed in self._verdicts("Startup", probe):
            if not passed:
                await self._fail("startup")
            return passed
        return False

    async def _readiness(self, probe: Object) -> None:
        async for ready in self._verdicts("Readiness", probe):
            if ready != self.status.ready:
                self.status.ready = ready
                self._space.changed()

    async def _liveness(self, probe: Object) -> None:
        async for alive in self._verdicts("Liveness", probe):
            if not alive:
                await self._fail("liveness")
                return

    async def _verdicts(self, kind: str, probe: Object) -> AsyncIterator[bool]:
        """Attempts the probe by its period, and says whenever enough attempts agree."""
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        streak = Streak(int(probe.get("successThreshold", 1)), int(probe.get("failureThreshold", 3)))
        period_s = float(probe.get("periodSeconds", 10))
        pause_s = min(period_s, _EAGER_S) if kind == "Readiness" else period_s
        while kind != "Liveness" or not self._stopping.is_set():  # a pod that leaves may still turn NotReady
            verdict = streak.add(await self._attempt(kind, probe))
            if verdict is not None:
                yield verdict
            if verdict:
                pause_s = period_s
            await asyncio.sleep(pause_s)

    async def _fail(self, kind: str) -> None:
        name = self.status.name
        self._space.tell("Normal", "Killing", f"Container {name} failed {kind} probe, will be restarted")
        await self._kill(float(self._space.pod["spec"].get("terminationGracePeriodSeconds", 30)))

    async def _attempt(self, kind: str, probe: Object) -> bool:
        timeout_s = float(probe.get("timeoutSeconds", 1))
        failure = await attempt(probe, self._container, self._space.address, self._execute, timeout_s)
        if failure and not self._stopping.is_set():
            self._space.tell("Warning", "Unhealthy", f"{kind} probe failed: {failure}")
        return failure == ""


def _reason(container: Object) -> str:
    return "CreateContainerConfigError" if container.get("command") else "CreateContainerError"
