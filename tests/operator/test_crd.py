"""The CRD, its page and the Python types say the same, and each rule refuses what it says."""

import copy
import json
from pathlib import Path
from typing import Any

import cel
import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from videofleet_operator.crd.document import crd_markdown, crd_yaml
from videofleet_operator.crd.manifest import openapi_schema
from videofleet_operator.crd.rules import VALIDATIONS
from videofleet_operator.crd.schema import structural_schema
from videofleet_operator.crd.spec import SpecError, VideoGeneratorSpec, parse_spec
from videofleet_operator.crd.values import SpecModel

ROOT = Path(__file__).parents[2]
SCHEMA = openapi_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)


def with_defaults(node: Any, schema: dict[str, Any]) -> Any:
    """Defaults as a structural schema fills them in."""
    if isinstance(node, dict):
        for name, child in schema.get("properties", {}).items():
            if name not in node and "default" in child:
                node[name] = copy.deepcopy(child["default"])
            if name in node:
                node[name] = with_defaults(node[name], child)
    if isinstance(node, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in node]
    return node


def refusals(manifest: dict[str, Any]) -> list[str]:
    """What an API server would say: structure first, then CEL."""
    manifest = with_defaults(copy.deepcopy(manifest), SCHEMA)
    structural = [error.message for error in VALIDATOR.iter_errors(manifest)]
    return structural or list(cel_refusals(manifest, SCHEMA))


def cel_refusals(value: Any, schema: dict[str, Any]):
    for rule in schema.get(VALIDATIONS, []):
        context = cel.Context({"self": value}, {"isSorted": lambda items: list(items) == sorted(items)})
        if cel.evaluate(rule["rule"], context) is not True:
            yield rule["message"]
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name in value:
                yield from cel_refusals(value[name], child)
    if isinstance(value, list):
        for item in value:
            yield from cel_refusals(item, schema["items"])


