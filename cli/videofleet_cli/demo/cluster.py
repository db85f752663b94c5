"""The demo's development cluster: the same daemon as `videofleet dev up`, so `videofleet dev down` stops it too."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videofleet_cli.exits import CommandError, Exit
from videofleet_devcluster import daemon


@dataclass(frozen=True)
class Running:
    """A cluster that is up, with its Redis."""

    state: Path
    kubeconfig: Path
    redis_url_file: Path

    def redis_url(self) -> str:
        """With the password: not for the screen."""
        return self.redis_url_file.read_text().strip()

    def stop(self) -> None:
        """Stops the cluster with its pods and Redis. Raises: CommandError."""
        try:
            daemon.stop(self.state)
        except daemon.DaemonError as error:
            raise CommandError(str(error), Exit.FAILED) from error

    def logs(self) -> list[Path]:
        """The logs of the cluster's own parts; they outlive it."""
        return sorted((self.state / "logs").glob("*.log"))


def start(state: Path, models: Path, nodes: int = 1) -> Running:
    """Starts the cluster and returns when it is ready. Raises: CommandError; KeyboardInterrupt, nothing running."""
    with _uninterrupted() as was_interrupted:
        try:
            told = daemon.start(state, models, gpus=0, nodes=nodes)
        except daemon.DaemonError as error:
            raise CommandError(str(error), Exit.FAILED) from error
    running = Running(state, Path(told.kubeconfig), Path(told.redis_url_file))
    if was_interrupted():
        running.stop()
        raise KeyboardInterrupt
    return running


@contextmanager
def _uninterrupted() -> Iterator[Callable[[], bool]]:
    """Puts off the signals that end us: a daemon that is half started could not be told to stop."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _frame: received.append(number)) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
