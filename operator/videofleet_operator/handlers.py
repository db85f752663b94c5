"""kopf as watch source and login, and nothing more: `on.event` only, so no finalizer, annotation or diff of kopf's.

An event puts a key on the queue. Events that change neither metadata nor spec, such as our own status writes, do not.
"""

import os
import random
from collections.abc import Iterator
from typing import Any, Final

import kopf

from videofleet_operator.crd.manifest import GROUP, PLURAL, VERSION
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.fleets import KnownFleets
from videofleet_operator.workqueue import WorkQueue


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


def operator_registry(queue: WorkQueue, known: KnownFleets, closer: FleetCloser) -> kopf.OperatorRegistry:
    """kopf's registry with our two handlers."""
    registry = kopf.OperatorRegistry()
    generations: dict[str, Any] = {}

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        """KUBECONFIG if there is one, else the pod's ServiceAccount."""
        if os.environ.get("KUBECONFIG"):
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_generator(event: Any, namespace: str | None, name: str, uid: str, meta: Any, **_: Any) -> None:
        key = (namespace or "", name)
        if event["type"] == "DELETED":
            generations.pop(uid, None)
            known.forget(key, uid)
            closer.note_deleted(uid)
            return
        known.learn(key, uid)
        seen = (meta.get("generation"), meta.get("deletionTimestamp"), dict(meta.get("annotations", {})))
        if generations.get(uid) != seen:
            generations[uid] = seen
            queue.add(key)

    return registry
