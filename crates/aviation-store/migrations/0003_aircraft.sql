-- Endorsements, and aircraft with their times, inspections and squawks.

CREATE TABLE endorsement (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  kind TEXT,
  reference TEXT,                            -- the paragraph it satisfies
  text TEXT,                                 -- as signed
  pilot_person_id TEXT,
  instructor_person_id TEXT,
  instructor_name TEXT,
  instructor_certificate TEXT,
  instructor_recent_experience_end TEXT,     -- as it stood at signing
  effective TEXT,
  expires TEXT,
  make_model TEXT,
  tail TEXT,
  route TEXT,
  airport TEXT,
  limits TEXT,
  signed_at INTEGER,
  signed_by BLOB,                            -- device key
  signature BLOB,                            -- over the canonical content
  amends_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX endorsement_pilot ON endorsement (pilot_person_id);

CREATE TABLE aircraft (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  tail TEXT,
  make TEXT,
  model TEXT,
  type_designator TEXT,
  category TEXT,
  class TEXT,
  equipment TEXT,                            -- aircraft, or the kind of training device
  gear TEXT,                                 -- fixed_tricycle, retractable_tailwheel and so on
  tailwheel INTEGER,                         -- 1, 0 or not known; so are the following
  engine TEXT,
  engine_count INTEGER,
  complex INTEGER,
  high_performance INTEGER,
  technically_advanced INTEGER,
  pressurized INTEGER,
  equipped_ifr INTEGER,
  equipped_night INTEGER,
  equipped_adsb INTEGER,
  equipped_oxygen INTEGER,
  crosswind_limit_knots INTEGER,
  empty_weight_pounds INTEGER,
  gross_weight_pounds INTEGER,
  year INTEGER,
  serial TEXT,
  registration_expires TEXT,
  rental_meter TEXT,                         -- hobbs or tach
  maintenance_meter TEXT,
  active INTEGER NOT NULL DEFAULT 1,
  notes TEXT,
  import_batch_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX aircraft_tail ON aircraft (tail);
CREATE INDEX aircraft_batch ON aircraft (import_batch_id);

CREATE TABLE meter_series (                  -- a replaced meter starts a new series with its offset
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  meter TEXT,
  started_at INTEGER,
  offset INTEGER,                            -- hundredths to add to a reading
  reason TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX meter_series_aircraft ON meter_series (aircraft_id);

CREATE TABLE meter_reading (                 -- append-only: gaps and overlaps are findings, not silent repairs
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  meter TEXT,                                -- tach, hobbs, airframe, engine.1, prop.1, cycles, landings
  series_id TEXT,
  value INTEGER,                             -- hundredths of an hour, or a count
  at INTEGER,
  by_person_id TEXT,
  source TEXT,                               -- dispatch, close_out, flight, maintenance, manual
  source_id TEXT,
  corrects_id TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX meter_reading_aircraft ON meter_reading (aircraft_id, meter, at);

CREATE TABLE component (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  kind TEXT,                                 -- engine, propeller, elt and so on
  position INTEGER,                          -- which engine
  make TEXT,
  model TEXT,
  serial TEXT,
  fitted_on TEXT,
  fitted_meter TEXT,
  fitted_value INTEGER,
  removed_on TEXT,
  removed_value INTEGER,
  since_new_when_fitted INTEGER,             -- hundredths of an hour
  since_overhaul_when_fitted INTEGER,
  overhaul_limit INTEGER,
  life_limit INTEGER,
  expires TEXT,                              -- batteries and the like
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX component_aircraft ON component (aircraft_id);

CREATE TABLE inspection_program (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  component_id TEXT,
  kind TEXT,                                 -- annual, 100_hour, progressive, 91.411, 91.413, elt, vor, oil, ad, custom
  title TEXT,
  reference TEXT,                            -- the directive or paragraph
  interval_months INTEGER,                   -- to the end of the calendar month
  interval_days INTEGER,
  interval_hours INTEGER,                    -- hundredths
  tolerance_hours INTEGER,
  tolerance_days INTEGER,
  meter TEXT,
  active INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX inspection_program_aircraft ON inspection_program (aircraft_id);

CREATE TABLE inspection (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  program_id TEXT,
  aircraft_id TEXT,
  done_on TEXT,
  done_value INTEGER,                        -- hundredths on the programme's meter
  by_person_id TEXT,
  by_name TEXT,
  by_certificate TEXT,
  returned_to_service INTEGER,               -- 1, 0 or not said
  computed_due_on TEXT,                      -- as shown when it was recorded
  computed_due_value INTEGER,
  override_due_on TEXT,
  override_due_value INTEGER,
  override_reason TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX inspection_program_of ON inspection (program_id);
CREATE INDEX inspection_aircraft ON inspection (aircraft_id);

CREATE TABLE squawk (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  aircraft_id TEXT,
  description TEXT,
  reported_by TEXT,                          -- person
  reported_at INTEGER,
  severity TEXT,                             -- grounding, major, minor, cosmetic
  system TEXT,
  reference TEXT,                            -- MEL item or 91.213(d)
  day_vfr_only INTEGER NOT NULL DEFAULT 0,
  no_ifr INTEGER NOT NULL DEFAULT 0,
  no_night INTEGER NOT NULL DEFAULT 0,
  no_solo INTEGER NOT NULL DEFAULT 0,
  deferred_from TEXT,
  deferred_until TEXT,
  state TEXT,                                -- open, deferred, in_work, resolved
  work_order TEXT,
  resolution TEXT,
  resolved_by TEXT,
  resolved_at INTEGER,
  PRIMARY KEY (id, compartment_id)
);
CREATE INDEX squawk_aircraft ON squawk (aircraft_id);
