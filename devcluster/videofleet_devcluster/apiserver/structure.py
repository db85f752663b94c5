"""How a schema structures values: which child has which schema, which maps are atomic, what tells list items
apart.

Works on built-in and custom schemas alike. An unknown schema is None: maps merge, lists are atomic.
"""

import json
from collections.abc import Iterator
from typing import Any

from videofleet_devcluster.apiserver.objects import Object

Schema = Object | None


def child(schema: Schema, name: str) -> Schema:
    """The schema of a field or map entry; None when there is none."""
    if not schema:
        return None
    found = schema.get("properties", {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def items(schema: Schema) -> Schema:
    """The schema of list items."""
    found: Schema = schema.get("items") if schema else None
    return found


def parts(schema: Schema, path: str, what: str = "object fields") -> Iterator[tuple[str, Object, str]]:
    """The schema and all below it: where each stands, and what it describes."""
    if not isinstance(schema, dict):
        return
    yield path, schema, what
    for name, part in sorted(schema.get("properties", {}).items()):
        yield from parts(part, f"{path}.properties[{name}]")
    yield from parts(schema.get("items"), f"{path}.items", "array items")
    yield from parts(schema.get("additionalProperties"), f"{path}.additionalProperties")


def is_atomic_map(schema: Schema) -> bool:
    """Whether a map is replaced and owned as a whole."""
    return bool(schema) and (schema or {}).get("x-kubernetes-map-type") == "atomic"


def list_type(schema: Schema) -> str:
    """`map`, `set` or `atomic`."""
    return str((schema or {}).get("x-kubernetes-list-type", "atomic"))


def item_key(schema: Schema, item: Any) -> str:
    """What identifies an item of a map or set list, spelled as FieldsV1 spells it."""
    if list_type(schema) == "set":
        return "v:" + _compact(item)
    said, keys = (item if isinstance(item, dict) else {}), (schema or {})["x-kubernetes-list-map-keys"]
    values = {name: said.get(name, (child(items(schema), name) or {}).get("default")) for name in keys}
    return "k:" + _compact({name: value for name, value in values.items() if value is not None})


def keyed(schema: Schema, values: list[Any]) -> dict[str, Any]:
    """The items of a map or set list by their keys."""
    return {item_key(schema, value): value for value in values}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
