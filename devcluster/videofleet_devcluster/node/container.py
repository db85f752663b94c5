"""One container as one supervised process: start, probe, restart with back-off, stop.

Invariant: when `run` returns, no process of the container is left. Decisions (restart? how long to wait?) are the pure
functions of status.py; what the container needs from its pod comes in as a `Workspace`.
"""

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from videofleet_devcluster.node.environment import ConfigError, Find, container_env, expanded
from videofleet_devcluster.node.logs import record, text_of
from videofleet_devcluster.node.paths import rewriter, short_name
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
from videofleet_devcluster.objects import Object, key_of, uid_of
from videofleet_devcluster.processes import Child, Processes, kill_group, stop

_RESET_AFTER_S: Final = 600.0
_EAGER_S: Final = 0.25  # a pod that was never ready is looked at this often: it only becomes Ready sooner
_RETRY_S: Final = 1.0
_LAST_WORDS_S: Final = 10.0
_LEAST_GRACE_S: Final = 2.0  # the kubelet grants it after preStop, whatever that took
_MESSAGE_BYTES: Final = 4096
_LOG_TAIL_BYTES: Final = 2048
_TERMINATION_LOG: Final = "/dev/termination-log"
_IMAGE: Final = re.compile(
    r"([a-zA-Z0-9][a-zA-Z0-9.-]*(:\d+)?/)?"  # the registry
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:\w[\w.-]{0,127})?(@[a-z0-9+.-]+:[0-9a-fA-F]{32,})?"
)


class Tell(Protocol):
    """Records an Event about the pod."""

    def __call__(self, reason: str, message: str, *, warning: bool = False) -> None: ...


@dataclass
class Workspace:
    """What a container gets from its pod. `changed` publishes the pod's status."""

    pod: Object
    address: str
    folder: Path
    logs: Path
    processes: Processes
    find: Find
    inherited: dict[str, str]
    first_back_off_s: float
    changed: Callable[[], None]
    tell: Tell

    def log_of(self, container: str, restart: int) -> Path:
        return self.logs / container / f"{restart}.log"


