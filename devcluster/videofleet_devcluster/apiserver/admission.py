"""What happens to an object between the wire and the store: decode, prune, default, validate.

Changes the object it is given, which nobody else holds. Raises ApiError; never touches the store.
"""

import re
from typing import Final

from videofleet_devcluster.apiserver.checks import built_in_faults, metadata_faults
from videofleet_devcluster.apiserver.defaults import fill_built_in
from videofleet_devcluster.apiserver.definitions import go_field
from videofleet_devcluster.apiserver.errors import ApiError, Cause, bad_request, invalid
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.structure import TYPE_INVALID, drop_nulls, faults, fill_defaults, prune
from videofleet_devcluster.objects import Object

_UNCHECKED: Final = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    "<nil>",
)
_BLOCKING: Final = (  # rules are not evaluated over values that are wrong in these ways
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", TYPE_INVALID,
)  # fmt: skip
_GO_NAMES: Final = {"integer": "number", "boolean": "bool"}  # how Go calls JSON's types
_MAY_BE_NULL: Final = ("endpoints",)  # required lists that Go clients send as null


def decode(resource: Resource, obj: Object, field_validation: str, live: Object | None = None) -> list[str]:
    """Checks kind and version, drops unknown fields; returns warnings about them. Raises: ApiError 400.

    What is equal to the `live` state has been decoded before and is not looked at again.
    """
    if not isinstance(obj.get("metadata") or {}, dict):
        raise bad_request("metadata must be an object")
    version = "apiVersion", "API version", resource.group_version
    for field, label, expected in (version, ("kind", "kind", resource.kind)):
        if obj.get(field, expected) != expected:
            what = f"the {label} in the data ({obj[field]}) does not match the expected {label} ({expected})"
            raise bad_request(what)
    obj |= {"apiVersion": resource.group_version, "kind": resource.kind, "metadata": obj.get("metadata") or {}}
    known = live or {"metadata": {}}
    fresh_metadata = _fresh(obj["metadata"], known["metadata"])
    fresh = _fresh(obj, known) | {"metadata": fresh_metadata}
    looked_at = ((obj, fresh, set(fresh)), (obj["metadata"], fresh_metadata, set(fresh_metadata)))
    if not resource.is_custom:
        drop_nulls(fresh)
    paths = prune(fresh, resource.schema)
    for whole, left, names in looked_at:
        for name in names - set(left):
            del whole[name]
    unknown = [f'unknown field "{path}"' for path in sorted(paths)]
    if unknown and field_validation == "Strict":
        raise _unhandled(resource, f"strict decoding error: {', '.join(unknown)}")
    return [] if field_validation == "Ignore" else unknown


def _fresh(obj: Object, known: Object) -> Object:
    """The parts of an object that are not known already."""
    return {name: value for name, value in obj.items() if name not in known or known[name] != value}


def complete(resource: Resource, obj: Object, old: Object | None) -> None:
    """Fills defaults and validates. Raises: ApiError 400, 422."""
    found = _custom_faults(resource, obj, old) if resource.is_custom else _built_in_faults(resource, obj, old)
    if found:
        raise invalid(resource.kind, resource.group, obj["metadata"]["name"], *found)


def _custom_faults(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    fill_defaults(obj, resource.schema)
    found = [*metadata_faults(resource.kind, obj["metadata"]), *faults(obj, resource.schema)]
    if resource.rules is None:
        return found
    if any(cause.reason in _BLOCKING for cause in found):
        return [*found, _UNCHECKED]
    return found + list(resource.rules.faults(obj, old))


def _built_in_faults(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    found: list[Cause] = []
    if old is None or any(obj.get(name) != old.get(name) for name in obj if name not in ("metadata", "status")):
        spec = {name: value for name, value in obj.items() if name != "status"}
        found = [cause for cause in faults(spec, resource.schema) if cause.field not in _MAY_BE_NULL]
        _refuse_wrong_types(resource, found)
        if found:
            return found
        fill_defaults(obj, resource.schema)
        fill_built_in(resource.kind, obj)
        found = list(built_in_faults(resource.kind, obj, old))
    return [*metadata_faults(resource.kind, obj["metadata"]), *found]


def _refuse_wrong_types(resource: Resource, found: list[Cause]) -> None:
    """Built-in kinds are decoded into Go structs: a wrong type fails there, before validation."""
    for cause in found:
        if cause.reason == TYPE_INVALID:
            actual, (struct, expected) = cause.message.split('"')[1], go_field(resource.definition, cause.field)
            field = re.sub(r"\[\d+\]", "", cause.field)
            where = f"Go struct field {struct}.{field} of type {expected}"
            raise _unhandled(resource, f"json: cannot unmarshal {_GO_NAMES.get(actual, actual)} into {where}")


def _unhandled(resource: Resource, why: str) -> ApiError:
    kind = resource.kind
    return bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {why}')
