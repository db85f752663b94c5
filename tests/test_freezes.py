"""`make test-freezes` stops what the suite starts, lets it go on, and says how the suite ended."""

import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import subprocess, sys, time
import psutil

def test_a_child_stands_still_and_goes_on():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        child = psutil.Process(process.pid)
        for wanted in (True, False):
            deadline = time.monotonic() + 60
            while (child.status() == psutil.STATUS_STOPPED) is not wanted:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        process.kill()
    assert {passes}
"""


@pytest.mark.parametrize(("passes", "status"), [(True, 0), (False, 1)])
def test_children_stand_still_and_the_suites_status_is_told(tmp_path: Path, passes: bool, status: int) -> None:
    suite = tmp_path / "test_it.py"
    suite.write_text(SUITE.format(passes=passes))
    command = (sys.executable, str(Path(__file__).with_name("freezes.py")), "-p", "no:cacheprovider", str(suite))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stdout
    assert "freezes, seed " in done.stderr
