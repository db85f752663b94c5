"""The A/B report as people and programs read it."""

import json
from typing import Any

import pytest

from videofleet_cli import screen
from videofleet_cli.exits import CommandError
from videofleet_cli.rollout.report import interval, report_of, show_report

FIGURES = {
    "attempts": 40,
    "failures": 2,
    "rejected": 0,
    "timed": 38,
    "stepMs": 57_000,
    "waited": 0,
    "waitMs": 0,
    "liked": 3,
    "disliked": 1,
}
SEEN = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T02:00:00Z"}
COMPARISON = SEEN | {
    "canaryRevision": "c1",
    "stableRevision": "s1",
    "canary": FIGURES,
    "stable": FIGURES | {"attempts": 0},
}


def fleet(comparison: Any) -> dict[str, Any]:
    rollout = {} if comparison is None else {"comparison": comparison}
    return {"metadata": {"namespace": "studio", "name": "tiny"}, "spec": {}, "status": {"rollout": rollout}}


def test_each_share_has_its_interval() -> None:
    canary = report_of(fleet(COMPARISON))["tracks"]["canary"]
    assert canary["errors"] == {"count": 2, "of": 40, "low": 0.0138, "high": 0.165}
    assert canary["thumbsUp"]["of"] == 4
    assert canary["secondsPerStep"] == pytest.approx(1.5)
    assert canary["waitSeconds"] is None
    json.dumps(canary, allow_nan=False)


def test_the_table_shows_both_tracks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen.out, "width", 200)
    show_report(fleet(COMPARISON))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["CANARY", "c1", "STABLE", "s1"]
    assert any("2 of 40: 5% (1.38% to 16.5%)" in line for line in lines)
    assert any(line.split() == ["seconds", "per", "step", "1.5", "1.5"] for line in lines)


def test_without_a_trial_it_says_so() -> None:
    with pytest.raises(CommandError, match="no canary with jobs yet"):
        report_of(fleet(None))


@pytest.mark.parametrize(("part", "whole", "low", "high"), [(0, 0, 0, 1), (0, 20, 0, 0.161), (20, 20, 0.839, 1)])
def test_intervals_hold_at_the_edges(part: int, whole: int, low: float, high: float) -> None:
    assert interval(part, whole) == pytest.approx((low, high), abs=1e-3)
