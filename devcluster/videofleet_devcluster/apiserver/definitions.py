"""Schemas of the built-in kinds, from the definitions that kubernetes-validate ships.

They say which fields exist, how lists merge and what belongs together; nothing here is typed in by hand. Loaded once.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate

from videofleet_devcluster.apiserver.defaults import BY_TYPE
from videofleet_devcluster.objects import Object

_FILE: Final = "kubernetes-json-schema/v1.36.0-local/_definitions.json"
_REF: Final = "#/components/schemas/"
_GVK: Final = "x-kubernetes-group-version-kind"
_NULLABLE: Final = re.compile(r'\[\s*("[a-z]+"),\s*"null"\s*\]')
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_OPEN_ENDED: Final = (
    "FieldsV1", "IntOrString", "JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray", "Quantity", "RawExtension",
)  # fmt: skip  # any JSON may stand there


@cache
def documents() -> dict[str, Object]:
    """The definitions as OpenAPI v3 components: name → schema with references."""
    text = (Path(kubernetes_validate.__file__).parent / _FILE).read_text()
    text = _NULLABLE.sub(r"\1", text).replace("#/$defs/", _REF)
    schemas: dict[str, Object] = json.loads(text)["$defs"]
    for schema in schemas.values():  # which versions of a kind is the business of the resource table
        for field in ("apiVersion", "kind"):
            schema.get("properties", {}).get(field, {}).pop("enum", None)
    return schemas


@cache
def _resolved() -> dict[str, Object]:
    """The definitions with references replaced by what they name (cyclic where Kubernetes is), and with defaults."""
    schemas: dict[str, Object] = json.loads(json.dumps(documents()))
    for name, schema in schemas.items():
        if name.rsplit(".", 1)[1] in _OPEN_ENDED:
            schema.clear()
            schema["x-kubernetes-preserve-unknown-fields"] = True
    for schema in schemas.values():
        _link(schema, schemas)
    for name, schema in schemas.items():
        fields = schema.get("properties", {})
        for field, default in BY_TYPE.get(name.rsplit(".", 1)[1], {}).items():
            if field in fields:
                fields[field] = fields[field] | {"default": default}
    return schemas


def _link(node: Any, schemas: dict[str, Object]) -> Any:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            return schemas[node["$ref"].removeprefix(_REF)]
        for key, value in node.items():
            node[key] = _link(value, schemas)
    elif isinstance(node, list):
        node[:] = [_link(item, schemas) for item in node]
    return node


def schema_named(name: str) -> Object:
    """The resolved schema of a definition, e.g. `io.k8s.api.core.v1.Pod`."""
    return _resolved()[name]


def metadata_schema() -> Object:
    return _resolved()[_META + "ObjectMeta"]


@cache
def kinds() -> dict[tuple[str, str], str]:
    """The definition of every kind: apiVersion and kind → name."""
    return {
        (f"{gvk['group']}/{gvk['version']}".removeprefix("/"), gvk["kind"]): name
        for name, schema in documents().items()
        for gvk in schema.get(_GVK, ())
    }


def go_field(definition: str, path: str) -> tuple[str, str]:
    """The Go struct that holds a scalar field, and the field's Go type: `DeploymentSpec`, `int32`.

    >>> go_field("io.k8s.api.apps.v1.Deployment", "spec.template.spec.containers[0].name")
    ('Container', 'string')
    """
    struct, schema = definition, documents()[definition]
    for step in re.findall(r"[^.\[\]]+", path):
        inner = schema.get("items", {}) if step.isdecimal() else schema.get("properties", {}).get(step, {})
        target = inner.get("$ref") or (inner.get("allOf") or [{}])[0].get("$ref", "")
        if target:
            struct = target.removeprefix(_REF)
        schema = documents()[struct] if target else inner
    types = {"integer": schema.get("format", "int64"), "number": "float64", "boolean": "bool"}
    return struct.rsplit(".", 1)[1], str(types.get(schema.get("type", ""), schema.get("type", "object")))


def reachable(names: list[str]) -> dict[str, Object]:
    """The components that these definitions need, themselves included, with references."""
    found: dict[str, Object] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = documents()[name]
            todo += [ref.removeprefix(_REF) for ref in _references(found[name])]
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _references(item)
