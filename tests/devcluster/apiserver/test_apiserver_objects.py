"""Objects: versions, conflicts, generation, status, finalizers, garbage collection, namespaces."""

WIDGETS = "/apis/wire.example.com/v1alpha1/namespaces/default/widgets"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def config_map(name="a", data=None, **metadata):
    return {"metadata": {"name": name, **metadata}, "data": data or {}}


async def test_one_version_sequence_and_conflicts(api):
    first = await api("POST", MAPS, config_map("a", {"x": "1"}))
    second = await api("POST", MAPS, config_map("b"))
    assert first.status == 201
    assert second.version == first.version + 1

    again = await api("POST", MAPS, config_map("a"))
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'configmaps "a" already exists'

    changed = await api("PUT", f"{MAPS}/a", first.body | {"data": {"x": "2"}})
    assert changed.status == 200
    stale = await api("PUT", f"{MAPS}/a", first.body | {"data": {"x": "3"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert stale.body["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_an_unchanged_write_keeps_the_version(api, make):
    path = "/apis/apps/v1/namespaces/default/deployments"
    created = await api("POST", path, make.deployment())
    put = await api("PUT", f"{path}/d", created.body)
    patched = await api("PATCH", f"{path}/d", {"spec": {"replicas": 1}}, kind=MERGE)
    assert created.version == put.version == patched.version


async def test_dry_run_stores_nothing(api):
    answer = await api("POST", f"{MAPS}?dryRun=All", config_map("a"))
    assert answer.status == 201
    assert (await api("GET", f"{MAPS}/a")).status == 404


async def test_generate_name(api):
    body = {"metadata": {"generateName": "job-"}}
    names = {(await api("POST", MAPS, body)).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_generation_counts_spec_changes_only(widgets, make):
    api = widgets
    await api("POST", WIDGETS, make.widget())
    label = {"metadata": {"labels": {"x": "y"}}}
    assert (await api("PATCH", f"{WIDGETS}/a", label, kind=MERGE)).body["metadata"]["generation"] == 1
    status = {"status": {"observedGeneration": 1}, "spec": {"size": 2}}
    patched = await api("PATCH", f"{WIDGETS}/a/status", status, kind=MERGE)
    assert patched.body["metadata"]["generation"] == 1
    assert patched.body["spec"]["size"] == 1, "the spec does not change through /status"
    ignored = await api("PATCH", f"{WIDGETS}/a", {"status": {"observedGeneration": 9}}, kind=MERGE)
    assert ignored.body["status"] == {"observedGeneration": 1}, "nor the status through the object"
    assert ignored.version == patched.version
    spec = await api("PATCH", f"{WIDGETS}/a", {"spec": {"size": 2}}, kind=MERGE)
    assert spec.body["metadata"]["generation"] == 2


async def test_finalizers_hold_an_object(widgets, make):
    api = widgets
    body = make.widget()
    body["metadata"]["finalizers"] = ["example.com/f"]
    await api("POST", WIDGETS, body)
    deleted = await api("DELETE", f"{WIDGETS}/a")
    assert deleted.status == 200
    assert "deletionTimestamp" in deleted.body["metadata"]
    more = {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}}
    refused = await api("PATCH", f"{WIDGETS}/a", more, kind=MERGE)
    assert refused.status == 422
    assert "no new finalizers can be added" in refused.body["message"]
    await api("PATCH", f"{WIDGETS}/a", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert (await api("GET", f"{WIDGETS}/a")).status == 404


async def test_owners_take_their_dependents_along(api, eventually):
    owner = (await api("POST", MAPS, config_map("owner"))).body["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    other = (await api("POST", MAPS, config_map("other"))).body["metadata"]
    second = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": other["uid"]}
    await api("POST", MAPS, config_map("child", ownerReferences=[reference]))
    await api("POST", MAPS, config_map("shared", ownerReferences=[reference, second]))
    await api("DELETE", f"{MAPS}/owner")

    async def is_gone():
        return (await api("GET", f"{MAPS}/child")).status == 404

    await eventually(is_gone)
    shared = await api("GET", f"{MAPS}/shared")
    assert [owner["name"] for owner in shared.body["metadata"]["ownerReferences"]] == ["other"]


async def test_an_owner_with_another_uid_is_no_owner(api, eventually):
    await api("POST", MAPS, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "of-a-former-one"}
    await api("POST", MAPS, config_map("child", ownerReferences=[reference]))

    async def is_gone():
        return (await api("GET", f"{MAPS}/child")).status == 404

    await eventually(is_gone)


async def test_orphaned_dependents_stay(api):
    owner = (await api("POST", MAPS, config_map("owner"))).body["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    await api("POST", MAPS, config_map("child", ownerReferences=[reference]))
    await api("DELETE", f"{MAPS}/owner", {"propagationPolicy": "Orphan"})
    child = await api("GET", f"{MAPS}/child")
    assert "ownerReferences" not in child.body["metadata"]


async def test_delete_preconditions(api):
    await api("POST", MAPS, config_map("a"))
    refused = await api("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "another"}})
    assert refused.status == 409
    assert "Precondition failed: UID" in refused.body["message"]


async def test_a_namespace_takes_its_content_along(widgets, make, eventually):
    api = widgets
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "studio"}})
    accounts = await api("GET", "/api/v1/namespaces/studio/serviceaccounts")
    assert [item["metadata"]["name"] for item in accounts.body["items"]] == ["default"]
    path = WIDGETS.replace("default", "studio")
    held = make.widget()
    held["metadata"]["finalizers"] = ["example.com/f"]
    assert (await api("POST", path, held)).status == 201
    deleted = await api("DELETE", "/api/v1/namespaces/studio")
    assert deleted.body["status"]["phase"] == "Terminating"

    async def is_marked():
        return "deletionTimestamp" in (await api("GET", f"{path}/a")).body["metadata"]

    await eventually(is_marked)
    refused = await api("POST", path, make.widget("b"))
    assert refused.status == 403
    assert refused.body["message"] == (
        'widgets.wire.example.com "b" is forbidden: unable to create new content in namespace studio '
        "because it is being terminated"
    )
    await api("PATCH", f"{path}/a", {"metadata": {"finalizers": []}}, kind=MERGE)

    async def is_gone():
        return (await api("GET", "/api/v1/namespaces/studio")).status == 404

    await eventually(is_gone)


async def test_objects_need_their_namespace(api):
    answer = await api("POST", "/api/v1/namespaces/nowhere/configmaps", config_map())
    assert (answer.status, answer.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_pods_on_a_node_get_their_grace(api):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "img"}]}}
    created = await api("POST", PODS, pod)
    assert created.body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    bound = await api("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n"}})
    assert bound.status == 201
    twice = await api("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "m"}})
    assert (twice.status, 'already assigned to node "n"' in twice.body["message"]) == (409, True)
    deleted = await api("DELETE", f"{PODS}/p")
    assert deleted.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api("GET", f"{PODS}/p")).status == 200
    await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (await api("GET", f"{PODS}/p")).status == 404


