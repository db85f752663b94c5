"""Structural OpenAPI v3 schema, derived from the pydantic models: one home for each field.

Takes pydantic's JSON schema and turns it into what `apiextensions.k8s.io/v1` allows: no `$ref`, no `null`
types, no titles, every string, list and map bounded. Refuses (ValueError) what would not be structural or
not bounded, so that CEL stays inside its cost budget on a real API server.
"""

from typing import Any

from pydantic import BaseModel

_BOUNDS = {"string": ("maxLength", "enum"), "array": ("maxItems",), "integer": ("maximum", "enum")}
_DROPPED = ("title", "$defs", "additionalProperties")


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model. Raises: ValueError when a field is unbounded."""
    root = model.model_json_schema(by_alias=True)
    schema = _structural(root, root.get("$defs", {}))
    _refuse_unbounded(schema, model.__name__)
    return schema


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = _without_null(_resolved(node, definitions), definitions)
    schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in schema:  # a choice of one, which CRDs know as an enum only
        schema["enum"] = [schema.pop("const")]
    if "properties" in schema:
        schema["properties"] = {name: _structural(value, definitions) for name, value in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _structural(schema["items"], definitions)
    if isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    return schema


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    siblings = {key: value for key, value in node.items() if key != "$ref"}
    return _resolved(definitions[node["$ref"].removeprefix("#/$defs/")], definitions) | siblings


def _without_null(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Optional means absent, never null: the null branch and the null default go."""
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) != 1:
        return node
    kept = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
    return _resolved(branches[0], definitions) | kept


def _refuse_unbounded(node: dict[str, Any], path: str) -> None:
    if node.get("x-kubernetes-int-or-string"):
        bounds: tuple[str, ...] = ("maxLength",)
    elif "additionalProperties" in node:
        bounds = ("maxProperties",)
    else:
        bounds = _BOUNDS.get(node.get("type", "untyped"), ())
    if bounds and not any(bound in node for bound in bounds):
        raise ValueError(f"{path} is unbounded: give it {' or '.join(bounds)}")
    for name, child in node.get("properties", {}).items():
        _refuse_unbounded(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            _refuse_unbounded(node[key], f"{path}[]")
            _refuse_defaults(node[key], f"{path}[]")


def _refuse_defaults(node: dict[str, Any], path: str) -> None:
    """Client-side apply replaces lists, so a default inside an item would read as a change for ever."""
    for name, child in node.get("properties", {}).items():
        if "default" in child:
            raise ValueError(f"{path}.{name} has a default inside a list item")
