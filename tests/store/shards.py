"""What Citus would say of a statement: which worker it goes to, what it locks, what it may not call.

Read off the parsed statement. Sources, in github.com/citusdata/citus under src/backend/distributed/planner:
multi_router_planner.c for what modifications may call, multi_logical_planner.c for locks; and
docs.citusdata.com/en/stable/develop/reference_workarounds.html.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import sqlglot
from sqlglot import exp

from store.citus import KEYS, PLACES

SHARDED = {name: KEYS[place] for name, place in PLACES.items() if place in KEYS}

E = TypeVar("E", bound=exp.Expr)
_QUERIES = (exp.Select, exp.Update, exp.Delete, exp.Insert)
_CALL = re.compile(r"\b([a-z_][a-z_0-9]*)\s*\(")
_NO_FUNCTIONS = {
    "and",
    "or",
    "not",
    "in",
    "any",
    "all",
    "array",
    "exists",
    "values",
    "case",
    "when",
}
_TIMES = re.compile(r"\bCURRENT_(TIMESTAMP|DATE|TIME)\b|\bLOCALTIME(STAMP)?\b")


@dataclass(frozen=True, slots=True)
class Reach:
    """A sharded table in a statement. `how` its rows are found: named by a parameter, by what it is
    joined with, or not at all.
    """

    table: str
    how: str


@cache
def parsed(statement: str) -> exp.Expr:
    """The one statement."""
    (tree,) = sqlglot.parse(statement, dialect="postgres")
    assert tree is not None
    assert not isinstance(tree, exp.Command), f"not understood: {statement}"
    return tree


def reaches(statement: str) -> list[Reach]:
    """Every place in a statement where a sharded table stands."""
    tree = parsed(statement)
    named = {cte.alias for cte in tree.find_all(exp.CTE)}
    return [
        Reach(table.name, _how(table))
        for table in tree.find_all(exp.Table)
        if table.name in SHARDED and table.name not in named
    ]


def locks_across(statement: str) -> list[str]:
    """Sharded tables whose rows are locked by a query that may go to more than one worker.

    Citus: "could not run distributed query with FOR UPDATE/SHARE commands".
    """
    found = []
    for select in parsed(statement).find_all(exp.Select):
        if select.args.get("locks"):
            tables = [t for t in _tables(select) if t.name in SHARDED]
            found += [t.name for t in tables if _how(t) != "named"]
    return found


def changing_in_upsert(statement: str, mutable: Collection[str]) -> set[str]:
    """What an ON CONFLICT DO UPDATE calls that is not the same on every worker.

    Citus: "functions used in the DO UPDATE SET clause of INSERTs on distributed tables must be marked
    IMMUTABLE", and the same of its WHERE.
    """
    calls: set[str] = set()
    for conflict in parsed(statement).find_all(exp.OnConflict):
        insert = _up(conflict, exp.Insert)
        if insert is not None and _target(insert) in PLACES:
            calls |= _calls(conflict) & set(mutable) | _times(conflict)
    return calls


def changing_in_returning(statement: str, mutable: Collection[str]) -> set[str]:
    """Citus: "non-IMMUTABLE functions are not allowed in the RETURNING clause"."""
    calls: set[str] = set()
    for returning in parsed(statement).find_all(exp.Returning):
        if _target(returning.parent) in SHARDED:
            calls |= _calls(returning) & set(mutable) | _times(returning)
    return calls


def lazily_changing(statement: str, mutable: Collection[str]) -> set[str]:
    """Citus of UPDATE and DELETE: "non-IMMUTABLE functions are not allowed in CASE or COALESCE"."""
    calls: set[str] = set()
    for change in parsed(statement).find_all(exp.Update, exp.Delete):
        if _target(change) not in SHARDED:
            continue
        for part in _of_the_change(change):
            for lazy in part.find_all(exp.Case, exp.Coalesce):
                if _query_of(lazy) is change:
                    calls |= _calls(lazy) & set(mutable) | _times(lazy)
    return calls


def moved(statement: str) -> bool:
    """Whether a row's key is written to. Citus: "modifying the partition value of rows …"."""
    for change in parsed(statement).find_all(exp.Update, exp.OnConflict):
        table = _target(change if isinstance(change, exp.Update) else _up(change, exp.Insert))
        for each in change.expressions:
            if isinstance(each, exp.EQ) and each.this.name == SHARDED.get(table):
                return True
    return False


# ------------------------------------------------------------------ how rows are found


def _how(table: exp.Table) -> str:
    query = _query_of(table)
    if (
        isinstance(query, exp.Insert)
        and _target(query) == table.name
        and query.this.find(exp.Table) is table
    ):
        columns = [column.name for column in query.this.expressions]
        if SHARDED[table.name] not in columns:
            return "not at all"
        return "named" if isinstance(query.expression, exp.Values) else "joined"
    return _reached(table, query, frozenset())


