"""metadata.managedFields: who owns which field, after ordinary writes and after server-side apply.

An update takes what it changed away from everybody else. An apply owns what it says, conflicts with others
about values it would change, and removes what it said last time and nobody else owns.
"""

from dataclasses import dataclass
from typing import Any, Final

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import ApiError, Cause
from videofleet_devcluster.apiserver.fields import Path, Trie, cut, difference, fields_of, graft, holds
from videofleet_devcluster.apiserver.objects import Object, clone, timestamp
from videofleet_devcluster.apiserver.structure import Schema

_SYSTEM: Final = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
     "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}
)  # fmt: skip  # nobody owns these


@dataclass(frozen=True)
class Manager:
    """Who writes: a name, through which version and subresource."""

    name: str
    group_version: str
    subresource: str = ""

    def entry(self, operation: str) -> Object:
        """A new managedFields entry without fields."""
        entry: Object = {"manager": self.name, "operation": operation, "apiVersion": self.group_version}
        entry |= {"time": timestamp(), "fieldsType": "FieldsV1", "fieldsV1": {}}
        return entry | ({"subresource": self.subresource} if self.subresource else {})

    def wrote(self, entry: Object, operation: str) -> bool:
        """Whether the entry is this manager's for the operation."""
        return (entry["manager"], entry["operation"], entry.get("subresource", "")) == (
            self.name,
            operation,
            self.subresource,
        )


def without_system_fields(obj: Object) -> Object:
    """The part of an object that can be owned."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _SYSTEM}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return rest | ({"metadata": metadata} if metadata else {})


def after_update(old: Object | None, new: Object, schema: Schema, manager: Manager) -> list[Object]:
    """managedFields after an ordinary create or update turned `old` into `new`."""
    entries = [dict(entry) for entry in new["metadata"].get("managedFields", ())]
    before = without_system_fields(old) if old else {}
    changes = list(difference(before, without_system_fields(new), schema))
    if not changes:
        return entries
    own = next((entry for entry in entries if manager.wrote(entry, "Update")), None)
    if own is None:
        own = manager.entry("Update")
        entries.append(own)
    for entry in entries:
        _take(entry, [path for path, added in changes if added is None or entry is not own])
    gained = [(path, added) for path, added in changes if added is not None]
    if gained:
        own["fieldsV1"] = clone(own["fieldsV1"])
        own["time"] = timestamp()
        for path, added in gained:
            graft(own["fieldsV1"], path, added or {})
    return _ordered(entries)


def _take(entry: Object, paths: list[Path]) -> None:
    """Removes paths from an entry of its own list; the trie is copied before it is changed."""
    paths = [path for path in paths if holds(entry["fieldsV1"], path)]
    if paths:
        entry["fieldsV1"] = clone(entry["fieldsV1"])
        for path in paths:
            cut(entry["fieldsV1"], path)


def apply(live: Object | None, config: Object, schema: Schema, manager: Manager, *, force: bool) -> Object:
    """The object after a server-side apply, with its new managedFields. Raises: ApiError 409 on conflicts.

    `live` None is a create. System fields of `live` are kept; defaults are the caller's business.
    """
    config = _without_nulls(config)
    wanted = fields_of(without_system_fields(config), schema)
    base = live or {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}}
    ownable = {name: value for name, value in without_system_fields(config).items() if name != "metadata"}
    ownable["metadata"] = config.get("metadata", {})
    merged: Object = merge(base, ownable, schema)
    entries = [dict(entry) for entry in base["metadata"].get("managedFields", ())]
    own = next((entry for entry in entries if manager.wrote(entry, "Apply")), None)
    others = [entry for entry in entries if entry is not own]
    if live:
        _settle_conflicts(live, merged, schema, wanted, others, force=force)
    if own is not None:
        remove_dropped(merged, own["fieldsV1"], wanted, [entry["fieldsV1"] for entry in others], schema)
    if own is None:
        own = manager.entry("Apply")
        entries.append(own)
    if own["fieldsV1"] != wanted:
        own |= {"fieldsV1": wanted, "time": timestamp(), "apiVersion": manager.group_version}
    merged["metadata"] = merged["metadata"] | {"managedFields": _ordered(entries)}
    return merged


def _settle_conflicts(
    live: Object, merged: Object, schema: Schema, wanted: Trie, others: list[Object], *, force: bool
) -> None:
    changed = [
        path for path, _ in difference(without_system_fields(live), without_system_fields(merged), schema)
        if holds(wanted, path)
    ]  # fmt: skip
    clashes = [(entry, path) for entry in others for path in changed if holds(entry["fieldsV1"], path)]
    if clashes and not force:
        raise _conflict(clashes)
    for entry in others:
        _take(entry, changed)


def _conflict(clashes: list[tuple[Object, Path]]) -> ApiError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_described(entry)}", _readable(path)) for entry, path in clashes
    ]
    plural = "s" if len(causes) > 1 else ""
    told: dict[str, list[str]] = {}
    for cause in causes:
        told.setdefault(cause.message, []).append(cause.field)
    if len(causes) == 1:
        text = f"{causes[0].message}: {causes[0].field}"
    else:
        lines = (f"{message}:\n" + "\n".join(f"- {path}" for path in paths) for message, paths in told.items())
        text = "\n".join(lines) if len(told) == 1 else "conflicts " + "\n".join(lines)
    message = f"Apply failed with {len(causes)} conflict{plural}: {text}"
    return ApiError(409, "Conflict", message, {"causes": [cause.to_json() for cause in causes]})


def _described(entry: Object) -> str:
    """The manager as Kubernetes names it: an applier by name, an updater with the way it wrote."""
    if entry["operation"] == "Apply":
        return f'"{entry["manager"]}"'
    through = f" with subresource {entry['subresource']!r}".replace("'", '"') if entry.get("subresource") else ""
    return f'"{entry["manager"]}"{through} using {entry["apiVersion"]}'


def _readable(path: Path) -> str:
    """`.spec.containers[name="c"].image`."""
    text = ""
    for element in path:
        kind, name = element[:2], element[2:]
        if kind == "f:":
            text += f".{name}"
        elif kind == "k:":
            text += "[" + name.strip("{}").replace('":', "=").replace('"', "", 1).replace(',"', ",") + "]"
        else:
            text += f"[={name}]"
    return text


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """The applied configuration laid over the live value, by the schema's list and map types."""
    if isinstance(live, dict) and isinstance(config, dict) and not structure.is_atomic_map(schema):
        return live | {
            name: merge(live.get(name), value, structure.child(schema, name)) for name, value in config.items()
        }
    if isinstance(live, list) and isinstance(config, list) and structure.list_type(schema) != "atomic":
        return _merge_lists(structure.keyed(schema, live), structure.keyed(schema, config), structure.items(schema))
    return config


