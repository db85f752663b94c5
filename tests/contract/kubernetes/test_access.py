"""Tokens and RBAC: who is let in, what a rule allows, and how a refusal reads."""


def rule(verbs, resources, group="", **more):
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()} | more


async def test_without_a_rule_everything_is_forbidden(given):
    worker = await given.account("worker")
    user = f"system:serviceaccount:{worker.namespace}:worker"
    assert (await worker.lists("configmaps")).refusal == (
        403,
        "Forbidden",
        f'configmaps is forbidden: User "{user}" cannot list resource "configmaps" in API group "" '
        f'in the namespace "{worker.namespace}"',
    )
    assert (await worker.reads("deployments/d"))["message"] == (
        f'deployments.apps "d" is forbidden: User "{user}" cannot get resource "deployments" in API group "apps" '
        f'in the namespace "{worker.namespace}"'
    )
    everywhere = await worker.lists("*/deployments")
    assert everywhere["message"].endswith('in API group "apps" at the cluster scope')


async def test_a_role_allows_what_it_says_where_it_says(given, then):
    worker = await given.account("worker")
    await given.role(rule("get create", "configmaps"))

    async def created():
        return (await worker.creates("configmaps", {"metadata": {"name": "a"}})).status == 201

    await then.eventually(created)
    assert (await worker.reads("configmaps/a")).status == 200
    assert (await worker.deletes("configmaps/a")).status == 403
    assert (await type(worker)(worker.http, "kube-system").reads("configmaps/a")).status == 403


async def test_the_verbs_of_rbac(given, when, then):
    await given.config_map("a")
    for number, (verb, tried) in enumerate(
        {
            "get": lambda user: user.reads("configmaps/a"),
            "list": lambda user: user.lists("configmaps"),
            "watch": lambda user: user.lists("configmaps", watch="true", timeoutSeconds=1),
            "patch": lambda user: user.patches("configmaps/a", {"data": {"x": "1"}}),
            "update": lambda user: user.replaces("configmaps/a", {"metadata": {"name": "a"}}),
            "delete": lambda user: user.deletes("configmaps/a"),
            "deletecollection": lambda user: user.deletes("configmaps"),
        }.items()
    ):
        user = await given.account(f"w{number}")
        refused = await tried(user)
        assert (refused.status, f"cannot {verb} resource" in refused["message"]) == (403, True)
        await given.role(rule(verb, "configmaps"), to=f"w{number}")

        async def allowed(user=user, tried=tried):
            return (await tried(user)).status == 200

        await then.eventually(allowed)


async def test_resource_names_and_subresources(given, then):
    worker = await given.account("worker")
    await given.role(rule("get", "deployments/scale", "apps", resourceNames=["a"]))

    async def allowed():
        return (await worker.reads("deployments/a/scale")).status == 404

    await then.eventually(allowed)
    assert (await worker.reads("deployments/b/scale")).status == 403
    assert (await worker.reads("deployments/a")).status == 403


async def test_status_needs_a_rule_of_its_own(given, when, then):
    worker = await given.account("worker")
    await given.widget("a")
    await given.role(rule("patch", "widgets", worker.path("widgets").split("/")[2]))

    async def allowed():
        return (await worker.patches("widgets/a", {"spec": {"size": 2}})).status == 200

    await then.eventually(allowed)
    refused = await worker.patches("widgets/a/status", {"status": {"observedGeneration": 1}})
    assert (refused.status, 'cannot patch resource "widgets/status"' in refused["message"]) == (403, True)


async def test_applying_a_new_object_needs_create_as_well(given, when, then):
    worker = await given.account("worker")
    await given.role(rule("patch", "configmaps"))
    await given.config_map("there")

    async def allowed():
        return (await worker.applies("configmaps/there", {"data": {}}, by="m")).status == 200

    await then.eventually(allowed)
    refused = await worker.applies("configmaps/new", {"data": {}}, by="m")
    assert (refused.status, "cannot create resource" in refused["message"]) == (403, True)


