"""Performs actions of a plan. Each is idempotent: cut off anywhere, the next plan asks for what is still missing."""

import logging

from videofleet_operator.cache import Caches
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import NotFound
from videofleet_operator.kube.paths import item
from videofleet_operator.manifests.names import TRACK_LABEL
from videofleet_operator.observed import FleetSeen
from videofleet_operator.plan.actions import Action, Apply, Delete, MarkTrack, Scale

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
        case MarkTrack(deployment=name, is_stable=is_stable):
            labels = {TRACK_LABEL: "stable" if is_stable else None}
            path = item("Deployment", fleet.namespace, name)
            caches.wrote("Deployment", fleet.key, await kube.merge(path, {"metadata": {"labels": labels}}))
        case Delete(kind=kind, name=name):  # seen again before its event comes, it is deleted again
            await _delete(kube, item(kind, fleet.namespace, name))
    _log.info(action.why, extra={"fleet": fleet.full_name, "action": type(action).__name__})


async def _delete(kube: KubeClient, path: str) -> None:
    try:
        await kube.delete(path)
    except NotFound:
        return
