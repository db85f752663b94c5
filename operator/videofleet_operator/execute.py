"""Performs actions of a plan. Each is idempotent: cut off anywhere, the next plan asks for what is still missing."""

import logging
from typing import Any

from videofleet_operator.cache import Caches
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import NotFound
from videofleet_operator.kube.paths import item
from videofleet_operator.manifests.names import COST_ANNOTATION, DELETION_COST, TRACK_LABEL
from videofleet_operator.observed import FleetSeen
from videofleet_operator.plan.actions import Action, Apply, CostPod, Delete, MarkTrack, Scale

_log = logging.getLogger(__name__)


async def perform(kube: KubeClient, caches: Caches, fleet: FleetSeen, action: Action) -> None:
    """One action, in the fleet's namespace; the caches learn what came of it. Raises: KubeError."""
    match action:
        case Apply(manifest=manifest):
            caches.wrote(manifest["kind"], fleet.key, await kube.apply(manifest))
        case Scale(deployment=name, replicas=replicas):
            path = item("Deployment", fleet.namespace, name)
            scale = await kube.merge(f"{path}/scale", {"spec": {"replicas": replicas}})
            caches.wrote("Deployment", fleet.key, scale)
        case CostPod(pod=name, is_costed=is_costed):
            annotations = {COST_ANNOTATION: DELETION_COST if is_costed else None}
            path = item("Pod", fleet.namespace, name)
            await _patch_if_there(kube, caches, fleet, path, {"metadata": {"annotations": annotations}})
        case MarkTrack(deployment=name, is_stable=is_stable):
            labels = {TRACK_LABEL: "stable" if is_stable else None}
            path = item("Deployment", fleet.namespace, name)
            caches.wrote("Deployment", fleet.key, await kube.merge(path, {"metadata": {"labels": labels}}))
        case Delete(kind=kind, name=name):  # seen again before its event comes, it is deleted again
            await _delete(kube, item(kind, fleet.namespace, name))
    _log.info(action.why, extra={"fleet": fleet.full_name, "action": type(action).__name__})


async def _patch_if_there(kube: KubeClient, caches: Caches, fleet: FleetSeen, path: str, patch: dict[str, Any]) -> None:
    """A pod may go at any moment, and then has no use for a cost."""
    try:
        caches.wrote("Pod", fleet.key, await kube.merge(path, patch))
    except NotFound:
        return


async def _delete(kube: KubeClient, path: str) -> None:
    try:
        await kube.delete(path)
    except NotFound:
        return
