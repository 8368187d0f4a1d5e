-- The schedule: bookings are claims, and everyone may see who has which aircraft when.

CREATE TABLE booking (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  pilot_person_id TEXT,
  instructor_person_id TEXT,
  kind TEXT,                                 -- solo, dual, rental, checkride, maintenance, ground, other
  start_at INTEGER,
  end_at INTEGER,
  zone TEXT,                                 -- IANA name of the place
  planned_flight_seconds INTEGER,
  state TEXT,                                -- claimed, confirmed, dispatched, closed, cancelled, no_show, lost
  claimed_at INTEGER,                        -- of overlapping claims the earlier stands
  confirmed_by TEXT,                         -- person
  confirmed_at INTEGER,
  weather_state TEXT,                        -- green, yellow, orange, red
  weather_by TEXT,
  weather_at INTEGER,
  standby_for_id TEXT,                       -- another booking
  template_id TEXT,
  cancelled_by TEXT,
  cancelled_at INTEGER,
  actual_start_at INTEGER,
  actual_end_at INTEGER,
  dispatched_by TEXT,
  hobbs_out INTEGER,                         -- hundredths of an hour
  hobbs_in INTEGER,
  tach_out INTEGER,
  tach_in INTEGER,
  fuel_out_tenths INTEGER,                   -- tenths of a gallon
  fuel_in_tenths INTEGER,
  oil_added_tenths INTEGER,                  -- tenths of a quart
  closed_by TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_aircraft ON booking (aircraft_id, start_at);
CREATE INDEX booking_start ON booking (start_at);
CREATE INDEX booking_pilot ON booking (pilot_person_id, start_at);
CREATE INDEX booking_instructor ON booking (instructor_person_id, start_at);

CREATE TABLE booking_detail (                -- what only the person and the staff concerned may know of a booking
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  booking_id TEXT,
  booking_compartment_id BLOB,
  person_id TEXT,
  purpose TEXT,
  lesson_id TEXT,
  notes TEXT,
  cancellation_reason TEXT,
  price_cents INTEGER,
  currency TEXT,
  charge_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_detail_booking ON booking_detail (booking_id);

CREATE TABLE booking_gate_override (         -- a check that was overruled, with a written reason
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  booking_id TEXT,
  gate TEXT,
  by_person_id TEXT,
  at INTEGER,
  reason TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_gate_override_booking ON booking_gate_override (booking_id);

CREATE TABLE booking_flight (                -- the entries that came of it
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  booking_id TEXT,
  flight_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_flight_booking ON booking_flight (booking_id);

CREATE TABLE booking_template (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  pilot_person_id TEXT,
  aircraft_id TEXT,
  instructor_person_id TEXT,
  kind TEXT,
  active INTEGER NOT NULL DEFAULT 1,
  local_time TEXT,                           -- 09:00 at the place, whatever the season
  zone TEXT,
  duration_seconds INTEGER,
  planned_flight_seconds INTEGER,
  lesson_id TEXT,
  notes TEXT,
  valid_from TEXT,
  valid_until TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE booking_template_weekday (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  template_id TEXT,
  weekday INTEGER,                           -- 1 is Monday
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_template_weekday_template ON booking_template_weekday (template_id);

CREATE TABLE booking_template_exception (    -- a day on which it does not apply
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  template_id TEXT,
  date TEXT,
  reason TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX booking_template_exception_template ON booking_template_exception (template_id);

CREATE TABLE availability (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  weekday INTEGER,                           -- recurring, 1 is Monday; or
  date TEXT,                                 -- on one day
  from_time TEXT,                            -- local, as in 09:00
  to_time TEXT,
  zone TEXT,
  state TEXT,                                -- available, standby, unavailable
  valid_from TEXT,
  valid_until TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX availability_person ON availability (person_id);

CREATE TABLE opening_hours (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  weekday INTEGER,
  date TEXT,                                 -- a day that differs
  from_time TEXT,
  to_time TEXT,
  closed INTEGER NOT NULL DEFAULT 0,
  zone TEXT,
  PRIMARY KEY (id, compartment_id)
);
