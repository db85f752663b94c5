"""How objects go away: finalizers, grace of pods, owners' dependents, namespaces and CRDs with their content.

In the background the owner goes first and its dependents a moment later; in the foreground it waits for those that
block it. Everything runs on the event loop, in steps scheduled one after another, so that a deletion of thousands does
not hold it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import ApiError, Cause, conflict, invalid, not_found
from videofleet_devcluster.apiserver.objects import Key, Object, clone, is_deleting, key_of, timestamp
from videofleet_devcluster.apiserver.requests import number
from videofleet_devcluster.apiserver.resources import Registry, Resource
from videofleet_devcluster.apiserver.store import ResourceId, Store

NAMESPACES: Final = ("", "namespaces")
DEFINITIONS: Final = ("apiextensions.k8s.io", "customresourcedefinitions")
_PODS: Final = ("", "pods")
_CRD_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
_FOREGROUND: Final = "foregroundDeletion"
_FINISHED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True)
class DeleteOptions:
    """What a client may ask for when it deletes."""

    grace_period_s: int | None = None
    orphan: bool = False
    foreground: bool = False
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def from_json(cls, body: Object) -> "DeleteOptions":
        """Reads v1 DeleteOptions."""
        conditions, policy = body.get("preconditions") or {}, body.get("propagationPolicy")
        if policy not in (None, "Orphan", "Background", "Foreground"):
            text = f'Invalid value: "{policy}": valid values are "Foreground", "Background", "Orphan" or nil'
            raise invalid("DeleteOptions", "meta.k8s.io", "", [Cause("FieldValueInvalid", text, "propagationPolicy")])
        return cls(
            grace_period_s=number(body, "gracePeriodSeconds") if body.get("gracePeriodSeconds") is not None else None,
            orphan=policy == "Orphan" or body.get("orphanDependents") is True,
            foreground=policy == "Foreground",
            uid=conditions.get("uid"),
            resource_version=conditions.get("resourceVersion"),
        )


class Removal:
    """Deletes objects and what hangs on them."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def delete(self, resource: ResourceId, key: Key, options: DeleteOptions, *, dry_run: bool = False) -> Object:
        """Deletes, or marks for deletion, and returns the object as it is then. Raises: ApiError 404, 409."""
        obj = self._store.get(resource, key)
        if obj is None:
            raise not_found(resource[1], resource[0], key[1])
        self._check_preconditions(resource, obj, options)
        if dry_run:
            return obj
        if options.orphan:
            for child, child_key in self._store.dependents(obj["metadata"]["uid"]):
                self._disown(child, child_key, {obj["metadata"]["uid"]})
        if resource in (NAMESPACES, DEFINITIONS):
            return self._delete_container(resource, obj)
        grace_s = _grace_s(resource, obj, options)
        finalizers = obj["metadata"].get("finalizers") or []
        if options.foreground and _FOREGROUND not in finalizers:
            finalizers = [*finalizers, _FOREGROUND]
            self._soon(self._delete_dependents_first, obj["metadata"]["uid"])
        if finalizers or grace_s:
            return self._mark(resource, obj, finalizers, grace_s)
        return self._remove(resource, key)

    def released(self, resource: ResourceId, obj: Object) -> bool:
        """Whether nothing holds an object that is being deleted any more."""
        metadata = obj["metadata"]
        if not is_deleting(obj) or metadata.get("finalizers") or resource == NAMESPACES:
            return False
        return not metadata.get("deletionGracePeriodSeconds")

    def remove_released(self, resource: ResourceId, obj: Object) -> Object:
        """Removes an object whose last finalizer went."""
        return self._remove(resource, key_of(obj))

    def written(self, obj: Object) -> None:
        """Looks after an object that was just stored: owners that do not exist take it with them."""
        owners = obj["metadata"].get("ownerReferences", ())
        if any(not self._store.has_uid(owner["uid"]) for owner in owners):
            self._soon(self._check_owners, obj["metadata"]["uid"])

    def _check_preconditions(self, resource: ResourceId, obj: Object, options: DeleteOptions) -> None:
        metadata = obj["metadata"]
        for label, wanted, actual in (
            ("UID", options.uid, metadata["uid"]),
            ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
        ):
            if wanted is not None and wanted != actual:
                found = f"{label} in precondition: {wanted}, {label} in object meta: {actual}"
                why = f"Precondition failed: {found}"
                raise conflict(resource[1], resource[0], metadata["name"], why)

    def _mark(self, resource: ResourceId, obj: Object, finalizers: list[str], grace_s: int) -> Object:
        metadata = obj["metadata"]
        marks: Object = {"finalizers": finalizers} if finalizers else {}
        if not is_deleting(obj) or metadata.get("deletionGracePeriodSeconds", 0) > grace_s:
            at = datetime.now(UTC) + timedelta(seconds=grace_s)
            marks |= {"deletionTimestamp": timestamp(at), "deletionGracePeriodSeconds": grace_s}
        if "generation" in metadata and not is_deleting(obj):
            marks["generation"] = metadata["generation"] + 1
        marked = obj | {"metadata": metadata | marks}
        if marked != obj:
            self._store.put(resource, marked)
        return marked

    def _delete_dependents_first(self, uid: str) -> None:
        """Goes on with a deletion in the foreground: what blocks the owner goes, and when it is gone the owner may."""
        place = self._store.locate(uid)
        owner = self._store.get(*place) if place else None
        if place is None or owner is None or _FOREGROUND not in owner["metadata"].get("finalizers", ()):
            return
        is_blocked = False
        for child, key in self._store.dependents(uid):
            metadata = (self._store.get(child, key) or {})["metadata"]
            owners = metadata["ownerReferences"]
            if not any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in owners):
                continue
            if any(ref["uid"] != uid and self._store.has_uid(ref["uid"]) for ref in owners):
                self._disown(child, key, {uid})
                continue
            is_blocked = True
            if "deletionTimestamp" not in metadata:
                has_own = bool(self._store.dependents(metadata["uid"]))
                self._delete_quietly(child, key, DeleteOptions(foreground=has_own))
        if not is_blocked:
            self._let_go(*place, owner)

    def _let_go(self, resource: ResourceId, key: Key, owner: Object) -> None:
        left = [name for name in owner["metadata"]["finalizers"] if name != _FOREGROUND]
        metadata = {name: value for name, value in owner["metadata"].items() if name != "finalizers"}
        freed = owner | {"metadata": metadata | ({"finalizers": left} if left else {})}
        self._store.put(resource, freed)
        if self.released(resource, freed):
            self._remove(resource, key)

    def _remove(self, resource: ResourceId, key: Key) -> Object:
        last = self._store.remove(resource, key)
        self._soon(self._after_removal, resource, last)
        return last

    def _after_removal(self, resource: ResourceId, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        for child, child_key in self._store.dependents(uid):
            found = self._store.get(child, child_key)
            if found is not None:
                self._soon(self._check_owners, found["metadata"]["uid"])
        for owner in obj["metadata"].get("ownerReferences", ()):
            self._soon(self._delete_dependents_first, owner["uid"])
        self._soon(self._check_namespace, obj["metadata"].get("namespace", ""))
        if resource not in (NAMESPACES, DEFINITIONS):
            self._check_definition(resource)

    def _check_owners(self, uid: str) -> None:
        """Deletes an object all of whose owners are gone; one with an owner left loses dead references."""
        place = self._store.locate(uid)
        obj = self._store.get(*place) if place else None
        if place is None or obj is None:
            return
        owners = {owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())}
        gone = {owner for owner in owners if not self._store.has_uid(owner)}
        if not gone:
            return
        if gone == owners:
            self._delete_quietly(*place)
        else:
            self._disown(*place, gone)

    def _disown(self, resource: ResourceId, key: Key, owners: set[str]) -> None:
        obj = self._store.get(resource, key)
        if obj is not None:
            kept = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] not in owners]
            metadata = {name: value for name, value in obj["metadata"].items() if name != "ownerReferences"}
            self._store.put(resource, obj | {"metadata": metadata | ({"ownerReferences": kept} if kept else {})})

    def _delete_quietly(self, resource: ResourceId, key: Key, options: DeleteOptions | None = None) -> None:
        try:
            self.delete(resource, key, options or DeleteOptions())
        except ApiError:
            return  # somebody else was faster

    def _delete_container(self, resource: ResourceId, obj: Object) -> Object:
        """Namespaces and CRDs stay, terminating, until their content is gone."""
        if is_deleting(obj):
            return obj
        marked: Object = clone(obj)
        marked["metadata"]["deletionTimestamp"] = timestamp()
        if resource == NAMESPACES:
            marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
        else:
            finalizers = marked["metadata"].setdefault("finalizers", [])
            finalizers += [_CRD_FINALIZER] if _CRD_FINALIZER not in finalizers else []
        self._store.put(resource, marked)
        self._soon(self._empty, resource, key_of(obj))
        return marked

    def _empty(self, resource: ResourceId, key: Key) -> None:
        obj = self._store.get(resource, key)
        if obj is None:
            return
        for inner, found in self._content(resource, obj):
            self._delete_quietly(inner, key_of(found))
        if resource == NAMESPACES:
            self._check_namespace(key[1])
        else:
            self._check_definition(_defined(obj))

    def _content(self, resource: ResourceId, obj: Object) -> list[tuple[ResourceId, Object]]:
        if resource == NAMESPACES:
            return list(self._store.in_namespace(obj["metadata"]["name"]))
        return [(_defined(obj), found) for found in self._store.listed(_defined(obj))]

    def _check_namespace(self, name: str) -> None:
        obj = self._store.get(NAMESPACES, ("", name)) if name else None
        if obj is None or not is_deleting(obj):
            return
        if next(self._store.in_namespace(name), None) is None:
            self._remove(NAMESPACES, ("", name))

    def _check_definition(self, resource: ResourceId) -> None:
        key = ("", f"{resource[1]}.{resource[0]}")
        obj = self._store.get(DEFINITIONS, key)
        if obj is None or not is_deleting(obj) or self._store.listed(resource):
            return
        left = [name for name in obj["metadata"].get("finalizers", ()) if name != _CRD_FINALIZER]
        if left:
            self._store.put(DEFINITIONS, obj | {"metadata": obj["metadata"] | {"finalizers": left}})
            return
        self._registry.remove(obj)
        self._remove(DEFINITIONS, key)

    @staticmethod
    def _soon(step: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(step, *args)


def _defined(crd: Object) -> ResourceId:
    return crd["spec"]["group"], crd["spec"]["names"]["plural"]


def _grace_s(resource: ResourceId, obj: Object, options: DeleteOptions) -> int:
    """Pods on a node get their grace period; the node deletes them again, with 0, when they have ended."""
    if resource != _PODS or not obj["spec"].get("nodeName") or obj["status"].get("phase") in _FINISHED:
        return 0
    if options.grace_period_s is not None:
        return options.grace_period_s
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))


def returns_object(resource: Resource) -> bool:
    """Whether a completed deletion answers with the object instead of a Status."""
    kinds = ("PersistentVolume", "PersistentVolumeClaim", "Pod", "Service", "ServiceAccount")
    return not resource.is_custom and resource.kind in kinds
