"""Structural validation of a value against a Kubernetes schema, worded as Kubernetes words it.

One function per keyword family; all faults are reported, in the order of the fields' names, not only the
first.
"""

import json
import operator
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.structure import Schema

_INVALID: Final = "FieldValueInvalid"
_SIZES: Final = ((dict, ("Properties", "properties")), (list, ("Items", "items")), (str, ("Length", "chars long")))
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
            yield from _check_list(value, schema, path)
        case str() if "pattern" in schema and not _regex(schema["pattern"]).search(value):
            yield _bad(value, path, f"should match '{schema['pattern']}'")
        case int() | float() if not isinstance(value, bool):
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


def _check_object(value: Object, schema: Object, path: str) -> Iterator[Cause]:
    for name in sorted({*value, *schema.get("required", ())}):
        below = f"{path}.{name}" if path else name
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", below)
        else:
            yield from _check(value[name], structure.child(schema, name), below)


def _check_list(value: list[Any], schema: Object, path: str) -> Iterator[Cause]:
    for index, item in enumerate(value):
        yield from _check(item, structure.items(schema), f"{path}[{index}]")


def _check_size(value: Any, schema: Object, path: str) -> Iterator[Cause]:
    """Numbers of properties, items and characters."""
    noun, unit = next(words for kind, words in _SIZES if isinstance(value, kind))
    least, most = schema.get(f"min{noun}", 0), schema.get(f"max{noun}")
    if most is not None and len(value) > most:
        if isinstance(value, str):
            yield Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path)
        else:
            text = f"Too many: {len(value)}: must have at most {most} items"
            yield Cause("FieldValueTooMany", text, path)
    if len(value) < least:
        verb = "be" if isinstance(value, str) else "have"
        yield _bad(value, path, f"should {verb} at least {least} {unit}")


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


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    """Go's RE2 and Python agree on what schemas use, but for `$`, which here would match before a newline."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))