async def test_pods_without_a_node_go_at_once(api):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "img"}]}}
    await api("POST", PODS, pod)
    await api("DELETE", f"{PODS}/p")
    assert (await api("GET", f"{PODS}/p")).status == 404


async def test_pods_need_their_service_account(api):
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "img"}]}
    answer = await api("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    assert answer.status == 403
    assert 'serviceaccount "nobody" not found' in answer.body["message"]


async def test_services_get_an_address_of_their_own(api):
    path = "/api/v1/namespaces/default/services"
    spec = {"ports": [{"port": 80}], "selector": {"app": "x"}}
    addresses = []
    for name in ("a", "b"):
        answer = await api("POST", path, {"metadata": {"name": name}, "spec": spec})
        addresses.append(answer.body["spec"]["clusterIP"])
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.10.") for address in addresses)
    headless = await api("POST", path, {"metadata": {"name": "h"}, "spec": spec | {"clusterIP": "None"}})
    assert headless.body["spec"]["clusterIP"] == "None"
    replaced = await api("PUT", f"{path}/a", {"metadata": {"name": "a"}, "spec": spec})
    assert replaced.body["spec"]["clusterIP"] == addresses[0]


async def test_label_and_field_selectors(api):
    for name, labels in (("a", {"app": "x", "tier": "1"}), ("b", {"app": "y"}), ("c", {})):
        await api("POST", MAPS, config_map(name, labels=labels))

    async def names(query):
        answer = await api("GET", f"{MAPS}?{query}")
        return [item["metadata"]["name"] for item in answer.body["items"]]

    assert await names("labelSelector=app%3Dx") == ["a"]
    assert await names("labelSelector=app") == ["a", "b"]
    assert await names("labelSelector=!app") == ["c"]
    assert await names("labelSelector=app%20in%20(x,y),tier!%3D1") == ["b"]
    assert await names("fieldSelector=metadata.name%3Db") == ["b"]
    assert (await api("GET", f"{MAPS}?fieldSelector=data.x%3D1")).status == 400
    deleted = await api("DELETE", f"{MAPS}?labelSelector=app")
    assert len(deleted.body["items"]) == 2
    assert await names("") == ["c"]


async def test_scale_changes_replicas_only(api, make):
    path = "/apis/apps/v1/namespaces/default/deployments"
    await api("POST", path, make.deployment())
    scale = await api("GET", f"{path}/d/scale")
    assert (scale.body["kind"], scale.body["spec"], scale.body["status"]["selector"]) == (
        "Scale",
        {"replicas": 1},
        "app=d",
    )
    patched = await api("PATCH", f"{path}/d/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    assert patched.body["spec"]["replicas"] == 3
    found = await api("GET", f"{path}/d")
    assert (found.body["spec"]["replicas"], found.body["metadata"]["generation"]) == (3, 2)
    assert (await api("PUT", f"{path}/d/scale", scale.body)).status == 409


async def test_what_is_not_known_is_refused(api):
    cases = [
        ("GET", "/apis/nothing.dev/v1/things", None, 404),
        ("GET", "/api/v1/namespaces/default/podz", None, 404),
        ("POST", f"{MAPS}/a", {}, 405),
        ("PUT", MAPS, {}, 405),
        ("POST", "/version", {}, 405),
        ("POST", MAPS, [1], 400),
        ("POST", MAPS, {"kind": "Secret", "metadata": {"name": "x"}}, 400),
        ("POST", MAPS, {"metadata": {"name": "Upper"}}, 422),
        ("POST", MAPS, {}, 422),
    ]
    for method, path, body, status in cases:
        answer = await api(method, path, body)
        assert (answer.status, answer.body["kind"]) == (status, "Status"), (method, path, answer.body)
    proto = await api("POST", MAPS, {"k8s": 1}, kind="application/json+cbor")
    assert proto.status == 415
    only = await api("GET", MAPS, Accept="application/vnd.kubernetes.protobuf")
    assert only.status == 406
