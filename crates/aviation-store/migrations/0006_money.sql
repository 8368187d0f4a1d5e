-- Money: append-only, corrections are new rows; balances are computed and never stored.

CREATE TABLE rate (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  of_kind TEXT,                              -- aircraft, instructor, simulator, dues, item
  of_id TEXT,                                -- which one; null is every one of the kind
  name TEXT,
  member_class TEXT,
  basis TEXT,                                -- hobbs, tach, block, hour, each, month
  wet INTEGER,                               -- 1 wet, 0 dry
  cents INTEGER,
  currency TEXT,
  taxed INTEGER NOT NULL DEFAULT 0,
  valid_from TEXT,
  valid_until TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE rate_draft (                    -- a rate in preparation; becomes a row of rate when it is published
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  of_kind TEXT,
  of_id TEXT,
  name TEXT,
  member_class TEXT,
  basis TEXT,
  wet INTEGER,
  cents INTEGER,
  currency TEXT,
  taxed INTEGER NOT NULL DEFAULT 0,
  valid_from TEXT,
  valid_until TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE charge (                        -- its state is derived from invoices, payments and reversals
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,                            -- who owes
  booking_id TEXT,
  flight_id TEXT,
  date TEXT,
  description TEXT,
  currency TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX charge_person ON charge (person_id, date);

CREATE TABLE charge_line (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  charge_id TEXT,
  position INTEGER,
  description TEXT,
  rate_id TEXT,
  basis TEXT,
  quantity INTEGER,                          -- hundredths
  unit_cents INTEGER,
  cents INTEGER,                             -- before tax
  tax_cents INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX charge_line_charge ON charge_line (charge_id);

CREATE TABLE invoice (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  number TEXT,                               -- carries the desk that issued it: no two offline desks issue the same
  person_id TEXT,
  issued_on TEXT,
  due_on TEXT,
  currency TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX invoice_person ON invoice (person_id, issued_on);

CREATE TABLE invoice_line (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  invoice_id TEXT,
  position INTEGER,
  charge_line_id TEXT,
  description TEXT,
  cents INTEGER,
  tax_cents INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX invoice_line_invoice ON invoice_line (invoice_id);

CREATE TABLE payment (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  invoice_id TEXT,                           -- null is on account
  date TEXT,
  method TEXT,                               -- cash, check, card, transfer
  reference TEXT,
  cents INTEGER,
  currency TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX payment_person ON payment (person_id, date);

CREATE TABLE deposit (                       -- payments taken to the bank together
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  date TEXT,
  account TEXT,
  reference TEXT,
  cents INTEGER,
  currency TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE deposit_payment (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  deposit_id TEXT,
  payment_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX deposit_payment_deposit ON deposit_payment (deposit_id);

CREATE TABLE reversal (                      -- takes back a charge line or a payment
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  of_table TEXT,
  of_id TEXT,
  cents INTEGER,
  currency TEXT,
  reason TEXT,
  date TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX reversal_of ON reversal (of_id);

CREATE TABLE dues (                          -- what a member owes every period
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  rate_id TEXT,
  basis TEXT,                                -- month, quarter, year
  cents INTEGER,
  currency TEXT,
  valid_from TEXT,
  valid_until TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX dues_person ON dues (person_id);

CREATE TABLE month_close (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  month TEXT,                                -- 2026-02
  closed_at INTEGER,
  closed_by BLOB,
  charges_cents INTEGER,
  payments_cents INTEGER,
  currency TEXT,
  digest BLOB,                               -- over the rows it covers
  PRIMARY KEY (id, compartment_id)
);