async def test_cluster_roles_hold_everywhere(given, when, then):
    worker = await given.account("worker")
    name = when.namespace
    await given.made("clusterroles", name, {"rules": [rule("list", "nodes")]})
    reference = {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    group = {"kind": "Group", "name": f"system:serviceaccounts:{name}", "apiGroup": "rbac.authorization.k8s.io"}
    await given.made("clusterrolebindings", name, {"roleRef": reference, "subjects": [group]})

    async def allowed():
        return (await worker.lists("nodes")).status == 200

    await then.eventually(allowed)
    changed = await when.patches(f"clusterrolebindings/{name}", {"roleRef": {"name": "other"}})
    assert (changed.status, "cannot change roleRef" in changed["message"]) == (422, True)


async def test_a_cluster_role_bound_in_a_namespace_holds_there(given, when, then):
    worker = await given.account("worker")
    name = when.namespace
    await given.made("clusterroles", name, {"rules": [rule("*", "*", "*")]})
    reference = {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    subject = {"kind": "ServiceAccount", "name": "worker", "namespace": name}
    await given.made("rolebindings", "all", {"roleRef": reference, "subjects": [subject]})

    async def allowed():
        return (await worker.lists("deployments")).status == 200

    await then.eventually(allowed)
    assert (await worker.lists("*/deployments")).status == 403
    assert (await worker.lists("nodes")).status == 403


async def test_access_reviews_answer_for_the_asker(given, then):
    worker = await given.account("worker")
    await given.role(rule("list", "pods"))

    async def may(verb):
        attributes = {"namespace": worker.namespace, "verb": verb, "resource": "pods", "group": ""}
        answer = await worker.creates("selfsubjectaccessreviews", {"spec": {"resourceAttributes": attributes}})
        assert answer.status == 201
        return answer.state["allowed"]

    await then.eventually(lambda: may("list"))
    assert not await may("delete")


async def test_nobody_and_a_wrong_token(when, connect):
    async with connect(anonymously=True) as http:
        nobody = type(when)(http, when.namespace)
        refused = await nobody.lists("configmaps")
        assert (refused.status, 'User "system:anonymous" cannot list' in refused["message"]) == (403, True)
        assert (await http("GET", "/readyz")).status == 200
        wrong = await type(when)(http.as_user("guess"), when.namespace).lists("configmaps")
        assert wrong.refusal == (401, "Unauthorized", "Unauthorized")


async def test_a_token_ends_with_its_account(given, when, then):
    worker = await given.account("worker")
    assert (await worker.lists("configmaps")).status == 403
    await when.deletes("serviceaccounts/worker")

    async def let_in_no_more():
        return (await worker.lists("configmaps")).status == 401

    await then.eventually(let_in_no_more)


async def test_tokens_say_how_long_they_live(given, when):
    await given.made("serviceaccounts", "worker", {})
    head = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    answer = await when.creates("serviceaccounts/worker/token", head | {"spec": {"expirationSeconds": 600}})
    assert (answer.status, answer.spec["expirationSeconds"]) == (201, 600)
    assert {"token", "expirationTimestamp"} <= set(answer.state)


async def test_the_administrator_acts_as_somebody_else_and_nobody_else_does(given, when, then):
    worker = await given.account("worker")
    await given.role(rule("list", "configmaps"))
    name = f"system:serviceaccount:{when.namespace}:worker"

    async def seen_as_worker(plural):
        return (await when.http("GET", when.path(plural), **{"Impersonate-User": name})).status

    async def allowed():
        return await seen_as_worker("configmaps") == 200

    await then.eventually(allowed)
    assert await seen_as_worker("secrets") == 403
    refused = await worker.http("GET", worker.path("configmaps"), **{"Impersonate-User": "somebody"})
    assert (refused.status, 'cannot impersonate resource "users"' in refused["message"]) == (403, True)


async def test_a_rules_review_lists_what_a_user_may(given, then):
    worker = await given.account("worker")
    mine = rule("get", "deployments", "apps", resourceNames=["a"])
    await given.role(mine)
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"

    async def rules_in(namespace):
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        answer = await worker.http("POST", path, body | {"spec": {"namespace": namespace}})
        assert answer.status == 201
        return answer.state["resourceRules"]

    async def listed():
        return mine in await rules_in(worker.namespace)

    await then.eventually(listed)
    assert mine not in await rules_in("kube-system")
