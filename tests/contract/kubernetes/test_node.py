"""Pods as processes on a node that `videofleet dev node` has joined to the cluster.

What a pod saw comes back as its termination message, which any cluster shows; nothing here looks at the node's files
except through hostPath.
"""

import asyncio
import json
import signal

import pytest

SLEEP = ("python3", "-c", "import time; time.sleep(600)")
TOLD = "/dev/termination-log"
SERVE = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if pathlib.Path(os.environ["GATE"], "open").exists() else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], 8081), Handler).serve_forever()
"""
POLITE = """
import pathlib, signal, sys, time
diary = pathlib.Path(sys.argv[1], "diary").open("ab", buffering=0)
def end(*_):
    diary.write(b"term ")
    if sys.argv[2] == "obey": sys.exit(0)
signal.signal(signal.SIGTERM, end)
diary.write(b"up ")
while True: time.sleep(600)
"""


@pytest.fixture
def tell(run, then):
    """Runs Python to its end and returns what it wrote to its first argument, its termination log, as JSON."""

    async def told(name, code, **more):
        await run(name, "python3", "-c", f"import json, os, sys; {code}", **({"args": [TOLD]} | more))
        pod = await then.eventually_is(f"pods/{name}", ended)
        assert pod.state["phase"] == "Succeeded", main(pod)
        return json.loads(main(pod)["state"]["terminated"]["message"])

    return told


WRITE = "json.dump({}, open(sys.argv[1], 'w'))"


def main(pod):
    statuses = pod.state.get("containerStatuses") or [{}]
    return next((status for status in statuses if status.get("name") == "main"), {})


def ended(pod):
    return pod.state["phase"] in ("Succeeded", "Failed") and "terminated" in main(pod).get("state", {})


def running(pod):
    return "running" in main(pod).get("state", {})


def ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.state.get("conditions") or [])


def waits_for(reason):
    return lambda pod: main(pod).get("state", {}).get("waiting", {}).get("reason") == reason


def shared(folder, at="/work"):
    """A hostPath volume and its mount."""
    volume = {"name": "w", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}}
    return {"volumes": [volume]}, [{"name": "w", "mountPath": at}]


def reads(folder, name):
    async def text():
        file = folder / name
        return file.read_text() if file.exists() else ""

    return text


async def test_a_pod_runs_and_its_end_is_told(given, run, then, node):
    await run("good", "python3", "-c", "pass")
    await run("bad", "python3", "-c", "import sys; open(sys.argv[1], 'w').write('no model'); sys.exit(3)", args=[TOLD])
    good = await then.eventually_is("pods/good", ended)
    bad = await then.eventually_is("pods/bad", ended)
    assert (good.spec["nodeName"], good.state["phase"], bad.state["phase"]) == (node, "Succeeded", "Failed")
    codes = [{key: main(pod)["state"]["terminated"].get(key) for key in ("exitCode", "reason")} for pod in (good, bad)]
    assert codes == [{"exitCode": 0, "reason": "Completed"}, {"exitCode": 3, "reason": "Error"}]
    assert main(bad)["state"]["terminated"]["message"] == "no model"


async def test_the_environment_comes_from_fields_secrets_and_config_maps(given, when, tell, node):
    await given.config_map("c", {"mode": "fast"})
    await given.secret("s", url="redis://x")
    fields = {"POD": "metadata.name", "NS": "metadata.namespace", "LABEL": "metadata.labels['app']"}
    fields |= {"NODE": "spec.nodeName", "IP": "status.podIP", "ACCOUNT": "spec.serviceAccountName"}
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    env += [
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "mode"}}},
        {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "s", "key": "url"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "nothing", "optional": True}}},
        {"name": "BOTH", "value": "$(POD) $(UNKNOWN) $$(POD)"},
    ]
    source = [{"configMapRef": {"name": "c"}, "prefix": "ALL_"}]
    seen = await tell("p", WRITE.format("dict(os.environ)"), env=env, envFrom=source)
    assert seen["IP"].count(".") == 3
    assert "ABSENT" not in seen
    expected = {"POD": "p", "NS": when.namespace, "LABEL": "p", "NODE": node, "ACCOUNT": "default", "MODE": "fast"}
    expected |= {"URL": "redis://x", "BOTH": "p $(UNKNOWN) $(POD)", "ALL_mode": "fast"}
    assert expected.items() <= seen.items()


async def test_config_maps_and_secrets_are_files(given, tell):
    await given.config_map("c", {"a": "1", "b": "2"})
    await given.secret("s", url="redis://x")
    projected = [{"configMap": {"name": "c", "items": [{"key": "b", "path": "deep/b"}]}}, {"secret": {"name": "s"}}]
    volumes = [
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "p", "projected": {"sources": projected}},
    ]
    mounts = [{"name": name, "mountPath": f"/etc/{name}"} for name in "csp"]
    code = "read = lambda *path: open(os.path.join(*path)).read(); c, s, p = (os.environ[n] for n in 'CSP'); "
    code += WRITE.format("[read(c, 'a'), read(c, 'b'), read(s, 'url'), read(p, 'deep', 'b'), read(p, 'url')]")
    env = [{"name": name.upper(), "value": f"/etc/{name}"} for name in "csp"]
    seen = await tell("p", code, env=env, volumeMounts=mounts, spec={"volumes": volumes})
    assert seen == ["1", "2", "redis://x", "2", "redis://x"]


async def test_a_changed_config_map_reaches_the_running_pod(given, when, then, run, tmp_path):
    await given.config_map("c", {"key": "old"})
    copy = "import sys, time, shutil\nwhile True: shutil.copy(sys.argv[1] + '/key', sys.argv[2]); time.sleep(0.05)"
    volumes, mounts = shared(tmp_path)
    volumes["volumes"].append({"name": "c", "configMap": {"name": "c"}})
    mounts.append({"name": "c", "mountPath": "/etc/c"})
    await run("p", "python3", "-c", copy, args=["/etc/c", "/work"], spec=volumes, volumeMounts=mounts)

    def is_now(text):
        async def holds():
            return await reads(tmp_path, "key")() == text

        return holds

    await then.eventually(is_now("old"))
    await when.patches("configmaps/c", {"data": {"key": "new"}})
    await then.eventually(is_now("new"))
    assert (await when.reads("pods/p")).state["phase"] == "Running"


async def test_a_missing_secret_is_reported_and_heals(given, when, run, then):
    env = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "later", "key": "url"}}}]
    await run("env", *SLEEP, env=env)
    volumes = {"volumes": [{"name": "x", "secret": {"secretName": "later"}}]}
    await run("volume", *SLEEP, spec=volumes, volumeMounts=[{"name": "x", "mountPath": "/etc/x"}])
    pod = await then.eventually_is("pods/env", waits_for("CreateContainerConfigError"))
    assert main(pod)["state"]["waiting"]["message"] == 'secret "later" not found'
    event = await then.eventually_event("FailedMount", about="volume")
    assert event["message"] == 'MountVolume.SetUp failed for volume "x" : secret "later" not found'
    stuck = await then.eventually_is("pods/volume", waits_for("ContainerCreating"))
    assert stuck.state["phase"] == "Pending"
    await run("given-up", *SLEEP, spec=volumes, volumeMounts=[{"name": "x", "mountPath": "/etc/x"}])
    await then.eventually_is("pods/given-up", waits_for("ContainerCreating"))
    await when.deletes("pods/given-up")
    await then.eventually_gone("pods/given-up")
    await given.secret("later", url="1")
    await then.eventually_is("pods/env", running)
    assert await then.eventually_is("pods/volume", running)


async def test_init_containers_run_first_in_order_and_share_a_folder(run, then, tell):
    mounts = [{"name": "w", "mountPath": "/work"}]

    def step(word):
        return {
            "name": word,
            "image": "none",
            "command": ["sh", "-c", f"printf {word} >> /work/log"],
            "volumeMounts": mounts,
        }

    spec = {"initContainers": [step("a"), step("b")], "volumes": [{"name": "w", "emptyDir": {}}]}
    env = [{"name": "AT", "value": "/work"}]
    assert await tell("p", WRITE.format("open(os.environ['AT'] + '/log').read()"), env=env, volumeMounts=mounts, spec=spec) == "ab"  # fmt: skip  # noqa: E501
    pod = await then.eventually_is("pods/p", ended)
    assert [s["state"]["terminated"]["reason"] for s in pod.state["initContainerStatuses"]] == ["Completed"] * 2


async def test_a_failing_init_container_fails_the_pod(run, then):
    init = {"name": "i", "image": "none", "command": ["python3", "-c", "raise SystemExit(2)"]}
    await run("p", *SLEEP, spec={"initContainers": [init]})
    pod = await then.eventually_is("pods/p", lambda found: found.state["phase"] == "Failed")
    assert pod.state["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 2


async def test_pods_share_a_claimed_folder(given, when, then, tell, tmp_path):
    name = when.namespace
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    claimed_by = {"namespace": name, "name": "shared"}
    volume = {"capacity": size, "accessModes": modes, "storageClassName": "", "claimRef": claimed_by}
    path = {"path": str(tmp_path), "type": "DirectoryOrCreate"}
    await given.made("persistentvolumes", name, {"spec": volume | {"hostPath": path}})
    claim = {"accessModes": modes, "resources": {"requests": size}, "storageClassName": "", "volumeName": name}
    await given.made("persistentvolumeclaims", "shared", {"spec": claim})
    await then.eventually_is("persistentvolumeclaims/shared", lambda found: found.state.get("phase") == "Bound")
    spec = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "shared"}}]}
    env = [{"name": "AT", "value": "file:///data/x"}]
    more = {"spec": spec, "env": env, "volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    place = "os.environ['AT'].removeprefix('file://')"
    await tell("a", f"open({place}, 'w').write('hello'); {WRITE.format(1)}", **more)
    assert await tell("b", WRITE.format(f"open({place}).read()"), **more) == "hello"


async def test_a_killed_container_is_restarted(run, then):
    code = "import os, sys, pathlib, time; once = pathlib.Path(sys.argv[1], 'once'); " \
           "once.exists() and time.sleep(600); once.touch(); os.kill(os.getpid(), 9)"  # fmt: skip
    spec = {"volumes": [{"name": "w", "emptyDir": {}}], "restartPolicy": "Always"}
    mounts = [{"name": "w", "mountPath": "/work"}]
    await run("p", "python3", "-c", code, args=["/work"], spec=spec, volumeMounts=mounts)
    again = await then.eventually_is("pods/p", lambda pod: running(pod) and main(pod)["restartCount"] == 1)
    last = main(again)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (128 + signal.SIGKILL, "Error")


async def test_on_failure_restarts_until_it_succeeds(run, then):
    code = "import sys, pathlib; once = pathlib.Path(sys.argv[1], 'once'); sys.exit(0 if once.exists() else once.touch() or 1)"  # noqa: E501
    spec = {"volumes": [{"name": "w", "emptyDir": {}}], "restartPolicy": "OnFailure"}
    await run("p", "python3", "-c", code, args=["/work"], spec=spec, volumeMounts=[{"name": "w", "mountPath": "/work"}])
    pod = await then.eventually_is("pods/p", ended)
    assert (pod.state["phase"], main(pod)["restartCount"]) == ("Succeeded", 1)


async def test_a_crash_loop_backs_off_in_the_kubelets_words(when, run, then):
    pod = await run("p", "python3", "-c", "raise SystemExit(1)", spec={"restartPolicy": "Always"})
    looping = await then.eventually_is("pods/p", waits_for("CrashLoopBackOff"))
    where = f"pod=p_{when.namespace}({pod.uid})"
    assert main(looping)["state"]["waiting"]["message"] == f"back-off 10s restarting failed container=main {where}"
    assert looping.state["phase"] == "Running"
    event = await then.eventually_event("BackOff", about="p")
    assert event["message"].startswith("Back-off restarting failed container main in pod p_")


async def test_an_image_that_no_registry_can_have_is_refused_by_its_name(run, then):
    await run("shouting", *SLEEP, image="registry.example.com/Worker")
    waits = lambda pod: main(pod).get("state", {}).get("waiting", {})  # noqa: E731 - read twice below
    pod = await then.eventually_is("pods/shouting", lambda pod: waits(pod).get("reason") == "InvalidImageName")
    assert 'couldn\'t parse image name "registry.example.com/Worker"' in waits(pod)["message"]


async def test_a_program_that_does_not_exist_is_a_start_error(run, then):
    await run("p", "no-such-program")
    pod = await then.eventually_is("pods/p", ended)
    end = main(pod)["state"]["terminated"]
    assert (pod.state["phase"], end["reason"], end["exitCode"]) == ("Failed", "StartError", 128)
    assert "no-such-program" in end["message"]


PROBES = {
    "http": {"httpGet": {"path": "/", "port": "http"}},
    "exec": {"exec": {"command": ["sh", "-c", "test -e /gate/open"]}},
}


@pytest.mark.parametrize("kind", PROBES)
async def test_a_pod_is_ready_only_while_its_probe_passes(run, then, tmp_path, kind):
    spec, mounts = shared(tmp_path, at="/gate")
    await run(
        *("p", "python3", "-c", SERVE),
        spec=spec,
        volumeMounts=mounts,
        env=[{"name": "GATE", "value": "/gate"}],
        ports=[{"name": "http", "containerPort": 8081}],
        readinessProbe=PROBES[kind] | {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30},
    )
    told = await then.eventually_event("Unhealthy", about="p")
    assert told["message"].startswith("Readiness probe failed")
    assert not ready(await then.eventually_is("pods/p", running))
    (tmp_path / "open").touch()
    up = await then.eventually_is("pods/p", ready)
    assert main(up)["ready"] is True
    (tmp_path / "open").unlink()
    assert await then.eventually_is("pods/p", lambda pod: not ready(pod))


async def test_a_tcp_probe_connects_to_the_pods_own_address(run, then, tmp_path):
    spec, mounts = shared(tmp_path, at="/gate")
    serve = {"spec": spec, "volumeMounts": mounts, "env": [{"name": "GATE", "value": "/gate"}]}
    probe = {"tcpSocket": {"port": 8081}, "periodSeconds": 1, "timeoutSeconds": 30}
    pods = []
    for name in ("a", "b"):  # both listen on the same port
        await run(name, "python3", "-c", SERVE, readinessProbe=probe, **serve)
        pods.append(await then.eventually_is(f"pods/{name}", ready))
    assert pods[0].state["podIP"] != pods[1].state["podIP"]


async def test_liveness_restarts_and_startup_holds_it_back(run, then, tmp_path):
    spec, mounts = shared(tmp_path)
    check = {"periodSeconds": 1, "timeoutSeconds": 30}
    alive = {"exec": {"command": ["sh", "-c", "test -e /work/alive"]}, "failureThreshold": 1} | check
    started = {"exec": {"command": ["sh", "-c", "test -e /work/started"]}, "failureThreshold": 60} | check
    spec |= {"restartPolicy": "Always"}
    await run("p", *SLEEP, spec=spec, volumeMounts=mounts, livenessProbe=alive, startupProbe=started)
    await then.eventually_event("Unhealthy", about="p")
    held = await then.eventually_is("pods/p", running)
    assert (main(held)["started"], main(held)["restartCount"]) == (False, 0), "not alive, but not started either"
    (tmp_path / "alive").touch()
    (tmp_path / "started").touch()
    await then.eventually_is("pods/p", lambda pod: main(pod).get("started") is True)
    (tmp_path / "alive").unlink()
    await then.eventually_is("pods/p", lambda pod: main(pod)["restartCount"] >= 1)
    told = await then.eventually_event("Killing", about="p")
    assert told["message"] == "Container main failed liveness probe, will be restarted"


@pytest.mark.parametrize(("manner", "grace_s"), [("obey", 60), ("ignore", 4)])
async def test_an_end_is_prestop_then_sigterm_then_the_grace(when, run, then, tmp_path, manner, grace_s):
    spec, mounts = shared(tmp_path)
    hook = {"exec": {"command": ["sh", "-c", "printf 'stop ' >> /work/diary"]}}
    await run(
        *("p", "python3", "-c", POLITE),
        args=["/work", manner],
        volumeMounts=mounts,
        lifecycle={"preStop": hook},
        spec=spec | {"terminationGracePeriodSeconds": grace_s},
    )
    await then.eventually(reads(tmp_path, "diary"))
    await when.deletes("pods/p")
    await then.eventually_gone("pods/p")
    assert (tmp_path / "diary").read_text() == "up stop term "


async def test_a_second_deletion_shortens_the_grace(when, run, then, tmp_path):
    spec, mounts = shared(tmp_path)
    spec |= {"terminationGracePeriodSeconds": 600}
    await run("p", "python3", "-c", POLITE, args=["/work", "ignore"], volumeMounts=mounts, spec=spec)
    await then.eventually(reads(tmp_path, "diary"))
    await when.deletes("pods/p")

    async def told():
        return "term" in await reads(tmp_path, "diary")()

    await then.eventually(told)
    waiting = await when.reads("pods/p")
    assert waiting.meta["deletionGracePeriodSeconds"] == 600
    await when.deletes("pods/p", {"gracePeriodSeconds": 1})
    await then.eventually_gone("pods/p")


async def test_a_pod_speaks_to_the_api_as_its_service_account(given, when, tell):
    code = """
