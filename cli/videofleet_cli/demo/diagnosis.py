"""What is known when a step fails: conditions, containers that are not well, the last lines of their logs.

Best effort: whatever cannot be read is left out, because the first error is the one that counts.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from videofleet_cli.exits import CommandError
from videofleet_cli.kube import Cluster, connected

_LOG_LINES: Final = 15
_UNREADABLE: Final = (ApiException, aiohttp.ClientError, OSError, CommandError)


async def findings(kubeconfig: Path, namespace: str) -> list[str]:
    """Lines for people, the most telling first."""
    lines: list[str] = []
    try:
        async with connected(kubeconfig) as cluster:
            lines += [line async for line in _conditions(cluster, namespace)]
            lines += [line async for line in _pods(cluster, namespace)]
    except _UNREADABLE as error:
        lines.append(f"the cluster cannot be asked: {error}")
    return lines


async def _conditions(cluster: Cluster, namespace: str) -> AsyncIterator[str]:
    for fleet in await cluster.video_generators(namespace):
        by_words: dict[str, list[str]] = {}  # the same cause often stands in several conditions
        for condition in fleet.get("status", {}).get("conditions", []):
            words = f"{condition['reason']}: {condition['message']}"
            by_words.setdefault(words, []).append(f"{condition['type']}={condition['status']}")
        for words, types in by_words.items():
            yield f"VideoGenerator {fleet['metadata']['name']}: {' '.join(types)} {words}"


async def _pods(cluster: Cluster, namespace: str) -> AsyncIterator[str]:
    core = client.CoreV1Api(cluster.api)
    listed: Any = await core.list_namespaced_pod(namespace)
    for pod in listed.items:
        statuses = pod.status.container_statuses or []
        if pod.status.phase == "Running" and statuses and all(status.ready for status in statuses):
            continue
        yield f"Pod {pod.metadata.name}: {pod.status.phase}{''.join(map(_state, statuses))}"
        try:
            log = await core.read_namespaced_pod_log(pod.metadata.name, namespace, tail_lines=_LOG_LINES)
        except _UNREADABLE:
            continue
        for line in str(log).splitlines()[-_LOG_LINES:]:
            yield f"  | {line}"


def _state(status: Any) -> str:
    words = f", {status.name} restarted {status.restart_count} times" if status.restart_count else ""
    if status.state.waiting is not None:
        words += f", {status.state.waiting.reason}"
    ended = status.state.terminated or (status.last_state and status.last_state.terminated)
    if ended:
        words += f", ended with {ended.exit_code} {ended.reason or ''} {ended.message or ''}".rstrip()
    return words
