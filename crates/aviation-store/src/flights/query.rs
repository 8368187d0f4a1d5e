//! Lists, counts and sums over entries.
//!
//! Of the proven copies of one entry in several contexts the latest edited stands for all of them.

use aeroedge_aviation::logbook::{CountTotal, Hundredths, Seconds, Totals};
use aeroedge_ids::{CompartmentId, UserId};
use jiff::civil::Date;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::row::{self, Record, StoreError};

use super::{LoggedFlight, load_children};

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    /// In these compartments; none means no entries.
    pub compartments: &'a [CompartmentId],
    /// In this user's logbook.
    pub pilot: Option<UserId>,
    /// On this day or later.
    pub from: Option<Date>,
    /// On this day or earlier.
    pub to: Option<Date>,
    /// In the aircraft with this tail, whatever its case.
    pub tail: Option<&'a str>,
    /// With this person in any part: an id, or some of a name.
    pub person: Option<&'a str>,
    /// With this text in places, route, aircraft, names or remarks.
    pub text: Option<&'a str>,
    /// At most so many; `None` is all.
    pub limit: Option<u32>,
    /// After so many.
    pub offset: u32,
}

/// The entries, newest first.
pub fn list(
    conn: &Connection,
    filter: &Filter<'_>,
) -> Result<Vec<Record<LoggedFlight>>, StoreError> {
    let mut condition = Condition::of(filter);
    let sql = format!(
        "SELECT {} FROM flight WHERE {} ORDER BY date DESC, out_at DESC, id DESC LIMIT ? OFFSET ?",
        row::select_columns::<LoggedFlight>(),
        condition.sql()
    );
    let limit = filter.limit.map_or(-1, i64::from);
    condition.values.push(Value::Integer(limit));
    condition
        .values
        .push(Value::Integer(i64::from(filter.offset)));
    read(conn, &sql, condition.values)
}

/// How many entries there are, without limit and offset.
pub fn count(conn: &Connection, filter: &Filter<'_>) -> Result<u64, StoreError> {
    let condition = Condition::of(filter);
    let sql = format!("SELECT count(*) FROM flight WHERE {}", condition.sql());
    let count: i64 = conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(condition.values), |row| row.get(0))?;
    Ok(count.max(0) as u64)
}

/// What the entries add up to, without limit and offset.
pub fn totals(conn: &Connection, filter: &Filter<'_>) -> Result<Totals, StoreError> {
    const DURATIONS: [&str; 14] = [
        "total",
        "pic",
        "sic",
        "picus",
        "dual_received",
        "dual_given",
        "solo",
        "cross_country",
        "night",
        "actual_instrument",
        "simulated_instrument",
        "simulator",
        "ground_received",
        "ground_given",
    ];
    const COUNTS: [&str; 8] = [
        "takeoffs_day",
        "takeoffs_night",
        "landings",
        "landings_day",
        "landings_night",
        "full_stops_day",
        "full_stops_night",
        "holds",
    ];
    let condition = Condition::of(filter);
    let sums: Vec<String> = DURATIONS
        .iter()
        .map(|name| format!("sum({})", sane(&format!("{name}_seconds"))))
        .chain(COUNTS.iter().flat_map(|name| {
            let sane = sane(name);
            [format!("sum({sane})"), format!("count({sane})")]
        }))
        .collect();
    let sql = format!(
        "SELECT count(*), sum({}), sum((
           SELECT sum({}) FROM approach
           WHERE approach.flight_id = flight.id AND approach.compartment_id = flight.compartment_id
         )), {} FROM flight WHERE {}",
        sane("distance"),
        sane("approach.count"),
        sums.join(", "),
        condition.sql()
    );
    let totals =
        conn.prepare_cached(&sql)?
            .query_row(params_from_iter(condition.values), |row| {
                let mut index = 0;
                let mut next = || {
                    let value = row.get::<_, Option<i64>>(index);
                    index += 1;
                    value.map(Option::unwrap_or_default)
                };
                let flights = next()?.max(0) as u64;
                let distance = Hundredths(next()?);
                let approaches = next()?.max(0) as u64;
                let mut durations = [Seconds::ZERO; DURATIONS.len()];
                for duration in &mut durations {
                    *duration = Seconds(next()?);
                }
                let mut counts = [CountTotal::default(); COUNTS.len()];
                for count in &mut counts {
                    count.sum = next()?.max(0) as u64;
                    count.unknown = flights.saturating_sub(next()?.max(0) as u64);
                }
                let [
                    total,
                    pic,
                    sic,
                    picus,
                    dual_received,
                    dual_given,
                    solo,
                    cross_country,
                    night,
                    actual_instrument,
                    simulated_instrument,
                    simulator,
                    ground_received,
                    ground_given,
                ] = durations;
                let [
                    takeoffs_day,
                    takeoffs_night,
                    landings,
                    landings_day,
                    landings_night,
                    full_stops_day,
                    full_stops_night,
                    holds,
                ] = counts;
                Ok(Totals {
                    flights,
                    total,
                    pic,
                    sic,
                    picus,
                    dual_received,
                    dual_given,
                    solo,
                    cross_country,
                    night,
                    actual_instrument,
                    simulated_instrument,
                    simulator,
                    ground_received,
                    ground_given,
                    takeoffs_day,
                    takeoffs_night,
                    landings,
                    landings_day,
                    landings_night,
                    full_stops_day,
                    full_stops_night,
                    holds,
                    approaches,
                    distance,
                })
            })?;
    Ok(totals)
}

