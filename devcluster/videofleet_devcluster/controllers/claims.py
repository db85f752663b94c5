"""Which PersistentVolume a claim gets: one that is there and fits, else a fresh folder. Pure.

A claim that names no class, or `standard`, is provisioned as a folder; class `""` binds to existing volumes
only, as on a real cluster with a default class.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from videofleet_devcluster.objects import Object, key_of, quantity, selects

CLASS: Final = "standard"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


@dataclass(frozen=True)
class ClaimPlan:
    """Bind the claim to `volume`; `provision` says that it has to be created first."""

    volume: Object
    provision: bool


def plan_claim(claim: Object, volumes: list[Object], root: Path) -> ClaimPlan | None:
    """The volume for an unbound claim; None when it has to wait for one."""
    candidates = [volume for volume in volumes if _fits(volume, claim)]
    if candidates:
        smallest = min(candidates, key=lambda v: (quantity(v["spec"]["capacity"]["storage"]), v["metadata"]["name"]))
        return ClaimPlan(_bound(smallest, claim), provision=False)
    spec = claim["spec"]
    if spec.get("storageClassName", CLASS) != CLASS or spec.get("volumeName") or spec.get("selector"):
        return None
    return ClaimPlan(_bound(folder_volume(claim, root), claim), provision=True)


def bound_claim_patch(claim: Object, volume: Object) -> tuple[Object, Object]:
    """(patch of the claim, patch of its status) that complete the binding."""
    status = {
        "phase": "Bound",
        "accessModes": volume["spec"]["accessModes"],
        "capacity": volume["spec"]["capacity"],
    }
    annotations = {"pv.kubernetes.io/bind-completed": "yes"}
    return {
        "metadata": {"annotations": annotations},
        "spec": {"volumeName": volume["metadata"]["name"]},
    }, status


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Whether the volume belongs to this very claim."""
    reference = volume["spec"].get("claimRef") or {}
    return bool(reference.get("uid") == claim["metadata"]["uid"])


def folder_volume(claim: Object, root: Path) -> Object:
    """A volume that is a folder below `root`, deleted with its claim."""
    uid, spec = claim["metadata"]["uid"], claim["spec"]
    namespace, name = key_of(claim)
    return {
        "metadata": {"name": f"pvc-{uid}", "annotations": {PROVISIONED_BY: "videofleet.dev/folder"}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "hostPath": {"path": str(root / f"{namespace}_{name}_{uid}"), "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": "Filesystem",
        },
    }


def _fits(volume: Object, claim: Object) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    reference = spec.get("claimRef")
    if reference:
        named = (reference.get("namespace"), reference.get("name")) == key_of(claim)
        return named and reference.get("uid") in (None, claim["metadata"]["uid"])
    if wanted.get("volumeName"):
        return bool(wanted["volumeName"] == volume["metadata"]["name"])
    same_class = spec.get("storageClassName", "") == wanted.get("storageClassName", CLASS)
    big_enough = quantity(spec["capacity"]["storage"]) >= quantity(wanted["resources"]["requests"]["storage"])
    modes = set(wanted["accessModes"]) <= set(spec["accessModes"])
    selected = selects(wanted.get("selector"), volume["metadata"].get("labels") or {})
    return same_class and big_enough and modes and selected


def _bound(volume: Object, claim: Object) -> Object:
    namespace, name = key_of(claim)
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}
    return volume | {"spec": volume["spec"] | {"claimRef": reference | {"uid": claim["metadata"]["uid"]}}}
