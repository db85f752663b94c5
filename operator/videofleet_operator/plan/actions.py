"""What a plan can ask for. Every action carries the sentence that explains it.

Two stages: what builds comes first, then the policy is published, then what retires, so that at no moment,
and after no crash in between, a fleet is left with fewer workers than its policy names.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Stage(IntEnum):
    """When an action is due."""

    BUILD = 0
    RETIRE = 1  # only after the policy is published


@dataclass(frozen=True)
class Apply:
    """Server-side apply of a child that is missing or differs."""

    manifest: dict[str, Any]
    why: str
    stage: Stage = Stage.BUILD


@dataclass(frozen=True)
class Scale:
    """Sets the replicas of a Deployment."""

    deployment: str
    replicas: int
    why: str
    stage: Stage = Stage.BUILD


@dataclass(frozen=True)
class CostPod:
    """Gives a pod the deletion cost that makes a ReplicaSet take it first, or takes it away."""

    pod: str
    is_costed: bool
    why: str
    stage: Stage = Stage.BUILD


@dataclass(frozen=True)
class MarkTrack:
    """Gives a Deployment the track label, or takes it away."""

    deployment: str
    is_stable: bool
    why: str
    stage: Stage = Stage.BUILD


@dataclass(frozen=True)
class Delete:
    """Deletes a child; one that is gone is fine."""

    kind: str  # Deployment, ConfigMap, ControllerRevision
    name: str
    why: str
    stage: Stage = Stage.RETIRE


Action = Apply | Scale | CostPod | MarkTrack | Delete
