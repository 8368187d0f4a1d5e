-- The whole schema; written by the test that compares it (AEROEDGE_BLESS=1).

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

CREATE TABLE attachment (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  of_table TEXT,                             -- the row it belongs to; both live in one compartment
  of_id TEXT,
  sha256 BLOB,
  name TEXT,
  media_type TEXT,
  size_bytes INTEGER,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE aviation_migration (
           version INTEGER PRIMARY KEY,  -- without gaps from 1
           name TEXT NOT NULL
         );

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

CREATE TABLE checkout (                      -- in what a person was checked out
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  aircraft_type TEXT,                        -- a type, or
  aircraft_id TEXT,                          -- one aircraft
  checked_out_on TEXT,
  by_person_id TEXT,
  until TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE context_member (                -- what everyone may know of a member; rights follow the signed history, not this
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  user_id BLOB,                              -- 16 bytes; null for a person without a device
  person_id TEXT,
  name TEXT,
  email TEXT,
  role TEXT,                                 -- owner, admin, manager, member, readonly
  joined_at INTEGER,
  invited_by BLOB,
  status TEXT,                               -- active, suspended, removed
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE context_profile (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  name TEXT,
  type TEXT,                                 -- personal, partnership, club, school
  tier TEXT,                                 -- solo, small_group, organization
  home_airport TEXT,
  home_zone TEXT,                            -- IANA name
  currency TEXT,                             -- ISO 4217
  tax_name TEXT,
  tax_basis_points INTEGER,                  -- 825 is 8.25 %
  warning_lead_days INTEGER DEFAULT 30,      -- before something runs out
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE currency_statement (            -- what a pilot's own device states to a school about one privilege
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  privilege TEXT,                            -- the rule it answers
  state TEXT,                                -- current, lapsed_regain, not_current, unknown
  last_legal_day TEXT,
  rule_version TEXT,
  evidence_digest BLOB,
  stated_at INTEGER,
  signed_by BLOB,                            -- device key
  signature BLOB,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE enrolment (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  student_person_id TEXT,
  syllabus_id TEXT,                          -- one revision
  instructor_person_id TEXT,
  backup_instructor_person_id TEXT,
  started_on TEXT,
  target_on TEXT,
  state TEXT,                                -- active, paused, completed, withdrawn
  state_on TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

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
  import_occurrence INTEGER, flight_proof BLOB,                 -- tells identical rows of one file apart
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE flight_copy (                   -- of this device only: rows whose proof held when it was last looked at
  flight_id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  flight_uid TEXT NOT NULL,
  flight_proof BLOB NOT NULL,
  PRIMARY KEY (flight_id, compartment_id)
);

CREATE TABLE flight_copy_progress (          -- of this device only: one row, versions of the merge engine
  id INTEGER NOT NULL PRIMARY KEY,
  proven INTEGER NOT NULL,                   -- flight_copy knows of every change up to here
  carried INTEGER NOT NULL                   -- changes up to here were carried to the other copies
);

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

CREATE TABLE lesson (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  stage_id TEXT,
  syllabus_id TEXT,
  position INTEGER,
  name TEXT,
  kind TEXT,                                 -- flight, ground, simulator, solo, check
  minimum_dual_seconds INTEGER,
  minimum_solo_seconds INTEGER,
  minimum_ground_seconds INTEGER,
  minimum_cross_country_seconds INTEGER,
  minimum_night_seconds INTEGER,
  minimum_instrument_seconds INTEGER,
  minimum_landings INTEGER,
  completion_standards TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE lesson_objective (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  lesson_id TEXT,
  position INTEGER,
  objective TEXT,
  reference TEXT,                            -- task of the airman certification standards
  required INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE lesson_objective_result (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  lesson_result_id TEXT,
  objective_id TEXT,
  grade TEXT,
  remarks TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE lesson_result (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  enrolment_id TEXT,
  lesson_id TEXT,
  flight_id TEXT,
  instructor_person_id TEXT,
  grade TEXT,
  complete INTEGER NOT NULL DEFAULT 0,
  remarks TEXT,
  date TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE medical (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  kind TEXT,                                 -- certificate, basicmed
  class INTEGER,                             -- 1, 2, 3 of a certificate
  examined_on TEXT,                          -- of a certificate, or the BasicMed examination
  course_on TEXT,                            -- BasicMed course
  restrictions TEXT,
  special_issuance_end TEXT,
  examiner TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE member_permission (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  member_id TEXT,
  permission TEXT,                           -- instructor, mechanic, dispatcher, billing, scheduler
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE member_phone (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  member_id TEXT,
  kind TEXT,                                 -- mobile, home, work
  number TEXT,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE notice (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,                            -- to whom
  user_id BLOB,
  kind TEXT,
  about_table TEXT,
  about_id TEXT,
  made_from TEXT,                            -- key of the event: the same event seen on two devices is one notice
  text TEXT,
  at INTEGER,
  read_at INTEGER,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE person (                        -- pilot facts; a person need not have a device
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  user_id BLOB,
  name TEXT,
  email TEXT,
  phone TEXT,
  certificate_grade TEXT,                    -- student, sport, recreational, private, commercial, atp
  certificate_number TEXT,
  birth_date TEXT,                           -- the ladder of medical privileges depends on age at the examination
  instructor_certificate TEXT,
  instructor_recent_experience_end TEXT,     -- certificates issued since 2024-12-01 have no expiry
  emergency_contact_name TEXT,
  emergency_contact_phone TEXT,
  emergency_contact_relation TEXT,
  member_class TEXT,                         -- selects rates
  home_airport TEXT,
  default_aircraft_id TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE person_rating (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  position INTEGER,
  rating TEXT,                               -- airplane_single_engine_land, instrument_airplane, type.CE-525 and so on
  issued TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE person_remark (                 -- remarks of staff about a person
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  remark TEXT,
  by_person_id TEXT,
  at INTEGER,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE preference (                    -- of the personal context
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  name TEXT,                                 -- clock_24_hours, zulu, decimal_hours, alert.medical and so on
  value TEXT,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE review (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  person_id TEXT,
  kind TEXT,                                 -- flight_review, ipc, checkride, wings, proficiency_check
  completed_on TEXT,
  by_person_id TEXT,
  by_name TEXT,
  flight_id TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE share (                         -- of an aircraft: partnerships and leasebacks
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  owner_person_id TEXT,
  aircraft_id TEXT,
  fraction_numerator INTEGER,                -- one third is exact
  fraction_denominator INTEGER,
  reserve_cents INTEGER,
  currency TEXT,
  valid_from TEXT,
  valid_until TEXT,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE TABLE stage (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  syllabus_id TEXT,
  position INTEGER,
  name TEXT,
  completion_standards TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE stage_check (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  enrolment_id TEXT,
  stage_id TEXT,
  flight_id TEXT,
  checked_by TEXT,                           -- person
  date TEXT,
  passed INTEGER,                            -- 1, 0 or not yet said
  remarks TEXT,
  PRIMARY KEY (id, compartment_id)
);

CREATE TABLE syllabus (
  id TEXT NOT NULL,
  compartment_id BLOB NOT NULL,
  created_at INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL DEFAULT 0,
  created_by BLOB,
  name TEXT,
  revision TEXT,
  certificate TEXT,                          -- private, instrument, commercial and so on
  basis TEXT,                                -- part_61, part_141
  template INTEGER NOT NULL DEFAULT 0,
  frozen INTEGER NOT NULL DEFAULT 0,         -- somebody is enrolled upon this revision
  replaces_id TEXT,
  notes TEXT,
  PRIMARY KEY (id, compartment_id)
);

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

CREATE INDEX aircraft_batch ON aircraft (import_batch_id);

CREATE INDEX aircraft_tail ON aircraft (tail);

CREATE INDEX approach_flight ON approach (flight_id);

CREATE INDEX attachment_of ON attachment (of_id);

CREATE INDEX availability_person ON availability (person_id);

CREATE INDEX booking_aircraft ON booking (aircraft_id, start_at);

CREATE INDEX booking_detail_booking ON booking_detail (booking_id);

CREATE INDEX booking_flight_booking ON booking_flight (booking_id);

CREATE INDEX booking_gate_override_booking ON booking_gate_override (booking_id);

CREATE INDEX booking_instructor ON booking (instructor_person_id, start_at);

CREATE INDEX booking_pilot ON booking (pilot_person_id, start_at);

CREATE INDEX booking_start ON booking (start_at);

CREATE INDEX booking_template_exception_template ON booking_template_exception (template_id);

CREATE INDEX booking_template_weekday_template ON booking_template_weekday (template_id);

CREATE INDEX charge_line_charge ON charge_line (charge_id);

CREATE INDEX charge_person ON charge (person_id, date);

CREATE INDEX checkout_person ON checkout (person_id);

CREATE INDEX component_aircraft ON component (aircraft_id);

CREATE INDEX context_member_user ON context_member (user_id);

CREATE INDEX currency_statement_person ON currency_statement (person_id);

CREATE INDEX custom_field_of ON custom_field (of_id);

CREATE INDEX deposit_payment_deposit ON deposit_payment (deposit_id);

CREATE INDEX draft_field_draft ON draft_field (draft_id);

CREATE INDEX draft_state ON draft (state);

CREATE INDEX dues_person ON dues (person_id);

CREATE INDEX endorsement_pilot ON endorsement (pilot_person_id);

CREATE INDEX enrolment_student ON enrolment (student_person_id);

CREATE INDEX flight_batch ON flight (import_batch_id);

CREATE INDEX flight_copy_uid ON flight_copy (flight_uid);

CREATE INDEX flight_date ON flight (date);

CREATE INDEX flight_fingerprint ON flight (import_fingerprint);

CREATE INDEX flight_link_flight ON flight_link (flight_id);

CREATE INDEX flight_link_other ON flight_link (other_flight_id);

CREATE INDEX flight_person_flight ON flight_person (flight_id);

CREATE INDEX flight_uid ON flight (flight_uid);

CREATE INDEX inspection_aircraft ON inspection (aircraft_id);

CREATE INDEX inspection_program_aircraft ON inspection_program (aircraft_id);

CREATE INDEX inspection_program_of ON inspection (program_id);

CREATE INDEX invoice_line_invoice ON invoice_line (invoice_id);

CREATE INDEX invoice_person ON invoice (person_id, issued_on);

CREATE INDEX lesson_objective_lesson ON lesson_objective (lesson_id);

CREATE INDEX lesson_objective_result_of ON lesson_objective_result (lesson_result_id);

CREATE INDEX lesson_result_enrolment ON lesson_result (enrolment_id);

CREATE INDEX lesson_syllabus ON lesson (syllabus_id);

CREATE INDEX medical_person ON medical (person_id);

CREATE INDEX member_permission_member ON member_permission (member_id);

CREATE INDEX member_phone_member ON member_phone (member_id);

CREATE INDEX meter_reading_aircraft ON meter_reading (aircraft_id, meter, at);

CREATE INDEX meter_series_aircraft ON meter_series (aircraft_id);

CREATE INDEX notice_made_from ON notice (made_from);

CREATE INDEX notice_user ON notice (user_id, read_at);

CREATE INDEX payment_person ON payment (person_id, date);

CREATE INDEX person_rating_person ON person_rating (person_id);

CREATE INDEX person_remark_person ON person_remark (person_id);

CREATE INDEX person_user ON person (user_id);

CREATE INDEX reversal_of ON reversal (of_id);

CREATE INDEX review_person ON review (person_id);

CREATE INDEX squawk_aircraft ON squawk (aircraft_id);

CREATE INDEX stage_check_enrolment ON stage_check (enrolment_id);

CREATE INDEX stage_syllabus ON stage (syllabus_id);

CREATE INDEX track_flight ON track (flight_id);