class ContainerRunner:
    """Runs one container of a pod by its restart policy."""

    def __init__(self, container: Object, workspace: Workspace, policy: str, restart_count: int = 0) -> None:
        self.container, self._space, self._policy = container, workspace, policy
        image = container.get("image", "")
        self.status = ContainerStatus(container["name"], image, restart_count=restart_count)
        self.root: Path = workspace.folder / "root" / container["name"]
        self._temporary = self.root / "tmp"
        self._child: Child | None = None
        self._recording: asyncio.Future[None] = asyncio.Future()
        self._stopping = asyncio.Event()
        message_path: str = container.get("terminationMessagePath", _TERMINATION_LOG)
        self._message_file = self.root / message_path.strip("/")
        mounts = [entry["mountPath"] for entry in container.get("volumeMounts") or []]
        self._rewrite = rewriter(self.root, [*mounts, message_path])

    async def run(self) -> int:
        """Runs and restarts until the policy or `stop` says that it is over; the last exit code."""
        failures = 0
        with short_name(self._temporary) as self._temporary:
            while not self._stopping.is_set():
                began = datetime.now(UTC)
                await self._run_once()
                if self._stopping.is_set() or not restarts(self._policy, self.status.exit_code or 0):
                    break
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
            self._space.tell("Killing", f"Stopping container {self.status.name}")
            await self._kill(self._child, grace_s)
        else:
            await stop(self._child, grace_s)

    async def _kill(self, child: Child, grace_s: float) -> None:
        clock = asyncio.get_running_loop()
        deadline = clock.time() + grace_s
        hook = (self.container.get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0:
            failure = await attempt(hook, self.container, self._space.address, self._execute, grace_s)
            if failure:
                self._space.tell("FailedPreStopHook", f"PreStopHook failed: {failure}", warning=True)
        await stop(child, max(min(_LEAST_GRACE_S, grace_s), deadline - clock.time()))

    async def _run_once(self) -> None:
        launch = await self._launch()
        if launch is None:
            return
        began = datetime.now(UTC)
        try:
            child = self._child = await self._spawn(*launch)
        except OSError as error:
            text = f'exec: "{launch[0][0]}": {error.strerror or error}'
            self._space.tell("Failed", f"Error: {text}", warning=True)
            self._show(terminated(128, "StartError", text, began, began, ""))
            return
        self.status.container_id = f"process://{child.pid}"
        self._space.tell("Started", f"Started container {self.status.name}")
        self._show(running(began))
        probing = asyncio.create_task(self._probe(child))
        try:
            if self._stopping.is_set():  # it was told to while the program started
                await stop(child, 0)
            code = await self._space.processes.finished(child)
        finally:
            if child.returncode is None:
                kill_group(child)
            probing.cancel()
            with contextlib.suppress(TimeoutError):  # somebody who left the group may hold the pipe for ever
                await asyncio.wait_for(asyncio.gather(probing, self._recording, return_exceptions=True), _LAST_WORDS_S)
        self.status.ready = self.status.started = False
        message, identity = self._termination_message(code), self.status.container_id
        self._show(terminated(code, "", message, began, datetime.now(UTC), identity))

    def _show(self, state: Object) -> None:
        self.status.state = state
        self._space.changed()

    async def _launch(self) -> tuple[list[str], dict[str, str]] | None:
        """The command line and environment, waiting for what they refer to; None when stopped meanwhile."""
        while not self._stopping.is_set():
            try:
                return self._command()
            except ConfigError as error:
                state = waiting(error.reason, str(error))
                if state != self.status.state:
                    self._space.tell("Failed", f"Error: {error}", warning=True)
                    self._show(state)
            await self._pause(_RETRY_S)
        return None

    def _command(self) -> tuple[list[str], dict[str, str]]:
        image = self.container.get("image", "")
        if not _IMAGE.fullmatch(image):  # there is nothing to pull; a name that no kubelet takes is refused here too
            raise ConfigError(
                f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference '
                "format",
                "InvalidImageName",
            )
        if not self.container.get("command"):
            lacking = "no command specified; this node has no images, so the manifest must carry it"
            raise ConfigError(lacking, "CreateContainerError")
        given = self._space.inherited
        env = container_env(self.container, self._space.pod, self._space.find, given)
        words = [*self.container["command"], *(self.container.get("args") or [])]
        # What the node itself gives are real paths already, perhaps below a mountPath's name: /tmp/state/…
        env = {name: value if given.get(name) == value else self._rewrite(value) for name, value in env.items()}
        own = {"HOME": str(self.root), "TMPDIR": str(self._temporary)}
        return [self._rewrite(expanded(word, env)) for word in words], env | own

    async def _spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        log = self._space.log_of(self.status.name, self.status.restart_count)
        for folder in (self.root / "tmp", self._message_file.parent, log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._message_file.write_bytes(b"")
        asked = self.container.get("workingDir")
        reader, writer = os.pipe()
        try:
            folder = Path(self._rewrite(asked)) if asked else self.root
            child = await self._space.processes.spawn(argv, env, folder, writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._recording = asyncio.create_task(record(reader, log))
        return child

    def _termination_message(self, code: int) -> str:
        file = self._message_file
        text = file.read_bytes()[:_MESSAGE_BYTES] if file.is_file() else b""
        by_log = self.container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not text and code != 0 and by_log:
            log = self._space.log_of(self.status.name, self.status.restart_count)
            text = text_of(log.read_bytes().splitlines(keepends=True))[-_LOG_TAIL_BYTES:]
        return text.decode(errors="replace")

    async def _back_off(self, seconds: float) -> None:
        if seconds == 0:
            return
        (namespace, name), uid, container = key_of(self._space.pod), uid_of(self._space.pod), self.status.name
        where = f"{container} in pod {name}_{namespace}({uid})"
        self._space.tell("BackOff", f"Back-off restarting failed container {where}", warning=True)
        subject = f"restarting failed container={container} pod={name}_{namespace}({uid})"
        self._show(waiting("CrashLoopBackOff", f"back-off {go_duration(seconds)} {subject}"))
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

    async def _probe(self, child: Child) -> None:
        startup, readiness, liveness = (
            self.container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")
        )
        if startup and not await anext(self._verdicts("Startup", startup)):
            await self._fail(child, "startup")
            return
        self.status.started, self.status.ready = True, not readiness
        self._space.changed()
        async with asyncio.TaskGroup() as tasks:
            if readiness:
                tasks.create_task(self._readiness(readiness))
            if liveness:
                tasks.create_task(self._liveness(child, liveness))

    async def _readiness(self, probe: Object) -> None:
        async for ready in self._verdicts("Readiness", probe):
            if ready != self.status.ready:
                self.status.ready = ready
                self._space.changed()

    async def _liveness(self, child: Child, probe: Object) -> None:
        async for alive in self._verdicts("Liveness", probe):
            if not alive:
                await self._fail(child, "liveness")
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

    async def _fail(self, child: Child, kind: str) -> None:
        self._space.tell("Killing", f"Container {self.status.name} failed {kind} probe, will be restarted")
        await self._kill(child, float(self._space.pod["spec"].get("terminationGracePeriodSeconds", 30)))

    async def _attempt(self, kind: str, probe: Object) -> bool:
        timeout_s = float(probe.get("timeoutSeconds", 1))
        failure = await attempt(probe, self.container, self._space.address, self._execute, timeout_s)
        if failure and not self._stopping.is_set():
            self._space.tell("Unhealthy", f"{kind} probe failed: {failure}", warning=True)
        return failure == ""
