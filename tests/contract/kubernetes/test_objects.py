"""Objects: versions, conflicts, generation, status, finalizers, garbage collection, namespaces, selectors."""


async def test_a_stale_write_is_a_conflict(given, when):
    first = await given.config_map("a", {"x": "1"})
    changed = await when.replaces("configmaps/a", first.body | {"data": {"x": "2"}})
    assert (changed.status, changed.version > first.version) == (200, True)
    stale = await when.replaces("configmaps/a", first.body | {"data": {"x": "3"}})
    assert stale.refusal == (
        409,
        "Conflict",
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again",
    )
    assert (await when.reads("configmaps/a"))["data"] == {"x": "2"}


async def test_a_stale_patch_is_a_conflict(given, when):
    first = await given.config_map("a")
    await when.patches("configmaps/a", {"data": {"x": "2"}})
    version = {"metadata": {"resourceVersion": first.meta["resourceVersion"]}}
    stale = await when.patches("configmaps/a", version | {"data": {"x": "3"}})
    assert stale.refusal[:2] == (409, "Conflict")


async def test_a_name_is_taken_once(given, when):
    await given.config_map("a")
    again = await when.creates("configmaps", {"metadata": {"name": "a"}})
    assert again.refusal == (409, "AlreadyExists", 'configmaps "a" already exists')
    assert again["details"] == {"name": "a", "kind": "configmaps"}


async def test_what_is_not_there_is_not_found(given, when):
    absent = await when.reads("widgets/a")
    assert absent.refusal == (404, "NotFound", f'widgets.{given.admin.path("widgets").split("/")[2]} "a" not found')
    assert (await when.deletes("configmaps/a")).refusal == (404, "NotFound", 'configmaps "a" not found')
    nowhere = await when.http("POST", "/api/v1/namespaces/no-such-place/configmaps", {"metadata": {"name": "a"}})
    assert nowhere.refusal == (404, "NotFound", 'namespaces "no-such-place" not found')


async def test_all_kinds_share_one_version_sequence(given):
    first = await given.config_map("a")
    second = await given.widget("a")
    third = await given.config_map("b")
    assert first.version < second.version < third.version


async def test_a_write_that_changes_nothing_keeps_the_version(given, when):
    await given.widget("a")
    before = await when.reads("widgets/a")
    put = await when.replaces("widgets/a", before.body)
    patched = await when.patches("widgets/a", {"spec": {"size": 1}})
    assert before.version == put.version == patched.version


async def test_dry_run_answers_as_if_and_stores_nothing(given, when):
    made = await when.creates("widgets", {"metadata": {"name": "a"}, "spec": {"model": "m"}}, dryRun="All")
    assert (made.status, made.spec["size"]) == (201, 1)
    assert (await when.reads("widgets/a")).status == 404
    await given.widget("a")
    changed = await when.patches("widgets/a", {"spec": {"size": 2}}, dryRun="All")
    gone = await when.deletes("widgets/a", dryRun="All")
    assert (changed.spec["size"], gone.status) == (2, 200)
    assert (await when.reads("widgets/a")).spec["size"] == 1


