"""How objects go away: finalizers, grace of pods, owners' dependents, namespaces and CRDs with their content.

In the background the owner goes first and its dependents a moment later; in the foreground it waits for those that
block it. Everything runs on the event loop, in steps scheduled one after another, so that a deletion of thousands does
not hold it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import ApiError, Cause, conflict, invalid, not_found
from videofleet_devcluster.apiserver.requests import number
from videofleet_devcluster.apiserver.resources import Registry, Resource
from videofleet_devcluster.apiserver.store import ResourceId, Store
from videofleet_devcluster.objects import Key, Object, is_deleting, key_of, timestamp

NAMESPACES: Final = ("", "namespaces")
DEFINITIONS: Final = ("apiextensions.k8s.io", "customresourcedefinitions")
_CRD_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
_FOREGROUND: Final = "foregroundDeletion"
_NOTHING: Final[tuple[ResourceId, Object | None]] = (("", ""), None)


@dataclass(frozen=True)
class DeleteOptions:
    grace_period_s: int | None = None
    orphan: bool = False
    foreground: bool = False
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def from_json(cls, body: Object) -> "DeleteOptions":
        conditions, policy = body.get("preconditions") or {}, body.get("propagationPolicy")
        if policy not in (None, "Orphan", "Background", "Foreground"):
            text = f'Invalid value: "{policy}": valid values are "Foreground", "Background", "Orphan" or nil'
            raise invalid("DeleteOptions", "meta.k8s.io", "", Cause("FieldValueInvalid", text, "propagationPolicy"))
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
        self._store, self._registry = store, registry

    def delete(self, resource: ResourceId, key: Key, options: DeleteOptions, *, dry_run: bool = False) -> Object:
        """Deletes, or marks for deletion, and returns the object as it is then. Raises: ApiError 404, 409."""
        obj = self._store.get(resource, key)
        if obj is None:
            raise not_found(resource[1], resource[0], key[1])
        _check_preconditions(resource, obj, options)
        if dry_run:
            return obj
        uid = obj["metadata"]["uid"]
        for child, found in self._store.dependents(uid) if options.orphan else ():
            self._disown(child, found, {uid})
        if resource in (NAMESPACES, DEFINITIONS):
            return self._delete_container(resource, obj)
        grace_s = _grace_s(resource, obj, options)
        finalizers = obj["metadata"].get("finalizers") or []
        if options.foreground and _FOREGROUND not in finalizers:
            finalizers = [*finalizers, _FOREGROUND]
            self._soon(self._delete_dependents_first, uid)
        if finalizers or grace_s:
            return self._mark(resource, obj, finalizers, grace_s)
        return self.remove(resource, key)

    def released(self, resource: ResourceId, obj: Object) -> bool:
        """Whether nothing holds an object that is being deleted any more."""
        metadata = obj["metadata"]
        if not is_deleting(obj) or metadata.get("finalizers") or resource == NAMESPACES:
            return False
        return not metadata.get("deletionGracePeriodSeconds")

    def remove(self, resource: ResourceId, key: Key) -> Object:
        """Removes an object that nothing holds, and looks after what hangs on it."""
        last = self._store.remove(resource, key)
        self._soon(self._after_removal, resource, last)
        return last

    def written(self, obj: Object) -> None:
        """Looks after an object that was just stored: owners that do not exist take it with them."""
        owners = obj["metadata"].get("ownerReferences", ())
        if any(self._store.find(owner["uid"]) is None for owner in owners):
            self._soon(self._check_owners, obj["metadata"]["uid"])

    def _put(self, resource: ResourceId, obj: Object, **metadata: Any) -> Object:
        """Stores the object with other metadata; a list that became empty goes."""
        merged = {name: value for name, value in (obj["metadata"] | metadata).items() if value != []}
        changed = obj | {"metadata": merged}
        self._store.put(resource, changed)
        return changed

    def _mark(self, resource: ResourceId, obj: Object, finalizers: list[str], grace_s: int) -> Object:
        metadata = obj["metadata"]
        marks: Object = {"finalizers": finalizers} if finalizers != metadata.get("finalizers", []) else {}
        if not is_deleting(obj) or metadata.get("deletionGracePeriodSeconds", 0) > grace_s:
            at = datetime.now(UTC) + timedelta(seconds=grace_s)
            marks |= {"deletionTimestamp": timestamp(at), "deletionGracePeriodSeconds": grace_s}
        if "generation" in metadata and not is_deleting(obj):
            marks["generation"] = metadata["generation"] + 1
        return self._put(resource, obj, **marks) if marks else obj

    def _delete_dependents_first(self, uid: str) -> None:
        """Goes on with a deletion in the foreground: what blocks the owner goes, and when it is gone the owner may."""
        resource, owner = self._store.find(uid) or _NOTHING
        if owner is None or _FOREGROUND not in owner["metadata"].get("finalizers", ()):
            return
        is_blocked = False
        for child, obj in self._store.dependents(uid):
            owners = obj["metadata"]["ownerReferences"]
            if not any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in owners):
                continue
            if any(ref["uid"] != uid and self._store.find(ref["uid"]) for ref in owners):
                self._disown(child, obj, {uid})
                continue
            is_blocked = True
            if not is_deleting(obj):
                has_own = bool(self._store.dependents(obj["metadata"]["uid"]))
                self._delete_quietly(child, obj, DeleteOptions(foreground=has_own))
        if not is_blocked:
            self._let_go(resource, owner, _FOREGROUND)

    def _let_go(self, resource: ResourceId, obj: Object, finalizer: str) -> bool:
        """Takes a finalizer away; removes the object, and says so, when that was the last thing that held it."""
        left = [name for name in obj["metadata"].get("finalizers", ()) if name != finalizer]
        is_free = self.released(resource, self._put(resource, obj, finalizers=left))
        if is_free:
            self.remove(resource, key_of(obj))
        return is_free

    def _after_removal(self, resource: ResourceId, obj: Object) -> None:
        for _, child in self._store.dependents(obj["metadata"]["uid"]):
            self._soon(self._check_owners, child["metadata"]["uid"])
        for owner in obj["metadata"].get("ownerReferences", ()):
            self._soon(self._delete_dependents_first, owner["uid"])
        self._soon(self._check_container, NAMESPACES, obj["metadata"].get("namespace", ""))
        self._soon(self._check_container, DEFINITIONS, f"{resource[1]}.{resource[0]}")

    def _check_owners(self, uid: str) -> None:
        """Deletes an object all of whose owners are gone; one with an owner left loses dead references."""
        resource, obj = self._store.find(uid) or _NOTHING
        owners = {owner["uid"] for owner in (obj or {"metadata": {}})["metadata"].get("ownerReferences", ())}
        gone = {owner for owner in owners if self._store.find(owner) is None}
        if obj is not None and gone:
            if gone == owners:
                self._delete_quietly(resource, obj)
            else:
                self._disown(resource, obj, gone)

    def _disown(self, resource: ResourceId, obj: Object, owners: set[str]) -> None:
        kept = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] not in owners]
        self._put(resource, obj, ownerReferences=kept)

    def _delete_quietly(self, resource: ResourceId, obj: Object, options: DeleteOptions | None = None) -> None:
        with contextlib.suppress(ApiError):  # somebody else was faster
            self.delete(resource, key_of(obj), options or DeleteOptions())

    def _delete_container(self, resource: ResourceId, obj: Object) -> Object:
        """Namespaces and CRDs stay, terminating, until their content is gone."""
        if is_deleting(obj):
            return obj
        marks: Object = {"deletionTimestamp": timestamp()}
        if resource == NAMESPACES:
            obj = obj | {"status": obj.get("status", {}) | {"phase": "Terminating"}}
        else:
            others = [name for name in obj["metadata"].get("finalizers", ()) if name != _CRD_FINALIZER]
            marks["finalizers"] = [*others, _CRD_FINALIZER]
        marked = self._put(resource, obj, **marks)
        self._soon(self._empty, resource, marked)
        return marked

    def _empty(self, resource: ResourceId, obj: Object) -> None:
        for inner, found in list(self._content(resource, obj)):
            self._delete_quietly(inner, found)
        self._check_container(resource, obj["metadata"]["name"])

    def _content(self, resource: ResourceId, obj: Object) -> Iterator[tuple[ResourceId, Object]]:
        if resource == NAMESPACES:
            return self._store.everything(obj["metadata"]["name"])
        return self._store.everything(of=(obj["spec"]["group"], obj["spec"]["names"]["plural"]))

    def _check_container(self, resource: ResourceId, name: str) -> None:
        """Lets a terminating namespace or CRD go when nothing is left in it."""
        obj = self._store.get(resource, ("", name))
        if obj is None or not is_deleting(obj) or next(self._content(resource, obj), None) is not None:
            return
        if resource == NAMESPACES:
            self.remove(NAMESPACES, ("", name))
        elif self._let_go(DEFINITIONS, obj, _CRD_FINALIZER):
            self._registry.remove(obj)

    @staticmethod
    def _soon(step: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(step, *args)


def _check_preconditions(resource: ResourceId, obj: Object, options: DeleteOptions) -> None:
    metadata = obj["metadata"]
    version = "ResourceVersion", "resourceVersion", options.resource_version
    for label, field, value in (("UID", "uid", options.uid), version):
        if value is not None and value != metadata[field]:
            found = f"{label} in precondition: {value}, {label} in object meta: {metadata[field]}"
            raise conflict(resource[1], resource[0], metadata["name"], f"Precondition failed: {found}")


def _grace_s(resource: ResourceId, obj: Object, options: DeleteOptions) -> int:
    """Pods on a node get their grace period; the node deletes them again, with 0, when they have ended."""
    is_running = resource == ("", "pods") and obj["status"].get("phase") not in ("Succeeded", "Failed")
    if not is_running or not obj["spec"].get("nodeName"):
        return 0
    if options.grace_period_s is not None:
        return options.grace_period_s
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))


def returns_object(resource: Resource) -> bool:
    """Whether a completed deletion answers with the object instead of a Status."""
    kinds = ("PersistentVolume", "PersistentVolumeClaim", "Pod", "Service", "ServiceAccount")
    return not resource.is_custom and resource.kind in kinds