/// A column where it holds a whole number that a logbook can have: a text or an absurd number in one row, which any
/// member's device could write, must not make a whole logbook's totals fail.
fn sane(column: &str) -> String {
    format!(
        "CASE WHEN typeof({column}) = 'integer' AND {column} BETWEEN 0 AND 4294967295 THEN {column} END"
    )
}

fn read(
    conn: &Connection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Record<LoggedFlight>>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut records = statement
        .query_map(params_from_iter(values), |row| Ok(row::read_record(row)))?
        .collect::<Result<Vec<_>, _>>()?;
    load_children(conn, &mut records)?;
    Ok(records)
}

/// A `WHERE` clause with its values in order.
struct Condition {
    terms: Vec<String>,
    values: Vec<Value>,
}

impl Condition {
    fn of(filter: &Filter<'_>) -> Self {
        let places = places(filter.compartments.len());
        let mut condition = Self {
            terms: Vec::new(),
            values: Vec::new(),
        };
        condition.add(
            format!("flight.compartment_id IN ({places})"),
            compartment_values(filter.compartments),
        );
        condition.add(
            format!(
                "(flight.flight_uid IS NULL OR NOT EXISTS (
                   SELECT 1 FROM flight_copy AS known
                   JOIN flight_copy AS other ON other.flight_uid = known.flight_uid
                   JOIN flight AS copy ON copy.id = other.flight_id
                     AND copy.compartment_id = other.compartment_id AND copy.flight_uid = other.flight_uid
                   WHERE known.flight_id = flight.id AND known.compartment_id = flight.compartment_id
                     AND known.flight_uid = flight.flight_uid AND other.compartment_id IN ({places})
                     AND (copy.updated_at, copy.compartment_id, copy.id)
                       > (flight.updated_at, flight.compartment_id, flight.id)
                 ))"
            ),
            compartment_values(filter.compartments),
        );
        if let Some(pilot) = filter.pilot {
            condition.add("flight.pilot_user_id = ?", [Value::Blob(pilot.0.to_vec())]);
        }
        if let Some(from) = filter.from {
            condition.add("flight.date >= ?", [Value::Text(from.to_string())]);
        }
        if let Some(to) = filter.to {
            condition.add("flight.date <= ?", [Value::Text(to.to_string())]);
        }
        if let Some(tail) = filter.tail {
            let tail = Value::Text(tail.trim().to_owned());
            condition.add("upper(flight.tail) = upper(?)", [tail]);
        }
        if let Some(person) = filter.person {
            condition.add_person(person);
        }
        if let Some(text) = filter.text {
            let columns = [
                "departure",
                "destination",
                "route",
                "tail",
                "aircraft_type",
                "remarks",
                "instructor_name",
                "instructor_comments",
                "safety_pilot_name",
                "ground_topic",
            ];
            let any = columns.map(|column| format!("flight.{column} LIKE ? ESCAPE '\\'"));
            let pattern = Value::Text(pattern(text));
            condition.add(
                format!("({})", any.join(" OR ")),
                vec![pattern; columns.len()],
            );
        }
        condition
    }

    fn add(&mut self, term: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.terms.push(term.into());
        self.values.extend(values);
    }

    fn add_person(&mut self, person: &str) {
        let roles = ["instructor", "safety_pilot", "examiner"];
        let mut any: Vec<String> = roles
            .iter()
            .map(|role| {
                format!("flight.{role}_person_id = ? OR flight.{role}_name LIKE ? ESCAPE '\\'")
            })
            .collect();
        any.push(
            "EXISTS (SELECT 1 FROM flight_person
               WHERE flight_person.flight_id = flight.id
                 AND flight_person.compartment_id = flight.compartment_id
                 AND (flight_person.person_id = ? OR flight_person.name LIKE ? ESCAPE '\\'))"
                .to_owned(),
        );
        any.push("flight.pilot_person_id = ?".to_owned());
        let id = Value::Text(person.to_owned());
        let pair = [id.clone(), Value::Text(pattern(person))];
        let values = std::iter::repeat_n(pair, roles.len() + 1)
            .flatten()
            .chain([id]);
        self.add(format!("({})", any.join(" OR ")), values);
    }

    fn sql(&self) -> String {
        self.terms.join(" AND ")
    }
}

/// A `LIKE` pattern for text that contains these words as they are.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.trim().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn compartment_values(compartments: &[CompartmentId]) -> impl Iterator<Item = Value> {
    compartments.iter().map(|c| Value::Blob(c.0.to_vec()))
}