def _merge_lists(live: dict[str, Any], config: dict[str, Any], schema: Schema) -> list[Any]:
    """Items in the order of the configuration; live items that it does not name stay where they were."""
    merged: list[Any] = []
    rest = list(live)
    for key, value in config.items():
        while rest and rest[0] not in config:
            merged.append(live[rest.pop(0)])
        if rest:
            rest.pop(0)
        merged.append(merge(live[key], value, schema) if key in live else value)
    return merged + [live[key] for key in rest if key not in config]


def remove_dropped(value: Any, before: Trie, now: Trie, others: list[Trie], schema: Schema) -> None:
    """Removes what was applied before and is owned no more; containers on the way are copied, not changed."""
    for element in [element for element in before if element != "."]:
        below = before[element]
        theirs = [trie[element] for trie in others if element in trie]
        gone = element not in now and not theirs
        found, inner = _at(value, element, schema)
        if found is None:
            continue
        if gone and (not below or "." in below):
            _delete(value, element, schema)
            continue
        fresh = found.copy() if isinstance(found, dict | list) else found
        remove_dropped(fresh, below, now.get(element, {}), theirs, inner)
        if gone and not fresh:
            _delete(value, element, schema)
        else:
            _replace(value, element, schema, fresh)


def _at(value: Any, element: str, schema: Schema) -> tuple[Any, Schema]:
    if element.startswith("f:"):
        name = element[2:]
        return (value.get(name) if isinstance(value, dict) else None), structure.child(schema, name)
    if not isinstance(value, list) or structure.list_type(schema) == "atomic":
        return None, None
    return structure.keyed(schema, value).get(element), structure.items(schema)


def _delete(value: Any, element: str, schema: Schema) -> None:
    if element.startswith("f:"):
        del value[element[2:]]
    else:
        value[:] = [item for item in value if structure.item_key(schema, item) != element]


def _replace(value: Any, element: str, schema: Schema, fresh: Any) -> None:
    if element.startswith("f:"):
        value[element[2:]] = fresh
    else:
        value[:] = [fresh if structure.item_key(schema, item) == element else item for item in value]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _ordered(entries: list[Object]) -> list[Object]:
    """Without the entries that own nothing; appliers first."""
    kept = [entry for entry in entries if entry["fieldsV1"]]
    return sorted(kept, key=lambda entry: entry["operation"] != "Apply")
