"""Bodies in protobuf: what is not read is refused, never lost."""

import pytest

from videofleet_devcluster.apiserver.errors import ApiError
from videofleet_devcluster.apiserver.protobuf import decode_protobuf


def field(number: int, content: bytes) -> bytes:
    """A message or text of less than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def body(kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, raw)


METADATA = field(1, field(1, b"a"))


def test_a_config_map_is_read() -> None:
    data = field(2, field(1, b"key") + field(2, b"value"))
    expected = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "value"}}
    assert decode_protobuf(body("ConfigMap", METADATA + data)) == expected


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        pytest.param("Job", METADATA, id="a kind that is not served"),
        pytest.param("ConfigMap", METADATA + field(9, b"?"), id="a field that is not known"),
        pytest.param("Service", METADATA + field(2, field(13, b"hostname")), id="one that is not known below"),
    ],
)
def test_what_would_be_lost_is_not_read(kind: str, raw: bytes) -> None:
    assert decode_protobuf(body(kind, raw)) is None


def test_fields_that_say_nothing_are_passed_over() -> None:
    status = field(3, field(1, b"") + bytes([2 << 3, 0]))
    assert decode_protobuf(body("Service", METADATA + status)) is not None


@pytest.mark.parametrize("raw", [b"{}", b"k8s\x00\x0a\x7f", body("ConfigMap", METADATA)[:-1]])
def test_what_is_cut_short_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decode_protobuf(raw)
    assert refused.value.code == 400
