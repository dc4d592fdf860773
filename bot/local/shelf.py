"""Records of one kind, in memory for reading and in SQLite for surviving a restart."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from bot.local.state import State


class Record(Protocol):
    """A frozen dataclass of JSON values with an id of its own."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """What the shelf finds it by."""
        ...


R = TypeVar("R", bound=Record)


class Shelf(Generic[R]):
    """The records of one type; each write is in SQLite before the method returns.

    `state.changes` is told of it under the shelf's name, with what the record is a part of.
    """

    def __init__(
        self, state: State, name: str, kind: type[R], part_of: Callable[[R], str] | None = None
    ) -> None:
        self._state = state
        self._name = name
        self._part_of = part_of or attrgetter("id")
        loaded = (kind(**body) for body in state.records(name))
        self._records = {record.id: record for record in loaded}

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    def get(self, record_id: str) -> R | None:
        """The record of that id, or None."""
        return self._records.get(record_id)

    def put(self, record: R) -> R:
        """Add a record or replace the one of its id; returns it."""
        body = {field.name: getattr(record, field.name) for field in fields(record)}
        self._state.put_record(self._name, record.id, body)
        self._records[record.id] = record
        self._state.changes.mark(self._name, self._part_of(record))
        return record

    def drop(self, record_id: str) -> None:
        """Forget the record of that id, if there is one."""
        self._state.drop_record(self._name, record_id)
        record = self._records.pop(record_id, None)
        if record is not None:
            self._state.changes.mark(self._name, self._part_of(record))

    def clear(self) -> None:
        """Forget all of them."""
        for record in self:
            self.drop(record.id)
