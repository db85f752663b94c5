"""What a fleet has besides ConfigMaps and ControllerRevisions: Deployments, budgets, Service, identity, policy."""

from typing import Any, Final

from videofleet.workerspec import Decode
from videofleet_operator.manifests.names import (
    WORKER_PORT,
    decoder_labels,
    decoder_name,
    fleet_labels,
    metadata,
    revision_labels,
    revision_name,
    service_account_name,
)
from videofleet_operator.manifests.pod import decoder_template, pod_template
from videofleet_operator.manifests.revision import ResolvedRevision
from videofleet_operator.observed import FleetSeen

_IMAGE_PULL_S: Final = 3600  # worker images are large; the deadline lies beyond pull, fetch and warm-up
_FETCH_S: Final = 4 * 3600  # 126 GB at 10 MB/s


def deployment(fleet: FleetSeen, revision: ResolvedRevision, replicas: int) -> dict[str, Any]:
    """The revision's Deployment. Applied once: later only replicas and the track label change."""
    labels, name = revision_labels(fleet.name, revision.revision), revision_name(fleet.name, revision.revision)
    return _deployment(fleet, revision, name, labels, replicas, pod_template(fleet, revision))


def decoder_deployment(fleet: FleetSeen, revision: ResolvedRevision, decode: Decode, replicas: int) -> dict[str, Any]:
    """The Deployment of the revision's decoders. Applied once: later only replicas change."""
    labels, name = decoder_labels(fleet.name, revision.revision), decoder_name(fleet.name, revision.revision)
    return _deployment(fleet, revision, name, labels, replicas, decoder_template(fleet, revision, decode))


def _deployment(
    fleet: FleetSeen,
    revision: ResolvedRevision,
    name: str,
    labels: dict[str, str],
    replicas: int,
    template: dict[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(fleet, name, labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": _IMAGE_PULL_S
            + (_FETCH_S if revision.fetching else 0)
            + int(revision.worker.warmup.loading_timeout_s + revision.worker.warmup.timeout_s),
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }


def disruption_budget(fleet: FleetSeen, revision: str) -> dict[str, Any]:
    """Evictions take one warm worker of a revision at a time; those that are not warm never hold up a drain.

    One a revision: a canary in trouble does not keep stable workers on their nodes.
    """
    labels = revision_labels(fleet.name, revision)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(fleet, revision_name(fleet.name, revision), labels),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels},
        },
    }


def network_policy(fleet: FleetSeen) -> dict[str, Any]:
    """Nobody reaches a worker but for health and metrics. Where it may go is not known here: Secrets say it."""
    labels = fleet_labels(fleet.name)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(fleet, fleet.name, labels),
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": "http"}]}],
        },
    }


def service(fleet: FleetSeen) -> dict[str, Any]:
    """Headless: it only tells where the workers' metrics are."""
    labels = fleet_labels(fleet.name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(fleet, fleet.name, labels),
        "spec": {
            "clusterIP": "None",
            "selector": labels,
            "ports": [{"name": "metrics", "port": WORKER_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def service_account(fleet: FleetSeen) -> dict[str, Any]:
    """An identity without rights and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(fleet, service_account_name(fleet.name), fleet_labels(fleet.name)),
        "automountServiceAccountToken": False,
    }


def fleet_children(fleet: FleetSeen) -> list[dict[str, Any]]:
    """What every fleet has once, one of a kind."""
    return [service_account(fleet), service(fleet), network_policy(fleet)]


def contains(actual: Any, desired: Any) -> bool:
    """Whether the object already says all that is desired; what others added does not matter.

    Example: contains({"a": 1, "b": 2}, {"a": 1}) is True; lists compare item by item.
    """
    if isinstance(desired, dict):
        return isinstance(actual, dict) and all(
            key in actual and contains(actual[key], value) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(desired)
            and all(contains(one, other) for one, other in zip(actual, desired, strict=True))
        )
    return bool(actual == desired)