async def test_generate_name_appends_five_letters(when):
    body = {"metadata": {"generateName": "job-"}}
    names = {(await when.creates("configmaps", body)).name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_generation_counts_changes_of_the_spec_only(given, when):
    assert (await given.widget("a")).meta["generation"] == 1
    assert (await when.patches("widgets/a", {"metadata": {"labels": {"x": "y"}}})).meta["generation"] == 1
    assert (await when.patches("widgets/a/status", {"status": {"observedGeneration": 1}})).meta["generation"] == 1
    assert (await when.patches("widgets/a", {"spec": {"size": 2}})).meta["generation"] == 2


async def test_status_changes_through_its_subresource_only(given, when):
    await given.widget("a", size=1)
    through = await when.patches("widgets/a/status", {"status": {"observedGeneration": 1}, "spec": {"size": 2}})
    assert (through.spec["size"], through.state) == (1, {"observedGeneration": 1})
    beside = await when.patches("widgets/a", {"status": {"observedGeneration": 9}})
    assert beside.state == {"observedGeneration": 1}
    born = await when.creates("widgets", {"metadata": {"name": "b"}, "spec": {"model": "m"}, "status": {"x": 1}})
    assert "status" not in born.body


async def test_deployments_are_scaled_through_their_subresource(given, when):
    await given.deployment("d", replicas=1)
    scale = await when.reads("deployments/d/scale")
    assert (scale["apiVersion"], scale["kind"], scale.spec) == ("autoscaling/v1", "Scale", {"replicas": 1})
    assert scale.state["selector"] == "app=d"
    patched = await when.patches("deployments/d/scale", {"spec": {"replicas": 3}})
    assert patched.spec == {"replicas": 3}
    assert (await when.reads("deployments/d")).spec["replicas"] == 3
    assert (await when.replaces("deployments/d/scale", scale.body)).refusal[:2] == (409, "Conflict")


async def test_finalizers_hold_an_object_until_they_are_gone(given, when):
    held = await given.widget("a", {"finalizers": ["example.com/f"]})
    deleted = await when.deletes("widgets/a")
    assert (deleted.status, "deletionTimestamp" in deleted.meta) == (200, True)
    assert deleted.meta["deletionGracePeriodSeconds"] == 0
    assert deleted.meta["generation"] == held.meta["generation"] + 1
    more = {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}}
    refused = await when.patches("widgets/a", more)
    assert refused.status == 422
    assert refused.causes == [
        (
            "metadata.finalizers",
            "FieldValueForbidden",
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            'found new finalizers []string{"example.com/g"}',
        )
    ]
    last = await when.patches("widgets/a", {"metadata": {"finalizers": None}})
    assert last.status == 200
    assert (await when.reads("widgets/a")).status == 404


async def test_deleting_answers_with_a_status(given, when):
    made = await given.config_map("a")
    gone = await when.deletes("configmaps/a")
    assert (gone.status, gone["kind"], gone["status"]) == (200, "Status", "Success")
    assert gone["details"] == {"name": "a", "kind": "configmaps", "uid": made.uid}


async def test_deletion_can_insist_on_a_uid(given, when):
    made = await given.config_map("a")
    refused = await when.deletes("configmaps/a", {"preconditions": {"uid": "another"}})
    assert refused.refusal == (
        409,
        "Conflict",
        'Operation cannot be fulfilled on configmaps "a": Precondition failed: '
        f"UID in precondition: another, UID in object meta: {made.uid}",
    )
    assert (await when.deletes("configmaps/a", {"preconditions": {"uid": made.uid}})).status == 200


def owned_by(*owners):
    return [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid} for owner in owners]


async def test_an_owner_takes_its_dependents_along(given, when, then):
    owner, other = await given.config_map("owner"), await given.config_map("other")
    await given.config_map("child", ownerReferences=owned_by(owner))
    await given.config_map("shared", ownerReferences=owned_by(owner, other))
    await when.deletes("configmaps/owner", {"propagationPolicy": "Background"})
    await then.eventually_gone("configmaps/child")
    left = await then.eventually_is("configmaps/shared", lambda shared: len(shared.meta["ownerReferences"]) == 1)
    assert left.meta["ownerReferences"][0]["name"] == "other"


async def test_an_owner_of_another_uid_is_no_owner(given, then):
    owner = await given.config_map("owner")
    reference = owned_by(owner)[0] | {"uid": "5e1f5e1f-0000-4000-8000-000000000000"}
    await given.config_map("child", ownerReferences=[reference])
    await then.eventually_gone("configmaps/child")


async def test_foreground_deletion_waits_for_the_dependents(given, when, then):
    owner = await given.config_map("owner")
    blocking = owned_by(owner)[0] | {"blockOwnerDeletion": True}
    await given.config_map("child", ownerReferences=[blocking], finalizers=["example.com/f"])
    waiting = await when.deletes("configmaps/owner", {"propagationPolicy": "Foreground"})
    assert waiting.meta["finalizers"] == ["foregroundDeletion"]
    await then.eventually_is("configmaps/child", lambda child: "deletionTimestamp" in child.meta)
    assert (await when.reads("configmaps/owner")).status == 200
    await when.patches("configmaps/child", {"metadata": {"finalizers": None}})
    await then.eventually_gone("configmaps/owner")


