"""What the worker is told at start: arguments, two environment variables and the files they name.

The spec of the revision comes as a file, credentials as mounted files; nothing here is read twice.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from videofleet.queue import Durability
from videofleet.store import ObjectStore, StoreError
from videofleet.workerspec import WorkerSpec

DEFAULT_PORT = 8081


@dataclass(frozen=True)
class StoreSource:
    """Where the settings of a store are: a URL, or the folder of a mounted Secret."""

    name: str
    url: str | None = None
    folder: Path | None = None

    @classmethod
    def from_argument(cls, argument: str, *, is_folder: bool) -> Self:
        """`videos=file:///srv` → a StoreSource. Raises: argparse.ArgumentTypeError."""
        name, separator, value = argument.partition("=")
        if not (name and separator and value):
            raise argparse.ArgumentTypeError("must be NAME=URL or NAME=FOLDER, e.g. videos=file:///srv/videos")
        return cls(name, folder=Path(value)) if is_folder else cls(name, url=value)

    def open(self) -> ObjectStore:
        """Raises: StoreError."""
        if self.folder is not None:
            return ObjectStore.from_folder(self.name, self.folder)
        if self.url is None:
            raise StoreError(f"store {self.name} has neither URL nor folder")
        return ObjectStore.from_url(self.name, self.url)


@dataclass(frozen=True)
class Settings:
    """Everything the supervisor needs to know."""

    spec: WorkerSpec
    model: Path
    redis_url: str = field(repr=False)
    store: StoreSource
    installation: str
    fleet_uid: str
    worker: str  # pod name
    scratch: Path  # frames and videos on their way; emptied at start
    termination_log: Path
    bind_address: str
    port: int
    grace_period_s: float  # from SIGTERM to SIGKILL
    checkpoint_every_s: float
    durability: Durability = Durability.AOF  # of what is announced
    signing_key: Path | None = None  # private Ed25519 key in PEM; None: no provenance is written

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> Self:
        """Reads arguments, environment and the spec. Raises: SystemExit with the remedy on stderr."""
        parser = _parser()
        arguments = parser.parse_args(argv)
        try:
            spec = WorkerSpec.model_validate_json(arguments.spec.read_bytes())
        except (OSError, ValidationError) as error:
            parser.error(f"--spec {arguments.spec}: {type(error).__name__}; it must be a worker.json of the operator")
        try:
            redis_url = arguments.redis_url_file.read_text().strip()
        except OSError as error:
            parser.error(f"--redis-url-file {arguments.redis_url_file}: {type(error).__name__}; mount the Redis Secret")
        store = next((source for source in arguments.store if source.name == spec.store), None)
        if store is None:
            parser.error(f"the spec names store {spec.store!r}; pass it as --store={spec.store}=URL")
        return cls(
            spec=spec,
            model=arguments.model,
            redis_url=redis_url,
            store=store,
            installation=arguments.installation,
            fleet_uid=arguments.fleet_uid,
            worker=os.environ.get("POD_NAME") or f"worker-{os.getpid()}",
            scratch=arguments.scratch,
            termination_log=arguments.termination_log,
            bind_address=os.environ.get("BIND_ADDRESS") or "0.0.0.0",  # noqa: S104 - a pod's address is not known
            port=arguments.port,
            durability=arguments.durability,
            signing_key=arguments.signing_key,
            grace_period_s=arguments.grace_period_s,
            checkpoint_every_s=arguments.checkpoint_every_s,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="videofleet-worker", description="Generates videos for one revision.")
    parser.add_argument("--spec", type=Path, required=True, help="worker.json of the revision")
    parser.add_argument("--model", type=Path, required=True, help="model folder in diffusers' format")
    parser.add_argument("--redis-url-file", type=Path, required=True, help="file that holds the URL of Redis")
    parser.add_argument(
        "--store",
        type=lambda text: StoreSource.from_argument(text, is_folder=False),
        action="append",
        default=[],
        metavar="NAME=URL",
        help="object store for results",
    )
    parser.add_argument(
        "--store-folder",
        type=lambda text: StoreSource.from_argument(text, is_folder=True),
        action="append",
        dest="store",
        metavar="NAME=FOLDER",
        help="object store from a mounted Secret with `url` and obstore's options",
    )
    parser.add_argument("--installation", required=True, help="prefix of all Redis keys")
    parser.add_argument("--fleet-uid", required=True, help="metadata.uid of the VideoGenerator")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/videofleet"), help="folder for clips on their way")  # noqa: S108 - an emptyDir in the pod
    parser.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"))
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of /healthz, /readyz and /metrics")
    parser.add_argument(
        "--durability",
        type=Durability,
        choices=list(Durability),
        default=Durability.AOF,
        help="when an ending counts as kept: as the gateway's",
    )
    parser.add_argument("--signing-key", type=Path, help="private Ed25519 key in PEM, to sign provenance with")
    parser.add_argument("--grace-period-s", type=float, default=1800.0, help="terminationGracePeriodSeconds of the pod")
    parser.add_argument(
        "--checkpoint-every-s",
        type=float,
        default=60.0,
        help="seconds of work that a job loses at most when its worker dies; 0: after each step",
    )
    return parser
