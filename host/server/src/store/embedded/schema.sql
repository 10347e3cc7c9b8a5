-- Positions: `event` is generation and sequence in one number, moved so that signed numbers sort rightly.
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    store TEXT NOT NULL,
    token TEXT NOT NULL DEFAULT '',
    number INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    checkpoint TEXT NOT NULL DEFAULT '',
    floor TEXT NOT NULL DEFAULT '',
    chains TEXT NOT NULL DEFAULT '',
    dropped INTEGER NOT NULL DEFAULT 0,
    rebuild TEXT NOT NULL DEFAULT '',
    records INTEGER NOT NULL DEFAULT 0,
    record_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE lease (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    epoch INTEGER NOT NULL,
    token TEXT NOT NULL,
    holder TEXT NOT NULL,
    until_ms INTEGER NOT NULL
);
CREATE TABLE generations (number INTEGER PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE companies (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    running INTEGER NOT NULL DEFAULT 0,
    top TEXT NOT NULL DEFAULT '',
    entries INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    waiting_bytes INTEGER NOT NULL DEFAULT 0,
    waiting_top TEXT NOT NULL DEFAULT '',
    waiting_from TEXT NOT NULL DEFAULT '',
    floor TEXT NOT NULL DEFAULT ''
);
CREATE TABLE entries (
    company INTEGER NOT NULL,
    event INTEGER NOT NULL,
    output INTEGER NOT NULL,
    e BLOB NOT NULL,
    packed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (company, event, output)
) WITHOUT ROWID;
CREATE TABLE waiting (
    company INTEGER NOT NULL,
    event INTEGER NOT NULL,
    output INTEGER NOT NULL,
    previous TEXT NOT NULL,
    e BLOB NOT NULL,
    PRIMARY KEY (company, event, output)
) WITHOUT ROWID;
CREATE TABLE state (
    company INTEGER NOT NULL,
    filter TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (company, filter, key)
);
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, e BLOB NOT NULL);
CREATE TABLE records (number INTEGER PRIMARY KEY, upto INTEGER NOT NULL, at_ms INTEGER NOT NULL, e BLOB NOT NULL);
CREATE INDEX records_upto ON records (upto);
CREATE TABLE times (event INTEGER PRIMARY KEY, minute INTEGER NOT NULL);
CREATE INDEX times_minute ON times (minute, event);
