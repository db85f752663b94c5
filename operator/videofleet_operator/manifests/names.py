"""Names, labels and the owner of a fleet's children; the one place that spells them."""

from typing import Any, Final

from videofleet_operator.crd.manifest import API_VERSION, KIND
from videofleet_operator.observed import FleetSeen

FIELD_MANAGER: Final = "videofleet"
WORKER_PORT: Final = 8081
SPEC_KEY: Final = "worker.json"  # in a revision's ConfigMap

APP_LABEL: Final = "app.kubernetes.io/name"
APP: Final = "videofleet-worker"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
FLEET_LABEL: Final = "videofleet.dev/fleet"
REVISION_LABEL: Final = "videofleet.dev/revision"
DECODER_LABEL: Final = "videofleet.dev/decoder"  # the revision, of what belongs to its decoders
TRACK_LABEL: Final = "videofleet.dev/track"
COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"  # Kubernetes' own
DELETION_COST: Final = "-1000"  # before any pod without one

SELECT_WORKERS: Final = f"{APP_LABEL}={APP},{MANAGED_BY_LABEL}={FIELD_MANAGER}"
"""Selects every child of every fleet."""


def fleet_labels(fleet: str) -> dict[str, str]:
    """Labels of everything that belongs to a fleet."""
    return {APP_LABEL: APP, MANAGED_BY_LABEL: FIELD_MANAGER, FLEET_LABEL: fleet}


def revision_labels(fleet: str, revision: str) -> dict[str, str]:
    """Labels of everything that belongs to a revision."""
    return fleet_labels(fleet) | {REVISION_LABEL: revision}


def decoder_labels(fleet: str, revision: str) -> dict[str, str]:
    """Labels of a revision's decoders; selectors of its workers do not meet them."""
    return fleet_labels(fleet) | {DECODER_LABEL: revision}


def decoder_name(fleet: str, revision: str) -> str:
    """Name of the Deployment of a revision's decoders."""
    return f"{fleet}-{revision}-decoder"


def revision_name(fleet: str, revision: str) -> str:
    """Name of a revision's ControllerRevision, ConfigMap and Deployment."""
    return f"{fleet}-{revision}"


def service_account_name(fleet: str) -> str:
    """Name of the fleet's ServiceAccount, which has no rights."""
    return f"{fleet}-worker"


def metadata(fleet: FleetSeen, name: str, labels: dict[str, str]) -> dict[str, Any]:
    """Metadata of a child, with the owner that takes it along when it is deleted.

    No blockOwnerDeletion: it would need the right to change the owner's finalizers.
    """
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": fleet.name, "uid": fleet.uid, "controller": True}
    return {"name": name, "namespace": fleet.namespace, "labels": labels, "ownerReferences": [owner]}
