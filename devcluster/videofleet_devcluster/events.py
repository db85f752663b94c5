"""Events about objects: repeated ones are counted, and a lost one is nobody's failure."""

import contextlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import aiohttp

from videofleet_devcluster.client import EVENTS, ApiClient, ApiError, Resource
from videofleet_devcluster.objects import Object, key_of, timestamp

Severity = Literal["Normal", "Warning"]


@dataclass
class Recorder:
    """Writes Events in the name of one component."""

    client: ApiClient
    component: str
    host: str = ""
    _known: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)

    async def record(self, about: Object, kind: Resource, severity: Severity, reason: str, message: str) -> None:
        """Writes the Event, or raises the count of the same one."""
        namespace, now = key_of(about)[0] or "default", timestamp(datetime.now(UTC))
        identity = (about["metadata"]["uid"], reason, message)
        name, count = self._known.get(identity, ("", 0))
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):
            if name:
                await self.client.patch(EVENTS, namespace, name, {"count": count + 1, "lastTimestamp": now})
            else:
                name = f"{about['metadata']['name']}.{secrets.token_hex(8)}"
                body = self._body(about, kind, severity, reason, message, now)
                body["metadata"] = {"name": name, "namespace": namespace}
                await self.client.create(EVENTS, body)
            self._known[identity] = (name, count + 1)

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