def _reached(table: exp.Expr, query: exp.Expr, seen: frozenset[str]) -> str:
    """Follows the key's equalities from one table to the next until a parameter is found."""
    alias, key = table.alias_or_name, SHARDED[table.name]
    best = "not at all"
    for mine, other in _equalities(query):
        if mine.name != key or not _belongs(mine, alias, query):
            continue
        found = _other_end(other, query, seen | {alias})
        if found == "named":
            return found
        best = found if found != "not at all" else best
    return best


def _other_end(other: exp.Expr, query: exp.Expr, seen: frozenset[str]) -> str:
    other = _bare(other)
    if isinstance(other, (exp.Parameter, exp.Placeholder)):
        return "named"
    if isinstance(other, (exp.Any, exp.Tuple, exp.Array)):
        return "joined"
    if not isinstance(other, exp.Column) or other.table in seen:
        return "not at all"
    source, holder = _source(other.table, query)
    if isinstance(source, exp.Table) and source.name in SHARDED:
        return _reached(source, holder, seen)
    # a list of parameters, a query of its own, or a copied table: judged where it stands
    return "joined" if source is not None else "not at all"


def _equalities(query: exp.Expr) -> Iterator[tuple[exp.Column, exp.Expr]]:
    """Each `column = something` that has to hold for every row of a query, read both ways."""
    for eq in _own(query, exp.EQ):
        if not _always(eq, query):
            continue
        for one, other in ((eq.this, eq.expression), (eq.expression, eq.this)):
            if isinstance(one, exp.Column):
                yield one, other
            if isinstance(one, exp.Tuple) and isinstance(other, exp.Tuple):
                for mine, theirs in zip(one.expressions, other.expressions, strict=True):
                    if isinstance(mine, exp.Column):
                        yield mine, theirs
    for join in _own(query, exp.Join):
        for name in join.args.get("using") or []:
            yield from _using(name.name, join, query)


def _using(name: str, join: exp.Join, query: exp.Expr) -> Iterator[tuple[exp.Column, exp.Expr]]:
    others = [t for t in _tables(query) if t is not join.this]
    for other in others:
        mine = exp.column(name, table=join.this.alias_or_name)
        theirs = exp.column(name, table=other.alias_or_name)
        yield mine, theirs
        yield theirs, mine


def _always(node: exp.Expr, query: exp.Expr) -> bool:
    """Whether nothing but AND stands between a condition and its query."""
    above = node.parent
    while above is not None and above is not query:
        if not isinstance(above, (exp.And, exp.Paren, exp.Where, exp.Join, exp.From)):
            return False
        above = above.parent
    return True


def _belongs(column: exp.Column, alias: str, query: exp.Expr) -> bool:
    if column.table:
        return column.table == alias
    return [each.alias_or_name for each in _tables(query)] == [alias]


# ------------------------------------------------------------------ the tree


def _query_of(node: exp.Expr) -> exp.Expr:
    """The query that a node belongs to itself, not one inside of which that query stands."""
    above = node.parent
    while above is not None and not isinstance(above, _QUERIES):
        above = above.parent
    assert above is not None
    return above


def _own(query: exp.Expr, kind: type[E]) -> Iterator[E]:
    for found in query.find_all(kind):
        if _query_of(found) is query:
            yield found


def _tables(query: exp.Expr) -> list[exp.Table]:
    return list(_own(query, exp.Table))


def _source(alias: str, query: exp.Expr) -> tuple[exp.Expr | None, exp.Expr]:
    """What an alias stands for, here or in a query around this one, and in which."""
    around: exp.Expr | None = query
    while around is not None:
        for kind in (exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.TableAlias):
            for source in _own(around, kind):
                if _called(source) == alias:
                    return source, around
        around = _query_of(around) if around.parent is not None and _inside(around) else None
    return None, query


def _called(source: exp.Expr) -> str:
    if isinstance(source, exp.TableAlias):
        return source.name
    return source.alias_or_name


def _inside(query: exp.Expr) -> bool:
    above = query.parent
    while above is not None:
        if isinstance(above, _QUERIES):
            return True
        above = above.parent
    return False


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Paren, exp.Cast)):
        node = node.this
    return node


def _up(node: exp.Expr, kind: type[E]) -> E | None:
    above = node.find_ancestor(kind)
    return above if isinstance(above, kind) else None


def _target(change: exp.Expr | None) -> str:
    """The table that is written to."""
    table = change.this.find(exp.Table) if change is not None and change.this is not None else None
    return table.name if table is not None else ""


def _of_the_change(change: exp.Expr) -> list[exp.Expr]:
    where = change.args.get("where")
    return [*change.expressions, *([where] if where is not None else [])]


def _calls(node: exp.Expr) -> set[str]:
    called = set(_CALL.findall(node.sql(dialect="postgres").lower()))
    return called - _NO_FUNCTIONS


def _times(node: exp.Expr) -> set[str]:
    return {found[0].lower() for found in _TIMES.finditer(node.sql(dialect="postgres"))}
