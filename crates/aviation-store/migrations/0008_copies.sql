-- Which flights of several contexts are one: proven by the copies themselves, remembered by each device.

-- Public key and signature: that this row is a copy of flight_uid. Without, it is a flight of its own.
ALTER TABLE flight ADD COLUMN flight_proof BLOB;

CREATE TABLE flight_copy (                   -- of this device only: rows whose proof held when it was last looked at
  flight_id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  flight_uid TEXT NOT NULL,
  flight_proof BLOB NOT NULL,
  PRIMARY KEY (flight_id, compartment_id)
);
CREATE INDEX flight_copy_uid ON flight_copy (flight_uid);

CREATE TABLE flight_copy_progress (          -- of this device only: one row, versions of the merge engine
  id INTEGER NOT NULL PRIMARY KEY,
  proven INTEGER NOT NULL,                   -- flight_copy knows of every change up to here
  carried INTEGER NOT NULL                   -- changes up to here were carried to the other copies
);
