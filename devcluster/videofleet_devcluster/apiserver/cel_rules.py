"""x-kubernetes-validations: the CEL rules of a structural schema, compiled once per CustomResourceDefinition.

A rule that names `oldSelf` is a transition rule: it runs only where there is an old value to compare with.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import cel

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.apiserver.structure import Schema
from videofleet_devcluster.objects import Object

# Of Kubernetes' CEL libraries, what this library lacks and we use.
_FUNCTIONS = {"isSorted": lambda values: all(operator.le(a, b) for a, b in pairwise(values))}


@dataclass(frozen=True)
class Rule:
    """One rule as the schema states it. Compiling raises ValueError."""

    source: Object

    @cached_property
    def program(self) -> cel.Program:
        return cel.compile(self.source["rule"])

    @cached_property
    def message_program(self) -> cel.Program | None:
        text = self.source.get("messageExpression")
        return cel.compile(text) if text else None

    @cached_property
    def is_transition(self) -> bool:
        return "oldSelf" in self.program.variables()

    def fault(self, value: Any, old: Any, path: str) -> Cause | None:
        """What the value does wrong; None when the rule holds."""
        if self.is_transition and old is None:
            return None
        context = cel.Context({"self": value, "oldSelf": old}, _FUNCTIONS)
        try:
            if self.program.execute(context) is True:
                return None
            text = self._message(context)
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            text = f'"object": rule evaluation error: {error}'
        where = (path + self.source.get("fieldPath", "")).lstrip(".") or "<nil>"
        return Cause(self.source.get("reason", "FieldValueInvalid"), f"Invalid value: {text}", where)

    def _message(self, context: cel.Context) -> str:
        text = self.message_program.execute(context) if self.message_program is not None else None
        if isinstance(text, str) and text.strip():
            return text
        return str(self.source.get("message") or f"failed rule: {self.source['rule'].strip()}")


@dataclass(frozen=True)
class RuleTree:
    """The rules of a schema and of what is below it; parts without rules are not in it."""

    schema: Object
    rules: tuple[Rule, ...]
    properties: dict[str, "RuleTree"]
    values: "RuleTree | None"  # of map entries
    items: "RuleTree | None"

    def faults(self, value: Any, old: Any, path: str = "") -> Iterator[Cause]:
        """Every rule that the value breaks."""
        yield from filter(None, (rule.fault(value, old, path) for rule in self.rules))
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                if tree := self.properties.get(name, self.values):
                    yield from tree.faults(item, before.get(name), f"{path}.{name}" if path else name)
        elif isinstance(value, list) and self.items is not None:
            # Old items can be told apart in keyed lists only; those of atomic lists and sets have no counterpart.
            is_keyed = isinstance(old, list) and structure.list_type(self.schema) == "map"
            before = structure.keyed(self.schema, old) if is_keyed else {}
            for index, item in enumerate(value):
                was = before.get(structure.item_key(self.schema, item)) if before else None
                yield from self.items.faults(item, was, f"{path}[{index}]")


def rule_tree(schema: Schema) -> RuleTree | None:
    """The rules in a structural schema; None when it has none."""
    if not schema:
        return None
    rules = tuple(Rule(source) for source in schema.get("x-kubernetes-validations", ()))
    below = {name: rule_tree(part) for name, part in schema.get("properties", {}).items() if name != "metadata"}
    properties = {name: tree for name, tree in below.items() if tree is not None}
    extra = schema.get("additionalProperties")
    values = rule_tree(extra) if isinstance(extra, dict) else None
    items = rule_tree(schema.get("items"))
    return RuleTree(schema, rules, properties, values, items) if rules or properties or values or items else None


def compile_faults(schema: Schema, path: str) -> Iterator[Cause]:
    """Rules that do not compile, with where they stand in the CustomResourceDefinition."""
    for where, part, _ in structure.parts(schema, path):
        for index, source in enumerate(part.get("x-kubernetes-validations", ())):
            for field, expression in (("rule", "program"), ("messageExpression", "message_program")):
                try:
                    getattr(Rule(source), expression)
                except ValueError as error:
                    text = f'Invalid value: "{source[field]}": compilation failed: {error}'
                    yield Cause("FieldValueInvalid", text, f"{where}.x-kubernetes-validations[{index}].{field}")
