"""The real kubectl beyond the recorded transcript: scale, logs, watching, cordon and drain, access."""

import asyncio

import pytest


@pytest.fixture
def ctl(kubectl, when):
    """kubectl in the case's namespace; asserts success and returns what it printed."""

    async def run(*args, stdin=None):
        done = await kubectl(*args, stdin=stdin, namespace=when.namespace)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    return run


def widget(make, name="a", **spec):
    head = {"apiVersion": f"{make.group}/v1alpha1", "kind": "Widget", "metadata": {"name": name}}
    return head | {"spec": {"model": "m"} | spec}


async def test_apply_diff_and_apply_again(ctl, kubectl, when, make):
    apply, named = ("apply", "-f", "-"), f"widget.{make.group}/a"
    assert await ctl(*apply, stdin=widget(make)) == f"{named} created\n"
    assert await ctl(*apply, stdin=widget(make)) == f"{named} unchanged\n"
    diff = await kubectl("diff", "-f", "-", stdin=widget(make, size=2), namespace=when.namespace)
    assert (diff.returncode, "+  size: 2" in diff.stdout) == (1, True)
    assert await ctl(*apply, stdin=widget(make, size=2)) == f"{named} configured\n"
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}} | make.deployment()
    assert await ctl(*apply, stdin=body) == "deployment.apps/d created\n"
    assert await ctl(*apply, stdin=body) == "deployment.apps/d unchanged\n"
    assert await ctl("delete", "-f", "-", stdin=body) == 'deployment.apps "d" deleted\n'


async def test_server_side_apply_creates_and_updates(ctl, make):
    apply = ("apply", "--server-side", "-f", "-")
    for size in (1, 2):
        assert await ctl(*apply, stdin=widget(make, size=size)) == f"widget.{make.group}/a serverside-applied\n"
    assert await ctl("get", "cwd", "a", "-o", "jsonpath={.spec.size}") == "2"


async def test_create_of_built_in_kinds(ctl, when):
    """kubectl sends these as protobuf."""
    await ctl("create", "configmap", "c", "--from-literal=a=b")
    await ctl("create", "secret", "generic", "s", "--from-literal=a=b")
    await ctl("create", "serviceaccount", "worker")
    await ctl("create", "role", "r", "--verb=get,list", "--resource=pods")
    await ctl("create", "rolebinding", "r", "--role=r", f"--serviceaccount={when.namespace}:worker")
    await ctl("create", "service", "clusterip", "web", "--tcp=80:http", "--clusterip=None")
    await ctl("create", "poddisruptionbudget", "b", "--selector=app=d", "--min-available=50%")
    await ctl("create", "deployment", "d", "--image=img:1", "--replicas=0", "--port=80", "--", "sleep", "5")
    assert (await when.reads("configmaps/c"))["data"] == {"a": "b"}
    assert (await when.reads("secrets/s"))["data"] == {"a": "Yg=="}
    assert (await when.reads("roles/r"))["rules"] == [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
    ]
    subject = {"kind": "ServiceAccount", "name": "worker", "namespace": when.namespace}
    assert (await when.reads("rolebindings/r"))["subjects"] == [subject]
    web = (await when.reads("services/web")).spec
    port = {"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}
    assert (web["ports"], web["selector"], web["clusterIP"]) == ([port], {"app": "web"}, "None")
    budget = (await when.reads("poddisruptionbudgets/b")).spec
    assert budget == {"minAvailable": "50%", "selector": {"matchLabels": {"app": "d"}}}
    spec = (await when.reads("deployments/d")).spec
    (container,) = spec["template"]["spec"]["containers"]
    assert (spec["replicas"], spec["selector"]) == (0, {"matchLabels": {"app": "d"}})
    assert {key: container[key] for key in ("name", "image", "command", "ports")} == {
        "name": "img",
        "image": "img:1",
        "command": ["sleep", "5"],
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
    }


async def test_get_prints_a_row_for_every_change(kubectl, kubeconfig, given, when):
    assert kubectl, "skips where there is none"
    await given.widget("a")
    command = ("kubectl", f"--kubeconfig={kubeconfig}", f"--namespace={when.namespace}", "get", "cwd", "-w")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None

    async def row():
        return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[:2]

    try:
        assert [await row(), await row()] == [["NAME", "SIZE"], ["a", "1"]]
        for size in (2, 0):
            await when.patches("widgets/a", {"spec": {"size": size}})
            assert await row() == ["a", str(size)]
    finally:
        process.kill()
        await process.communicate()


async def test_scale_wait_and_rollout(ctl, given, when, then, kubelet):
    await given.deployment("d", replicas=1)
    assert await ctl("scale", "deploy", "d", "--replicas=2") == "deployment.apps/d scaled\n"
    rollout = asyncio.create_task(ctl("rollout", "status", "deploy/d", "--timeout=60s"))
    waiting = asyncio.create_task(ctl("wait", "--for=condition=Available", "deploy/d", "--timeout=60s"))

    async def pods():
        names = await when.names("pods", labelSelector="app=d")
        return names if len(names) == 2 else None

    for name in await then.eventually(pods):
        await kubelet.reports(name)
    assert (await rollout).endswith('deployment "d" successfully rolled out\n')
    assert await waiting == "deployment.apps/d condition met\n"
    table = await ctl("get", "deploy", "d")
    assert [line.split()[:4] for line in table.splitlines()] == [
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE"],
        ["d", "2/2", "2", "2"],
    ]
    assert "2 desired | 2 updated | 2 total | 2 available" in await ctl("describe", "deploy", "d")


async def test_edits(ctl, given, make):
    await given.deployment("d")
    assert await ctl("annotate", "deploy", "d", "x=y") == "deployment.apps/d annotated\n"
    assert await ctl("label", "deploy", "d", "x=y") == "deployment.apps/d labeled\n"
    env = '[{"op":"add","path":"/spec/replicas","value":0}]'
    assert await ctl("patch", "deploy", "d", "--type=json", "-p", env) == "deployment.apps/d patched\n"
    assert "FIELD: replicas <integer>" in await ctl("explain", "deploy.spec.replicas")
    assert "FIELD: size <integer>" in await ctl("explain", "cwd.spec.size")


async def test_logs(ctl, given, then, node):
    container = {"name": "c", "image": "none", "command": ["sh", "-c", "echo one; echo two"]}
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [container], "restartPolicy": "Never"}
    await given.pod("p", spec)
    await then.eventually_is("pods/p", lambda pod: pod.state["phase"] == "Succeeded")
    assert await ctl("logs", "p") == "one\ntwo\n"
    assert await ctl("logs", "p", "--tail=1") == "two\n"
    assert await ctl("logs", "-f", "p") == "one\ntwo\n"


