"""What the chart makes out of typical values."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from videofleet_gateway.auth import Keyring
from videofleet_gateway.tenants import TenantRules
from videofleet_operator.kube.paths import RBAC_RULES, lease_rules

CHART = Path(__file__).parents[2] / "charts" / "videofleet"
KEY = {"id": "me", "tenant": "studio", "sha256": "a" * 64}
S3 = [{"name": "videos", "options": {"url": "s3://bucket/prefix", "aws_region": "eu-west-1"}}]
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "url and keys": {"redis": {"url": "rediss://u:p@redis:6380/0"}, "gateway": {"keys": [KEY]}},
    "s3": {"stores": S3, "images": {"operator": {"digest": "sha256:" + "b" * 64}}},
    "namespaces": {"namespaces": ["studio", "ads"]},
    "placement": {
        "images": {"pullSecrets": ["registry"]},
        "gateway": {"nodeSelector": {"pool": "cpu"}, "tolerations": [{"key": "cpu", "operator": "Exists"}]},
        "networkPolicy": {"gatewayFrom": [{"namespaceSelector": {}}]},
    },
    "secrets that are there": {
        "stores": [
            {"name": "videos", "existingSecret": "videos"},
            {"name": "nas", "persistentVolumeClaim": {"existing": "nas"}},
        ],
        "gateway": {"existingSecret": "keys"},
    },
    "moderation": {"gateway": {"moderation": {"url": "https://judge.example.com:8443/v1", "existingSecret": "judge"}}},
    "login": {"gateway": {"login": {"existingSecret": "sso", "ports": [8443]}}},
    "webhooks": {"webhooks": {"existingSecret": "hooks", "ports": [443]}},
}
Render = Callable[..., list[dict[str, Any]]]
Faults = Callable[[dict[str, Any]], list[str]]


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["spec"]["template"]["spec"] for item in objects if item["kind"] == "Deployment"]


def names(objects: list[dict[str, Any]], kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in objects if item["kind"] == kind}


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
class TestEveryVariant:
    def test_kubernetes_accepts_every_object(
        self, render: Render, schema_faults: Faults, values: dict[str, Any]
    ) -> None:
        faults = {f"{item['kind']} {item['metadata']['name']}": schema_faults(item) for item in render(values)}
        assert {name: found for name, found in faults.items() if found} == {}

    def test_every_pod_is_restricted(self, render: Render, restricted_faults: Faults, values: dict[str, Any]) -> None:
        assert [fault for pod in pods(render(values)) for fault in restricted_faults(pod)] == []

    def test_every_object_says_its_namespace(self, render: Render, values: dict[str, Any]) -> None:
        allowed = {"studio", *values.get("namespaces", [])}
        assert {item["metadata"].get("namespace") for item in render(values)} <= allowed

    def test_selectors_find_the_pods(self, render: Render, values: dict[str, Any]) -> None:
        objects = render(values)
        gateway = one(objects, "Deployment", "videofleet-gateway")["spec"]["template"]["metadata"]["labels"]
        assert one(objects, "Service", "videofleet-gateway")["spec"]["selector"].items() <= gateway.items()


def test_the_schema_refuses_a_misspelt_field(render: Render, schema_faults: Faults) -> None:
    gateway = one(render(), "Deployment", "videofleet-gateway")
    gateway["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    assert "imagePulPolicy" in " ".join(schema_faults(gateway))


def test_the_checker_refuses_a_careless_pod(restricted_faults: Faults) -> None:
    careless = {"hostNetwork": True, "volumes": [{"name": "v", "hostPath": {}}], "containers": [{"name": "c"}]}
    assert {
        "hostNetwork is set",
        "volume v is a hostPath",
        "may run as root",
        "c: keeps capabilities",
        "c: has no explicit command",
    } <= set(restricted_faults(careless))


def test_operator_may_do_exactly_this(render: Render) -> None:
    """What the operator's own tests run with; Secrets, exec and RBAC objects are not in it."""
    objects = render()
    rules = {item["metadata"]["name"]: item["rules"] for item in objects if item["kind"] == "Role"}
    lease = one(objects, "Lease", "videofleet-operator")["metadata"]
    assert rules == {
        "videofleet-operator": RBAC_RULES,
        "videofleet-operator-lease": lease_rules(lease["name"]),
    }
    granted = {resource for rule in RBAC_RULES for resource in rule["resources"]}
    assert not granted & {"secrets", "pods/exec", "roles", "rolebindings", "*"}


def test_a_second_operator_stands_by_and_outlives_a_drain(render: Render) -> None:
    objects = render()
    operator = one(objects, "Deployment", "videofleet-operator")["spec"]
    assert (operator["replicas"], operator["strategy"]["type"]) == (2, "RollingUpdate")
    budget = one(objects, "PodDisruptionBudget", "videofleet-operator")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= operator["template"]["metadata"]["labels"].items()
    assert "videofleet-operator" not in names(render({"operator": {"replicas": 1}}), "PodDisruptionBudget")


