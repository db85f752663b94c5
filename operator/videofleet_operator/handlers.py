"""kopf as watch source and login, and nothing more: `on.event` only, so no finalizer, annotation or diff of kopf's.

An event puts a key on the queue. Events that change neither metadata nor spec, such as our own status writes, do not.
"""

import asyncio
import logging
import os
import random
import threading
from collections.abc import Iterator
from typing import Any, Final

import kopf

from videofleet_operator.cache import ObjectCache, fleet_by_name
from videofleet_operator.crd.manifest import GROUP, PLURAL, VERSION
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.workqueue import WorkQueue

_log = logging.getLogger(__name__)


class EndlessBackoffs:
    """kopf gives up and exits when its list of back-offs is used up; an upgrade of the API server takes longer."""

    _CAP_S: Final = 10.0

    def __iter__(self) -> Iterator[float]:
        """Growing, jittered seconds, for ever."""
        delay_s = 0.2
        while True:
            yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            delay_s = min(self._CAP_S, delay_s * 2)


def operator_settings() -> kopf.OperatorSettings:
    """kopf's settings."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # Events are ours
    settings.scanning.disabled = True  # a namespaced Role may not list CRDs and namespaces
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 50
    settings.watching.connect_timeout = 10
    return settings


class GeneratorWatch:
    """Runs kopf in a thread and a loop of its own: what it cancels or raises when it ends is no business of ours.

    kopf ends at any answer it does not expect, an expired watch among them; then it is started again. The resync
    covers what happens in between.
    """

    def __init__(self, namespaces: tuple[str, ...], queue: WorkQueue, fleets: ObjectCache, closer: FleetCloser) -> None:
        self._namespaces, self._queue, self._fleets, self._closer = namespaces, queue, fleets, closer
        self._seen: dict[str, Any] = {}

    async def run(self) -> None:
        """Watches until cancelled."""
        for name in ("kopf._core.reactor.running", "kopf._core.reactor.orchestration"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # their failures are told below, in one line
        logging.getLogger("kopf").setLevel(logging.WARNING)  # some versions tell all their settings at INFO
        stop = threading.Event()
        registry = self._registry(asyncio.get_running_loop())
        try:
            for delay_s in EndlessBackoffs():
                error = await asyncio.to_thread(_kopf_until_it_ends, registry, self._namespaces, stop)
                _log.warning("the watch of VideoGenerators ended; it starts again", extra={"error": error})
                await asyncio.sleep(delay_s)
        finally:
            stop.set()

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def on_generator(event: Any, **_: Any) -> None:
            loop.call_soon_threadsafe(self._hear, event["type"], event["object"])

        return registry

    def _hear(self, kind: str | None, generator: dict[str, Any]) -> None:
        meta, uid, key = generator["metadata"], generator["metadata"]["uid"], fleet_by_name(generator)
        if kind == "DELETED":
            self._seen.pop(uid, None)
            self._fleets.remove(generator)
            self._closer.note_deleted(uid)
            return
        self._fleets.put(generator)
        seen = (meta.get("generation"), meta.get("deletionTimestamp"), dict(meta.get("annotations") or {}))
        if self._seen.get(uid) != seen:
            self._seen[uid] = seen
            self._queue.add(key)


def _kopf_until_it_ends(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: threading.Event) -> str:
    """Returns: why it ended, in words."""
    try:
        asyncio.run(
            kopf.operator(
                registry=registry,
                settings=operator_settings(),
                namespaces=namespaces,
                standalone=True,
                stop_flag=stop,
            )
        )
    except Exception as error:  # whatever it was, the next one may do better
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "stopped"


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """KUBECONFIG if there is one, else the pod's ServiceAccount."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)
