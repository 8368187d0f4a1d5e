-- Transactions of own logs that were voided because they were written by a wrong clock, and whose content is still to be written at the present.
CREATE TABLE device_again (
    log INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    hlc INTEGER NOT NULL,        -- of the voided transaction
    PRIMARY KEY (log, first_seq)
) WITHOUT ROWID;
