"""The texts made from the models: `crds/videogenerators.yaml` and `docs/reference/crd.md`. Not edited."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.alias_generators import to_camel

from videofleet_operator.crd.manifest import PAUSED_ANNOTATION, ROLLOUT_ANNOTATION, crd_manifest, openapi_schema
from videofleet_operator.crd.rules import VALIDATIONS
from videofleet_operator.crd.spec import REVISION_FIELDS
from videofleet_operator.reasons import reason_rows

_ORDER = ("type", "description", "default", "enum", "required", "properties", "items")
_INTRO = """# VideoGenerator

Made by `python -m videofleet_operator.crd` from `operator/videofleet_operator/crd/sections/`; don't edit.

`videofleet.dev/v1alpha1`, kind `VideoGenerator`, short name `vg`. A field whose change *makes a new
revision* starts new workers beside the old ones; any other change touches no worker. A field that is not
given does not count, so neither an upgrade of the operator nor a new default makes a new revision.
"""
_ANNOTATIONS = f"""
## Annotations

| annotation | meaning |
| --- | --- |
| `{PAUSED_ANNOTATION}: "true"` | Hands off: the operator writes no child and no policy, whatever the spec or anybody \
else changes; only `status` goes on (`Progressing=False`, reason `Paused`). Workers and gateway go on as they are. \
Removed, or any other value: the operator goes on from what it finds. |
| `{ROLLOUT_ANNOTATION}: VERB:REVISION[:ANYTHING]` | A command to the rollout of that revision; one that fits no \
longer does no harm. `promote`: no more evidence needed. `abort`: no more jobs, rejected. `pause`: keeps its weight. \
`resume`: goes on, through a gate too. `retry`: a rejected one again from the first step. `undo`: back to a kept \
revision. What came of it is in `status.rollout.lastCommand`; the same text twice in a row is not handled twice, so \
ANYTHING makes it new. `videofleet rollout` writes it. |
"""


class _PlainDumper(yaml.SafeDumper):
    """Writes every part out: aliases are no friends of people who read a CRD."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True


def crd_yaml() -> str:
    """The CRD as YAML."""
    text = yaml.dump(_ordered(crd_manifest()), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# Made by `python -m videofleet_operator.crd`; don't edit.\n{text}"


def _ordered(node: Any) -> Any:
    if isinstance(node, list):
        return [_ordered(item) for item in node]
    if not isinstance(node, dict):
        return node
    keys = list(node)
    if isinstance(node.get("type"), str):  # a schema, not a map of properties with one called `type`
        keys.sort(key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    return {key: _ordered(node[key]) for key in keys}


def crd_markdown() -> str:
    """The reference page."""
    schema = openapi_schema()
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    parts = [_INTRO, "## spec\n"]
    parts += [
        "| field | type | default | bounds | new revision | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    parts += [_spec_row(path, node, required) for path, node, required in _leaves("", spec, required=True)]
    parts += ["\n## Rules\n", "Checked by the API server; the message names the remedy.\n"]
    parts += ["| where | message |", "| --- | --- |", *_rule_rows("", schema)]
    parts += [_ANNOTATIONS]
    parts += ["\n## status\n", "| field | type | meaning |", "| --- | --- | --- |"]
    parts += [f"| `{path}` | {_type(node)} | {node['description']} |" for path, node, _ in _leaves("", status, True)]
    parts += ["\n## Reasons of conditions\n", "| reason | what to do |", "| --- | --- |"]
    parts += [f"| `{reason}` | {meaning} |" for reason, meaning in reason_rows()]
    return "\n".join(parts) + "\n"


def _leaves(path: str, node: dict[str, Any], required: bool) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Fields in their order; lists of objects appear and are walked into as `name[]`."""
    if path and "properties" not in node:
        yield path, node, required
    inner = node.get("items", node) if node.get("type") == "array" else node
    suffix = "[]" if inner is not node else ""
    for name, child in inner.get("properties", {}).items():
        inner_path = f"{path}{suffix}.{name}" if path else name
        yield from _leaves(inner_path, child, name in inner.get("required", []))


def _spec_row(path: str, node: dict[str, Any], required: bool) -> str:
    cells = [
        f"`{path}`",
        _type(node),
        _default(node, required),
        _bounds(node),
        _new_revision(path),
        node["description"],
    ]
    return "| " + " | ".join(cells) + " |"


def _default(node: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(node['default'])}`" if "default" in node else "–"


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "additionalProperties" in node:
        return "map of strings"
    if node["type"] == "array":
        return f"list of {node['items']['type']}s"
    return str(node["type"])


def _bounds(node: dict[str, Any]) -> str:
    if node.get("type") == "boolean":
        return "–"
    if "enum" in node:
        return " · ".join(f"`{value}`" for value in node["enum"])
    low = node.get("minimum", node.get("minItems"))
    high = node.get("maximum", node.get("maxItems", node.get("maxProperties")))
    if low is not None:
        return f"{low}–{high}"
    return f"at most {high}" if high is not None else f"at most {node['maxLength']} characters"


def _new_revision(path: str) -> str:
    fields: Any = REVISION_FIELDS
    for part in path.split("."):
        fields = {to_camel(name): kept for name, kept in fields.items()}
        fields = fields.get(part.removesuffix("[]"), False)
        if isinstance(fields, bool):
            return "yes" if fields else "no"
    return "no"


def _rule_rows(path: str, node: dict[str, Any]) -> Iterator[str]:
    for rule in node.get(VALIDATIONS, []):
        yield f"| `{(path + rule.get('fieldPath', '')).lstrip('.') or 'metadata.name'}` | {rule['message']} |"
    for name, child in node.get("properties", {}).items():
        yield from _rule_rows(f"{path}.{name}", child)
    if "items" in node:
        yield from _rule_rows(f"{path}[]", node["items"])