def test_rights_are_namespaced_and_only_the_operators(render: Render) -> None:
    objects = render({"namespaces": ["ads", "films"]})
    assert {item["metadata"]["namespace"] for item in objects if item["kind"] == "RoleBinding"} == {
        "ads",
        "films",
        "studio",  # of the Lease, and only there
    }
    subjects = [subject for item in objects if item["kind"] == "RoleBinding" for subject in item["subjects"]]
    assert {(subject["name"], subject["namespace"]) for subject in subjects} == {("videofleet-operator", "studio")}
    assert not names(objects, "ClusterRole") | names(objects, "ClusterRoleBinding")


def test_only_the_operator_gets_a_token(render: Render) -> None:
    tokens = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for item in render()
        if item["kind"] == "Deployment"
    }
    assert tokens == {"videofleet-operator": True, "videofleet-gateway": False}


def test_operator_config_names_what_workers_mount(render: Render) -> None:
    stores = [{"name": "videos", "persistentVolumeClaim": {"size": "1Gi"}}, {"name": "s3", "existingSecret": "s3"}]
    objects = render({"stores": stores, "namespaces": ["ads"], "images": {"worker": {"tag": "9"}}})
    config = yaml.safe_load(one(objects, "ConfigMap", "videofleet-operator")["data"]["operator.yaml"])
    assert config == {
        "installation": "videofleet",
        "namespaces": ["ads"],
        "workerImage": "registry.example.com/videofleet/worker:9",
        "redisSecret": "videofleet-redis",
        "lease": "studio/videofleet-operator",
        "durability": "aof",
        "stores": [{"name": "videos", "persistentVolumeClaim": "videofleet-videos"}, {"name": "s3"}],
    }


def test_gateway_opens_stores_by_claim_and_by_secret(render: Render) -> None:
    stores = [{"name": "nas", "persistentVolumeClaim": {"existing": "films"}}, *S3]
    objects = render({"stores": stores})
    pod = one(objects, "Deployment", "videofleet-gateway")["spec"]["template"]["spec"]
    arguments, volumes = pod["containers"][0]["args"], {volume["name"]: volume for volume in pod["volumes"]}
    assert "--store=nas=file:///var/lib/videofleet/stores/nas" in arguments
    assert "--store-folder=videos=/etc/videofleet/stores/videos" in arguments
    assert volumes["store-nas"]["persistentVolumeClaim"]["claimName"] == "films"
    assert one(objects, "Secret", "videos")["stringData"] == S3[0]["options"]
    assert not names(objects, "PersistentVolumeClaim")


def test_secrets_that_are_there_are_not_made(render: Render) -> None:
    assert not names(render(VARIANTS["secrets that are there"]), "Secret")


def test_rules_for_tenants_are_those_that_the_gateway_knows(render: Render, tmp_path: Path) -> None:
    rules = {
        "promptPolicy": "refuse",
        "blockedTerms": ["acme", "sūmmer"],
        "requestsPerMinute": 600,
        "maxQueuedJobs": 100,
        "maxUnfinishedJobs": 120,
        "maxRunningJobs": 8,
        "workerSecondsPerDay": 86400,
        "moderation": "open",
    }
    values = {
        "gateway": {"keys": [{**KEY, "role": "admin", "expires": "2100-01-31T00:00:00Z"}], "tenants": {"studio": rules}}
    }
    secret = one(render(values), "Secret", "videofleet-gateway-keys")
    file = tmp_path / "keys.json"
    file.write_text(secret["stringData"]["keys.json"])
    caller = Keyring(file).caller_of("me")
    assert caller is not None
    assert caller.is_admin
    assert caller.key_expires == datetime(2100, 1, 31, tzinfo=UTC)
    assert caller.rules.model_dump(mode="json", by_alias=True) == rules
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["properties"]["gateway"]["properties"]["tenants"]["additionalProperties"]["properties"]
    assert set(known) == {field.alias for field in TenantRules.model_fields.values()}


def test_the_gateway_reaches_its_moderation_hook_and_no_more(render: Render) -> None:
    def egress(gateway: dict[str, Any]) -> set[int]:
        policy = one(render({"gateway": gateway}), "NetworkPolicy", "videofleet-gateway")
        return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}

    assert egress({}) == {53, 443, 6379}
    assert egress({"moderation": {"url": "https://judge.example.com:8443/v1"}}) == {53, 443, 6379, 8443}
    assert egress({"moderation": {"url": "http://judge"}}) == {53, 443, 6379, 80}
    assert egress({"moderation": {"url": "https://judge"}}) == {53, 443, 6379}
    objects = render({"gateway": {"moderation": {"url": "https://judge", "existingSecret": "judge"}}})
    (container,) = one(objects, "Deployment", "videofleet-gateway")["spec"]["template"]["spec"]["containers"]
    assert {"--moderation-url=https://judge", "--moderation-key-file=/etc/videofleet/moderation/key"} <= set(
        container["args"]
    )


