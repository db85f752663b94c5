"""Moments as status spells them."""

from datetime import UTC, datetime
from typing import Any


def timestamp(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: Any, otherwise: datetime) -> datetime:
    """The moment of a timestamp; `otherwise` when it is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
