"""The Range header."""

import pytest

from videofleet_gateway.ranges import Unsatisfiable, asked_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=0-", (0, 10)),
        ("bytes=9-", (9, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=-2", (8, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES = 0-0", (0, 1)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-3", None),
        ("bytes=0-1,3-4", None),  # several ranges: the whole is allowed
    ],
)
def test_of_ten_bytes(header: str | None, expected: tuple[int, int] | None) -> None:
    assert asked_range(header, 10) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-11", 10), ("bytes=-0", 10), ("bytes=-1", 0)]
)
def test_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        asked_range(header, size)
