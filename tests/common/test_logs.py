"""Log lines are JSON and keep credentials to themselves."""

import json
import logging

import pytest

from videofleet.logs import JsonFormatter, redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("redis://:hunter2@10.0.0.1:6379/0", "hunter2"),
        ("rediss://fleet:hunter2@redis:6379", "hunter2"),
        ("Authorization: Bearer abcdef", "abcdef"),
        ("key vf_demo_0123456789abcdefXYZ failed", "0123456789abcdefXYZ"),
        ("https://bucket.example/k?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
    ],
)
def test_credentials_are_masked(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)


def test_plain_text_stays() -> None:
    assert redact("store videos: writing failed, see https://example.org/a?b=c") == (
        "store videos: writing failed, see https://example.org/a?b=c"
    )


def test_a_line_is_one_json_object_with_its_fields() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "two\nlines", "job": "video_1"})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert json.loads(text)["job"] == "video_1"
    assert json.loads(text)["message"] == "two\nlines"
