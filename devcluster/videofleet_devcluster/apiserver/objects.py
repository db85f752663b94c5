"""Kubernetes objects as plain JSON dicts, and the few things everybody does with them.

Invariant of this package: an object that reached the store is never changed in place. Whoever wants another one clones
it, changes the clone and puts that; so lists, watch events and caches share references without copying.
"""

import marshal
from datetime import UTC, datetime
from typing import Any

from videofleet_devcluster import objects
from videofleet_devcluster.objects import Key, Object, is_deleting, key_of

__all__ = ["Key", "Object", "clone", "is_deleting", "key_of", "timestamp"]


def clone(value: Any) -> Any:
    """A deep copy of JSON data; many times faster than copy.deepcopy."""
    return marshal.loads(marshal.dumps(value))  # noqa: S302 - our own bytes, never stored or sent


def timestamp(at: datetime | None = None) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time; now unless told."""
    return objects.timestamp(at or datetime.now(UTC))
