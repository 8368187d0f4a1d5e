-- Verdicts on entries, and what they rest on: a later control entry may change them, and rows are then made anew.

-- device_refused has one row for each transaction that does not count, by its first entry: last_seq is its last one, hlc the latest stamp of the
-- log up to there, by_history whether the membership history decides (and may decide otherwise one day) or the entry's own content.
ALTER TABLE device_refused ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device_refused ADD COLUMN hlc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device_refused ADD COLUMN by_history INTEGER NOT NULL DEFAULT 0;

-- A digest of everything in the membership history that the verdicts on a log rest on. A log without a row: its writer is known, and nobody
-- ever took rights from it.
CREATE TABLE device_judged (
    log INTEGER PRIMARY KEY,
    under BLOB NOT NULL
);

-- Entries that a merged entry of a log had seen, that are not here and that could not count when it was merged. Should they count after all, they
-- come late, and their rows are made anew.
CREATE TABLE device_unmet (
    log INTEGER NOT NULL,
    tag BLOB NOT NULL,           -- of the writer of what was seen
    seq INTEGER NOT NULL,
    PRIMARY KEY (log, tag)
) WITHOUT ROWID;

-- When rows were made anew, and why: what a person asks who saw them change.
CREATE TABLE device_recomputed (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,         -- milliseconds since 1970
    context BLOB NOT NULL,
    compartment BLOB NOT NULL,
    writer BLOB NOT NULL,
    cause BLOB,                  -- the control entry that took the rights away, if one did
    reason TEXT NOT NULL,        -- why the first transaction changed sides
    withdrawn INTEGER NOT NULL,  -- transactions that no longer count
    restored INTEGER NOT NULL,   -- transactions that count now
    rows INTEGER NOT NULL        -- rows they speak of
);
