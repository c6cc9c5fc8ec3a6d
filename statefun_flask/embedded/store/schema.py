"""The tables of the store."""

from __future__ import annotations

#: Of the tables; a folder of a newer version is refused.
VERSION = 1

#: Marks the file as this engine's ("SFFl").
APPLICATION = 0x5346466C

TABLES = """
create table counter (name text primary key, value integer not null) without rowid;
create table spec (
    type text, name text, typename text not null, primary key (type, name)
) without rowid;
create table state (
    type text, id text, name text, value blob not null, stamp integer not null, expires integer,
    primary key (type, id, name)
) without rowid;
create index state_expires on state (expires) where expires is not null;

create table queue (
    seq integer primary key, trace integer not null, type text not null, id text not null,
    caller_type text, caller_id text, typename text not null, value blob not null,
    has_value integer not null
);
create index queue_address on queue (type, id, seq);

create table timer (
    seq integer primary key, trace integer not null, due integer not null,
    type text not null, id text not null, caller_type text not null, caller_id text not null,
    typename text not null, value blob not null, has_value integer not null, token text
);
create index timer_due on timer (due, seq);
create unique index timer_token on timer (caller_id, token) where token is not null;

create table egress (
    seq integer primary key, trace integer not null, egress text not null, topic text not null,
    key text, value blob not null, typename text not null
);
create table cursor (reader text primary key, seq integer not null) without rowid;

create table parked (
    type text, id text, seq integer not null, trace integer not null, error text not null,
    since integer not null, primary key (type, id)
) without rowid;
create table dead (
    seq integer primary key, trace integer not null, type text not null, id text not null,
    caller_type text, caller_id text, typename text not null, value blob not null,
    has_value integer not null, error text not null, since integer not null
);
create table position (source text primary key, value text not null) without rowid;
"""

QUEUE_COLUMNS = "seq, trace, type, id, caller_type, caller_id, typename, value, has_value"
TIMER_COLUMNS = (
    "seq, trace, due, type, id, caller_type, caller_id, typename, value, has_value, token"
)

INSERT_MESSAGE = f"insert into queue ({QUEUE_COLUMNS}) values (?,?,?,?,?,?,?,?,?)"

INSERT_RECORD = "insert into egress values (?, ?, ?, ?, ?, ?, ?)"
WRITE_STATE = "insert or replace into state values (?, ?, ?, ?, ?, ?)"
DELETE_STATE = "delete from state where type = ? and id = ? and name = ?"

#: What a commit does, in this order: (key of the changes, statement).
WRITES = (
    ("specs", "insert or replace into spec values (?, ?, ?)"),
    ("states", WRITE_STATE),
    ("states_gone", DELETE_STATE),
    ("queue_gone", "delete from queue where seq = ?"),
    ("queue", INSERT_MESSAGE),
    ("timers_gone", "delete from timer where seq = ?"),
    ("timers", f"insert into timer ({TIMER_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?,?)"),
    ("egress", INSERT_RECORD),
    ("cursors", "insert or replace into cursor values (?, ?)"),
    ("parked_gone", "delete from parked where type = ? and id = ?"),
    ("parked", "insert or replace into parked values (?, ?, ?, ?, ?, ?)"),
    ("dead_gone", "delete from dead where seq = ?"),
    ("dead", "insert or replace into dead values (?,?,?,?,?,?,?,?,?,?,?)"),
    ("positions", "insert or replace into position values (?, ?)"),
    ("counters", "insert or replace into counter values (?, ?)"),
)