async def test_cordon_and_uncordon(ctl, given):
    node = await given.hollow_node("n")
    assert await ctl("cordon", node) == f"node/{node} cordoned\n"
    assert "SchedulingDisabled" in await ctl("get", "node", node)
    assert await ctl("uncordon", node) == f"node/{node} uncordoned\n"
    assert "SchedulingDisabled" not in await ctl("get", "node", node)


async def test_drain_empties_a_node_as_far_as_the_budget_lets_it(ctl, kubeconfig, given, when, then, node):
    container = {"name": "c", "image": "none", "command": ["sleep", "600"]}
    pod = {"schedulerName": "default-scheduler", "containers": [container], "terminationGracePeriodSeconds": 1}
    pod |= {"nodeSelector": {"kubernetes.io/hostname": node}}
    await given.deployment("d", replicas=1, pod=pod)
    await then.eventually_is("deployments/d", lambda d: d.state.get("availableReplicas") == 1)
    (name,) = await when.names("pods")
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "d"}}}
    await given.made("poddisruptionbudgets", "b", {"spec": budget})
    await then.eventually_is("poddisruptionbudgets/b", lambda b: b.state.get("currentHealthy") == 1)
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    drain = await asyncio.create_subprocess_exec(
        *("kubectl", f"--kubeconfig={kubeconfig}", "drain", node, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert drain.stdout is not None
    refusal = f'error when evicting pods/"{name}" -n "{when.namespace}" (will retry after 5s): '
    refusal += "Cannot evict pod as it would violate the pod's disruption budget.\n"
    async with asyncio.timeout(60):
        while await drain.stdout.readline() != refusal.encode():
            assert not drain.stdout.at_eof(), "drained against the budget"
    await when.patches("poddisruptionbudgets/b", {"spec": {"minAvailable": 0}})
    rest, _ = await drain.communicate()
    assert f"pod/{name} evicted\n" in rest.decode()
    assert rest.decode().endswith(f"node/{node} drained\n")
    (waiting,) = await then.eventually(lambda: when.items("pods"))
    assert "nodeName" not in waiting["spec"], "its successor waits for the node"
    await ctl("uncordon", node)
    await then.eventually_is("deployments/d", lambda d: d.state.get("availableReplicas") == 1)


async def test_access_is_asked_for(ctl, kubectl, given, when):
    await given.account("worker")
    await given.role({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    assert await ctl("auth", "can-i", "create", "pods") == "yes\n"
    worker = f"--as=system:serviceaccount:{when.namespace}:worker"
    assert await ctl("auth", "can-i", "list", "pods", worker) == "yes\n"
    refused = await kubectl("auth", "can-i", "delete", "pods", worker, namespace=when.namespace)
    assert (refused.returncode, refused.stdout) == (1, "no\n")
    listed = await kubectl("get", "secrets", worker, namespace=when.namespace)
    assert (listed.returncode, "Error from server (Forbidden): secrets is forbidden" in listed.stderr) == (1, True)
    assert ["pods", "[]", "[]", "[list]"] in [
        line.split() for line in (await ctl("auth", "can-i", "--list", worker)).splitlines()
    ]


async def test_delete_in_the_foreground_and_with_orphans(ctl, given, when, then):
    async def child_of(owner, name):
        ref = {"apiVersion": f"{when.path('widgets').split('/')[2]}/v1alpha1", "kind": "Widget", "name": owner.name}
        await given.config_map(name, ownerReferences=[ref | {"uid": owner.uid, "blockOwnerDeletion": True}])

    await child_of(await given.widget("a"), "kept")
    await ctl("delete", "cwd", "a", "--cascade=orphan", "--timeout=60s")
    await then.eventually_is("configmaps/kept", lambda kept: "ownerReferences" not in kept.meta)
    await child_of(await given.widget("a"), "gone")
    await ctl("delete", "cwd", "a", "--cascade=foreground", "--timeout=60s")
    assert (await when.reads("configmaps/gone")).status == 404