import base64, json, os, ssl, sys, urllib.request, yaml
config = yaml.safe_load(open(os.environ["KUBECONFIG"]))
cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
url = cluster["server"] + "/api/v1/pods"
try: urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}), context=context)
except urllib.error.HTTPError as error: json.dump([error.code, json.load(error)["message"]], open(sys.argv[1], "w"))
"""
    await given.made("serviceaccounts", "worker", {})
    assert await tell("p", f"exec({code!r})", spec={"serviceAccountName": "worker"}) == [
        403,
        f'pods is forbidden: User "system:serviceaccount:{when.namespace}:worker" cannot list resource "pods" '
        'in API group "" at the cluster scope',
    ]


async def test_gpus_are_given_to_one_pod_each(run, tell, then, tmp_path):
    gpu, (volumes, mounts) = {"limits": {"nvidia.com/gpu": "1"}}, shared(tmp_path)
    meet = f"""
import json, os, sys, time
open(sys.argv[2] + "/" + os.environ["POD"], "w").close()
while len(os.listdir(sys.argv[2])) < 2: time.sleep(0.05)
{WRITE.format("os.environ['CUDA_VISIBLE_DEVICES']")}
"""
    pod = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    more = {"resources": gpu, "spec": volumes, "volumeMounts": mounts, "env": [pod]}
    both_run = (tell(name, f"exec({meet!r})", args=[TOLD, "/work"], **more) for name in "ab")
    assert sorted(await asyncio.gather(*both_run)) == ["0", "1"]
    both = {"limits": {"nvidia.com/gpu": "2"}}
    assert await tell("c", WRITE.format("os.environ['CUDA_VISIBLE_DEVICES']"), resources=both) == "0,1"


async def test_a_name_that_is_taken_again_gets_a_pod_of_its_own(when, run, then):
    first = await run("p", *SLEEP)
    await then.eventually_is("pods/p", running)
    await when.deletes("pods/p", {"gracePeriodSeconds": 0})
    await then.eventually_gone("pods/p")
    second = await run("p", *SLEEP)
    assert second.uid != first.uid
    assert main(await then.eventually_is("pods/p", running))["restartCount"] == 0


async def test_a_deployment_of_processes_rolls(given, when, then, node):
    container = {"name": "main", "image": "none", "command": [*SLEEP]}
    pod = {"schedulerName": "default-scheduler", "nodeSelector": {"kubernetes.io/hostname": node}}
    pod |= {"containers": [container], "terminationGracePeriodSeconds": 1}
    await given.deployment("d", replicas=2, pod=pod)

    def complete(generation):
        wanted = {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
        return lambda found: wanted.items() <= found.state.items()

    await then.eventually_is("deployments/d", complete(1))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "args": ["2"]}]}}}}
    await when.patches("deployments/d", patch, how="strategic")
    assert await then.eventually_is("deployments/d", complete(2))


async def test_a_fake_node_runs_nothing_and_its_pods_become_ready(given, when, then, fake_node):
    container = {"name": "main", "image": "none", "command": ["no-such-program"]}
    pod = {"schedulerName": "default-scheduler", "nodeSelector": {"kubernetes.io/hostname": fake_node}}
    await given.deployment("d", replicas=3, pod=pod | {"containers": [container]})
    await then.eventually_is("deployments/d", lambda found: found.state.get("availableReplicas") == 3)
    pods = await when.items("pods")
    assert {pod["spec"]["nodeName"] for pod in pods} == {fake_node}
    assert all(pod["status"]["phase"] == "Running" and pod["status"]["podIP"] for pod in pods)
    await when.patches("deployments/d/scale", {"spec": {"replicas": 0}})

    async def gone():
        return not await when.names("pods")

    await then.eventually(gone)