async def test_orphaned_dependents_stay(given, when, then):
    owner = await given.config_map("owner")
    await given.config_map("child", ownerReferences=owned_by(owner))
    await when.deletes("configmaps/owner", {"propagationPolicy": "Orphan"})
    await then.eventually_gone("configmaps/owner")
    orphan = await then.eventually_is("configmaps/child", lambda child: "ownerReferences" not in child.meta)
    assert "deletionTimestamp" not in orphan.meta


async def test_a_namespace_has_a_service_account_and_takes_its_content_along(given, when, then):
    name = f"{when.namespace}-second"
    await given.made("namespaces", name, {})
    second = type(when)(when.http, name)

    async def has_account():
        return await second.names("serviceaccounts") == ["default"]

    await then.eventually(has_account)
    body = {"metadata": {"name": "a", "finalizers": ["example.com/f"]}, "spec": {"model": "m"}}
    assert (await second.creates("widgets", body)).status == 201
    assert (await second.creates("configmaps", {"metadata": {"name": "c"}})).status == 201
    assert (await when.deletes(f"namespaces/{name}")).state["phase"] == "Terminating"

    async def is_marked():
        return "deletionTimestamp" in (await second.reads("widgets/a")).meta

    await then.eventually(is_marked)
    refused = await second.creates("widgets", {"metadata": {"name": "b"}, "spec": {"model": "m"}})
    group = when.path("widgets").split("/")[2]
    assert refused.refusal == (
        403,
        "Forbidden",
        f'widgets.{group} "b" is forbidden: unable to create new content in namespace {name} '
        "because it is being terminated",
    )
    await second.patches("widgets/a", {"metadata": {"finalizers": None}})
    await then.eventually_gone(f"namespaces/{name}")
    assert (await second.reads("configmaps/c")).status == 404


async def test_label_selectors(given, when):
    await given.config_map("a", labels={"app": "x", "tier": "1", "case": "1"})
    await given.config_map("b", labels={"app": "y", "case": "1"})
    await given.config_map("c", labels={"case": "1"})

    async def chosen(selector):
        return await when.names("configmaps", labelSelector=f"case,{selector}")

    assert await chosen("app=x") == ["a"]
    assert await chosen("app") == ["a", "b"]
    assert await chosen("!app") == ["c"]
    assert await chosen("app!=x") == ["b", "c"]
    assert await chosen("app in (x,y),tier notin (1)") == ["b"]
    assert (await when.lists("configmaps", labelSelector="a=b=c")).refusal[:2] == (400, "BadRequest")


async def test_field_selectors(given, when):
    await given.config_map("a")
    await given.config_map("b")
    assert await when.names("configmaps", fieldSelector="metadata.name=b") == ["b"]
    pod = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "img"}]}
    await given.pod("p", pod)
    assert await when.names("pods", fieldSelector="status.phase=Pending,spec.nodeName=") == ["p"]
    assert await when.names("pods", fieldSelector="status.phase!=Pending") == []
    unknown = await when.lists("configmaps", fieldSelector="data.x=1")
    assert unknown.refusal[:2] == (400, "BadRequest")
    assert "field label not supported: data.x" in unknown["message"]


async def test_a_collection_is_deleted_by_selector(given, when):
    await given.config_map("a", labels={"app": "x"})
    await given.config_map("b", labels={"app": "y"})
    assert (await when.deletes("configmaps", labelSelector="app=x")).status == 200
    assert await when.names("configmaps", labelSelector="app") == ["b"]


async def test_a_list_is_complete_in_as_many_pieces_as_the_server_likes(given, when):
    for name in "abcd":
        await given.config_map(name, labels={"case": "1"})
    query, found = {"labelSelector": "case", "limit": 2}, []
    while True:
        piece = await when.lists("configmaps", **query)
        found += [item["metadata"]["name"] for item in piece["items"]]
        if not piece.meta.get("continue"):
            break
        query["continue"] = piece.meta["continue"]
    assert found == ["a", "b", "c", "d"]


async def test_wrong_options_of_a_deletion_are_refused(given, when):
    await given.config_map("a")
    assert (await when.deletes("configmaps/a", {"propagationPolicy": "Quick"})).refusal[:2] == (422, "Invalid")
    assert (await when.deletes("configmaps/a", gracePeriodSeconds="soon")).refusal[:2] == (400, "BadRequest")
    assert (await when.reads("configmaps/a")).status == 200


