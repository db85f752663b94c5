"""What every route works with, and where a request keeps what is known of it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from yarl import URL

from videofleet.jobs import Job
from videofleet.queue import JobQueue
from videofleet.store import ObjectNotFound, ObjectStore, StoredObject, StoreError
from videofleet_gateway import views
from videofleet_gateway.auth import Caller, Keyring
from videofleet_gateway.breaker import Breaker
from videofleet_gateway.directory import ANSWER_S, FleetDirectory
from videofleet_gateway.events.watches import Watches
from videofleet_gateway.figures import FleetFigures
from videofleet_gateway.files import Files
from videofleet_gateway.login.sign_in import SignIn
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.moderation import Hook, Moderator
from videofleet_gateway.rate import RateLimits, Verdict
from videofleet_gateway.webhooks.settings_file import WebhookRules


@dataclass
class Services:
    """The gateway's parts. `draining` turns once, at SIGTERM."""

    queue: JobQueue
    fleets: FleetDirectory
    keys: Keyring
    stores: dict[str, ObjectStore]
    hook: Hook | None = None
    sign_in: SignIn | None = None  # API keys only
    webhooks: WebhookRules = field(default_factory=lambda: WebhookRules(None))
    metrics: Metrics = field(default_factory=Metrics)
    rates: RateLimits = field(default_factory=RateLimits)
    draining: bool = False
    breakers: defaultdict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))
    _origins: list[str] | None = None
    figures: FleetFigures = field(init=False)
    watches: Watches = field(init=False)
    files: Files = field(init=False)
    moderator: Moderator = field(init=False)

    def __post_init__(self) -> None:
        self.figures = FleetFigures(self.queue)
        self.watches = Watches(self.queue, self.fleets, self.figures, self.metrics)
        self.moderator = Moderator(self.hook, self.metrics)
        self.files = Files(self.queue, self.stores, self.metrics)

    def caller_of(self, key_id: str) -> Caller | None:
        """Whose key this is, or whose session, for what was signed in its name; None when it was taken away."""
        return self.keys.caller_of(key_id) or (self.sign_in.caller_of(key_id) if self.sign_in else None)

    async def shown(self, job: Job, *, with_prompt: bool) -> dict[str, Any]:
        """The job as clients see it. Raises: QueueUnavailable."""
        name = await self.fleets.name(job.fleet_uid)
        return views.video(job, name, await self.fleets.expires_at_ms(job), with_prompt=with_prompt)

    async def redirect_origins(self) -> list[str]:
        """Where presigned addresses lead, e.g. `https://s3.example.com`. Raises: StoreError."""
        if self._origins is None:
            signed = [await store.presigned("x", 1) for store in self.stores.values()]
            self._origins = sorted({str(URL(address).origin()) for address in signed if address})
        return self._origins

    @contextmanager
    def guarded(self, dependency: str, *failures: type[Exception]) -> Iterator[None]:
        """Something that needs a dependency: refused while that is away. Raises: the first of `failures` for that."""
        breaker = self.breakers[dependency]
        if not breaker.admits():
            raise failures[0](f"{dependency} is away; trying again shortly")
        try:
            yield
        except ObjectNotFound:
            breaker.succeeded()
            raise
        except failures:
            breaker.failed()
            raise
        else:  # another exception tells nothing: perhaps the dependency was not asked
            breaker.succeeded()
        finally:
            self.metrics.breaker_open.labels(dependency.partition(" ")[0]).set(breaker.is_open)

    @asynccontextmanager
    async def asking(self, store_name: str, limit_s: float = ANSWER_S) -> AsyncIterator[None]:
        """What a request needs of a store while somebody waits. Raises: StoreError when that takes longer."""
        with self.guarded(f"store {store_name}", StoreError):
            try:
                async with asyncio.timeout(limit_s):
                    yield
            except TimeoutError as error:
                raise StoreError(f"store {store_name}: no answer within {limit_s} s") from error

    async def head(self, store: ObjectStore, key: str) -> StoredObject:
        """What the store knows of an object. Raises: ObjectNotFound, StoreError."""
        async with self.asking(store.name):
            return await store.head(key)

    def store(self, name: str) -> ObjectStore:
        """The store of that name. Raises: StoreError."""
        try:
            return self.stores[name]
        except KeyError:
            raise StoreError(f"store {name} is not mounted in this gateway; add --store or --store-folder") from None


SERVICES: Final = web.AppKey("services", Services)
RATE: Final = web.RequestKey("rate", Verdict)
REQUEST_ID: Final = web.RequestKey("request_id", str)
CALLER: Final = web.RequestKey("caller", Caller)
JOB_ID: Final = web.RequestKey("job_id", str)  # of a job that is the caller's
