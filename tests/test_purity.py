"""plan/ and manifests/ are pure: `now`, ids and randomness come in as arguments, nothing goes out."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "operator/videofleet_operator"
PURE = sorted([*PACKAGE.glob("plan/**/*.py"), *PACKAGE.glob("manifests/**/*.py")])

FORBIDDEN_MODULES = {"asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "sys", "time", "uuid"}
FORBIDDEN_MODULES |= {"aiohttp", "kopf", "kubernetes", "redis", "threading", "pathlib"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "now", "utcnow", "today", "getenv", "sleep"}
FORBIDDEN_NODES = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef, ast.Global, ast.Nonlocal)


def impurities(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, FORBIDDEN_NODES):
            yield f"line {node.lineno}: {type(node).__name__}"
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            yield f"from {node.module} import"
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in FORBIDDEN_CALLS:
                yield f"line {node.lineno}: {called}()"


def test_there_is_something_to_check():
    assert len(PURE) > 8


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_module_is_pure(path):
    assert list(impurities(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("impure", ["import time", "datetime.now(UTC)", "from os import environ", "open('x')"])
def test_the_check_finds_what_it_looks_for(impure):
    assert list(impurities(ast.parse(impure)))
