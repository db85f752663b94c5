"""Patches and server-side apply: merge rules, managers, conflicts, force, fields no longer applied."""


def env_of(answer):
    container = answer.spec["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value") for item in container.get("env", ())}


def owners_of(answer):
    return {entry["manager"]: entry["fieldsV1"] for entry in answer.meta["managedFields"]}


async def test_merge_patch_removes_what_is_null(given, when):
    await given.config_map("a", {"x": "1", "y": "2"})
    assert (await when.patches("configmaps/a", {"data": {"x": None, "z": "3"}}))["data"] == {"y": "2", "z": "3"}


async def test_merge_patch_replaces_lists(given, when):
    await given.widget("a", tiers=[{"name": "x", "width": 16}])
    patched = await when.patches("widgets/a", {"spec": {"tiers": [{"name": "y", "width": 32}]}})
    assert patched.spec["tiers"] == [{"name": "y", "width": 32}]


async def test_strategic_merge_merges_lists_by_key(given, when):
    await given.deployment("d", env={"A": "1"})

    def patch(*env):
        return {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": list(env)}]}}}}

    added = await when.patches("deployments/d", patch({"name": "B", "value": "2"}), how="strategic")
    container = added.spec["template"]["spec"]["containers"][0]
    assert [item["name"] for item in container["env"]] == ["B", "A"], "new items come first, as recorded"
    assert container["image"] == "img:1"
    gone = await when.patches("deployments/d", patch({"name": "A", "$patch": "delete"}), how="strategic")
    assert env_of(gone) == {"B": "2"}
    replaced = await when.patches("deployments/d", patch({"$patch": "replace"}, {"name": "C"}), how="strategic")
    assert env_of(replaced) == {"C": None}


async def test_strategic_merge_replaces_atomic_lists_and_retains_keys(given, when):
    await given.deployment("d", pod={"containers": [{"name": "c", "image": "img", "args": ["1", "2"]}]})
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "args": ["3"]}]}}}}
    answer = await when.patches("deployments/d", patch, how="strategic")
    assert answer.spec["template"]["spec"]["containers"][0]["args"] == ["3"]
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert (await when.patches("deployments/d", recreate, how="strategic")).spec["strategy"] == {"type": "Recreate"}


async def test_custom_resources_take_no_strategic_merge(given, when):
    await given.widget("a")
    answer = await when.patches("widgets/a", {"spec": {"size": 2}}, how="strategic")
    assert answer.refusal[:2] == (415, "UnsupportedMediaType")


async def test_json_patch(given, when):
    await given.widget("a", size=1)
    guarded = [{"op": "test", "path": "/spec/size", "value": 7}, {"op": "replace", "path": "/spec/size", "value": 2}]
    failed = await when.patches("widgets/a", guarded, how="json")
    assert failed.refusal[:2] == (422, "Invalid")
    guarded[0]["value"] = 1
    assert (await when.patches("widgets/a", guarded, how="json")).spec["size"] == 2
    steps = [{"op": "add", "path": "/spec/steps", "value": [1, 2]}, {"op": "add", "path": "/spec/steps/-", "value": 3}]
    assert (await when.patches("widgets/a", steps, how="json")).spec["steps"] == [1, 2, 3]
    removed = await when.patches("widgets/a", [{"op": "remove", "path": "/spec/steps/0"}], how="json")
    assert removed.spec["steps"] == [2, 3]
    assert (await when.patches("widgets/a", {"no": "patch"}, how="json")).refusal[:2] == (400, "BadRequest")


async def test_a_patch_changes_neither_name_nor_uid(given, when):
    made = await given.config_map("a")
    renamed = await when.patches("configmaps/a", {"metadata": {"name": "b"}})
    assert renamed.refusal[:2] == (400, "BadRequest")
    refused = await when.patches("configmaps/a", {"metadata": {"uid": "another"}})
    assert refused.refusal[:2] == (409, "Conflict")
    assert (await when.reads("configmaps/a")).uid == made.uid


async def test_apply_creates_owns_and_repeats_without_a_write(when, make):
    body = make.deployment(env={"A": "1"})
    first = await when.applies("deployments/d", body, by="m1")
    (entry,) = first.meta["managedFields"]
    again = await when.applies("deployments/d", body, by="m1")
    assert (first.status, again.status) == (201, 200)
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("m1", "Apply", "FieldsV1")
    spec = entry["fieldsV1"]["f:spec"]
    assert spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}'] == {
        ".": {},
        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:image": {},
        "f:name": {},
    }
    assert spec["f:selector"] == {}, "a selector is atomic"
    assert owners_of(again)["m1"] == entry["fieldsV1"]


async def test_a_repeated_apply_writes_nothing(when):
    body = {"data": {"x": "1"}}
    first = await when.applies("configmaps/a", body, by="m1")
    assert (await when.applies("configmaps/a", body, by="m1")).version == first.version


async def test_conflicts_name_the_other_manager(when, make):
    await when.applies("deployments/d", make.deployment(replicas=1), by="m1")
    refused = await when.applies("deployments/d", make.deployment(replicas=2), by="m2")
    assert refused.refusal == (
        409,
        "Conflict",
        'Apply failed with 1 conflict: conflict with "m1": .spec.replicas',
    )
    assert refused.causes == [(".spec.replicas", "FieldManagerConflict", 'conflict with "m1"')]


