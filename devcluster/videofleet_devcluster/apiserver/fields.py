"""Sets of field paths as FieldsV1 tries: `{"f:spec": {"f:replicas": {}}}`, and the difference of two objects.

A node is a member of the set when it is empty or holds "."; other nodes only lead to members. Pure functions,
but `graft` and `cut` change the trie they are given.
"""

from collections.abc import Iterator
from typing import Any

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.objects import Object, clone
from videofleet_devcluster.apiserver.structure import Schema

Trie = dict[str, Any]
Path = tuple[str, ...]


def fields_of(value: Any, schema: Schema, *, containers: bool = False) -> Trie:
    """The set of all leaves of a value. With `containers`, maps and lists themselves are members, too."""
    dot: Trie = {".": {}} if containers and value else {}
    if isinstance(value, dict) and not structure.is_atomic_map(schema):
        leaves = {
            f"f:{name}": fields_of(item, structure.child(schema, name), containers=containers)
            for name, item in value.items()
        }
        return dot | leaves
    if isinstance(value, list) and structure.list_type(schema) == "map":
        inner = structure.items(schema)
        keyed = structure.keyed(schema, value)
        return dot | {key: {".": {}} | fields_of(item, inner, containers=containers) for key, item in keyed.items()}
    if isinstance(value, list) and structure.list_type(schema) == "set":
        return dot | {key: {} for key in structure.keyed(schema, value)}
    return {}


def difference(old: Any, new: Any, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Trie | None]]:
    """What changed: a path with the set of new fields under it, or with None where something is gone."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and not structure.is_atomic_map(schema):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _step(old, new, name, structure.child(schema, name), (*path, f"f:{name}"))
    elif isinstance(old, list) and isinstance(new, list) and structure.list_type(schema) != "atomic":
        was, now = structure.keyed(schema, old), structure.keyed(schema, new)
        for key in [*was, *(key for key in now if key not in was)]:
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


def holds(trie: Trie, path: Path) -> bool:
    """Whether the node at the path, or anything under it, is in the set."""
    for element in path:
        if element not in trie:
            return False
        trie = trie[element]
    return True


def graft(trie: Trie, path: Path, subset: Trie) -> None:
    """Adds the fields under a path."""
    addition = subset
    for element in reversed(path):
        addition = {element: addition}
    _union(trie, addition)


def cut(trie: Trie, path: Path) -> bool:
    """Removes a path and all under it, and ways that lead nowhere then. Returns whether it was there."""
    if path[0] not in trie:
        return False
    if len(path) == 1:
        del trie[path[0]]
        return True
    below = trie[path[0]]
    found = cut(below, path[1:])
    if found and not below:
        del trie[path[0]]
    return found


def _union(trie: Trie, other: Trie) -> None:
    for element, below in other.items():
        if element in trie:
            if not trie[element] and below:
                trie[element]["."] = {}
            _union(trie[element], below)
        else:
            trie[element] = clone(below)