def manifest(**changes: Any) -> dict[str, Any]:
    """A valid VideoGenerator with some paths (dots as __) replaced."""
    document = yaml.safe_load((ROOT / "examples/wan-a14b.yaml").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = document["spec"]
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return document


def tier(name="t", width=1280, height=704, frames=81, steps=40) -> dict[str, Any]:
    return {"name": name, "width": width, "height": height, "numFrames": frames, "numInferenceSteps": steps}


def test_written_files_are_up_to_date():
    assert (ROOT / "crds/videogenerators.yaml").read_text() == crd_yaml(), "run python -m videofleet_operator.crd"
    assert (ROOT / "docs/reference/crd.md").read_text() == crd_markdown(), "run python -m videofleet_operator.crd"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid(example):
    document = yaml.safe_load(example.read_text())
    assert refusals(document) == []
    parse_spec(document["spec"])


REFUSED = [
    ("width of A14B", {"tiers": [tier(width=1288)]}, "multiples of 16"),
    (
        "height of 5B",
        {"model__architecture": "wan2.2-ti2v-5b", "tiers": [tier(height=720)]},
        "multiples of 32",
    ),
    ("frames", {"tiers": [tier(frames=80)]}, "multiple of 4 plus 1"),
    ("rising cost", {"tiers": [tier("a", width=640), tier("b")]}, "best first"),
    ("same name", {"tiers": [tier("a"), tier("a", width=640)]}, "same name"),
    ("no tier", {"tiers": []}, "less than 1 item"),
    ("nine tiers", {"tiers": [tier(f"t{n}") for n in range(9)]}, "more than 8 items"),
    ("unknown scheme", {"model__source": "http://x/y"}, "source must be file:///PATH"),
    ("no claim", {"model__source": "pvc:///models"}, "name of a PersistentVolumeClaim"),
    ("no repository", {"model__source": "hf://wan", "model__revision": "0" * 40}, "hf://ORG/NAME"),
    ("no folder", {"model__source": "s3://weights"}, "s3://BUCKET/PATH"),
    ("no commit", {"model__source": "hf://studio/wan"}, "belongs to a hf:// source"),
    ("a branch", {"model__source": "hf://studio/wan", "model__revision": "main"}, "no branch or tag"),
    ("a commit of a volume", {"model__revision": "0" * 40}, "belongs to a hf:// source"),
    ("a secret of a volume", {"model__secret": "hub"}, "secret opens"),
    ("a cache without claim", {"worker__weightCache": {}}, "persistentVolumeClaim"),
    ("upwards", {"model__source": "file:///models/../etc"}, "`..`"),
    ("gpu resource", {"worker__gpuResource": "gpu"}, "nvidia.com/gpu"),
    ("nine GPUs", {"worker__gpus": 9}, "maximum of 8"),
    ("idle GPUs", {"worker__gpus": 4, "worker__parallelism": {"cfg": 2}}, "parallelism.ulysses must be gpus"),
    ("three branches", {"worker__gpus": 3, "worker__parallelism": {"cfg": 3}}, "maximum of 2"),
    ("shards of one", {"worker__gpus": 1, "worker__parallelism": {"shardWeights": True}}, "needs ranks"),
    (
        "shards and offload",
        {"worker__gpus": 2, "worker__parallelism": {"cfg": 2, "shardWeights": True}, "worker__offload": "model"},
        "choose one",
    ),
    ("guidance", {"model__guidance": {"highNoise": "0.5"}}, "from 1 to 20"),
    ("guidance above", {"model__guidance": {"highNoise": "20.1"}}, "from 1 to 20"),
    (
        "guidance of the expert that is not there",
        {"model__architecture": "wan2.2-ti2v-5b", "model__guidance": {"lowNoise": "3"}},
        "only wan2.2-t2v-a14b has",
    ),
    ("heads", {"worker__gpus": 3, "worker__parallelism": {"ulysses": 3}}, "40 attention heads: 1, 2, 4, 5, 8"),
    (
        "tokens",
        {"worker__gpus": 8, "worker__parallelism": {"ulysses": 8}, "tiers": [tier(width=320, height=240)]},
        "must divide by worker.parallelism.ulysses",
    ),
    (
        "tokens of 5B",
        {
            "model__architecture": "wan2.2-ti2v-5b",
            "worker__gpus": 4,
            "worker__parallelism": {"ulysses": 4},
            "tiers": [tier(width=832, height=480, frames=121)],
        },
        "must divide by worker.parallelism.ulysses",
    ),
    ("grace in words", {"worker__terminationGracePeriod": "1h30m"}, "between 10s and 24h"),
    ("grace too long", {"worker__terminationGracePeriod": "25h"}, "between 10s and 24h"),
    ("warm-up", {"warmup__timeout": "0s"}, "between 10s and 6h"),
    ("share", {"warmup__stableWithin": "100%"}, "share below 100%"),
    ("dtype", {"model__dtype": "float32"}, "not one of"),
    ("store", {"output__store": "Videos"}, "lower-case"),
    ("blank watermark", {"output__watermark": " "}, "printable ASCII"),
    ("prefix", {"output__prefix": "/a"}, "relative path"),
    ("prefix upwards", {"output__prefix": "a/../b"}, "relative path"),
    ("tenant", {"access__tenants": ["a b"]}, "lower-case"),
    ("memory", {"worker__resources": {"limits": {"memory": "lots"}}}, "does not match"),
    ("no weight", {"rollout__steps": [{"weight": "0%"}]}, "above 0%"),
    ("whole weight", {"rollout__steps": [{"weight": "100%"}]}, "above 0%"),
    ("no step", {"rollout__steps": []}, "less than 1 item"),
    ("eleven steps", {"rollout__steps": [{"weight": "5%"}] * 11}, "more than 10 items"),
    ("hold", {"rollout__steps": [{"weight": "5%", "hold": "Auto"}]}, "not one of"),
    ("surge", {"rollout__surge": "Maybe"}, "not one of"),
    ("surge timeout", {"rollout__surgeTimeout": "soon"}, "between 1s and 24h"),
    ("false alarms", {"rollout__analysis": {"falseAlarmRate": "0%"}}, "above 0%"),
    ("floats", {"tiers": [tier(width=1280.5)]}, "not of type"),
]


@pytest.mark.parametrize(("changes", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_rule_refuses_in_the_api_and_in_python(changes, message):
    document = manifest(**changes)
    assert any(message in refusal for refusal in refusals(document)), refusals(document)
    with pytest.raises(SpecError, match="spec"):
        parse_spec(document["spec"])


@pytest.mark.parametrize("name", ["a" * 41, "1abc", "a.b", "abc-"])
def test_names_whose_children_would_not_fit_are_refused(name):
    document = manifest()
    document["metadata"]["name"] = name
    assert "at most 40" in refusals(document)[0]


AWKWARD = st.one_of(
    st.integers(-1, 5000), st.sampled_from(["1", "5%", "0.5%", "30m", "2h", "", "a/b", "é", "x\n", None])
)
PATHS = [
    "worker__gpus",
    "worker__gpuResource",
    "worker__terminationGracePeriod",
    "worker__image",
    "warmup__maxRuns",
]
PATHS += ["warmup__stableWithin", "warmup__timeout", "queue__maxDepth", "output__store", "output__prefix"]
PATHS += ["model__source", "model__dtype", "model__architecture", "scaling__minReplicas", "access__tenants"]


@given(st.sampled_from(PATHS), AWKWARD)
def test_schema_and_python_agree_on_any_value(path, value):
    document = manifest(**{path: value})
    if value is None:  # the API server drops a null of an optional field, and refuses it in a required one
        return
    assert (refusals(document) == []) == parses(document["spec"]), (path, value, refusals(document))


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20), st.integers(1, 4)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["wan2.2-t2v-a14b", "wan2.2-ti2v-5b"]),
    st.integers(0, 8),
    st.fixed_dictionaries({}, optional={"cfg": st.integers(1, 2), "ulysses": st.integers(1, 8)}),
)
def test_schema_and_python_agree_on_any_ladder(shapes, architecture, gpus, parallelism):
    tiers = [tier(f"t{i % 3}", 16 * w, 16 * h, f, s) for i, (w, h, f, s) in enumerate(shapes)]
    worker = {"gpus": gpus, "parallelism": parallelism}
    document = manifest(tiers=tiers, model__architecture=architecture, model__guidance={}, worker=worker)
    assert (refusals(document) == []) == parses(document["spec"]), refusals(document)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_parsing_anything_raises_only_spec_error(value):
    for spec in (value, {"model": value, "tiers": value, "output": value}):
        parses(spec)


def parses(spec: Any) -> bool:
    try:
        parse_spec(spec)
    except SpecError:
        return False
    return True


def test_an_unbounded_field_is_a_bug():
    class Loose(SpecModel):
        text: str

    with pytest.raises(ValueError, match=r"Loose\.text is unbounded"):
        structural_schema(Loose)


def test_defaults_of_schema_and_python_are_the_same():
    document = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())
    filled = with_defaults(copy.deepcopy(document), SCHEMA)["spec"]
    assert parse_spec(document["spec"]) == parse_spec(filled)
    assert (
        json.loads(
            VideoGeneratorSpec.model_validate(parse_spec(filled)).model_dump_json(by_alias=True, exclude_none=True)
        )
        == filled
    )
