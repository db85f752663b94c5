"""Custom resources: structural validation, defaults, pruning, CEL, field validation; worded as Kubernetes words it."""

import pytest

TWINS = [{"name": "x", "width": 17}, {"name": "x", "width": 32}]
UNCHECKED = (
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


async def tried(when, *, fields="Strict", **spec):
    body = {"metadata": {"name": "b"}, "spec": {"model": "m"} | spec}
    return await when.creates("widgets", body, fieldValidation=fields)


async def test_defaults_are_filled_in_and_unknown_fields_pruned(when):
    made = await tried(when, fields="Ignore", free={"any": {"thing": 1}}, wait="5m", typo=1)
    assert made.spec == {
        "model": "m",
        "free": {"any": {"thing": 1}},
        "wait": "5m",
        "maxSize": 3,
        "mode": "Auto",
        "size": 1,
    }
    assert "Warning" not in made.headers


async def test_int_or_string_takes_both(when):
    assert (await tried(when, wait=5)).spec["wait"] == 5
    refused = await when.patches("widgets/b", {"spec": {"wait": True}})
    assert (refused.status, refused.causes[0][0]) == (422, "spec.wait")


async def test_strict_refuses_unknown_fields(given, when):
    text = 'strict decoding error: unknown field "spec.typo"'
    strict = await tried(when, typo=1)
    message = f'Widget in version "v1alpha1" cannot be handled as a Widget: {text}'
    assert strict.refusal == (400, "BadRequest", message)
    two = await tried(when, typo=1, other=2)
    assert two["message"].endswith('strict decoding error: unknown field "spec.other", unknown field "spec.typo"')
    await given.widget("a")
    patch = await when.patches("widgets/a", {"spec": {"typo": 1}}, fieldValidation="Strict")
    assert patch.refusal[:2] == (400, "BadRequest")
    assert 'unknown field "spec.typo"' in patch["message"]


async def test_warn_is_the_default_and_says_so(when):
    warned = await tried(when, fields="Warn", typo=1)
    assert (warned.status, warned.headers["Warning"]) == (201, '299 - "unknown field \\"spec.typo\\""')
    again = await when.creates("widgets", {"metadata": {"name": "c"}, "spec": {"model": "m", "typo": 1}})
    assert again.headers["Warning"] == warned.headers["Warning"]


async def test_built_in_kinds_are_strict_too(given, when, make):
    body = {"metadata": {"name": "d"}} | make.deployment()
    body["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x"
    answer = await when.creates("deployments", body, fieldValidation="Strict")
    assert answer.refusal == (
        400,
        "BadRequest",
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.template.spec.containers[0].imagePolicy"',
    )


async def test_built_in_kinds_are_checked(when, make):
    body = {"metadata": {"name": "d"}} | make.deployment()
    body["spec"]["replicas"] = "two"
    wrong = await when.creates("deployments", body)
    assert wrong.refusal == (
        400,
        "BadRequest",
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into '
        "Go struct field DeploymentSpec.spec.replicas of type int32",
    )
    body = {"metadata": {"name": "d"}} | make.deployment()
    body["spec"]["selector"]["matchLabels"] = {"app": "other"}
    unmatched = await when.creates("deployments", body)
    assert unmatched.causes == [
        (
            "spec.template.metadata.labels",
            "FieldValueInvalid",
            'Invalid value: {"app":"d"}: `selector` does not match template `labels`',
        )
    ]


REFUSED = {
    "many": (
        {"mode": "Other", "model": "", "size": 99, "tiers": TWINS},
        """
        spec.mode NotSupported Unsupported value: "Other": supported values: "Auto", "Advisory"
        spec.model Invalid Invalid value: "": spec.model in body should be at least 1 chars long
        spec.size Invalid Invalid value: 99: spec.size in body should be less than or equal to 64
        spec.tiers[0].width Invalid Invalid value: 17: spec.tiers[0].width in body should be a multiple of 16
        spec.tiers[1] Duplicate Duplicate value: {"name":"x"}
        """,
    ),
    "type": (
        {"model": 5},
        'spec.model TypeInvalid Invalid value: "integer": spec.model in body must be of type string: "integer"',
    ),
    "too-many": ({"steps": list(range(9))}, "spec.steps TooMany Too many: 9: must have at most 8 items"),
    "required": ({"tiers": [{"name": "x"}]}, "spec.tiers[0].width Required Required value"),
    "rule-beside-a-bound": (
        {"size": 99},
        """
        spec.size Invalid Invalid value: 99: spec.size in body should be less than or equal to 64
        spec.size Invalid Invalid value: size must not exceed maxSize
        """,
    ),
    "rule-with-path": ({"size": 9}, "spec.size Invalid Invalid value: size must not exceed maxSize"),
    "rule": ({"steps": [3, 1]}, "spec Invalid Invalid value: steps must rise"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_a_schema_refuses(when, make, case):
    spec, lines = REFUSED[case]
    parts = [line.split(maxsplit=2) for line in lines.strip().splitlines()]
    causes = [(field, f"FieldValue{reason}", message) for field, reason, message in parts]
    causes += [] if case.startswith("rule") else [UNCHECKED]  # rules are checked only when the rest is right
    answer = await tried(when, **spec)
    told = [f"{field}: {message}" for field, _, message in causes]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    assert answer.refusal == (422, "Invalid", f'Widget.{make.group} "b" is invalid: {listed}')
    assert answer.causes == causes
    assert answer["details"] | {"causes": []} == {"name": "b", "group": make.group, "kind": "Widget", "causes": []}


async def test_too_long_a_text(when):
    field, reason, _ = (await tried(when, model="m" * 65)).causes[0]
    assert (field, reason) == ("spec.model", "FieldValueTooLong")


async def test_a_missing_field(when, make):
    answer = await when.creates("widgets", {"metadata": {"name": "b"}, "spec": {"size": 1}})
    assert answer.causes == [("spec.model", "FieldValueRequired", "Required value"), UNCHECKED]


async def test_transition_rules_compare_with_the_old_object(given, when, make):
    await given.widget("a", model="m")
    refused = await when.patches("widgets/a", {"spec": {"model": "n"}})
    message = "Invalid value: model may change only at size 0, not at 1"
    assert refused.refusal == (422, "Invalid", f'Widget.{make.group} "a" is invalid: spec: {message}')
    allowed = await when.patches("widgets/a", {"spec": {"model": "n", "size": 0}})
    assert allowed.status == 200


async def test_the_status_is_validated_through_its_subresource(given, when):
    await given.widget("a")
    refused = await when.patches("widgets/a/status", {"status": {"conditions": [{"type": "Ready"}]}})
    assert refused.causes[0] == ("status.conditions[0].status", "FieldValueRequired", "Required value")


async def test_a_definition_is_established_served_and_discovered(given, when, then, make):
    found = await when.reads(f"customresourcedefinitions/widgets.{make.group}")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in found.state["conditions"]}
    assert conditions == {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")}
    assert found.state["storedVersions"] == ["v1alpha1"]
    assert found.spec["names"]["listKind"] == "WidgetList"
    listed = await when.http("GET", f"/apis/{make.group}/v1alpha1")
    assert {entry["name"]: set(entry["verbs"]) for entry in listed["resources"]} == {
        "widgets": {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
        "widgets/status": {"get", "patch", "update"},
    }
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = await when.http("GET", "/apis", Accept=accept)
    assert groups["kind"] == "APIGroupDiscoveryList"
    (group,) = [item for item in groups["items"] if item["metadata"]["name"] == make.group]
    (resource,) = group["versions"][0]["resources"]
    assert (resource["resource"], resource["scope"], resource["shortNames"]) == ("widgets", "Namespaced", ["cwd"])
    same = await when.http("GET", "/apis", Accept=accept, **{"If-None-Match": groups.headers["ETag"]})
    assert same.status == 304


async def test_a_definition_goes_with_its_objects(given, when, then, make):
    definition = make.widget_definition("going.example.com")
    name, path = "widgets.going.example.com", f"/apis/going.example.com/v1alpha1/namespaces/{when.namespace}/widgets"
    await given.made("customresourcedefinitions", name, {"spec": definition["spec"]})

    async def served():
        return (await when.http("GET", path)).status == 200

    await then.eventually(served)
    head = {"apiVersion": "going.example.com/v1alpha1", "kind": "Widget"}

    async def accepted():
        body = head | {"metadata": {"name": "a"}, "spec": {"model": "m"}}
        return (await when.http("POST", path, body)).status == 201

    await then.eventually(accepted)
    await when.deletes(f"customresourcedefinitions/{name}")
    await then.eventually_gone(f"customresourcedefinitions/{name}")

    async def unknown():
        return (await when.http("GET", path)).status == 404

    await then.eventually(unknown)


async def test_a_rule_that_does_not_compile_is_refused(when, make):
    definition = make.widget_definition("broken.example.com")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.size <="}]
    answer = await when.creates("customresourcedefinitions", definition)
    assert answer.refusal[:2] == (422, "Invalid")
    assert answer.causes[0][0].endswith("properties[spec].x-kubernetes-validations[0].rule")


async def test_a_schema_that_is_not_structural_is_refused(when, make):
    definition = make.widget_definition("broken.example.com")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["mode"]["type"]
    answer = await when.creates("customresourcedefinitions", definition)
    assert answer.refusal[:2] == (422, "Invalid")
    field, reason, message = answer.causes[0]
    assert field.endswith("properties[mode].type")
    assert (reason, message) == (
        "FieldValueRequired",
        "Required value: must not be empty for specified object fields",
    )


async def test_a_definition_is_named_after_its_group(when, make):
    definition = make.widget_definition("broken.example.com") | {"metadata": {"name": "wrong.example.com"}}
    answer = await when.creates("customresourcedefinitions", definition)
    assert answer.causes[0][0] == "metadata.name"
    assert 'must be spec.names.plural+"."+spec.group' in answer.causes[0][2]
