"""Scheduled windows: which bounds hold when."""

from datetime import UTC, datetime

import pytest

from videofleet_operator.crd.sections.scaling import Scaling
from videofleet_operator.plan.schedule import bounds_at

WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri"]
SPEC = Scaling.model_validate(
    {
        "minReplicas": 0,
        "maxReplicas": 8,
        "schedule": [
            {"days": WEEKDAYS, "start": "08:00", "end": "20:00", "minReplicas": 2},
            {"days": ["Fri"], "start": "22:00", "end": "06:00", "maxReplicas": 4},
            {"start": "12:00", "end": "13:00", "minReplicas": 5},
        ],
    }
)


@pytest.mark.parametrize(
    ("moment", "bounds"),
    [
        ("2026-01-05 07:59", (0, 8)),  # a Monday
        ("2026-01-05 08:00", (2, 8)),
        ("2026-01-05 12:30", (5, 8)),  # the later window counts
        ("2026-01-05 20:00", (0, 8)),
        ("2026-01-09 23:00", (0, 4)),  # Friday night
        ("2026-01-10 05:59", (0, 4)),  # … until Saturday morning
        ("2026-01-10 06:00", (0, 8)),
        ("2026-01-11 03:00", (0, 8)),
    ],
)
def test_the_bounds_of_the_moment(moment: str, bounds: tuple[int, int]) -> None:
    assert bounds_at(SPEC, datetime.fromisoformat(moment).replace(tzinfo=UTC)) == bounds


def test_a_window_without_bounds_of_its_own_changes_nothing() -> None:
    spec = Scaling.model_validate({"minReplicas": 3, "schedule": [{"start": "00:00", "end": "00:00"}]})
    assert bounds_at(spec, datetime(2026, 1, 5, tzinfo=UTC)) == (3, 3)


def test_a_floor_above_the_maximum_is_the_maximum() -> None:
    spec = Scaling.model_validate(
        {"maxReplicas": 2, "schedule": [{"start": "00:00", "end": "00:00", "minReplicas": 4}]}
    )
    assert bounds_at(spec, datetime(2026, 1, 5, tzinfo=UTC)) == (4, 4)


@pytest.mark.parametrize("wrong", [{"start": "8:00"}, {"end": "24:00"}, {"minReplicas": 3, "maxReplicas": 2}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"UTC|greater"):
        Scaling.model_validate({"schedule": [{"start": "08:00", "end": "09:00", **wrong}]})