def test_a_new_redis_password_restarts_and_a_new_key_does_not(render: Render) -> None:
    def annotations(values: dict[str, Any]) -> list[dict[str, str]]:
        deployments = (item for item in render(values) if item["kind"] == "Deployment")
        return [item["spec"]["template"]["metadata"]["annotations"] for item in deployments]

    before = annotations({"redis": {"url": "redis://:old@redis"}})
    assert all(a != b for a, b in zip(before, annotations({"redis": {"url": "redis://:new@redis"}}), strict=True))
    with_key = {"redis": {"url": "redis://:old@redis"}, "gateway": {"keys": [KEY]}}
    assert before == annotations(with_key)


def test_network_is_closed_but_for_what_is_needed(render: Render) -> None:
    objects = render({"redis": {"url": "rediss://:p@redis:6380/0"}})
    policies = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "NetworkPolicy"}
    ports = {
        name: {port["port"] for rule in spec["egress"] for port in rule["ports"]} for name, spec in policies.items()
    }
    assert ports == {
        "videofleet-operator": {53, 6379, 6380, 443, 6443},
        "videofleet-gateway": {53, 6379, 6380, 443},
        "videofleet-workers": {53, 6379, 6380, 443},
    }
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in policies.values())
    blocks = [peer["ipBlock"] for spec in policies.values() for rule in spec["egress"] for peer in rule.get("to", [])
              if "ipBlock" in peer]  # fmt: skip
    assert all(block["except"] for block in blocks), "cloud metadata must stay unreachable"
    assert not names(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


def test_signing_in_is_a_secret_and_a_way_to_the_provider(render: Render) -> None:
    assert not any("--oidc" in argument for pod in pods(render()) for argument in pod["containers"][0]["args"])
    objects = render(VARIANTS["login"])
    pod = one(objects, "Deployment", "videofleet-gateway")["spec"]["template"]["spec"]
    assert "--oidc-file=/etc/videofleet/login/oidc.json" in pod["containers"][0]["args"]
    assert {"name": "login", "secret": {"secretName": "sso"}} in pod["volumes"]
    assert {"name": "login", "mountPath": "/etc/videofleet/login", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]
    policy = one(objects, "NetworkPolicy", "videofleet-gateway")["spec"]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 6379, 8443}


def test_probes_and_metrics_of_the_gateway_have_their_own_port_and_callers(render: Render) -> None:
    callers, scrapers = ([{"podSelector": {"matchLabels": {"app": name}}}] for name in ("shop", "prometheus"))
    objects = render({"networkPolicy": {"gatewayFrom": callers, "metricsFrom": scrapers}})
    (container,) = one(objects, "Deployment", "videofleet-gateway")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8080, "health": 8083}
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness", "readiness")} == {
        "health"
    }
    assert [port["targetPort"] for port in one(objects, "Service", "videofleet-gateway")["spec"]["ports"]] == ["http"]
    ingress = one(objects, "NetworkPolicy", "videofleet-gateway")["spec"]["ingress"]
    assert {rule["ports"][0]["port"]: rule["from"] for rule in ingress} == {8080: callers, 8083: scrapers}


def test_webhooks_have_a_process_of_their_own_that_alone_reaches_out(render: Render) -> None:
    assert "videofleet-deliver" not in names(render(), "Deployment")
    objects = render(VARIANTS["webhooks"])
    pod = one(objects, "Deployment", "videofleet-deliver")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["videofleet-gateway", "deliver"]
    assert pod["automountServiceAccountToken"] is False
    for name in ("videofleet-deliver", "videofleet-gateway"):
        reader = one(objects, "Deployment", name)["spec"]["template"]["spec"]
        assert {"name": "webhooks", "secret": {"secretName": "hooks"}} in reader["volumes"]
        assert "--webhooks-file=/etc/videofleet/webhooks/webhooks.json" in reader["containers"][0]["args"]
    policy = one(objects, "NetworkPolicy", "videofleet-deliver")["spec"]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 6379, 443}


def test_notes_tell_the_next_commands(chart: helm.Chart) -> None:
    files = chart.render({"redis": {"url": "redis://r"}}, name="films", namespace="studio")
    notes = files["videofleet/templates/NOTES.txt"]
    assert "port-forward -n studio service/films-videofleet-gateway 8080:8080" in notes
    assert "Nobody has a key" in notes


def test_the_chart_brings_the_generated_kind() -> None:
    """Helm reads charts/videofleet/crds; `make crds` copies it there."""
    root = Path(__file__).parents[2]
    generated, shipped = root / "crds", root / "charts" / "videofleet" / "crds"
    assert {file.name for file in generated.iterdir()} == {file.name for file in shipped.iterdir()}
    for file in generated.iterdir():
        assert (shipped / file.name).read_text() == file.read_text(), f"{file.name} differs: make crds"
