-- Training: syllabi everyone may read, results only the student and the staff concerned.

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
CREATE INDEX stage_syllabus ON stage (syllabus_id);

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
CREATE INDEX lesson_syllabus ON lesson (syllabus_id);

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
CREATE INDEX lesson_objective_lesson ON lesson_objective (lesson_id);

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
CREATE INDEX enrolment_student ON enrolment (student_person_id);

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
CREATE INDEX lesson_result_enrolment ON lesson_result (enrolment_id);

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
CREATE INDEX lesson_objective_result_of ON lesson_objective_result (lesson_result_id);

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
CREATE INDEX stage_check_enrolment ON stage_check (enrolment_id);
