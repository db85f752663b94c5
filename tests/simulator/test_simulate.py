"""`videofleet simulate`: traces, made-up load in their shape, the bound, the table, JSON, the page."""

import json
import statistics
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from videofleet_cli.exits import CommandError
from videofleet_cli.main import app
from videofleet_cli.simulator.figures import percentile
from videofleet_cli.simulator.synthetic import synthetic
from videofleet_cli.simulator.workload import HOUR_S, TraceError, at_load, busiest_hour_s, read_trace

TRACE = """gmt_create,predict_type,predict_status,exec_time_seconds,groupId,num_inference_steps
2024-11-15 10:00:10,TXT_2_IMG,SUCCEED,32.0,G0000,30.0
2024-11-15 10:00:00,TXT_2_IMG,PENDING,,G0001,30.0
2024-11-15 10:00:05,IMG_2_IMG,SUCCEED,43.0,G0001,40.0
2024-11-16 10:00:05,IMG_2_IMG,FAILED,5.0,G0001,40.0
"""


def test_a_trace_is_read_in_order_and_by_day(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    assert [job.work_s for job in read_trace(path)] == [43, 32, 5]
    assert [job.tenant for job in read_trace(path, last_day="2024-11-15")] == ["G0001", "G0000"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "has no column 'exec_time_seconds'"),
        (TRACE.replace("43.0", "many"), "line 4"),
        (TRACE.splitlines()[0], "no row"),
    ],
)
def test_a_trace_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=words):
        read_trace(path)


def test_load_is_the_work_of_the_busiest_hour() -> None:
    jobs = at_load(synthetic(3, seed=2), 0.7, workers=8)
    assert busiest_hour_s(jobs) == pytest.approx(0.7 * 8 * HOUR_S, rel=0.02)


def test_made_up_load_has_the_published_shape() -> None:
    jobs = synthetic(23, seed=1)
    work_s = sorted(job.work_s for job in jobs)
    hours = Counter(int(job.at_s // 3600) for job in jobs)
    assert 20_000 < len(jobs) < 34_000
    assert [round(percentile(work_s, p)) for p in (50, 90, 99)] == pytest.approx([23, 53, 106], rel=0.06)
    assert statistics.mean(work_s) == pytest.approx(28.7, rel=0.05)
    assert 20 < statistics.median(hours[hour] for hour in range(23 * 24)) < 40
    assert 250 < max(hours.values()) < 600
    assert synthetic(1, seed=4) == synthetic(1, seed=4)


def test_the_command_compares_everybody_and_writes_a_page(tmp_path: Path) -> None:
    command = ["simulate", "--days", "0.3", "--max-replicas", "3", "--output", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    families = {row["family"] for row in rows}
    assert {"VideoFleet", "VideoFleet, fallback", "KEDA+HPA", "Knative KPA", "fixed", "clairvoyant bound"} <= families
    bound = next(row for row in rows if row["family"] == "clairvoyant bound")
    full = [row for row in rows if row["quality"] == 1]
    assert all(row["wait_p95_s"] >= bound["wait_p95_s"] - 1e-6 for row in full)
    assert all(row["gpu_hours"] >= bound["gpu_hours"] - 1e-6 for row in full)
    assert all(row["killed"] == 0 for row in rows if row["family"].startswith("VideoFleet"))
    assert all(row["protected_full"] == 1 for row in rows if row["family"].startswith("VideoFleet"))
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<svg") == 3
    for plot in (tmp_path / "out").glob("*.svg"):
        ElementTree.fromstring(plot.read_text())


def test_the_table_is_for_people() -> None:
    done = CliRunner().invoke(app, ["simulate", "--days", "0.2", "--max-replicas", "2"])
    assert "wait p50" in done.stdout
    assert "clairvoyant bound" in done.stdout


def test_wrong_bounds_are_refused() -> None:
    done = CliRunner().invoke(app, ["simulate", "--min-replicas", "5", "--max-replicas", "2"])
    assert isinstance(done.exception, CommandError)
