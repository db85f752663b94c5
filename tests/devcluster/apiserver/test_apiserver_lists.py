"""Lists longer than one piece of an answer, and objects that share what is equal in them."""

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
APPLY = "application/apply-patch+yaml"


async def test_a_long_list_is_whole_and_so_is_an_empty_one(api):
    names = [f"a{number:02}" for number in range(40)]
    for name in names:
        await api("POST", MAPS, {"metadata": {"name": name}, "data": {"text": name * 2000}})
    listed = (await api("GET", MAPS)).body
    assert [(item["metadata"]["name"], item["data"]["text"]) for item in listed["items"]] == [
        (name, name * 2000) for name in names
    ]
    assert [row["cells"][0] for row in (await api("GET", MAPS, **TABLE)).body["rows"]] == names
    async with api.watch(f"{MAPS}?watch=true") as next_event:
        assert [(await next_event())["object"] for _ in names] == listed["items"]
    deleted = (await api("DELETE", MAPS)).body
    assert [item["metadata"]["name"] for item in deleted["items"]] == names
    assert (await api("GET", MAPS)).body["items"] == []


async def test_what_changes_in_one_object_stays_in_its_twin(api):
    probe = {"httpGet": {"path": "/", "port": 80}}
    container = {"name": "c", "image": "i", "livenessProbe": probe, "readinessProbe": probe}
    deployments, labels = "/apis/apps/v1/namespaces/default/deployments", {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    for name in ("a", "b"):
        await api("POST", deployments, {"metadata": {"name": name}, "spec": spec})
    before = (await api("GET", f"{deployments}/b")).body
    change = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/livenessProbe/httpGet/port", "value": 81},
        {"op": "remove", "path": "/metadata/managedFields/0/fieldsV1/f:spec"},
    ]
    answer = await api("PATCH", f"{deployments}/a", change, kind="application/json-patch+json")
    (changed,) = answer.body["spec"]["template"]["spec"]["containers"]
    assert (changed["livenessProbe"]["httpGet"]["port"], changed["readinessProbe"]["httpGet"]["port"]) == (81, 80)
    assert (await api("GET", f"{deployments}/b")).body == before


async def test_names_that_yaml_reads_as_numbers_are_texts(api):
    text = "{apiVersion: v1, kind: ConfigMap, data: {1: a}}"
    async with api.session.patch(
        f"{api.url}{MAPS}/n?fieldManager=m", data=text, headers=api.headers | {"Content-Type": APPLY}
    ) as answer:
        assert (answer.status, (await answer.json())["data"]) == (201, {"1": "a"})
