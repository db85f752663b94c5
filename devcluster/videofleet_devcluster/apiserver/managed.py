"""metadata.managedFields: who owns which field, after ordinary writes and after server-side apply.

Sets of fields are FieldsV1 tries, `{"f:spec": {"f:replicas": {}}}`: a node is a member when it is empty or holds ".".
An update takes what it changed away from everybody else. An apply owns what it says, conflicts with others about values
it would change, and removes what it said last time and nobody else owns.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.errors import ApiError, Cause
from videofleet_devcluster.apiserver.structure import Schema
from videofleet_devcluster.objects import Object, clone, timestamp

Trie = dict[str, Any]
Path = tuple[str, ...]
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
        entry: Object = {"manager": self.name, "operation": operation, "apiVersion": self.group_version}
        entry |= {"time": timestamp(), "fieldsType": "FieldsV1", "fieldsV1": {}}
        return entry | ({"subresource": self.subresource} if self.subresource else {})

    def entry_of(self, entries: list[Object], operation: str) -> Object | None:
        own = self.name, operation, self.subresource
        return next((e for e in entries if (e["manager"], e["operation"], e.get("subresource", "")) == own), None)


def after_update(old: Object | None, new: Object, schema: Schema, manager: Manager) -> list[Object]:
    """managedFields after an ordinary create or update turned `old` into `new`."""
    entries = [dict(entry) for entry in new["metadata"].get("managedFields", ())]
    changes = list(difference(_ownable(old) if old else {}, _ownable(new), schema))
    if not changes:
        return entries
    own = manager.entry_of(entries, "Update")
    if own is None:
        own = manager.entry("Update")
        entries.append(own)
    for entry in entries:
        _take(entry, [path for path, added in changes if added is None or entry is not own])
    gained = [(path, added) for path, added in changes if added is not None]
    if gained:
        own["time"] = timestamp()
    if any(added or not _holds(own["fieldsV1"], path) for path, added in gained):  # else it owns them already
        own["fieldsV1"] = clone(own["fieldsV1"])
        for path, added in gained:
            graft(own["fieldsV1"], path, added)
    return _ordered(entries)


def apply(live: Object | None, config: Object, schema: Schema, manager: Manager, *, force: bool) -> Object:
    """The object after a server-side apply, with its new managedFields. Raises: ApiError 409 on conflicts.

    `live` None is a create. System fields of `live` are kept; defaults are the caller's business.
    """
    config = _without_nulls(config)
    wanted = fields_of(_ownable(config), schema)
    base = live or {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}}
    merged: Object = merge(base, _ownable(config) | {"metadata": config.get("metadata", {})}, schema)
    entries = [dict(entry) for entry in base["metadata"].get("managedFields", ())]
    own = manager.entry_of(entries, "Apply")
    others = [entry for entry in entries if entry is not own]
    if live:
        _settle_conflicts(live, merged, schema, wanted, others, force=force)
    if own is not None:
        remove_dropped(merged, own["fieldsV1"], wanted, [entry["fieldsV1"] for entry in others], schema)
    else:
        own = manager.entry("Apply")
        entries.append(own)
    if own["fieldsV1"] != wanted:
        own |= {"fieldsV1": wanted, "time": timestamp(), "apiVersion": manager.group_version}
    merged["metadata"] = merged["metadata"] | {"managedFields": _ordered(entries)}
    return merged


def _ownable(obj: Object) -> Object:
    """The part of an object that can be owned."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _SYSTEM}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return rest | ({"metadata": metadata} if metadata else {})


def _take(entry: Object, paths: list[Path]) -> None:
    """Removes paths from an entry of its own list; the trie is copied before it is changed."""
    paths = [path for path in paths if _holds(entry["fieldsV1"], path)]
    if paths:
        entry["fieldsV1"] = clone(entry["fieldsV1"])
        for path in paths:
            _cut(entry["fieldsV1"], path)


def _settle_conflicts(
    live: Object, merged: Object, schema: Schema, wanted: Trie, others: list[Object], *, force: bool
) -> None:
    changed = [path for path, _ in difference(_ownable(live), _ownable(merged), schema) if _holds(wanted, path)]
    clashes = [(entry, path) for entry in others for path in changed if _holds(entry["fieldsV1"], path)]
    if clashes and not force:
        raise _conflict(clashes)
    for entry in others:
        _take(entry, changed)


def _conflict(clashes: list[tuple[Object, Path]]) -> ApiError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_described(entry)}", _readable(path)) for entry, path in clashes
    ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        by_manager: dict[str, list[str]] = {}
        for cause in causes:
            by_manager.setdefault(cause.message.replace("conflict", "conflicts", 1), []).append(f"- {cause.field}")
        told = "\n".join(line for who, paths in by_manager.items() for line in (f"{who}:", *paths))
        message = f"Apply failed with {len(causes)} conflicts: {told}"
    return ApiError(409, "Conflict", message, {"causes": [cause.to_json() for cause in causes]})


def _described(entry: Object) -> str:
    """The manager as Kubernetes names it: an applier by name, an updater with the way it wrote."""
    if entry["operation"] == "Apply":
        return f'"{entry["manager"]}"'
    through = f' with subresource "{entry["subresource"]}"' if entry.get("subresource") else ""
    return f'"{entry["manager"]}"{through} using {entry["apiVersion"]}'


