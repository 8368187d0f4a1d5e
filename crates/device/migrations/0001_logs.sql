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

-- One row for each log of a compartment, and its three positions: tail (contiguous, chain verified), vouched (a signed head covers it: what is
-- offered to others), merged (its cells are in the tables, or were refused for good). Each writer has one log, its trunk. If it turns out that
-- it signed two stories, the trunk ends where they part and each goes on as a branch: a log of its own that begins there, under a name of its own.
-- A branch whose vouched_seq is below its first_seq is not proven: nobody signed it yet.
CREATE TABLE device_log (
    log INTEGER PRIMARY KEY,
    context BLOB NOT NULL,
    compartment BLOB NOT NULL,
    writer BLOB NOT NULL,        -- the name of the log: the key of the writer, or the name of the branch
    signer BLOB NOT NULL,        -- the key of the writer
    tag BLOB NOT NULL,           -- the writer's name inside entries
    parent INTEGER,              -- the log a branch leaves; of a trunk none
    first_seq INTEGER NOT NULL,  -- of a trunk 1
    tail_seq INTEGER NOT NULL,
    tail_hash BLOB NOT NULL,
    vouched_seq INTEGER NOT NULL,
    vouched_hash BLOB NOT NULL,
    merged_seq INTEGER NOT NULL,
    merged_hlc INTEGER NOT NULL, -- of the entry at merged_seq
    UNIQUE (compartment, writer)
);
CREATE INDEX device_log_by_tag ON device_log(compartment, tag);
CREATE INDEX device_log_branches ON device_log(parent) WHERE parent IS NOT NULL;

-- Writers of this installation that it must not use again, and why: another copy of it went on under them.
CREATE TABLE device_spent (
    writer BLOB PRIMARY KEY NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;

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
