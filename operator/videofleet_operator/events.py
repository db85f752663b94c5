"""Writes Kubernetes Events about a VideoGenerator. The same words about the same fleet are one Event.

An Event is for people: when it cannot be written, the reconcile goes on.
"""

import hashlib
import logging
from datetime import datetime

from videofleet_operator.crd.manifest import API_VERSION, KIND
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import KubeError
from videofleet_operator.observed import FleetSeen
from videofleet_operator.plan.events import EventNote
from videofleet_operator.plan.times import timestamp

COMPONENT = "videofleet-operator"
_log = logging.getLogger(__name__)


async def write_events(kube: KubeClient, fleet: FleetSeen, notes: tuple[EventNote, ...], now: datetime) -> None:
    """Applies each note under a name made from its words."""
    for note in notes:
        words = f"{fleet.uid} {note.reason} {note.message}"
        name = f"{fleet.name}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": fleet.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": fleet.name,
                "namespace": fleet.namespace,
                "uid": fleet.uid,
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }
        try:
            await kube.apply(event)
        except KubeError as error:
            _log.warning("event not written: %s", error, extra={"fleet": fleet.full_name})
