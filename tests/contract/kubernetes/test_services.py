"""Services by address: a pod finds one in its environment, and reaches a ready pod behind it, or nobody."""

SERVE = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if pathlib.Path(sys.argv[1], "open").exists() else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], 8081), Handler).serve_forever()
"""
ASK = """
import os, sys, time, urllib.request
host, port = os.environ["WEB_SERVICE_HOST"], os.environ["WEB_SERVICE_PORT"]
def answer():
    try: return str(urllib.request.urlopen(f"http://{host}:{port}/", timeout=30).status)
    except OSError as error: return type(getattr(error, "reason", error)).__name__
while answer() != sys.argv[2]: time.sleep(0.05)
open(sys.argv[1], "w").write(f"{host}:{port}")
"""


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.state.get("conditions") or [])


async def test_a_service_answers_on_its_address_while_a_pod_is_ready(given, run, then, tmp_path):
    async def asked(name, wanted):
        """What a pod says that has asked the Service until it had the wanted answer."""
        await run(name, "python3", "-c", ASK, args=["/dev/termination-log", wanted])
        pod = await then.eventually_is(f"pods/{name}", lambda pod: pod.state["phase"] in ("Succeeded", "Failed"))
        return pod.state["containerStatuses"][0]["state"]["terminated"].get("message")

    port = {"port": 8082, "targetPort": "http"}
    service = await given.made("services", "web", {"spec": {"selector": {"app": "web"}, "ports": [port]}})
    address = f"{service.spec['clusterIP']}:8082"
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30}
    await run(
        *("web", "python3", "-c", SERVE),
        args=["/gate"],
        spec={"volumes": [{"name": "gate", "hostPath": {"path": str(tmp_path)}}]},
        volumeMounts=[{"name": "gate", "mountPath": "/gate"}],
        ports=[{"name": "http", "containerPort": 8081}],
        readinessProbe=probe,
    )
    assert await asked("early", "ConnectionRefusedError") == address, "nobody is ready"
    (tmp_path / "open").touch()
    await then.eventually_is("pods/web", is_ready)
    assert await asked("good", "200") == address
    (tmp_path / "open").unlink()
    await then.eventually_is("pods/web", lambda pod: not is_ready(pod))
    assert await asked("late", "ConnectionRefusedError") == address
