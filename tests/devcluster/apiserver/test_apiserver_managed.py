"""Properties of server-side apply, whatever two managers apply in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from videofleet_devcluster.apiserver import managed
from videofleet_devcluster.apiserver.managed import difference, graft
from videofleet_devcluster.apiserver.patches import merge_patch, strategic_merge
from videofleet_devcluster.objects import clone

TEXT = {"type": "string"}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "labels": {"type": "object", "additionalProperties": TEXT},
                "selector": {"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-strategy": "merge",
                    "x-kubernetes-patch-merge-key": "name",
                    "items": {"type": "object", "properties": {"name": TEXT, "port": {"type": "integer"}}},
                },
                "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
                "steps": {"type": "array", "items": {"type": "integer"}},
            },
        }
    },
}
WORDS = st.sampled_from(["a", "b", "c"])
PORT = st.fixed_dictionaries({"name": WORDS}, optional={"port": st.integers(0, 2)})
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(WORDS, WORDS, max_size=3),
        "selector": st.dictionaries(WORDS, WORDS, max_size=2),
        "ports": st.lists(PORT, max_size=3, unique_by=lambda port: port["name"]),
        "tags": st.lists(WORDS, max_size=3, unique=True),
        "steps": st.lists(st.integers(0, 2), max_size=2),
    },
)
HISTORY = st.lists(st.tuples(st.sampled_from(["one", "two"]), SPEC), min_size=1, max_size=5)


def applied(live, manager, spec):
    config = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    who = managed.Manager(manager, "v1")
    return managed.apply(live, clone(config), SCHEMA, who, force=True)


def without_times(obj):
    entries = [{**entry, "time": ""} for entry in obj["metadata"]["managedFields"]]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


@settings(max_examples=200)
@given(HISTORY)
def test_apply_says_what_is_and_repeats_without_a_change(history):
    live = None
    for manager, spec in history:
        before = clone(live)
        now = applied(live, manager, spec)
        assert live == before, "the live object is never changed in place"
        live = now
        for name, value in spec.items():
            if name in ("selector", "steps"):
                assert live["spec"][name] == value
            if name == "labels":
                assert value.items() <= live["spec"]["labels"].items()
            if name == "ports":
                found = {port["name"]: port for port in live["spec"]["ports"]}
                assert all(port.items() <= found[port["name"]].items() for port in value)
            if name == "tags":
                assert set(value) <= set(live["spec"]["tags"])
        assert without_times(applied(live, manager, spec)) == without_times(live)


@settings(max_examples=200)
@given(HISTORY)
def test_when_everybody_lets_go_nothing_is_left(history):
    live = None
    for manager, spec in history:
        live = applied(live, manager, spec)
    for manager in ("one", "two"):
        live = applied(live, manager, {})
    assert not any(live["spec"].values()), live


@settings(max_examples=200)
@given(SPEC, SPEC)
def test_an_update_owns_exactly_what_it_changed(before, after):
    old, new = {"metadata": {}, "spec": before}, {"metadata": {}, "spec": after}
    trie = {}
    for path, added in difference(old, new, SCHEMA):
        if added is not None:
            graft(trie, path, added)
    entries = managed.after_update(old, {**new, "metadata": {}}, SCHEMA, managed.Manager("m", "v1"))
    assert [entry["fieldsV1"] for entry in entries] == ([trie] if trie else [])
    assert (before == after) <= (not entries)


@settings(max_examples=200)
@given(SPEC, SPEC)
def test_patches_reach_what_they_say(live, patch):
    schema = SCHEMA["properties"]["spec"]
    merged = merge_patch(clone(live), clone(patch))
    assert all(merged[name] == value for name, value in patch.items() if isinstance(value, list))
    strategic = strategic_merge(clone(live), clone(patch), schema)
    names = {port["name"] for port in live.get("ports", []) + patch.get("ports", [])}
    assert {port["name"] for port in strategic.get("ports", [])} == names
    assert strategic_merge(clone(strategic), clone(patch), schema) == strategic
