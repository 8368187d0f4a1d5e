-- What the platform keeps beside the application's tables. Rows of device_entry are what travels; the rest says how far each log has come.

CREATE TABLE device_meta (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- The signed histories of all contexts, byte for byte. arrival is a causal order.
CREATE TABLE device_control (
    arrival INTEGER PRIMARY KEY,
    context BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
);

-- One row for each writer in each compartment, and the three positions of its log: tail (contiguous, chain verified), vouched (a signed head
-- covers it: what is offered to others), merged (its cells are in the tables, or were refused for good).
CREATE TABLE device_log (
    log INTEGER PRIMARY KEY,
    context BLOB NOT NULL,
    compartment BLOB NOT NULL,
    writer BLOB NOT NULL,
    tag BLOB NOT NULL,           -- the writer's name inside entries
    tail_seq INTEGER NOT NULL,
    tail_hash BLOB NOT NULL,
    vouched_seq INTEGER NOT NULL,
    merged_seq INTEGER NOT NULL,
    merged_hlc INTEGER NOT NULL, -- of the entry at merged_seq
    UNIQUE (compartment, writer)
);

-- Entries in the order of their arrival, which is a causal order: everything an entry had seen arrived before it.
CREATE TABLE device_entry (
    arrival INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (log, seq)
);

-- The head of every durable group: a peer can verify and merge a long log piece by piece.
CREATE TABLE device_head (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;

-- What the writer of a log had merged of another log of the compartment, as of the last entry of its own that is merged here.
CREATE TABLE device_seen (
    log INTEGER NOT NULL,
    other INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hlc INTEGER NOT NULL,
    PRIMARY KEY (log, other)
) WITHOUT ROWID;

-- Entries that stay stored and carried, and whose changes no table takes.
CREATE TABLE device_refused (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
