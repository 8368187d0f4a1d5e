-- Where this device began with the state of a compartment instead of its entries.

-- The state, byte for byte: rows that have to be made anew start from it.
CREATE TABLE device_base (
    compartment BLOB PRIMARY KEY NOT NULL,
    state BLOB NOT NULL
) WITHOUT ROWID;

-- What is known of each entry that the state stands for: later entries say that they had seen it.
CREATE TABLE device_past (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    latest INTEGER NOT NULL,     -- the latest stamp of the log up to the entry
    mark BLOB NOT NULL,          -- the first bytes of its hash
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
