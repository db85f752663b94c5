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
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.structure import Schema


def _is_sorted(values: list[Any]) -> bool:
    return all(operator.le(a, b) for a, b in pairwise(values))


_FUNCTIONS = {"isSorted": _is_sorted}  # of Kubernetes' CEL libraries, what this library lacks and we use


@dataclass(frozen=True)
class Rule:
    """One rule as the schema states it."""

    source: Object

    @cached_property
    def program(self) -> cel.Program:
        """The compiled rule. Raises: ValueError."""
        return cel.compile(self.source["rule"])

    @cached_property
    def is_transition(self) -> bool:
        """Whether it compares with the old value."""
        return "oldSelf" in self.program.variables()

    @cached_property
    def message_program(self) -> cel.Program | None:
        """The compiled messageExpression."""
        text = self.source.get("messageExpression")
        return cel.compile(text) if text else None

    def fault(self, value: Any, old: Any, path: str) -> Cause | None:
        """What the value does wrong; None when the rule holds."""
        if self.is_transition and old is None:
            return None
        context = cel.Context({"self": value, "oldSelf": old}, _FUNCTIONS)
        where = path + self.source.get("fieldPath", "")
        try:
            if self.program.execute(context) is True:
                return None
            text = self._message(context)
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            text = f'"object": rule evaluation error: {error}'
        reason = self.source.get("reason", "FieldValueInvalid")
        return Cause(reason, f"Invalid value: {text}", where.lstrip(".") or "<nil>")

    def _message(self, context: cel.Context) -> str:
        if self.message_program is not None:
            text = self.message_program.execute(context)
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
        for rule in self.rules:
            fault = rule.fault(value, old, path)
            if fault is not None:
                yield fault
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                tree = self.properties.get(name, self.values)
                if tree is not None:
                    yield from tree.faults(item, before.get(name), f"{path}.{name}" if path else name)
        elif isinstance(value, list) and self.items is not None:
            before = self._old_items(old)
            for index, item in enumerate(value):
                was = before.get(structure.item_key(self.schema, item)) if before else None
                yield from self.items.faults(item, was, f"{path}[{index}]")

    def _old_items(self, old: Any) -> Object:
        """Old items that can be told apart; those of atomic lists and sets have no counterpart."""
        if isinstance(old, list) and structure.list_type(self.schema) == "map":
            return structure.keyed(self.schema, old)
        return {}


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
    if not (rules or properties or values or items):
        return None
    return RuleTree(schema, rules, properties, values, items)


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
