"""Performs actions of a plan. Each is idempotent: cut off anywhere, the next plan asks for what is still missing."""

import logging

from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import NotFound
from videofleet_operator.kube.paths import item
from videofleet_operator.manifests.names import TRACK_LABEL
from videofleet_operator.observed import FleetSeen
from videofleet_operator.plan.actions import Action, Apply, Delete, MarkTrack, Scale

_log = logging.getLogger(__name__)


async def perform(kube: KubeClient, fleet: FleetSeen, action: Action) -> None:
    """One action, in the fleet's namespace. Raises: KubeError."""
    match action:
        case Apply(manifest=manifest):
            await kube.apply(manifest)
        case Scale(deployment=name, replicas=replicas):
            path = item("Deployment", fleet.namespace, name)
            await kube.merge(f"{path}/scale", {"spec": {"replicas": replicas}})
        case MarkTrack(deployment=name, is_stable=is_stable):
            labels = {TRACK_LABEL: "stable" if is_stable else None}
            await kube.merge(item("Deployment", fleet.namespace, name), {"metadata": {"labels": labels}})
        case Delete(kind=kind, name=name):
            await _delete(kube, item(kind, fleet.namespace, name))
    _log.info(action.why, extra={"fleet": fleet.full_name, "action": type(action).__name__})


async def _delete(kube: KubeClient, path: str) -> None:
    try:
        await kube.delete(path)
    except NotFound:
        return
