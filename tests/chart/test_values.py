"""Values that make no sense are refused, with words that say which and what to do."""

from collections.abc import Callable
from typing import Any

import helm_python as helm
import pytest

KEY = {"id": "me", "tenant": "studio", "sha256": "a" * 64}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"redis": {"uri": "redis://r"}}, "at '/redis': additional properties 'uri' not allowed"),
    ({"gatway": {}}, "additional properties 'gatway' not allowed"),
    ({"gateway": {"replicas": "two"}}, "at '/gateway/replicas': got string, want integer"),
    ({"gateway": {"replicas": 0}}, "at '/gateway/replicas': minimum: got 0, want 1"),
    ({"gateway": {"keys": [{**KEY, "sha256": "vf_me_text"}]}}, "at '/gateway/keys/0/sha256'"),
    ({"stores": []}, "at '/stores': minItems"),
    ({"stores": [{"name": "videos"}]}, "at '/stores/0': minProperties: got 1, want 2"),
    ({"stores": [{"name": "v", "options": {"region": "x"}}]}, "missing property 'url'"),
    (
        {"stores": [{"name": "v", "persistentVolumeClaim": {"size": "1Gi", "existing": "c"}}]},
        "at '/stores/0/persistentVolumeClaim': maxProperties",
    ),
    ({"redis": {}}, "set redis.url (rediss://user:password@host:6379/0) or redis.existingSecret"),
    ({"redis": {"url": "redis://r", "existingSecret": "s"}}, "both set; keep one"),
    ({"gateway": {"keys": [KEY, KEY]}}, 'the id "me" is there twice'),
    ({"gateway": {"keys": [KEY], "existingSecret": "s"}}, "both set; keep one"),
    ({"gateway": {"keys": [{**KEY, "role": "root"}]}}, "at '/gateway/keys/0/role'"),
    ({"gateway": {"tenants": {"studio": {}}, "existingSecret": "s"}}, "keep one"),
    ({"gateway": {"tenants": {"Studio!": {}}}}, "invalid propertyName 'Studio!'"),
    ({"gateway": {"tenants": {"studio": {"promptPolicy": "scold"}}}}, "at '/gateway/tenants/studio/promptPolicy'"),
    ({"gateway": {"tenants": {"studio": {"requestsPerMinute": 0}}}}, "minimum: got 0, want 1"),
    ({"gateway": {"tenants": {"studio": {"blockedTerms": ["x"]}}}}, "minLength: got 1, want 2"),
    ({"gateway": {"moderation": {"url": "judge.example.com"}}}, "at '/gateway/moderation/url'"),
    ({"gateway": {"login": {"ports": []}}}, "at '/gateway/login/ports'"),
    ({"gateway": {"login": {"clientSecret": "s"}}}, "at '/gateway/login'"),
    ({"gateway": {"moderation": {"existingSecret": "s"}}}, "set gateway.moderation.url too"),
    ({"stores": [{"name": "v", "existingSecret": "w"}]}, 'existingSecret of store "v" must be named "v" too'),
    (
        {"stores": [{"name": "v", "existingSecret": "v"}, {"name": "v", "persistentVolumeClaim": {"size": "1Gi"}}]},
        'the name "v" is there twice',
    ),
]


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_refused(render: Callable[..., Any], values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm.HelmError) as error:
        render(values)
    assert words in str(error.value)


def test_a_mistyped_redis_url_is_not_shown(render: Callable[..., Any]) -> None:
    with pytest.raises(helm.HelmError, match="must begin with redis:// or rediss://") as error:
        render({"redis": {"url": "http://:hunter2@redis"}})
    assert "hunter2" not in str(error.value)


def test_lint_is_content(chart: helm.Chart) -> None:
    report = helm.lint("charts/videofleet", {"redis": {"url": "redis://r"}}, strict=True)
    assert report["errors"] == []
