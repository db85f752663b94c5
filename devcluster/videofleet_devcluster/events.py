"""Events about objects: repeated ones are counted, and a lost one is nobody's failure."""

import contextlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import aiohttp

from videofleet_devcluster.client import EVENTS, ApiClient, ApiError, Resource
from videofleet_devcluster.objects import Object, key_of, timestamp

Severity = Literal["Normal", "Warning"]
_REPEAT_S: Final = 5.0  # a probe that fails four times a second is one write in five


@dataclass
class _Written:
    name: str
    at: float  # monotonic seconds
    count: int = 1


@dataclass
class Recorder:
    """Writes Events in the name of one component."""

    client: ApiClient
    component: str
    host: str = ""
    _known: dict[tuple[str, str, str], "_Written"] = field(default_factory=dict)

    async def record(self, about: Object, kind: Resource, severity: Severity, reason: str, message: str) -> None:
        """Writes the Event, or raises the count of the same one."""
        namespace, now = key_of(about)[0] or "default", timestamp(datetime.now(UTC))
        known = self._known.get((about["metadata"]["uid"], reason, message))
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):
            if known is None:
                written = _Written(f"{about['metadata']['name']}.{secrets.token_hex(8)}", time.monotonic())
                self._known[about["metadata"]["uid"], reason, message] = written
                body = self._body(about, kind, severity, reason, message, now)
                await self.client.create(EVENTS, body | {"metadata": {"name": written.name, "namespace": namespace}})
                return
            known.count += 1
            if time.monotonic() - known.at > _REPEAT_S:
                known.at = time.monotonic()
                patch = {"count": known.count, "lastTimestamp": now}
                await self.client.patch(EVENTS, namespace, known.name, patch)

    def _body(self, about: Object, kind: Resource, severity: Severity, reason: str, message: str, now: str) -> Object:
        meta = about["metadata"]
        return {
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta["uid"],
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": severity,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self.component} | ({"host": self.host} if self.host else {}),
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        }
