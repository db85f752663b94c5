"""House rules that no linter knows: containers stay containers, rooms stay small, tests assert, docs hold."""

import ast
import configparser
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTAINERS = ("common", "operator", "gateway", "worker", "cli", "devcluster")
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def python_files(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if name.endswith(".py") and (ROOT / name).exists()]


@pytest.mark.parametrize("folder", CONTAINERS)
def test_a_container_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), "a package named `operator` breaks `import collections`"


def test_files_and_functions_are_small() -> None:
    long = []
    for path in python_files(*CONTAINERS):
        text = path.read_text()
        if text.count("\n") > MAX_LINES:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_every_test_asserts() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in python_files("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not any(
            word in ast.unparse(node) for word in ("assert", "raises", "expect", "eventually", "suppress", "validate")
        )
    ]
    assert not silent, "\n".join(silent)


def test_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = (ROOT / "charts/videofleet/Chart.yaml").read_text()
    assert f"version: {version}" in chart
    assert f"appVersion: {version}" in chart


@pytest.mark.parametrize(
    ("contract", "package", "exempt"),
    [
        ("the-supervisor-knows-no-torch", "worker/videofleet_worker", {"compute"}),
        ("kopf-only-watches", "operator/videofleet_operator", {"handlers"}),
    ],
)
def test_an_import_contract_names_every_module(contract: str, package: str, exempt: set[str]) -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    sources = contracts[f"importlinter:contract:{contract}"]["source_modules"].split()
    name = Path(package).name
    named = {module.removeprefix(f"{name}.") for module in sources if module.startswith(f"{name}.")}
    there = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in python_files(package)}
    assert named == there - exempt - {"__init__"}