def _readable(path: Path) -> str:
    """`.spec.containers[name="c"].image`."""

    def step(kind: str, name: str) -> str:
        if kind == "f:":
            return f".{name}"
        if kind == "v:":
            return f"[={name}]"
        return f"[{','.join(f'{key}={json.dumps(value)}' for key, value in json.loads(name).items())}]"

    return "".join(step(element[:2], element[2:]) for element in path)


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
        del rest[:1]
        merged.append(merge(live[key], value, schema) if key in live else value)
    return merged + [live[key] for key in rest if key not in config]


def remove_dropped(value: Any, before: Trie, now: Trie, others: list[Trie], schema: Schema) -> None:
    """Removes what was applied before and is owned no more; containers on the way are copied, not changed."""
    for element in [element for element in before if element != "."]:
        below, theirs = before[element], [trie[element] for trie in others if element in trie]
        gone = element not in now and not theirs
        found, inner = _at(value, element, schema)
        if found is None:
            continue
        if gone and (not below or "." in below):
            _replace(value, element, schema, None)
            continue
        fresh = found.copy() if isinstance(found, dict | list) else found
        remove_dropped(fresh, below, now.get(element, {}), theirs, inner)
        _replace(value, element, schema, None if gone and not fresh else fresh)


def _at(value: Any, element: str, schema: Schema) -> tuple[Any, Schema]:
    if element.startswith("f:"):
        name = element[2:]
        return (value.get(name) if isinstance(value, dict) else None), structure.child(schema, name)
    if not isinstance(value, list) or structure.list_type(schema) == "atomic":
        return None, None
    return structure.keyed(schema, value).get(element), structure.items(schema)


def _replace(value: Any, element: str, schema: Schema, fresh: Any) -> None:
    """Puts something in the place of a field or an item, or removes it."""
    if not element.startswith("f:"):
        keyed = ((structure.item_key(schema, item), item) for item in value)
        value[:] = [fresh if key == element else item for key, item in keyed if key != element or fresh is not None]
    elif fresh is None:
        del value[element[2:]]
    else:
        value[element[2:]] = fresh


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _ordered(entries: list[Object]) -> list[Object]:
    """Without the entries that own nothing; appliers first."""
    return sorted((e for e in entries if e["fieldsV1"]), key=lambda entry: entry["operation"] != "Apply")


def fields_of(value: Any, schema: Schema, *, containers: bool = False) -> Trie:
    """The set of all leaves of a value. With `containers`, maps and lists themselves are members, too."""
    dot: Trie = {".": {}} if containers and value else {}
    if isinstance(value, dict) and not structure.is_atomic_map(schema):
        return dot | {
            f"f:{name}": fields_of(item, structure.child(schema, name), containers=containers)
            for name, item in value.items()
        }
    if not isinstance(value, list) or structure.list_type(schema) == "atomic":
        return {}
    keyed, inner = structure.keyed(schema, value), structure.items(schema)
    if structure.list_type(schema) == "set":
        return dot | {key: {} for key in keyed}
    return dot | {key: {".": {}} | fields_of(item, inner, containers=containers) for key, item in keyed.items()}


def difference(old: Any, new: Any, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Trie | None]]:
    """What changed: a path with the set of new fields under it, or with None where something is gone."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and not structure.is_atomic_map(schema):
        for name in old | new:
            yield from _step(old, new, name, structure.child(schema, name), (*path, f"f:{name}"))
    elif isinstance(old, list) and isinstance(new, list) and structure.list_type(schema) != "atomic":
        was, now = structure.keyed(schema, old), structure.keyed(schema, new)
        for key in was | now:
            yield from _step(was, now, key, structure.items(schema), (*path, key))
    else:
        yield path, fields_of(new, schema, containers=True)


def _step(old: Object, new: Object, name: str, schema: Schema, path: Path) -> Iterator[tuple[Path, Trie | None]]:
    if name not in new:
        yield path, None
    elif name not in old:
        added = fields_of(new[name], schema, containers=True)
        yield path, ({".": {}} | added if path[-1].startswith("k:") else added)
    else:
        yield from difference(old[name], new[name], schema, path)


def _holds(trie: Trie, path: Path) -> bool:
    """Whether the node at the path, or anything under it, is in the set."""
    for element in path:
        if element not in trie:
            return False
        trie = trie[element]
    return True


def graft(trie: Trie, path: Path, subset: Trie) -> None:
    """Adds the fields under a path."""
    for element in reversed(path):
        subset = {element: subset}
    _union(trie, subset)


def _union(trie: Trie, other: Trie) -> None:
    for element, below in other.items():
        if element not in trie:
            trie[element] = clone(below)
            continue
        if not trie[element] and below:
            trie[element]["."] = {}
        _union(trie[element], below)


def _cut(trie: Trie, path: Path) -> None:
    """Removes a path that is there and all under it, and ways that lead nowhere then."""
    if len(path) > 1:
        _cut(trie[path[0]], path[1:])
    if len(path) == 1 or not trie[path[0]]:
        del trie[path[0]]
