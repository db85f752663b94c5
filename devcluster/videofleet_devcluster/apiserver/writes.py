"""Create, update, patch and delete: the way of every write from a decoded request to the store.

Invariants: one write is one synchronous step, so nobody sees half of it; a write that changes nothing keeps the
resourceVersion; `status` changes only through its subresource, `generation` only with the rest.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from videofleet_devcluster.apiserver import admission, errors, managed
from videofleet_devcluster.apiserver.defaults import assign_address, initial_status, keep_address
from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.apiserver.managed import Manager
from videofleet_devcluster.apiserver.removal import DEFINITIONS, NAMESPACES, DeleteOptions, Removal
from videofleet_devcluster.apiserver.resources import Registry, Resource
from videofleet_devcluster.apiserver.store import Store
from videofleet_devcluster.objects import NAME_LETTERS, Key, Object, clone, is_deleting, key_of, timestamp

_KEPT: Final = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_CREATED_WITH_STATUS: Final = ("Node",)  # the kubelet registers a node with its status
_MUST_SAY_VERSION: Final = ("Lease",)
_PERMANENT: Final = ("default", "kube-system", "kube-public")
_SERVICES: Final = ("", "services")
_ACCOUNTS: Final = ("", "serviceaccounts")
_ESTABLISHED: Final = (
    ("NamesAccepted", "NoConflicts", "no conflicts found"),
    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
)


@dataclass
class WriteOptions:
    """Who writes and how; `warnings` is filled on the way."""

    manager: str = "kube-apiserver"
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)

    def manager_of(self, resource: Resource) -> Manager:
        return Manager(self.manager, resource.group_version, self.subresource)


class Writes:
    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry
        self.removal = Removal(store, registry)

    def create(self, resource: Resource, namespace: str, obj: Object, options: WriteOptions) -> Object:
        """Stores a new object. Raises: ApiError."""
        options.warnings += admission.decode(resource, obj, options.field_validation)
        metadata = obj["metadata"]
        self._place(resource, namespace, metadata)
        if metadata.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        if self.store.get(resource.id, key_of(obj)) is not None:
            raise errors.already_exists(resource.plural, resource.group, metadata["name"])
        metadata.pop("managedFields", None)
        return self._insert(resource, obj, options, managed_fields=None)

    def apply(self, resource: Resource, key: Key, config: Object, options: WriteOptions) -> tuple[Object, bool]:
        """Server-side apply; returns the object and whether it is new. Raises: ApiError."""
        if not options.manager:
            cause = Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
            raise errors.invalid("PatchOptions", "meta.k8s.io", "", cause)
        options.warnings += admission.decode(resource, config, options.field_validation)
        self._place(resource, key[0], config["metadata"], name=key[1])
        if config["metadata"].pop("managedFields", None):
            raise errors.bad_request("metadata.managedFields must be nil")
        wanted_version = config["metadata"].pop("resourceVersion", None)
        config = _applicable(resource, config, options.subresource)
        live = self.store.get(resource.id, key)
        if live is None and options.subresource:
            raise errors.not_found(resource.plural, resource.group, key[1])
        if live is not None and wanted_version not in (None, live["metadata"]["resourceVersion"]):
            raise errors.conflict(resource.plural, resource.group, key[1])
        merged = clone(managed.apply(live, config, resource.schema, options.manager_of(resource), force=options.force))
        if live is None:
            managed_fields = merged["metadata"].pop("managedFields")
            return self._insert(resource, merged, options, managed_fields=managed_fields), True
        return self._replace(resource, live, merged, options, applied=True), False

    def update(self, resource: Resource, key: Key, obj: Object, options: WriteOptions) -> Object:
        """Replaces an object, or one subresource of it. Raises: ApiError."""
        options.warnings += admission.decode(resource, obj, options.field_validation)
        self._place(resource, key[0], obj["metadata"], name=key[1])
        live = self.live(resource, key)
        version = obj["metadata"].get("resourceVersion")
        if not version and (resource.is_custom or resource.kind in _MUST_SAY_VERSION):
            text = "Invalid value: 0: must be specified for an update"
            cause = Cause("FieldValueInvalid", text, "metadata.resourceVersion")
            raise errors.invalid(resource.kind, resource.group, key[1], cause)
        return self._replace(resource, live, obj, options)

    def patch(self, resource: Resource, key: Key, change: Callable[[Object], Object], options: WriteOptions) -> Object:
        """Changes a copy of the object and puts that in its place. Raises: ApiError."""
        live = self.live(resource, key)
        patched = change(_copy(live))
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise errors.bad_request("the patch leaves no object with metadata")
        options.warnings += admission.decode(resource, patched, options.field_validation, live)
        self._place(resource, key[0], patched["metadata"], name=key[1])
        return self._replace(resource, live, patched, options)

    def delete(self, resource: Resource, key: Key, delete: DeleteOptions, options: WriteOptions) -> Object:
        """Deletes an object or marks it. Raises: ApiError."""
        if resource.id == NAMESPACES and key[1] in _PERMANENT:
            raise errors.forbidden("namespaces", "", key[1], "this namespace may not be deleted")
        return self.removal.delete(resource.id, key, delete, dry_run=options.dry_run)

    def live(self, resource: Resource, key: Key) -> Object:
        """The object as it is now. Raises: ApiError 404."""
        live = self.store.get(resource.id, key)
        if live is None:
            raise errors.not_found(resource.plural, resource.group, key[1])
        return live

    def _place(self, resource: Resource, namespace: str, metadata: Object, name: str = "") -> None:
        """Fits the object's name and namespace to the path, which has the last word."""
        if metadata.get("namespace", namespace) != namespace:
            what = "the namespace of the provided object does not match the namespace sent on the request"
            raise errors.bad_request(what)
        if name and metadata.get("name", name) != name:
            what = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            raise errors.bad_request(what)
        metadata |= ({"namespace": namespace} if namespace else {}) | ({"name": name} if name else {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._free_name(resource, namespace, metadata["generateName"])
        if not metadata.get("name"):
            cause = Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
            raise errors.invalid(resource.kind, resource.group, "", cause)

    def _free_name(self, resource: Resource, namespace: str, prefix: str) -> str:
        """The prefix and five letters that no other object has."""
        while True:
            name = prefix + "".join(secrets.choice(NAME_LETTERS) for _ in range(5))
            if self.store.get(resource.id, (namespace, name)) is None:
                return name

    def _insert(
        self, resource: Resource, obj: Object, options: WriteOptions, managed_fields: list[Object] | None
    ) -> Object:
        metadata = obj["metadata"]
        self._check_room(resource, metadata)
        for name in (*_KEPT, "selfLink"):
            metadata.pop(name, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if resource.has_generation:
            metadata["generation"] = 1
        if resource.has_status and resource.kind not in _CREATED_WITH_STATUS:
            obj.pop("status", None)
        admission.complete(resource, obj, None)
        self._check_account(resource, obj)
        if managed_fields is None:
            managed_fields = managed.after_update(None, obj, resource.schema, options.manager_of(resource))
        metadata["managedFields"] = managed_fields
        if resource.has_status and not resource.is_custom and "status" not in obj:
            obj["status"] = initial_status(obj)
        _establish(resource, obj)
        if options.dry_run:
            return obj
        if resource.id == _SERVICES:
            assign_address(obj, self.store.listed(_SERVICES))
        return self._store(resource, obj)

    def _check_room(self, resource: Resource, metadata: Object) -> None:
        """The namespace has to exist and to stay."""
        if not resource.namespaced:
            return
        name = metadata["namespace"]
        namespace = self.store.get(NAMESPACES, ("", name))
        if namespace is None:
            raise errors.not_found("namespaces", "", name)
        if is_deleting(namespace):
            cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise errors.forbidden(resource.plural, resource.group, metadata["name"], why, cause)

    def _check_account(self, resource: Resource, obj: Object) -> None:
        """Pods need their ServiceAccount, as the admission plugin has it."""
        if resource.id != ("", "pods"):
            return
        namespace, account = obj["metadata"]["namespace"], obj["spec"]["serviceAccountName"]
        if self.store.get(_ACCOUNTS, (namespace, account)) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise errors.forbidden("pods", "", obj["metadata"]["name"], why)

    def _replace(
        self, resource: Resource, live: Object, obj: Object, options: WriteOptions, *, applied: bool = False
    ) -> Object:
        """Puts a new state in the place of the live one; `obj` is ours to change."""
        _check_identity(resource, live, obj)
        obj = _split_status(resource, live, obj, options.subresource)
        metadata, before = obj["metadata"], live["metadata"]
        for name in _KEPT:
            metadata.pop(name, None)
        metadata |= {name: before[name] for name in (*_KEPT, "resourceVersion") if name in before}
        if not metadata.get("managedFields"):
            metadata["managedFields"] = before.get("managedFields", [])
        _check_finalizers(resource, live, obj)
        if resource.id == _SERVICES:
            keep_address(obj, live)
        admission.complete(resource, obj, live)
        _establish(resource, obj)
        if resource.has_generation and _spec_of(resource, obj) != _spec_of(resource, live):
            metadata["generation"] = before.get("generation", 0) + 1
        if not applied:
            metadata["managedFields"] = managed.after_update(live, obj, resource.schema, options.manager_of(resource))
        if _is_same(live, obj):
            return live
        if options.dry_run:
            return obj
        if self.removal.released(resource.id, obj):
            self.store.put(resource.id, obj)
            return self.removal.remove(resource.id, key_of(obj))
        return self._store(resource, obj)

    def _store(self, resource: Resource, obj: Object) -> Object:
        """Puts the object into the store, and does what follows for certain kinds."""
        self.store.put(resource.id, obj)
        self.removal.written(obj)
        if resource.id == DEFINITIONS and not is_deleting(obj):
            self.registry.install(obj)
        if resource.id == NAMESPACES and self.store.get(_ACCOUNTS, (obj["metadata"]["name"], "default")) is None:
            account, options = self.registry.known("serviceaccounts"), WriteOptions("kube-controller-manager")
            self.create(account, obj["metadata"]["name"], {"metadata": {"name": "default"}}, options)
        return obj


def _copy(live: Object) -> Object:
    """A copy to change, but for managedFields, the largest part: they are replaced, never changed."""
    metadata: Object = {name: value for name, value in live["metadata"].items() if name != "managedFields"}
    copied: Object = clone(live | {"metadata": metadata})
    copied["metadata"]["managedFields"] = live["metadata"].get("managedFields", [])
    return copied


def _applicable(resource: Resource, config: Object, subresource: str) -> Object:
    """The part of an applied configuration that the path may change."""
    if subresource:
        identity = {name: config["metadata"][name] for name in ("name", "namespace") if name in config["metadata"]}
        kept = {name: config[name] for name in ("apiVersion", "kind", "status") if name in config}
        return kept | {"metadata": identity}
    if resource.has_status and resource.kind not in _CREATED_WITH_STATUS:
        return {name: value for name, value in config.items() if name != "status"}
    return config


def _check_identity(resource: Resource, live: Object, obj: Object) -> None:
    uid, version, name = (obj["metadata"].get(field) for field in ("uid", "resourceVersion", "name"))
    actual = live["metadata"]["uid"]
    if uid and uid != actual:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise errors.conflict(resource.plural, resource.group, str(name), why)
    if version and version != live["metadata"]["resourceVersion"]:
        raise errors.conflict(resource.plural, resource.group, str(name))


def _split_status(resource: Resource, live: Object, obj: Object, subresource: str) -> Object:
    """Through /status only the status changes, through the main path everything else."""
    if subresource == "status":
        split: Object = {name: value for name, value in live.items() if name != "status"}
        split = _copy(split) if resource.is_custom else split | {"metadata": dict(live["metadata"])}  # for new defaults
        split |= {"status": obj["status"]} if "status" in obj else {}
        if managed_fields := obj["metadata"].get("managedFields"):
            split["metadata"]["managedFields"] = managed_fields
        return split
    if resource.has_status:
        obj.pop("status", None)
        obj |= {"status": clone(live["status"])} if "status" in live else {}
    return obj


def _check_finalizers(resource: Resource, live: Object, obj: Object) -> None:
    before, after = (o["metadata"].get("finalizers") or () for o in (live, obj))
    added = [name for name in after if name not in before]
    if is_deleting(live) and added:
        told = ", ".join(f'"{name}"' for name in added)
        text = "Forbidden: no new finalizers can be added if the object is being deleted, "
        cause = Cause("FieldValueForbidden", text + f"found new finalizers []string{{{told}}}", "metadata.finalizers")
        raise errors.invalid(resource.kind, resource.group, obj["metadata"]["name"], cause)


def _establish(resource: Resource, obj: Object) -> None:
    """A CustomResourceDefinition is established at once."""
    if resource.id != DEFINITIONS:
        return
    status = obj.setdefault("status", {})
    if not status.get("conditions"):
        status["conditions"] = [
            {"type": kind, "status": "True", "lastTransitionTime": timestamp(), "reason": reason, "message": text}
            for kind, reason, text in _ESTABLISHED
        ]
    status["acceptedNames"] = clone(obj["spec"]["names"])
    stored = next(version["name"] for version in obj["spec"]["versions"] if version.get("storage"))
    versions = status.setdefault("storedVersions", [])
    if stored not in versions:
        versions.append(stored)


def _spec_of(resource: Resource, obj: Object) -> Object:
    """What generation counts: everything but metadata and a status with a subresource of its own."""
    without = ("metadata", "status") if resource.has_status or not resource.is_custom else ("metadata",)
    return {name: value for name, value in obj.items() if name not in without}


def _is_same(live: Object, obj: Object) -> bool:
    """Whether a write changes nothing; times in managedFields do not count."""

    def timeless(obj: Object) -> Object:
        fields = [{**entry, "time": ""} for entry in obj["metadata"].get("managedFields", ())]
        return {**obj, "metadata": {**obj["metadata"], "managedFields": fields}}

    return timeless(live) == timeless(obj)