async def test_a_version_from_the_future_is_refused(when):
    future = await when.lists("configmaps", resourceVersion=2**40)
    assert future.refusal[:2] == (504, "Timeout")
    assert future["message"].startswith("Timeout: Too large resource version: 1099511627776, current: ")


async def test_a_pod_is_bound_once_and_gets_its_grace(given, when):
    pod = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "img"}]}
    made = await given.pod("p", pod)
    assert (made.state["phase"], made.state["qosClass"]) == ("Pending", "BestEffort")
    bind = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}}
    bound = await when.creates("pods/p/binding", bind | {"target": {"kind": "Node", "name": "n"}})
    assert bound.status == 201
    twice = await when.creates("pods/p/binding", bind | {"target": {"kind": "Node", "name": "m"}})
    assert twice.refusal[:2] == (409, "Conflict")
    assert twice["message"].endswith('pod p is already assigned to node "n"')
    deleted = await when.deletes("pods/p")
    assert deleted.meta["deletionGracePeriodSeconds"] == 30
    assert (await when.reads("pods/p")).status == 200
    await when.deletes("pods/p", {"gracePeriodSeconds": 0})
    assert (await when.reads("pods/p")).status == 404


async def test_a_pod_without_a_node_goes_at_once(given, when):
    await given.pod("p", {"schedulerName": "nobody", "containers": [{"name": "c", "image": "img"}]})
    await when.deletes("pods/p")
    assert (await when.reads("pods/p")).status == 404


async def test_a_pod_needs_its_service_account(given, when):
    await given.accounts()
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "img"}]}
    refused = await when.creates("pods", {"metadata": {"name": "p"}, "spec": spec})
    assert refused.refusal[:2] == (403, "Forbidden")
    assert refused["message"].endswith(
        f'error looking up service account {when.namespace}/nobody: serviceaccount "nobody" not found'
    )


async def test_services_get_an_address_and_keep_it(given, when):
    spec = {"ports": [{"port": 80}], "selector": {"app": "x"}}
    addresses = [(await given.made("services", name, {"spec": spec})).spec["clusterIP"] for name in ("a", "b")]
    assert len(set(addresses)) == 2
    headless = await given.made("services", "h", {"spec": spec | {"clusterIP": "None"}})
    assert headless.spec["clusterIP"] == "None"
    changed = await when.patches("services/a", {"spec": {"selector": {"app": "y"}}})
    assert changed.spec["clusterIP"] == addresses[0]
    refused = await when.patches("services/a", {"spec": {"clusterIP": addresses[1]}})
    assert refused.refusal[:2] == (422, "Invalid")


async def test_what_is_not_known_is_refused(given, when):
    maps = when.path("configmaps")
    await given.config_map("a")
    cases = [
        ("GET", "/apis/nothing.example.com/v1/things", None, 404),
        ("GET", f"/api/v1/namespaces/{when.namespace}/podz", None, 404),
        ("POST", f"{maps}/a", {}, 405),
        ("PUT", maps, {}, 405),
        ("POST", maps, [1], 400),
        ("POST", maps, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, 400),
        ("POST", maps, {"metadata": {"name": "Upper"}}, 422),
        ("POST", maps, {"metadata": {}}, 422),
    ]
    for method, path, body, status in cases:
        answer = await when.http(method, path, body)
        assert answer.status == status, (method, path, answer.body)


async def test_media_types_that_are_not_spoken_are_refused(given, when):
    sent = await when.http("POST", when.path("configmaps"), {"x": 1}, kind="application/unknown")
    assert sent.refusal[:2] == (415, "UnsupportedMediaType")
    await given.widget("a")
    patch = await when.http("PATCH", when.path("widgets/a"), {"x": 1}, kind="application/json")
    assert patch.refusal[:2] == (415, "UnsupportedMediaType")
    wanted = await when.http("GET", when.path("widgets"), Accept="application/vnd.kubernetes.protobuf")
    assert (wanted.status, wanted["reason"]) == (406, "NotAcceptable")
