"""What a structural schema says about a value: its parts, unknown fields, defaults and faults.

Works on built-in and custom schemas alike. An unknown schema is None: maps merge, lists are atomic. Faults are worded
as Kubernetes words them, all of them, in the order of the fields' names.
"""

import json
import operator
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.objects import Object, clone

Schema = Object | None
TYPE_INVALID: Final = "FieldValueTypeInvalid"
_SIZES: Final = ((dict, ("Properties", "properties")), (list, ("Items", "items")), (str, ("Length", "chars long")))
_TYPES: Final = {type(None): "null", bool: "boolean", dict: "object", list: "array", str: "string", int: "integer"}


def child(schema: Schema, name: str) -> Schema:
    """The schema of a field or map entry; None when there is none."""
    if not schema:
        return None
    found = schema.get("properties", {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def items(schema: Schema) -> Schema:
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
        return "v:" + _json(item, sort_keys=True)
    said, keys = (item if isinstance(item, dict) else {}), (schema or {})["x-kubernetes-list-map-keys"]
    values = {name: said.get(name, (child(items(schema), name) or {}).get("default")) for name in keys}
    return "k:" + _json({name: value for name, value in values.items() if value is not None}, sort_keys=True)


def keyed(schema: Schema, values: list[Any]) -> dict[str, Any]:
    return {item_key(schema, value): value for value in values}


def prune(value: Any, schema: Schema, path: str = "") -> list[str]:
    """Removes unknown fields; returns their paths, e.g. `spec.tiers[0].typo`."""
    if not schema:
        return []
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in prune(item, items(schema), f"{path}[{i}]")]
    unknown = []
    for name in list(value) if isinstance(value, dict) else ():
        below, inner = _below(path, name), child(schema, name)
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
            fill_defaults(item, items(schema))
        return
    if not isinstance(value, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        is_missing = name not in value or (value[name] is None and not inner.get("nullable"))
        if "default" in inner and is_missing:
            value[name] = clone(inner["default"])
    for name, item in value.items():
        if isinstance(item, dict | list):
            fill_defaults(item, child(schema, name))


def drop_nulls(value: Any) -> None:
    """Removes null fields, which built-in kinds read as absent."""
    if isinstance(value, dict):
        for name in [name for name, item in value.items() if item is None]:
            del value[name]
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            drop_nulls(item)


def faults(value: Any, schema: Schema, path: str = "") -> list[Cause]:
    """Everything in the value that the schema does not allow."""
    return [*_check(value, schema, path), *_duplicates(value, schema, path)]


def _check(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if not schema or (value is None and schema.get("nullable")):
        return
    if expected := _wrong_type(value, schema):
        actual = _type_name(value)
        text = f'Invalid value: "{actual}": {_in_body(path)} must be of type {expected}: "{actual}"'
        yield Cause(TYPE_INVALID, text, path or "<nil>")
        return
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(map(_json, schema["enum"]))
        text = f"Unsupported value: {_json(value)}: supported values: {allowed}"
        yield Cause("FieldValueNotSupported", text, path)
    if isinstance(value, dict | list | str):
        yield from _check_size(value, schema, path)
    match value:
        case dict():
            yield from _check_object(value, schema, path)
        case list():
            for index, item in enumerate(value):
                yield from _check(item, items(schema), f"{path}[{index}]")
        case str() if "pattern" in schema and not _regex(schema["pattern"]).search(value):
            yield _bad(value, path, f"should match '{schema['pattern']}'")
        case int() | float() if not isinstance(value, bool):
            yield from _check_number(value, schema, path)
    yield from _check_combined(value, schema, path)


def _wrong_type(value: Any, schema: Object) -> str | None:
    """The type that was expected, when the value is of another."""
    actual = _type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        return None if actual in ("integer", "string") else "integer or string"
    expected: str | None = schema.get("type")
    is_whole = expected == "integer" and isinstance(value, float) and value.is_integer()
    fits = expected in (None, actual) or is_whole or (expected, actual) == ("number", "integer")
    return None if fits else expected


def _check_object(value: Object, schema: Object, path: str) -> Iterator[Cause]:
    for name in sorted({*value, *schema.get("required", ())}):
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", _below(path, name))
        else:
            yield from _check(value[name], child(schema, name), _below(path, name))


def _check_size(value: Any, schema: Object, path: str) -> Iterator[Cause]:
    """Numbers of properties, items and characters."""
    noun, unit = next(words for kind, words in _SIZES if isinstance(value, kind))
    least, most = schema.get(f"min{noun}", 0), schema.get(f"max{noun}")
    if most is not None and len(value) > most and isinstance(value, str):
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path)
    elif most is not None and len(value) > most:
        yield Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items", path)
    if len(value) < least:
        yield _bad(value, path, f"should {'be' if isinstance(value, str) else 'have'} at least {least} {unit}")


def _check_number(value: float, schema: Object, path: str) -> Iterator[Cause]:
    for bound, is_open, word, beyond, at in (
        ("maximum", "exclusiveMaximum", "less than", operator.gt, operator.ge),
        ("minimum", "exclusiveMinimum", "greater than", operator.lt, operator.le),
    ):
        limit, is_strict = schema.get(bound), bool(schema.get(is_open))
        if limit is not None and (at if is_strict else beyond)(value, limit):
            yield _bad(value, path, f"should be {word}{'' if is_strict else ' or equal to'} {limit}")
    multiple = schema.get("multipleOf")
    if multiple is not None and value % multiple:
        yield _bad(value, path, f"should be a multiple of {multiple}")


def _check_combined(value: Any, schema: Object, path: str) -> Iterator[Cause]:
    def fits(part: Object) -> bool:
        return next(_check(value, part, path), None) is None

    def bad(what: str) -> Cause:
        return Cause("FieldValueInvalid", f'Invalid value: {_json(value)}: "{path}" {what}', path or "<nil>")

    for part in schema.get("allOf", ()):
        yield from _check(value, part, path)
    if "anyOf" in schema and not any(map(fits, schema["anyOf"])):
        yield bad("must validate at least one schema (anyOf)")
    if "oneOf" in schema and sum(map(fits, schema["oneOf"])) != 1:
        yield bad("must validate one and only one schema (oneOf)")
    if "not" in schema and fits(schema["not"]):
        yield bad("must not validate the schema (not)")


def _duplicates(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    """Items of map and set lists that say the same key twice."""
    for name in sorted(value) if isinstance(value, dict) else ():
        if inner := child(schema, name):
            yield from _duplicates(value[name], inner, _below(path, name))
    seen: set[str] = set()
    for index, item in enumerate(value) if isinstance(value, list) else ():
        if list_type(schema) != "atomic":
            key = item_key(schema, item)
            if key in seen:
                yield Cause("FieldValueDuplicate", f"Duplicate value: {key[2:]}", f"{path}[{index}]")
            seen.add(key)
        yield from _duplicates(item, items(schema), f"{path}[{index}]")


def _bad(value: Any, path: str, what: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_json(value)}: {_in_body(path)} {what}", path)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _in_body(path: str) -> str:
    return f"{path} in body" if path else "body"


def _type_name(value: Any) -> str:
    return _TYPES.get(type(value), "number")


def _json(value: Any, *, sort_keys: bool = False) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    """Go's RE2 and Python agree on what schemas use, but for `$`, which here would match before a newline."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))
