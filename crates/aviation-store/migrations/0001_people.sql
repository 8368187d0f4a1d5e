-- The context itself and the people in it.
--
-- Every merged table: identity is (id, compartment_id), so a member of one context can never touch a row of another by
-- naming its id. Instants are milliseconds UTC, with the zone beside them where a local day matters; days are text as in
-- 2026-02-11; durations are seconds; meters and distances are hundredths; money is cents beside its currency.

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
CREATE INDEX attachment_of ON attachment (of_id);

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
CREATE INDEX context_member_user ON context_member (user_id);

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
CREATE INDEX member_phone_member ON member_phone (member_id);

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
CREATE INDEX member_permission_member ON member_permission (member_id);

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
CREATE INDEX person_user ON person (user_id);

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
CREATE INDEX person_rating_person ON person_rating (person_id);

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
CREATE INDEX checkout_person ON checkout (person_id);

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
CREATE INDEX person_remark_person ON person_remark (person_id);

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
CREATE INDEX currency_statement_person ON currency_statement (person_id);

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
CREATE INDEX medical_person ON medical (person_id);

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
CREATE INDEX review_person ON review (person_id);
