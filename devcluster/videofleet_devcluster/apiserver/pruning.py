"""Unknown fields and defaults of an object, by its schema: what a decoder would drop, complain about or fill
in.

Changes the object it is given; nothing else.
"""

from typing import Any

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.objects import Object, clone
from videofleet_devcluster.apiserver.structure import Schema


def prune(value: Any, schema: Schema, path: str = "") -> list[str]:
    """Removes unknown fields; returns their paths, e.g. `spec.tiers[0].typo`."""
    if not schema:
        return []
    if isinstance(value, list):
        inner = structure.items(schema)
        return [found for i, item in enumerate(value) for found in prune(item, inner, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    unknown = []
    for name in list(value):
        below = f"{path}.{name}" if path else name
        inner = structure.child(schema, name)
        if inner is not None:
            unknown += prune(value[name], inner, below) if isinstance(value[name], dict | list) else []
        elif not _is_open(schema):
            del value[name]
            unknown.append(below)
    return unknown


def _is_open(schema: Object) -> bool:
    """Whether fields that the schema does not name may stay."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties"):
        return True
    return "type" not in schema and "properties" not in schema


def fill_defaults(value: Any, schema: Schema) -> None:
    """Sets the schema's defaults where fields are missing, or null without being nullable."""
    if not schema:
        return
    if isinstance(value, list):
        for item in value:
            fill_defaults(item, structure.items(schema))
        return
    if not isinstance(value, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        is_missing = name not in value or (value[name] is None and not inner.get("nullable"))
        if "default" in inner and is_missing:
            value[name] = clone(inner["default"])
    for name, item in value.items():
        if isinstance(item, dict | list):
            fill_defaults(item, structure.child(schema, name))


def drop_nulls(value: Any) -> None:
    """Removes null fields, which built-in kinds read as absent."""
    if isinstance(value, dict):
        for name in [name for name, item in value.items() if item is None]:
            del value[name]
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            drop_nulls(item)
