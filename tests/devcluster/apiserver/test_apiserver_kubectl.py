"""The real kubectl: what people type, and what it prints; expectations from a recording against 1.36."""

import asyncio
import ssl

import trustme
from aiohttp import web

APPLY = ("apply", "-f", "-")


async def test_apply_twice_is_unchanged(kubectl, widgets, make):
    created = await kubectl(*APPLY, stdin=make.widget(tiers=[{"name": "hd", "width": 1280}]))
    assert (created.returncode, created.stdout) == (0, "widget.wire.example.com/a created\n"), created.stderr
    again = await kubectl(*APPLY, stdin=make.widget(tiers=[{"name": "hd", "width": 1280}]))
    assert again.stdout == "widget.wire.example.com/a unchanged\n"
    diff = await kubectl("diff", "-f", "-", stdin=make.widget(size=2))
    assert diff.returncode == 1
    assert "+  size: 2" in diff.stdout
    changed = await kubectl(*APPLY, stdin=make.widget(size=2))
    assert changed.stdout == "widget.wire.example.com/a configured\n"
    built_in = [(await kubectl(*APPLY, stdin=make.deployment())).stdout for _ in range(2)]
    assert built_in == ["deployment.apps/d created\n", "deployment.apps/d unchanged\n"]


async def test_columns_wait_describe_and_delete(kubectl, widgets, make):
    await kubectl(*APPLY, stdin=make.widget())
    table = await kubectl("get", "wd")
    assert [line.split()[:2] for line in table.stdout.splitlines()] == [["NAME", "SIZE"], ["a", "1"]]
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=Ready", "wd/a", "--timeout=20s"))
    condition = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    await kubectl("patch", "wd", "a", "--subresource=status", "--type=merge", "-p", condition)
    assert (await waiting).stdout == "widget.wire.example.com/a condition met\n"
    assert "Max Size:  3" in (await kubectl("describe", "wd", "a")).stdout
    deleted = await kubectl("delete", "wd", "a")
    assert (deleted.returncode, deleted.stdout) == (0, 'widget.wire.example.com "a" deleted\n')


async def test_refusals_read_as_recorded(kubectl, widgets, make):
    unknown = await kubectl(*APPLY, stdin=make.widget("b", typo=1))
    assert unknown.stderr == (
        'Error from server (BadRequest): error when creating "STDIN": Widget in version "v1alpha1" cannot be '
        'handled as a Widget: strict decoding error: unknown field "spec.typo"\n'
    )
    rule = await kubectl(*APPLY, stdin=make.widget("b", size=9))
    assert rule.stderr == 'The Widget "b" is invalid: spec.size: Invalid value: size must not exceed maxSize\n'
    assert (unknown.returncode, rule.returncode) == (1, 1)


async def test_server_side_apply_and_conflicts(kubectl, make):
    side = ("apply", "--server-side", "-f", "-")
    first = await kubectl(*side, "--field-manager=m1", stdin=make.deployment(replicas=1))
    assert first.stdout == "deployment.apps/d serverside-applied\n"
    refused = await kubectl(*side, "--field-manager=m2", stdin=make.deployment(replicas=2))
    assert refused.stderr.startswith(
        'error: Apply failed with 1 conflict: conflict with "m1": .spec.replicas\nPlease review'
    )
    forced = await kubectl(*side, "--field-manager=m2", "--force-conflicts", stdin=make.deployment(replicas=2))
    assert forced.returncode == 0


async def test_edits_and_scale(kubectl, make):
    await kubectl(*APPLY, stdin=make.deployment())
    assert (await kubectl("annotate", "deploy", "d", "x=y")).stdout == "deployment.apps/d annotated\n"
    assert (await kubectl("scale", "deploy", "d", "--replicas=3")).stdout == "deployment.apps/d scaled\n"
    assert (await kubectl("get", "deploy", "d", "-o", "jsonpath={.spec.replicas}")).stdout == "3"
    explained = await kubectl("explain", "deploy.spec.replicas")
    assert "FIELD: replicas <integer>" in explained.stdout


async def test_namespaces_and_access(kubectl):
    created = await kubectl("create", "namespace", "studio")
    assert (created.returncode, created.stdout) == (0, "namespace/studio created\n"), created.stderr
    allowed = await kubectl("auth", "can-i", "create", "pods", "-n", "studio")
    assert (allowed.returncode, allowed.stdout) == (0, "yes\n"), allowed.stderr
    nobody = await kubectl("auth", "can-i", "list", "pods", "--token=guess")
    assert nobody.returncode == 1
    deleted = await kubectl("delete", "namespace", "studio")
    assert deleted.stdout == 'namespace "studio" deleted\n'


async def test_logs_come_from_the_node(kubectl, api):
    async def container_logs(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"{request.match_info['path']} tail={request.query.get('tailLines')}\n".encode())
        if request.query.get("follow") == "true":
            await response.write(b"and more\n")
        return response

    application = web.Application()
    application.router.add_get("/containerLogs/{path:.*}", container_logs)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # as kubelets do, with a certificate that nobody knows
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await api("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
    await api("POST", "/api/v1/namespaces/default/pods", pod)
    try:
        assert (await kubectl("logs", "p", "--tail=5")).stdout == "default/p/c tail=5\n"
        assert (await kubectl("logs", "-f", "p")).stdout.endswith("and more\n")
        wrong = await kubectl("logs", "p", "-c", "x")
        assert "container x is not valid for pod p" in wrong.stderr
    finally:
        await runner.cleanup()
