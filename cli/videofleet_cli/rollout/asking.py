"""Reading a fleet's rollout and asking something of it: an annotation that the operator handles and answers in
status."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from kubernetes.aio import client

from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import GROUP, PLURAL, VERSION, Cluster, Object, translated

ANNOTATION: Final = f"{GROUP}/rollout"
_FLEET_LABEL: Final = f"{GROUP}/fleet"
_POLL_S: Final = 0.5
_REPLY_S: Final = 15
_ANSWER_S: Final = 30


async def fleet_named(cluster: Cluster, namespace: str, name: str) -> Object:
    """The fleet. Raises: CommandError."""
    found = [one for one in await cluster.video_generators(namespace) if one["metadata"]["name"] == name]
    if not found:
        words = f"there is no VideoGenerator {name!r} in {namespace}; `videofleet status -A` lists all"
        raise CommandError(words, Exit.REFUSED)
    return found[0]


async def revisions(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """The kept ControllerRevisions of a fleet, oldest first. Raises: CommandError."""
    custom = client.CustomObjectsApi(cluster.api)
    with translated("list revisions"):
        listed: Any = await custom.list_namespaced_custom_object(
            "apps",
            "v1",
            namespace,
            "controllerrevisions",
            label_selector=f"{_FLEET_LABEL}={name}",
            _request_timeout=_REPLY_S,
        )
    return sorted(listed["items"], key=lambda one: int(one["revision"]))


async def ask(cluster: Cluster, namespace: str, name: str, command: str) -> str:
    """Asks and waits for the answer. Returns: the operator's words. Raises: CommandError."""
    text = f"{command}:{time.time_ns() // 1_000_000}"  # the same command again is a new one
    custom = client.CustomObjectsApi(cluster.api)
    body = {"metadata": {"annotations": {ANNOTATION: text}}}
    with translated("annotate the VideoGenerator"):
        await custom.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            namespace,
            PLURAL,
            name,
            body,
            field_manager="videofleet-cli",
            _content_type="application/merge-patch+json",
            _request_timeout=_REPLY_S,
        )
    deadline = time.monotonic() + _ANSWER_S
    async for fleet in looks(cluster, namespace, name):
        last = rollout_of(fleet).get("lastCommand", {})
        if last.get("text") == text:
            return str(last["outcome"])
        if time.monotonic() > deadline:
            break
    message = f"the operator has not answered within {_ANSWER_S} s; is it running? It obeys when it is back"
    raise CommandError(message, Exit.UNREACHABLE)


async def looks(cluster: Cluster, namespace: str, name: str) -> AsyncIterator[Object]:
    """The fleet, again and again. Raises: CommandError."""
    while True:
        yield await fleet_named(cluster, namespace, name)
        await asyncio.sleep(_POLL_S)


def rollout_of(fleet: Object) -> Object:
    """`status.rollout`; empty before the operator has looked."""
    rollout: Object = fleet.get("status", {}).get("rollout", {})
    return rollout
