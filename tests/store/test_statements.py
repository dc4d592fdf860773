"""Every statement of ours against the schema that the migrations make."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import store

_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|NOTIFY)\s")
_MODULES = [
    importlib.import_module(f"store.{found.name}") for found in pkgutil.iter_modules(store.__path__)
]
_STATEMENTS = {
    f"{module.__name__.removeprefix('store.')}.{name}": value
    for module in _MODULES
    for name, value in vars(module).items()
    if name.startswith("_") and isinstance(value, str) and name.isupper() and _SQL.search(value)
}
_CALLS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"}
# The runner of migrations executes files; the server's first database cannot be a parameter.
_BUILT = {("migrate", "migration.sql"), ("embedded", "f'CREATE DATABASE {_DATABASE}'")}


def test_statements_are_found_in_every_module_that_has_some():
    assert {name.split(".")[0] for name in _STATEMENTS} >= {
        "agents",
        "approvals",
        "approvals_read",
        "audit",
        "calls",
        "database",
        "escalations",
        "escalations_read",
        "idempotency",
        "input_files",
        "inputs",
        "installs",
        "keys",
        "members",
        "migrate",
        "outbox",
        "outputs",
        "outputs_sent",
        "retention",
        "sessions",
        "sessions_read",
        "tenancy",
        "threads",
        "turns",
        "usage",
        "usage_logs",
    }
    assert len(_STATEMENTS) > 50


async def test_every_statement_prepares(db):
    refused = {}
    for name, statement in _STATEMENTS.items():
        if name.startswith("citus."):
            continue  # see test_citus: they need what only Citus has
        try:
            await db.prepare(statement)
        except Exception as error:  # noqa: BLE001  # all of them are shown at once
            refused[name] = str(error)
    assert refused == {}


@pytest.mark.parametrize("module", _MODULES, ids=lambda m: m.__name__)
def test_no_statement_is_put_together_at_run_time(module):
    short = module.__name__.removeprefix("store.")
    tree = ast.parse(Path(str(module.__file__)).read_text())
    built = [
        ast.unparse(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in _CALLS
        and call.args
        and not _is_constant(call.args[0])
    ]
    assert [b for b in built if (short, b) not in _BUILT] == []


def _is_constant(argument: ast.expr) -> bool:
    if isinstance(argument, ast.Constant):
        return True
    return isinstance(argument, ast.Name) and argument.id.startswith("_") and argument.id.isupper()


def test_parameters_are_numbered_without_a_gap():
    for name, statement in _STATEMENTS.items():
        numbers = {int(n) for n in re.findall(r"\$(\d+)", statement)}
        assert numbers == set(range(1, len(numbers) + 1)), name
