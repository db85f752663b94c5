"""Patches and server-side apply: merge rules, managers, conflicts, force, fields no longer applied."""

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WIDGETS = "/apis/wire.example.com/v1alpha1/namespaces/default/widgets"
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def env_of(body):
    container = body["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value") for item in container.get("env", ())}


async def test_strategic_merge_merges_lists_by_key(api, make):
    await api("POST", DEPLOYMENTS, make.deployment(A="1"))

    def patch(*env):
        return {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": list(env)}]}}}}

    answer = await api("PATCH", f"{DEPLOYMENTS}/d", patch({"name": "B", "value": "2"}), kind=STRATEGIC)
    assert env_of(answer.body) == {"A": "1", "B": "2"}
    assert answer.body["spec"]["template"]["spec"]["containers"][0]["image"] == "img:1"
    gone = patch({"name": "A", "$patch": "delete"})
    assert env_of((await api("PATCH", f"{DEPLOYMENTS}/d", gone, kind=STRATEGIC)).body) == {"B": "2"}


async def test_custom_resources_take_no_strategic_merge(widgets, make):
    await widgets("POST", WIDGETS, make.widget())
    answer = await widgets("PATCH", f"{WIDGETS}/a", {"spec": {"size": 2}}, kind=STRATEGIC)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


async def test_json_patch(widgets, make):
    await widgets("POST", WIDGETS, make.widget())
    kind = "application/json-patch+json"
    wrong = [{"op": "test", "path": "/spec/size", "value": 7}, {"op": "remove", "path": "/spec/size"}]
    assert (await widgets("PATCH", f"{WIDGETS}/a", wrong, kind=kind)).status == 422
    right = [{"op": "replace", "path": "/spec/size", "value": 2}]
    assert (await widgets("PATCH", f"{WIDGETS}/a", right, kind=kind)).body["spec"]["size"] == 2
    assert (await widgets("PATCH", f"{WIDGETS}/a", {"no": "patch"}, kind=kind)).status == 400


async def test_apply_creates_and_repeats_without_a_write(api, make):
    first = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(A="1"), "m1")
    again = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(A="1"), "m1")
    assert (first.status, again.status) == (201, 200)
    assert first.version == again.version
    entry = first.body["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"]) == ("m1", "Apply")
    container = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    assert container == {
        ".": {},
        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:image": {},
        "f:name": {},
    }
    assert entry["fieldsV1"]["f:spec"]["f:selector"] == {}, "a selector is atomic"


async def test_conflicts_name_the_other_manager(api, make):
    await api.apply(f"{DEPLOYMENTS}/d", make.deployment(replicas=1), "m1")
    refused = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(replicas=2), "m2")
    assert refused.status == 409
    assert refused.body["message"] == 'Apply failed with 1 conflict: conflict with "m1": .spec.replicas'
    assert refused.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "m1"', "field": ".spec.replicas"}
    ]
    forced = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(replicas=2), "m2", force=True)
    assert forced.body["spec"]["replicas"] == 2
    owners = {
        entry["manager"]: "f:replicas" in entry["fieldsV1"]["f:spec"]
        for entry in forced.body["metadata"]["managedFields"]
    }
    assert owners == {"m1": False, "m2": True}


async def test_an_ordinary_update_takes_ownership(api, make):
    await api.apply(f"{DEPLOYMENTS}/d", make.deployment(replicas=1), "m1")
    await api("PATCH", f"{DEPLOYMENTS}/d?fieldManager=hand", {"spec": {"replicas": 5}}, kind=MERGE)
    refused = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(replicas=1), "m1")
    assert refused.status == 409
    assert 'conflict with "hand" using apps/v1' in refused.body["message"]


async def test_the_same_value_is_owned_together(api, make):
    await api.apply(f"{DEPLOYMENTS}/d", make.deployment(A="1"), "m1")
    assert (await api.apply(f"{DEPLOYMENTS}/d", make.deployment(A="1"), "m2")).status == 200
    left = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(), "m1")
    assert env_of(left.body) == {"A": "1"}, "m2 still applies it"
    gone = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(), "m2")
    assert env_of(gone.body) == {}


async def test_fields_no_longer_applied_go_and_foreign_ones_stay(api):
    def body(**data):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}

    await api.apply(f"{MAPS}/a", body(x="1", y="2"), "m1")
    await api("PATCH", f"{MAPS}/a?fieldManager=hand", {"data": {"z": "3"}}, kind=MERGE)
    answer = await api.apply(f"{MAPS}/a", body(x="1"), "m1")
    assert answer.body["data"] == {"x": "1", "z": "3"}
    defaults = await api.apply(f"{MAPS}/a", body(), "m1")
    assert defaults.body["data"] == {"z": "3"}


async def test_apply_of_the_status_owns_only_the_status(widgets, make):
    await widgets.apply(f"{WIDGETS}/a", make.widget(size=2), "videofleet")
    condition = {"type": "Ready", "status": "True"}
    head = {name: make.widget()[name] for name in ("apiVersion", "kind", "metadata")}
    status = head | {"status": {"observedGeneration": 1, "conditions": [condition]}}
    first = await widgets.apply(f"{WIDGETS}/a/status", status, "videofleet", force=True)
    again = await widgets.apply(f"{WIDGETS}/a/status", status, "videofleet", force=True)
    assert first.body["spec"]["size"] == 2
    assert first.version == again.version
    assert [entry.get("subresource") for entry in first.body["metadata"]["managedFields"]] == [None, "status"]
    other = head | {"status": {"conditions": [{"type": "Other", "status": "False"}]}}
    replaced = await widgets.apply(f"{WIDGETS}/a/status", other, "videofleet", force=True)
    assert [found["type"] for found in replaced.body["status"]["conditions"]] == ["Other"]
    assert "observedGeneration" not in replaced.body["status"]


async def test_apply_needs_a_manager(api, make):
    answer = await api.apply(f"{DEPLOYMENTS}/d", make.deployment(), "")
    assert answer.status == 422
    assert "fieldManager" in answer.body["message"]
