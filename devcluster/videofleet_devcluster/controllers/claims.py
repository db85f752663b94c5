"""Which PersistentVolume a claim gets: one that is there and fits, else a fresh folder.

The plan is pure; Claims performs it. A claim that names no class, or `standard`, is provisioned as a folder; class `""`
binds to existing volumes only, as on a real cluster with a default class.
"""

import asyncio
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from videofleet_devcluster.client import VOLUMES, ApiClient
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    phase_of,
    quantity,
    selects,
    uid_of,
)

CLASS: Final = "standard"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


@dataclass(frozen=True)
class ClaimPlan:
    """Bind the claim to `volume`; `provision` says that it has to be created first."""

    volume: Object
    provision: bool


class Claims:
    """Binds claims to volumes, and removes provisioned folders with their claims."""

    def __init__(self, client: ApiClient, claims: Informer, volumes: Informer, root: Path) -> None:
        self._client, self._claims, self._volumes, self._root = client, claims, volumes, root
        self.loop = Loop("claim", self.claim)
        claims.listen(self.loop.hear)
        volumes.listen(lambda _obj, _before: self._try_again())

    def _try_again(self) -> None:
        for claim in self._claims.all():
            self.loop.hear(claim)

    async def claim(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            await self._release(key)
        elif phase_of(claim) != "Bound" and not is_deleting(claim):
            plan = plan_claim(claim, self._volumes.all(), self._root)
            if plan is not None:
                await self._bind(claim, plan)
        return None

    async def _bind(self, claim: Object, plan: ClaimPlan) -> None:
        if plan.provision:
            volume = await self._client.create(VOLUMES, plan.volume)
            self._volumes.observe(volume)
        else:  # changes nothing when an earlier attempt came this far
            reference = {"spec": {"claimRef": plan.volume["spec"]["claimRef"]}}
            volume = await self._volumes.patch(plan.volume, reference)
        spec = volume["spec"]
        status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["capacity"]}
        annotations = {"pv.kubernetes.io/bind-completed": "yes"}
        patch = {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume["metadata"]["name"]}}
        await self._volumes.patch(volume, {"status": {"phase": "Bound"}}, "status")
        await self._claims.patch(claim, patch)
        await self._claims.patch(claim, {"status": status}, "status")

    async def _release(self, key: Key) -> None:
        for volume in self._volumes.all():
            reference = volume["spec"].get("claimRef") or {}
            if (reference.get("namespace"), reference.get("name")) != key or phase_of(volume) == "Released":
                continue
            if PROVISIONED_BY in annotations_of(volume):
                await self._client.delete(VOLUMES, "", volume["metadata"]["name"])
                await asyncio.to_thread(shutil.rmtree, volume["spec"]["hostPath"]["path"], ignore_errors=True)
            else:
                await self._volumes.patch(volume, {"status": {"phase": "Released"}}, "status")


def plan_claim(claim: Object, volumes: list[Object], root: Path) -> ClaimPlan | None:
    """The volume for an unbound claim; None when it has to wait for one."""
    candidates = [volume for volume in volumes if _fits(volume, claim)]
    if candidates:
        return ClaimPlan(_bound(min(candidates, key=_preference), claim), provision=False)
    spec = claim["spec"]
    if spec.get("storageClassName", CLASS) != CLASS or spec.get("volumeName") or spec.get("selector"):
        return None
    return ClaimPlan(_bound(_folder_volume(claim, root), claim), provision=True)


def _folder_volume(claim: Object, root: Path) -> Object:
    """A volume that is a folder below `root`, deleted with its claim."""
    spec, folder = claim["spec"], root / "_".join((*key_of(claim), uid_of(claim)))
    annotations = {PROVISIONED_BY: "videofleet.dev/folder"}
    return {
        "metadata": {"name": f"pvc-{uid_of(claim)}", "annotations": annotations},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": "Filesystem",
        },
    }


def _fits(volume: Object, claim: Object) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    if reference := spec.get("claimRef"):
        named = (reference.get("namespace"), reference.get("name")) == key_of(claim)
        return named and reference.get("uid") in (None, uid_of(claim))
    if wanted.get("volumeName"):
        return bool(wanted["volumeName"] == volume["metadata"]["name"])
    same_class = spec.get("storageClassName", "") == wanted.get("storageClassName", CLASS)
    big_enough = quantity(spec["capacity"]["storage"]) >= quantity(wanted["resources"]["requests"]["storage"])
    modes = set(wanted["accessModes"]) <= set(spec["accessModes"])
    return same_class and big_enough and modes and selects(wanted.get("selector"), labels_of(volume))


def _preference(volume: Object) -> tuple[bool, Fraction, str]:
    """What is promised to the claim comes first, then the smallest."""
    spec = volume["spec"]
    return not spec.get("claimRef"), quantity(spec["capacity"]["storage"]), volume["metadata"]["name"]


def _bound(volume: Object, claim: Object) -> Object:
    namespace, name = key_of(claim)
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}
    return volume | {"spec": volume["spec"] | {"claimRef": reference | {"uid": uid_of(claim)}}}
