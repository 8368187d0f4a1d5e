-- The logbook, and what leads to entries in it.

CREATE TABLE flight (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  flight_uid TEXT,                           -- shared by the copies of one flight in several contexts
  pilot_user_id BLOB,                        -- whose logbook
  pilot_person_id TEXT,
  date TEXT,                                 -- local day at departure
  aircraft_id TEXT,                          -- in the fleet, if it is there
  tail TEXT,                                 -- as flown, kept even if it is not
  aircraft_type TEXT,
  departure TEXT,
  destination TEXT,
  route TEXT,
  out_at INTEGER,                            -- off blocks
  off_at INTEGER,                            -- in the air
  on_at INTEGER,                             -- on the ground
  in_at INTEGER,                             -- on blocks
  departure_zone TEXT,                       -- IANA name; date is the local day in it
  hobbs_start INTEGER,                       -- hundredths of an hour
  hobbs_end INTEGER,
  tach_start INTEGER,
  tach_end INTEGER,
  total_seconds INTEGER NOT NULL DEFAULT 0,
  pic_seconds INTEGER NOT NULL DEFAULT 0,
  sic_seconds INTEGER NOT NULL DEFAULT 0,
  picus_seconds INTEGER NOT NULL DEFAULT 0,
  dual_received_seconds INTEGER NOT NULL DEFAULT 0,
  dual_given_seconds INTEGER NOT NULL DEFAULT 0,
  solo_seconds INTEGER NOT NULL DEFAULT 0,
  cross_country_seconds INTEGER NOT NULL DEFAULT 0,
  night_seconds INTEGER NOT NULL DEFAULT 0,
  actual_instrument_seconds INTEGER NOT NULL DEFAULT 0,
  simulated_instrument_seconds INTEGER NOT NULL DEFAULT 0,
  simulator_seconds INTEGER NOT NULL DEFAULT 0,
  simulator_level TEXT,                      -- FFS, FTD, AATD, BATD
  ground_received_seconds INTEGER NOT NULL DEFAULT 0,
  ground_given_seconds INTEGER NOT NULL DEFAULT 0,
  takeoffs_day INTEGER,                      -- counts: null is "the source did not say", never zero
  takeoffs_night INTEGER,
  landings INTEGER,                          -- all of them
  landings_day INTEGER,
  landings_night INTEGER,
  full_stops_day INTEGER,                    -- of which to a full stop
  full_stops_night INTEGER,
  holds INTEGER,
  tracking INTEGER,                          -- courses intercepted and tracked: 1, 0 or not said
  instructor_person_id TEXT,
  instructor_name TEXT,
  instructor_comments TEXT,
  instructor_certificate TEXT,
  instructor_signature BLOB,
  safety_pilot_person_id TEXT,
  safety_pilot_name TEXT,
  examiner_person_id TEXT,
  examiner_name TEXT,
  ground_topic TEXT,
  billing_context_id BLOB,
  distance INTEGER,                          -- hundredths of a nautical mile
  remarks TEXT,
  flight_review INTEGER NOT NULL DEFAULT 0,
  instrument_proficiency_check INTEGER NOT NULL DEFAULT 0,
  checkride INTEGER NOT NULL DEFAULT 0,
  proficiency_check INTEGER NOT NULL DEFAULT 0,
  source TEXT,                               -- manual, text, import, booking, other_side
  import_batch_id TEXT,
  import_fingerprint BLOB,                   -- recognises the row when it is imported again, also after edits here
  import_occurrence INTEGER,                 -- tells identical rows of one file apart
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX flight_date ON flight (date);
CREATE INDEX flight_uid ON flight (flight_uid);
CREATE INDEX flight_fingerprint ON flight (import_fingerprint);
CREATE INDEX flight_batch ON flight (import_batch_id);

CREATE TABLE approach (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  flight_id TEXT,
  position INTEGER,                          -- order in which the pilot listed them
  count INTEGER,
  kind TEXT,
  runway TEXT,
  airport TEXT,
  conditions TEXT,                           -- actual, simulated, device
  comments TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX approach_flight ON approach (flight_id);

CREATE TABLE flight_person (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  flight_id TEXT,
  position INTEGER,
  person_id TEXT,
  name TEXT,
  part TEXT,                                 -- instructor, safety pilot, passenger and so on
  email TEXT,
  phone TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX flight_person_flight ON flight_person (flight_id);

CREATE TABLE custom_field (                  -- what an imported source carried beyond the columns here, word for word
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  of_table TEXT,                             -- flight or aircraft; the field lives where that row does
  of_id TEXT,
  position INTEGER,
  name TEXT,
  kind TEXT,                                 -- text, numeric, hours, counter, date, date_time, toggle
  value TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX custom_field_of ON custom_field (of_id);

CREATE TABLE flight_link (                   -- two pilots' entries of one event
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  flight_id TEXT,
  other_flight_id TEXT,
  other_compartment_id BLOB,
  kind TEXT,                                 -- dual, safety_pilot, examiner, ground
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX flight_link_flight ON flight_link (flight_id);
CREATE INDEX flight_link_other ON flight_link (other_flight_id);

CREATE TABLE track (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  flight_id TEXT,
  attachment_id TEXT,
  started_at INTEGER,
  ended_at INTEGER,
  points INTEGER,
  south_microdegrees INTEGER,
  west_microdegrees INTEGER,
  north_microdegrees INTEGER,
  east_microdegrees INTEGER,
  distance INTEGER,                          -- hundredths of a nautical mile
  altitude_max_feet INTEGER,
  ground_speed_max_knots INTEGER,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX track_flight ON track (flight_id);

CREATE TABLE draft (                         -- never counts toward currency or totals until accepted
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  said TEXT,                                 -- word for word
  source TEXT,                               -- text, sms, summary, csv, track, booking, other_side
  source_key TEXT,                           -- the same message twice makes one draft
  confidence_percent INTEGER,
  state TEXT,                                -- open, accepted, merged, discarded
  flight_id TEXT,                            -- what became of it
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX draft_state ON draft (state);

CREATE TABLE draft_field (                   -- what was understood, and from which words
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  draft_id TEXT,
  field TEXT,
  value TEXT,
  start_position INTEGER,                    -- in characters of what was said
  end_position INTEGER,
  confidence_percent INTEGER,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX draft_field_draft ON draft_field (draft_id);

CREATE TABLE import_batch (                  -- of this device only
  id TEXT NOT NULL PRIMARY KEY,
  compartment_id BLOB NOT NULL,
  imported_at INTEGER NOT NULL,
  file_name TEXT,
  file_sha256 BLOB,
  format TEXT NOT NULL,
  flights INTEGER NOT NULL,
  aircraft INTEGER NOT NULL,
  duplicates INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  report TEXT,                               -- JSON, row by row
  undone_at INTEGER
);
