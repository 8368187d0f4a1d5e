-- Notices: one for each event and person, however many devices saw the event.

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
CREATE INDEX notice_user ON notice (user_id, read_at);
CREATE INDEX notice_made_from ON notice (made_from);
