"""Custom resources: structural validation, defaults, pruning, CEL, strict fields; worded as 1.36 words it."""

import pytest

WIDGETS = "/apis/wire.example.com/v1alpha1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
TWINS = [{"name": "x", "width": 17}, {"name": "x", "width": 32}]
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


async def test_defaults_and_pruning(widgets, make):
    body = make.widget(free={"any": {"thing": 1}}, wait="5m", typo=1)
    answer = await widgets("POST", f"{WIDGETS}?fieldValidation=Ignore", body)
    assert answer.body["spec"] == {
        "model": "m",
        "free": {"any": {"thing": 1}},
        "wait": "5m",
        "maxSize": 3,
        "mode": "Auto",
        "size": 1,
    }
    assert "Warning" not in answer.headers


async def test_strict_fields(widgets, make):
    strict = await widgets("POST", f"{WIDGETS}?fieldValidation=Strict", make.widget(typo=1))
    assert (strict.status, strict.body["reason"]) == (400, "BadRequest")
    assert strict.body["message"] == (
        'Widget in version "v1alpha1" cannot be handled as a Widget: strict decoding error: unknown field "spec.typo"'
    )
    warned = await widgets("POST", WIDGETS, make.widget(typo=1))
    assert warned.status == 201
    assert "unknown field" in warned.headers["Warning"]


async def test_built_in_kinds_are_strict_too(api, make):
    body = make.deployment()
    body["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x"
    answer = await api("POST", "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict", body)
    assert answer.body["message"].endswith('unknown field "spec.template.spec.containers[0].imagePolicy"')
    body = make.deployment()
    body["spec"]["replicas"] = "two"
    answer = await api("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert (answer.status, "cannot unmarshal string" in answer.body["message"]) == (400, True)
    body = make.deployment()
    body["spec"]["selector"]["matchLabels"] = {"app": "other"}
    answer = await api("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert "`selector` does not match template `labels`" in answer.body["message"]


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        (
            {"mode": "Other", "model": "", "size": 99, "tiers": TWINS},
            [
                'spec.mode: Unsupported value: "Other": supported values: "Auto", "Advisory"',
                'spec.model: Invalid value: "": spec.model in body should be at least 1 chars long',
                "spec.size: Invalid value: 99: spec.size in body should be less than or equal to 64",
                "spec.tiers[0].width: Invalid value: 17: spec.tiers[0].width in body should be a multiple of 16",
                'spec.tiers[1]: Duplicate value: {"name":"x"}',
                UNCHECKED,
            ],
        ),
        (
            {"model": 5},
            [
                'spec.model: Invalid value: "integer": spec.model in body must be of type string: "integer"',
                UNCHECKED,
            ],
        ),
        ({"steps": list(range(9))}, ["spec.steps: Too many: 9: must have at most 8 items", UNCHECKED]),
        (
            {"model": "m" * 65},
            ["spec.model: Too long: may not be more than 64 bytes", UNCHECKED],
        ),
        ({"size": 9}, ["spec.size: Invalid value: size must not exceed maxSize"]),
        ({"steps": [3, 1]}, ["spec: Invalid value: steps must rise"]),
    ],
)  # fmt: skip
async def test_what_a_schema_refuses(widgets, make, spec, faults):
    answer = await widgets("POST", WIDGETS, make.widget("b", **spec))
    told = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"] == f'Widget.wire.example.com "b" is invalid: {told}'
    causes = [f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"]]
    assert causes == faults


async def test_a_missing_field(widgets, make):
    body = make.widget("b")
    del body["spec"]["model"]
    answer = await widgets("POST", WIDGETS, body)
    assert [cause["reason"] for cause in answer.body["details"]["causes"]] == [
        "FieldValueRequired",
        "FieldValueInvalid",
    ]


async def test_transition_rules_compare_with_the_old_object(widgets, make):
    await widgets("POST", WIDGETS, make.widget())
    refused = await widgets("PATCH", f"{WIDGETS}/a", {"spec": {"model": "n"}}, kind=MERGE)
    assert refused.status == 422
    assert refused.body["message"].endswith("spec: Invalid value: model may change only at size 0, not at 1")
    allowed = await widgets("PATCH", f"{WIDGETS}/a", {"spec": {"model": "n", "size": 0}}, kind=MERGE)
    assert allowed.status == 200


async def test_a_definition_is_established_and_served(widgets):
    found = await widgets("GET", f"{CRDS}/widgets.wire.example.com")
    conditions = {c["type"]: c["status"] for c in found.body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    listed = await widgets("GET", "/apis/wire.example.com/v1alpha1")
    assert [entry["name"] for entry in listed.body["resources"]] == ["widgets", "widgets/status"]


async def test_a_definition_goes_with_its_objects(widgets, make, eventually):
    await widgets("POST", WIDGETS, make.widget())
    await widgets("DELETE", f"{CRDS}/widgets.wire.example.com")

    async def is_gone():
        return (await widgets("GET", f"{CRDS}/widgets.wire.example.com")).status == 404

    await eventually(is_gone)
    assert (await widgets("GET", WIDGETS)).status == 404


async def test_a_rule_that_does_not_compile_is_refused(api, make):
    definition = make.widget_definition()
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.size <="}]
    answer = await api("POST", CRDS, definition)
    assert answer.status == 422
    assert "x-kubernetes-validations[0].rule" in answer.body["details"]["causes"][0]["field"]
