"""``statefun.lock``: the states that a running job may hold, so that changes are detected."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import json
import os
import pathlib
import typing as t

import msgspec

from ..core.registry import FunctionRegistry
from ..values.state import ValueSpec
from . import declared
from . import durations
from .findings import Finding
from .findings import ModuleError
from .stored_fields import fields_of
from .stored_fields import OPTIONAL
from .stored_fields import StoredFields

FILE = "statefun.lock"

#: The expiration of a state: a duration and its mode. None if it never expires.
Life: t.TypeAlias = "tuple[dt.timedelta, str] | None"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A state in the lock.

    :param type: Its typename.
    :param fields: The fields of its values.
    """

    type: str
    life: Life = None
    fields: StoredFields = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, spec: ValueSpec[t.Any]) -> t.Self:
        """Return the entry of a declared state."""
        state = declared.state(spec)
        life = None if state.expire_after is None else (state.expire_after, state.expire_mode)
        return cls(spec.type.typename, life, fields_of(spec.type))

    def __str__(self) -> str:
        return durations.expiration(*(self.life or (None, "")))


class _State(msgspec.Struct, omit_defaults=True):
    """An entry in the file."""

    type: str
    expire: str = ""
    after: t.Literal["invoke", "write", ""] = ""
    fields: StoredFields = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: t.Literal[1]
    states: dict[str, dict[str, _State]]


