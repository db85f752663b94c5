"""Job ids carry their fleet and their time, and nothing else passes for one."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet import ids

milliseconds = st.integers(min_value=0, max_value=(1 << 48) - 1)
entropy = st.binary(min_size=10, max_size=10)


@given(st.uuids(), milliseconds, entropy)
def test_an_id_gives_back_fleet_and_time(fleet: uuid.UUID, created_ms: int, tail: bytes) -> None:
    job = ids.job_id(str(fleet), created_ms, tail)
    assert ids.fleet_uid_of(job) == str(fleet)
    assert ids.created_ms_of(job) == created_ms


@given(st.uuids(), milliseconds, milliseconds, entropy)
def test_ids_of_a_fleet_sort_by_time(fleet: uuid.UUID, one: int, other: int, tail: bytes) -> None:
    first, second = (ids.job_id(str(fleet), at, tail) for at in (one, other))
    assert (first < second) == (one < other)


@given(st.uuids(), st.uuids(), milliseconds, entropy)
def test_a_bound_in_another_fleet_keeps_the_place_in_time(
    fleet: uuid.UUID, other: uuid.UUID, created_ms: int, tail: bytes
) -> None:
    job = ids.job_id(str(fleet), created_ms, tail)
    assert ids.with_serial_of(str(other), job) == ids.job_id(str(other), created_ms, tail)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "video_",
        "video_123",
        "video_" + "z" * 52,
        "../../etc/passwd",
        "video_" + "0" * 52 + "\n",
        "VIDEO_" + "0" * 52,
    ],
)
def test_other_text_is_no_id(text: str) -> None:
    assert ids.fleet_uid_of(text) is None
