"""Tokens and RBAC: who is let in, what a Role allows, and how a refusal reads."""

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
async def account(server, session, api):
    """A user: the ServiceAccount `worker` of namespace default."""
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "worker"}})
    request = await api("POST", "/api/v1/namespaces/default/serviceaccounts/worker/token", {"spec": {}})
    assert request.status == 201
    return type(api)(server, session, request.body["status"]["token"])


async def allow(api, **rule):
    role = {"metadata": {"name": "r"}, "rules": [rule]}
    await api("POST", f"{RBAC}/namespaces/default/roles", role)
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": "default"}],
    }
    assert (await api("POST", f"{RBAC}/namespaces/default/rolebindings", binding)).status == 201


async def test_without_a_rule_everything_is_forbidden(account):
    answer = await account("GET", MAPS)
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"] == (
        'configmaps is forbidden: User "system:serviceaccount:default:worker" cannot list '
        'resource "configmaps" in API group "" in the namespace "default"'
    )
    cluster = await account("GET", "/apis/apps/v1/deployments/")
    assert cluster.body["message"].endswith('in API group "apps" at the cluster scope')


async def test_a_role_allows_what_it_says(account, api):
    await allow(api, apiGroups=[""], resources=["configmaps"], verbs=["get", "create"], resourceNames=[])
    body = {"metadata": {"name": "a"}}
    assert (await account("POST", MAPS, body)).status == 201
    assert (await account("GET", f"{MAPS}/a")).status == 200
    assert (await account("DELETE", f"{MAPS}/a")).status == 403
    assert (await account("GET", "/api/v1/namespaces/kube-system/configmaps/a")).status == 403


async def test_resource_names_and_subresources(account, api):
    await allow(api, apiGroups=["apps"], resources=["deployments/scale"], verbs=["get"], resourceNames=["a"])
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await account("GET", f"{path}/a/scale")).status == 404, "allowed, but there is none"
    assert (await account("GET", f"{path}/b/scale")).status == 403
    assert (await account("GET", f"{path}/a")).status == 403


async def test_applying_a_new_object_needs_create_as_well(account, api):
    await allow(api, apiGroups=[""], resources=["configmaps"], verbs=["patch"])
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    refused = await account.apply(f"{MAPS}/a", body, "m")
    assert (refused.status, "cannot create resource" in refused.body["message"]) == (403, True)
    await api("POST", MAPS, body)
    assert (await account.apply(f"{MAPS}/a", body, "m")).status == 200


async def test_cluster_roles_hold_everywhere(account, api):
    role = {"metadata": {"name": "all"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    await api("POST", f"{RBAC}/clusterroles", role)
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"kind": "ClusterRole", "name": "all", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts:default"}],
    }
    await api("POST", f"{RBAC}/clusterrolebindings", binding)
    assert (await account("GET", "/api/v1/nodes")).status == 200
    changed = binding | {"roleRef": binding["roleRef"] | {"name": "other"}}
    refused = await api("PUT", f"{RBAC}/clusterrolebindings/all", changed)
    assert (refused.status, "cannot change roleRef" in refused.body["message"]) == (422, True)


async def test_access_reviews(account, api):
    await allow(api, apiGroups=[""], resources=["pods"], verbs=["list"])

    async def asked(verb):
        attributes = {"namespace": "default", "verb": verb, "resource": "pods", "group": ""}
        body = {"spec": {"resourceAttributes": attributes}}
        answer = await account("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return answer.status, answer.body["status"]["allowed"]

    assert await asked("list") == (201, True)
    assert await asked("delete") == (201, False)


async def test_a_wrong_token_and_none(server, session, api):
    wrong = await type(api)(server, session, "guess")("GET", MAPS)
    assert (wrong.status, wrong.body["message"]) == (401, "Unauthorized")
    nobody = type(api)(server, session, None)
    answer = await nobody("GET", MAPS)
    assert (answer.status, 'User "system:anonymous"' in answer.body["message"]) == (403, True)
    assert (await nobody("GET", "/readyz")).status == 200


async def test_a_token_ends_with_its_account(account, api):
    assert (await account("GET", "/api")).status == 200
    await api("DELETE", "/api/v1/namespaces/default/serviceaccounts/worker")
    assert (await account("GET", "/api")).status == 401


async def test_the_administrator_acts_as_somebody_else_and_nobody_else_does(account, api):
    await allow(api, apiGroups=[""], resources=["configmaps"], verbs=["list"])
    worker = {"Impersonate-User": "system:serviceaccount:default:worker"}
    assert (await api("GET", MAPS, **worker)).status == 200
    assert (await api("GET", "/api/v1/namespaces/default/secrets", **worker)).status == 403
    assert (await api("GET", MAPS, **worker, **{"Impersonate-Group": "other"})).status == 200, "bound by name"
    refused = await account("GET", MAPS, **{"Impersonate-User": "system:admin"})
    assert (refused.status, 'cannot impersonate resource "users"' in refused.body["message"]) == (403, True)


async def test_a_rules_review_lists_what_a_user_may(account, api):
    await allow(api, apiGroups=["apps"], resources=["deployments"], verbs=["get"], resourceNames=["a"])
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    review = await account("POST", path, {"spec": {"namespace": "default"}})
    assert review.status == 201
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"], "resourceNames": ["a"]}
    assert rule in review.body["status"]["resourceRules"]
    elsewhere = await account("POST", path, {"spec": {"namespace": "kube-system"}})
    assert rule not in elsewhere.body["status"]["resourceRules"]
