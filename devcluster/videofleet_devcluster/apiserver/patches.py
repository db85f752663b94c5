"""The three patches that are not server-side apply: JSON merge, JSON patch, strategic merge.

Each takes an object that it may change, all but managedFields, and returns the patched one.
"""

from collections.abc import Callable
from typing import Any, Final

import jsonpatch
import jsonpointer

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import ApiError, bad_request, unsupported_media_type
from videofleet_devcluster.apiserver.requests import JSON_PATCH, MERGE_PATCH, PATCHES, STRATEGIC_PATCH, an_object
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.structure import Schema
from videofleet_devcluster.objects import Object, clone

_DIRECTIVE: Final = "$patch"
_DELETE_FROM_LIST: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"
_RETAIN: Final = "$retainKeys"


def change_of(content_type: str, body: Any, resource: Resource | None) -> Callable[[Object], Object]:
    """What a patch does to an object, or to a Scale when the resource is None. Raises: ApiError 400, 415."""
    if content_type == JSON_PATCH:
        return lambda obj: json_patch(obj, body)
    patch, is_strategic = an_object(body), content_type == STRATEGIC_PATCH
    if content_type == MERGE_PATCH or (is_strategic and resource is None):
        return lambda obj: merge_patch(obj, patch)
    if is_strategic and resource is not None and not resource.is_custom:
        return lambda obj: strategic_merge(obj, patch, resource.schema)
    accepted = [name for name in PATCHES if resource is None or not resource.is_custom or name != STRATEGIC_PATCH]
    raise unsupported_media_type(", ".join(accepted))


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    target = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merge_patch(target.get(name), value)
    return target


def json_patch(target: Object, patch: Any) -> Any:
    """RFC 6902. Raises: ApiError 422 when a test fails or a path is missing, 400 when it is no patch."""
    try:
        return jsonpatch.JsonPatch(patch).apply(clone(target), in_place=True)
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed, jsonpointer.JsonPointerException):
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {}) from None
    except (jsonpatch.JsonPatchException, TypeError, KeyError, AttributeError) as error:
        raise bad_request(f"error decoding patch: {type(error).__name__}; send a list of RFC 6902 operations") from None


def strategic_merge(target: Any, patch: Any, schema: Schema) -> Any:
    """A strategic merge patch: lists merge by the schema's patchMergeKey, with $patch directives."""
    if not isinstance(patch, dict):
        return patch
    if patch.get(_DIRECTIVE) == "replace":
        return {name: value for name, value in patch.items() if name != _DIRECTIVE}
    if patch.get(_DIRECTIVE) == "delete":
        return {}
    target = target if isinstance(target, dict) else {}
    if _RETAIN in patch:
        target = {name: value for name, value in target.items() if name in patch[_RETAIN]}
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM_LIST):
            name = name.removeprefix(_DELETE_FROM_LIST)
            if isinstance(target.get(name), list):
                target[name] = [item for item in target[name] if item not in value]
        elif value is None:
            target.pop(name, None)
        elif not name.startswith("$"):  # other directives are read beside the field that they speak about
            order = patch.get(_ORDER + name)
            target[name] = _merge_field(target.get(name), value, structure.child(schema, name), order)
    return target


def _merge_field(old: Any, value: Any, schema: Schema, order: list[Any] | None) -> Any:
    if not isinstance(value, list):
        return strategic_merge(old, value, schema)
    if "merge" not in (schema or {}).get("x-kubernetes-patch-strategy", ""):
        return value
    key = (schema or {}).get("x-kubernetes-patch-merge-key")
    old = old if isinstance(old, list) else []
    if key is None:
        return _sorted_by(old + [item for item in value if item not in old], order, lambda item: item)
    return _sorted_by(_merge_items(old, value, schema, key), order, lambda item: item.get(key))


def _merge_items(old: list[Any], patch: list[Any], schema: Schema, key: str) -> list[Any]:
    if any(item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if item.get(_DIRECTIVE) != "replace"]
    deleted = {item.get(key) for item in patch if item.get(_DIRECTIVE) == "delete"}
    changes = {item.get(key): item for item in patch if _DIRECTIVE not in item}
    inner, existing = structure.items(schema), {item.get(key) for item in old}
    added = [strategic_merge({}, item, inner) for name, item in changes.items() if name not in existing]
    kept = [
        strategic_merge(item, changes[item.get(key)], inner) if item.get(key) in changes else item
        for item in old
        if item.get(key) not in deleted
    ]
    return added + kept  # Kubernetes puts new items first unless $setElementOrder says otherwise


def _sorted_by(merged: list[Any], order: list[Any] | None, key: Callable[[Any], Any]) -> list[Any]:
    """As $setElementOrder says; items that it does not name come last."""
    wanted = [key(item) for item in order or ()]
    return sorted(merged, key=lambda item: wanted.index(key(item)) if key(item) in wanted else len(wanted))