class Lock:
    """Entries by ``namespace/name/state``.

    :param file: The name of the file in findings.
    """

    def __init__(self, entries: cabc.Mapping[str, Entry], file: str = FILE) -> None:
        self.entries = dict(sorted(entries.items()))
        self.file = file

    @classmethod
    def of(cls, registry: FunctionRegistry, file: str = FILE) -> t.Self:
        """Return the lock of what an app declares.

        :raises RegistrationError: The type of a state names a class that is not defined.
        """
        functions = declared.functions(registry).values()
        for function in functions:
            function.table.check_types()
        entries = {
            f"{function.typename}/{spec.name}": Entry.of(spec)
            for function in functions
            for spec in function.states
        }
        return cls(entries, file)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> t.Self | None:
        """Return the lock in a file; None if the file does not exist.

        :raises ModuleError: The file is not a lock.
        """
        name = os.fspath(path)
        try:
            data = pathlib.Path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _unreadable(name, str(exc.strerror)) from None
        return cls.parse(data, name)

    @classmethod
    def parse(cls, data: bytes, name: str = FILE) -> t.Self:
        """Return the lock in a file's bytes.

        :raises ModuleError: The bytes are not a lock.
        """
        try:
            made = msgspec.json.decode(data, type=_File)
            entries = {
                f"{typename}/{state}": _entry(entry)
                for typename, states in made.states.items()
                for state, entry in states.items()
            }
        except (ValueError, msgspec.MsgspecError) as exc:
            raise _unreadable(name, str(exc)) from None
        return cls(entries, name)

    def text(self) -> str:
        """Return the lock as JSON. It is sorted, so that a change makes a small diff."""
        states: dict[str, dict[str, t.Any]] = {}
        for key, entry in self.entries.items():
            typename, _, name = key.rpartition("/")
            expire, after = "", ""
            if entry.life is not None:
                expire = durations.written(entry.life[0])
                after = entry.life[1].removeprefix("after-")
            state = _State(entry.type, expire, t.cast("t.Any", after), entry.fields)
            states.setdefault(typename, {})[name] = msgspec.to_builtins(state)
        return json.dumps({"version": 1, "states": states}, indent=2) + "\n"

    def check(self, app: Lock) -> list[Finding]:
        """Return the differences between the lock and an app."""
        found = [self._changed(key, app.entries[key]) for key in self.entries if key in app.entries]
        found += [self._fields(key, app.entries[key]) for key in self.entries if key in app.entries]
        found += [self._vanished(key) for key in self.entries if key not in app.entries]
        found += [self._new(key) for key in app.entries if key not in self.entries]
        return [each for each in found if each is not None]

    def refused(self, app: Lock, accepted: cabc.Collection[str]) -> list[Finding]:
        """Return the changed and removed entries that a new lock must not contain."""
        return [
            finding
            for key in self.entries
            if key not in accepted
            for finding in (
                [self._changed(key, app.entries[key]), self._unreadable(key, app.entries[key])]
                if key in app.entries
                else [self._vanished(key)]
            )
            if finding is not None
        ]

    def _changed(self, key: str, new: Entry) -> Finding | None:
        old = self.entries[key]
        if old.type != new.type:
            return self._finding(
                "changed-type",
                f"The state '{key}' was of type '{old.type}' and is now of type '{new.type}', which"
                " ends a job that holds it.",
                f"Give it a new name, or run 'flask statefun lock --accept {key}' if no job holds"
                " it.",
            )
        if old.life == new.life:
            return None
        if (old.life is None) != (new.life is None):
            return self._finding(
                "changed-expiration",
                f"The state '{key}' {_past(old)} and now {new}: a job that holds it ends,"
                " and cannot be restored from its checkpoints.",
                f"Give it a new name, or run 'flask statefun lock --accept {key}' if no job holds"
                " it.",
            )
        return self._finding(
            "changed-duration",
            f"The state '{key}' {_past(old)} and now {new}, which a job does only after it is"
            " restarted, and then for the values that it has too.",
            f"Restart the job, and run 'flask statefun lock --accept {key}'.",
            "warning",
        )

    def _fields(self, key: str, new: Entry) -> Finding | None:
        """Return a finding about the fields of values of an unchanged type."""
        found = self._unreadable(key, new)
        old = self.entries[key]
        if found is None and old.type == new.type and old.fields != new.fields:
            return self._finding(
                "changed-fields",
                f"The fields of the state '{key}' are not those in the lock; stored values can"
                " still be read.",
                "Run 'flask statefun lock', and commit the file.",
                "warning",
            )
        return found

    def _unreadable(self, key: str, new: Entry) -> Finding | None:
        """Return a finding if new code cannot read the values that old code has stored."""
        old = self.entries[key]
        if old.type != new.type or not old.fields:
            return None
        for path, kind in new.fields.items():
            before = old.fields.get(path)
            if before is None:
                if kind.startswith(OPTIONAL) or not _had_place_for(path, old.fields):
                    continue
                text, fix = "is new and required, and stored values lack it", "Give it a default"
            elif before.startswith(OPTIONAL) and not kind.startswith(OPTIONAL):
                text, fix = "is now required, and stored values may lack it", "Give it a default"
            elif before.removeprefix(OPTIONAL) != kind.removeprefix(OPTIONAL) and not _widens(
                before, kind
            ):
                text = (
                    f"was '{before.removeprefix(OPTIONAL)}' and is now"
                    f" '{kind.removeprefix(OPTIONAL)}'"
                )
                fix = "Keep what it was, or add a field of another name with a default"
            else:
                continue
            return self._finding(
                "unreadable-field",
                f"The field '{path}' of the state '{key}' {text}: a function that reads one fails.",
                f"{fix}, or run 'flask statefun lock --accept {key}' if no value is stored.",
            )
        return None

    def _vanished(self, key: str) -> Finding:
        return self._finding(
            "vanished-state",
            f"The state '{key}' is no longer declared: its values stay in every checkpoint of a job"
            " that holds it, and are sent with every request until it is restarted.",
            f"Declare it again, or run 'flask statefun lock --accept {key}'.",
            "warning",
        )

    def _new(self, key: str) -> Finding:
        return self._finding(
            "unlocked-state",
            f"The state '{key}' is not in the lock.",
            "Run 'flask statefun lock', and commit the file.",
            "warning",
        )

    def _finding(
        self, code: str, text: str, fix: str, severity: t.Literal["error", "warning"] = "error"
    ) -> Finding:
        return Finding(code, text, fix, file=self.file, severity=severity)


def _past(entry: Entry) -> str:
    return "never expired" if entry.life is None else str(entry).replace("expires", "expired", 1)


def _had_place_for(path: str, fields: StoredFields) -> bool:
    """Return whether old values have the object that a field belongs to."""
    owner = path.rpartition(".")[0]
    return not owner or owner in fields


def _widens(before: str, now: str) -> bool:
    """Return whether everything that a field could hold is still allowed."""
    old, new = (set(each.removeprefix(OPTIONAL).split(" | ")) for each in (before, now))
    if "integer" in old and "number" in new:
        old.remove("integer")
    return old <= new or "any" in new


def _entry(state: _State) -> Entry:
    life: Life = None
    if state.expire:
        life = durations.parse(state.expire), f"after-{state.after or 'invoke'}"
    return Entry(state.type, life, state.fields)


def _unreadable(name: str, why: str) -> ModuleError:
    finding = Finding(
        "unreadable",
        f"The lock cannot be read: {why}.",
        "Restore it from version control, or remove it and run 'flask statefun lock'.",
        file=name,
    )
    return ModuleError([finding])
