//! One installation: merged tables, sealed logs and signed history in one SQLite database.
