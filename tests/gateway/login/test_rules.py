"""The sign-in file: what is wrong is said by field and remedy, and no secret with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from videofleet_gateway.login.rules import Grant, OidcFileError, digest, read_rules

GOOD: dict[str, Any] = {
    "issuer": "https://id.example.com/realms/main",
    "clientId": "videofleet",
    "clientSecret": "hush-hush",
    "redirectUrl": "https://video.example.com/login/callback",
    "tenantClaim": "groups",
    "tenants": {"/painters": "studio", "/staff": "ads"},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "oidc.json"
    path.write_text(json.dumps({name: value for name, value in (GOOD | changes).items() if value != "absent"}))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "absent"}, "issuer: Field required"),
        ({"issuer": "http://id.example.com"}, "issuer: Value error, must be https://"),
        ({"issuer": "https://id.example.com/?x=hush-hush"}, "issuer: Value error, must be https://"),
        ({"issuer": "https://u:hush-hush@id.example.com"}, "issuer: Value error, must be https://"),
        ({"issuer": "id.example.com"}, "issuer: Value error, must be https://"),
        ({"issuer": "https://[::1"}, "issuer: Value error, must be https://"),
        ({"redirectUrl": "https://video.example.com/"}, "redirectUrl: Value error, must end in /login/callback"),
        ({"redirectUrl": "http://video.example.com/login/callback"}, "redirectUrl: Value error, must be https://"),
        ({"clientSecret": ""}, "clientSecret: "),
        ({"clientSecret": ["hush-hush"]}, "clientSecret: "),
        ({"clientsecret": "hush-hush"}, "clientsecret: Extra inputs are not permitted"),
        ({"tenants": {}}, "tenants: "),
        ({"tenants": {"hush-hush": "Not A Tenant"}}, "tenants: "),
        ({"scopes": ["profile"]}, 'scopes: Value error, must hold "openid"'),
        ({"scopes": ["openid", "a b"]}, "scopes: "),
        ({"sessionLife": "25h"}, "sessionLife: Value error, must be from 5m to 24h, e.g. 8h"),
        ({"sessionLife": "4m"}, "sessionLife: Value error, must be from 5m to 24h"),
        ({"sessionLife": 8}, "sessionLife: "),
        ({"name": "x" * 41}, "name: "),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_fault_is_named_by_field_and_no_secret_is_quoted(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OidcFileError) as refused:
        read_rules(written(tmp_path, **changes))
    assert words in str(refused.value)
    assert "hush-hush" not in str(refused.value)


def test_a_file_that_is_not_there_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(OidcFileError, match="mount the Secret with"):
        read_rules(tmp_path / "oidc.json")
    (tmp_path / "oidc.json").write_text('{"clientSecret": "hush-hush"')
    with pytest.raises(OidcFileError) as refused:
        read_rules(tmp_path / "oidc.json")
    assert "hush-hush" not in str(refused.value)


def test_the_shortest_file_that_works(tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, clientSecret="absent"))
    assert (rules.name, rules.scopes, rules.session_life_s) == ("single sign-on", ("openid",), 8 * 3600)
    assert (rules.client_secret, rules.admins, rules.origin) == (None, (), "https://video.example.com")
    assert rules.is_public
    local = read_rules(written(tmp_path, issuer="http://localhost:9", redirectUrl="http://127.0.0.1:8/login/callback"))
    assert (local.is_public, local.origin) == (False, "http://127.0.0.1:8")
    assert "hush-hush" not in repr(local)


def test_of_several_tenants_the_first_in_the_file_counts(tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, admins=["/wardens"]))
    painter = Grant("studio", digest("/painters"))
    assert rules.grant({"groups": ["/staff", "/painters"]}) == painter
    assert rules.grant({"groups": "/staff"}) == Grant("ads", digest("/staff"))
    warden = rules.grant({"groups": ["/painters", "/wardens"]})
    assert warden == Grant("studio", digest("/painters"), digest("/wardens"))
    assert rules.grant({"groups": ["/wardens"]}) is None, "an admin is somebody's tenant, too"
    assert rules.grant({"roles": ["/painters"]}) is None
    assert rules.honours(painter)
    assert rules.honours(warden)
    assert not read_rules(written(tmp_path)).honours(warden)
    assert not read_rules(written(tmp_path, tenants={"/painters": "ads"})).honours(painter)


def test_the_examples_of_the_how_to_are_files_that_work(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/page.md").read_text()
    examples = [block.partition("```")[0] for block in page.split("```json\n")[1:]]
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "oidc.json").write_text(example)
        assert read_rules(tmp_path / "oidc.json").origin == "https://video.example.com"
