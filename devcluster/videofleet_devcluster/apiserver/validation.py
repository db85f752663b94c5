"""Structural validation of a value against a Kubernetes schema, worded as Kubernetes words it.

One function per keyword family; all faults are reported, in the order of the fields' names, not only the
first.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.structure import Schema

_INVALID: Final = "FieldValueInvalid"
TYPE_INVALID: Final = "FieldValueTypeInvalid"


def faults(value: Any, schema: Schema, path: str = "") -> list[Cause]:
    """Everything in the value that the schema does not allow."""
    found = list(_check(value, schema, path))
    return found + list(_duplicates(value, schema, path))


def _check(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if not schema:
        return
    if value is None and schema.get("nullable"):
        return
    expected = _wrong_type(value, schema)
    if expected:
        actual = _type_name(value)
        text = f'Invalid value: "{actual}": {_in_body(path)} must be of type {expected}: "{actual}"'
        yield Cause(TYPE_INVALID, text, path or "<nil>")
        return
    yield from _check_enum(value, schema, path)
    if isinstance(value, dict):
        yield from _check_object(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    yield from _check_combined(value, schema, path)


def _in_body(path: str) -> str:
    return f"{path} in body" if path else "body"


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return names[type(value)]


def _wrong_type(value: Any, schema: Object) -> str | None:
    """The type that was expected, when the value is of another."""
    actual = _type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        return None if actual in ("integer", "string") else "integer or string"
    expected: str | None = schema.get("type")
    if expected is None or actual == expected:
        return None
    if expected == "number" and actual == "integer":
        return None
    if expected == "integer" and isinstance(value, float) and value.is_integer():
        return None
    return expected


def _check_enum(value: Any, schema: Object, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(_json(item) for item in schema["enum"])
        text = f"Unsupported value: {_json(value)}: supported values: {allowed}"
        yield Cause("FieldValueNotSupported", text, path)


def _check_object(value: Object, schema: Object, path: str) -> Iterator[Cause]:
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        yield _too_many(len(value), schema["maxProperties"], path)
    if len(value) < schema.get("minProperties", 0):
        yield _bad(value, path, f"should have at least {schema['minProperties']} properties")
    names = set(value) | set(schema.get("required", ()))
    for name in sorted(names):
        below = f"{path}.{name}" if path else name
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", below)
        else:
            yield from _check(value[name], structure.child(schema, name), below)


def _check_list(value: list[Any], schema: Object, path: str) -> Iterator[Cause]:
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield _too_many(len(value), schema["maxItems"], path)
    if len(value) < schema.get("minItems", 0):
        yield _bad(value, path, f"should have at least {schema['minItems']} items")
    for index, item in enumerate(value):
        yield from _check(item, structure.items(schema), f"{path}[{index}]")


def _check_text(value: str, schema: Object, path: str) -> Iterator[Cause]:
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        text = f"Too long: may not be more than {longest} bytes"
        yield Cause("FieldValueTooLong", text, path)
    if len(value) < schema.get("minLength", 0):
        yield _bad(value, path, f"should be at least {schema['minLength']} chars long")
    pattern = schema.get("pattern")
    if pattern is not None and not _regex(pattern).search(value):
        yield _bad(value, path, f"should match '{pattern}'")


def _check_number(value: float, schema: Object, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        word = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield _bad(value, path, f"should be {word} {high}")
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        word = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield _bad(value, path, f"should be {word} {low}")
    multiple = schema.get("multipleOf")
    if multiple is not None and value % multiple:
        yield _bad(value, path, f"should be a multiple of {multiple}")


def _check_combined(value: Any, schema: Object, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf", ()):
        yield from _check(value, part, path)
    if "anyOf" in schema and not any(_fits(value, part, path) for part in schema["anyOf"]):
        yield _bad_whole(value, path, "must validate at least one schema (anyOf)")
    if "oneOf" in schema and sum(_fits(value, part, path) for part in schema["oneOf"]) != 1:
        yield _bad_whole(value, path, "must validate one and only one schema (oneOf)")
    if "not" in schema and _fits(value, schema["not"], path):
        yield _bad_whole(value, path, "must not validate the schema (not)")


def _fits(value: Any, schema: Object, path: str) -> bool:
    return next(_check(value, schema, path), None) is None


def _duplicates(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    """Items of map and set lists that say the same key twice."""
    if isinstance(value, dict):
        for name in sorted(value):
            inner = structure.child(schema, name)
            if inner:
                yield from _duplicates(value[name], inner, f"{path}.{name}" if path else name)
    if not isinstance(value, list):
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        if structure.list_type(schema) != "atomic":
            key = structure.item_key(schema, item)
            if key in seen:
                yield Cause("FieldValueDuplicate", f"Duplicate value: {key[2:]}", f"{path}[{index}]")
            seen.add(key)
        yield from _duplicates(item, structure.items(schema), f"{path}[{index}]")


def _bad(value: Any, path: str, what: str) -> Cause:
    return Cause(_INVALID, f"Invalid value: {_json(value)}: {_in_body(path)} {what}", path)


def _bad_whole(value: Any, path: str, what: str) -> Cause:
    return Cause(_INVALID, f'Invalid value: {_json(value)}: "{path}" {what}', path or "<nil>")


def _too_many(count: int, most: int, path: str) -> Cause:
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {most} items", path)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    """Go's RE2 and Python agree on what schemas use, but for `$`, which here would match before a newline."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))
