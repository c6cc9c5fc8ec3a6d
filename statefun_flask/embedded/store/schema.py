"""The tables of the SQLite store, and how older files are brought up to date."""

from __future__ import annotations

#: The format of the file. A file of an older format is migrated, one of a newer format refused.
VERSION = 4

#: Marks the file as this engine's ("SFFl").
APPLICATION = 0x5346466C

#: The script that leads from each format to the next one.
MIGRATIONS = {
    0: """
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
""",
    # Idempotency keys belong to an address. Those of format 1 had none and are forgotten.
    1: """
create index egress_topic on egress (topic, seq);
create index egress_name on egress (egress, seq);
create table idempotency (
    type text, id text, key text, digest blob not null, trace integer not null,
    at integer not null, primary key (type, id, key)
) without rowid;
create index idempotency_at on idempotency (at);
delete from position where source like 'idempotency:%';
""",
    # Retention needs the size of each topic, the age of records, and the order of dead letters. For
    # the table "opened" see log_mark.py.
    2: """
create table topic (
    name text primary key, records integer not null, bytes integer not null
) without rowid;
insert into topic select topic, count(*), sum(length(value)) from egress group by topic;
create table mark (at integer primary key, seq integer not null);
create index dead_since on dead (since, seq);
create table opened (has_log integer not null);
""",
    # The function types that a person holds back.
    3: "create table held (type text primary key) without rowid;",
}

QUEUE_COLUMNS = "seq, trace, type, id, caller_type, caller_id, typename, value, has_value"
TIMER_COLUMNS = (
    "seq, trace, due, type, id, caller_type, caller_id, typename, value, has_value, token"
)
#: The tables that a sweep deletes rows of, with the name of what a row is.
SWEPT = {
    "egress": "egress records",
    "dead": "dead letters",
    "idempotency": "idempotency keys",
    "state": "values of states",
}
ADD_TO_TOPIC = (
    "insert into topic values (?, ?, ?) on conflict (name) do update set"
    " records = records + excluded.records, bytes = bytes + excluded.bytes"
)

#: What a commit executes, in this order: the name of the rows, and the statement.
WRITES = (
    ("state_types", "insert or replace into spec values (?, ?, ?)"),
    ("states", "insert or replace into state values (?, ?, ?, ?, ?, ?)"),
    ("removed_states", "delete from state where type = ? and id = ? and name = ?"),
    ("consumed", "delete from queue where seq = ?"),
    ("messages", f"insert into queue ({QUEUE_COLUMNS}) values (?,?,?,?,?,?,?,?,?)"),
    ("removed_delays", "delete from timer where seq = ?"),
    ("delays", f"insert into timer ({TIMER_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?,?)"),
    ("records", "insert into egress values (?, ?, ?, ?, ?, ?, ?)"),
    ("topics", ADD_TO_TOPIC),
    ("removed_marks", "delete from mark where at = ?"),
    ("marks", "insert or replace into mark values (?, ?)"),
    ("cursors", "insert or replace into cursor values (?, ?)"),
    ("unparked", "delete from parked where type = ? and id = ?"),
    ("parked", "insert or replace into parked values (?, ?, ?, ?, ?, ?)"),
    ("removed_dead", "delete from dead where seq = ?"),
    ("dead", "insert or replace into dead values (?,?,?,?,?,?,?,?,?,?,?)"),
    ("positions", "insert or replace into position values (?, ?)"),
    ("removed_keys", "delete from idempotency where type = ? and id = ? and key = ?"),
    ("keys", "insert or replace into idempotency values (?, ?, ?, ?, ?, ?)"),
    ("released", "delete from held where type = ?"),
    ("held", "insert or replace into held values (?)"),
    ("counters", "insert or replace into counter values (?, ?)"),
)