async def test_force_takes_the_field_over(when, make):
    await when.applies("deployments/d", make.deployment(replicas=1), by="m1")
    forced = await when.applies("deployments/d", make.deployment(replicas=2), by="m2", force=True)
    owners = owners_of(forced)
    assert forced.spec["replicas"] == 2
    assert ["f:replicas" in owners[manager]["f:spec"] for manager in ("m1", "m2")] == [False, True]


async def test_several_conflicts_are_listed(when):
    await when.applies("configmaps/a", {"data": {"x": "1", "y": "1"}}, by="m1")
    refused = await when.applies("configmaps/a", {"data": {"x": "2", "y": "2"}}, by="m2")
    assert refused["message"] == 'Apply failed with 2 conflicts: conflicts with "m1":\n- .data.x\n- .data.y'


async def test_an_ordinary_update_takes_ownership(when, make):
    await when.applies("deployments/d", make.deployment(replicas=1), by="m1")
    await when.patches("deployments/d", {"spec": {"replicas": 5}}, fieldManager="hand")
    refused = await when.applies("deployments/d", make.deployment(replicas=1), by="m1")
    assert refused.refusal[:2] == (409, "Conflict")
    assert 'conflict with "hand" using apps/v1' in refused["message"]


async def test_an_update_is_recorded_as_such(given, when):
    await when.creates("configmaps", {"metadata": {"name": "a"}, "data": {"x": "1"}}, fieldManager="hand")
    (entry,) = (await when.reads("configmaps/a")).meta["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("hand", "Update", "v1")
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:x": {}}}


async def test_the_same_value_is_owned_together(when, make):
    both, neither = make.deployment(env={"A": "1"}), make.deployment()
    await when.applies("deployments/d", both, by="m1")
    assert (await when.applies("deployments/d", both, by="m2")).status == 200
    assert env_of(await when.applies("deployments/d", neither, by="m1")) == {"A": "1"}, "m2 still applies it"
    assert env_of(await when.applies("deployments/d", neither, by="m2")) == {}


async def test_fields_no_longer_applied_go_and_foreign_ones_stay(when):
    await when.applies("configmaps/a", {"data": {"x": "1", "y": "2"}}, by="m1")
    await when.patches("configmaps/a", {"data": {"z": "3"}}, fieldManager="hand")
    assert (await when.applies("configmaps/a", {"data": {"x": "1"}}, by="m1"))["data"] == {"x": "1", "z": "3"}
    assert (await when.applies("configmaps/a", {"data": {}}, by="m1"))["data"] == {"z": "3"}


async def test_items_no_longer_applied_go_from_a_keyed_list(when):
    def spec(*names):
        return {"spec": {"model": "m", "tiers": [{"name": name, "width": 16} for name in names]}}

    await when.applies("widgets/a", spec("x", "y"), by="m1")
    await when.applies("widgets/a", {"spec": {"model": "m", "tiers": [{"name": "z", "width": 32}]}}, by="m2")
    answer = await when.applies("widgets/a", spec("y"), by="m1")
    assert [tier["name"] for tier in answer.spec["tiers"]] == ["y", "z"]


async def test_a_default_comes_back_when_its_field_is_no_longer_applied(when):
    await when.applies("widgets/a", {"spec": {"model": "m", "size": 2}}, by="m1")
    assert (await when.applies("widgets/a", {"spec": {"model": "m"}}, by="m1")).spec["size"] == 1


async def test_apply_of_the_status_owns_only_the_status(when):
    await when.applies("widgets/a", {"spec": {"model": "m", "size": 2}}, by="m1")
    ready = {"type": "Ready", "status": "True"}
    status = {"status": {"observedGeneration": 1, "conditions": [ready]}}
    first = await when.applies("widgets/a/status", status, by="m1", force=True)
    again = await when.applies("widgets/a/status", status, by="m1", force=True)
    assert (first.spec["size"], first.version) == (2, again.version)
    assert [entry.get("subresource") for entry in first.meta["managedFields"]] == [None, "status"]
    other = {"status": {"conditions": [{"type": "Other", "status": "False"}]}}
    replaced = await when.applies("widgets/a/status", other, by="m1", force=True)
    assert replaced.state == other["status"]


async def test_apply_needs_a_manager(when):
    answer = await when.applies("configmaps/a", {"data": {}}, by="")
    assert answer.refusal[:2] == (422, "Invalid")
    assert answer.causes == [("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")]


async def test_a_dry_run_of_apply_finds_conflicts_and_stores_nothing(when):
    await when.applies("configmaps/a", {"data": {"x": "1"}}, by="m1")
    assert (await when.applies("configmaps/a", {"data": {"x": "2"}}, by="m2", dryRun="All")).status == 409
    tried = await when.applies("configmaps/a", {"data": {"x": "2"}}, by="m2", force=True, dryRun="All")
    assert tried["data"] == {"x": "2"}
    assert (await when.reads("configmaps/a"))["data"] == {"x": "1"}
