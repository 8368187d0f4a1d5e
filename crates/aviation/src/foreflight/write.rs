//! Writes flights and aircraft as a ForeFlight export of the newest generation.
//!
//! What this writes, `parse` reads back to the same fingerprints. Rows carry only cells that say something.

use crate::logbook::{Aircraft, CustomField, CustomKind, Flight, Seconds};

/// Columns of the aircraft table.
const AIRCRAFT_COLUMNS: [&str; 13] = [
    "AircraftID",
    "equipType",
    "TypeCode",
    "Year",
    "Make",
    "Model",
    "GearType",
    "EngineType",
    "Category/Class",
    "complexAircraft",
    "highPerformance",
    "pressurized",
    "taa",
];

/// Columns of the flights table that have a field.
const FLIGHT_COLUMNS: [&str; 61] = [
    "Date",
    "AircraftID",
    "From",
    "To",
    "Route",
    "TimeOut",
    "TimeOff",
    "TimeOn",
    "TimeIn",
    "TotalTime",
    "PIC",
    "SIC",
    "Night",
    "Solo",
    "CrossCountry",
    "PICUS",
    "Distance",
    "Takeoff Day",
    "Takeoff Night",
    "Landing Full-Stop Day",
    "Landing Full-Stop Night",
    "Landing Touch-and-Go Day",
    "Landing Touch-and-Go Night",
    "AllLandings",
    "ActualInstrument",
    "SimulatedInstrument",
    "GroundTraining",
    "GroundTrainingGiven",
    "HobbsStart",
    "HobbsEnd",
    "TachStart",
    "TachEnd",
    "Holds",
    "Approach1",
    "Approach2",
    "Approach3",
    "Approach4",
    "Approach5",
    "Approach6",
    "DualGiven",
    "DualReceived",
    "SimulatedFlight",
    "InstructorName",
    "InstructorComments",
    "Person1",
    "Person2",
    "Person3",
    "Person4",
    "Person5",
    "Person6",
    "PilotComments",
    "Flight Review",
    "IPC",
    "Checkride",
    "FAA 61.58",
    "OnDuty",
    "OffDuty",
    "MultiPilot",
    "IFR",
    "NVG",
    "Examiner",
];

const PACKED: usize = 6;

/// Writes an export.
pub fn write(aircraft: &[Aircraft], flights: &[Flight]) -> String {
    let custom_columns = custom_columns(flights);
    let mut table = Table {
        width: FLIGHT_COLUMNS.len() + custom_columns.len(),
        text: String::new(),
    };
    table.row(&[
        "ForeFlight Logbook Import".to_owned(),
        "This row is required for importing into ForeFlight. Do not delete or modify.".to_owned(),
    ]);
    table.row(&[]);
    table.row(&["Aircraft Table".to_owned()]);
    table.row(&AIRCRAFT_COLUMNS.map(str::to_owned));
    for aircraft in aircraft {
        table.row(&aircraft_cells(aircraft));
    }
    table.row(&[]);
    table.row(&["Flights Table".to_owned()]);
    let mut header: Vec<String> = FLIGHT_COLUMNS.iter().map(|&c| c.to_owned()).collect();
    header.extend(
        custom_columns
            .iter()
            .map(|(kind, name)| format!("[{}]{name}", kind_name(*kind))),
    );
    table.row(&header);
    for flight in flights {
        table.row(&flight_cells(flight, &custom_columns));
    }
    table.text
}

fn custom_columns(flights: &[Flight]) -> Vec<(CustomKind, String)> {
    let mut columns: Vec<(CustomKind, String)> = flights
        .iter()
        .flat_map(|flight| &flight.custom_fields)
        .filter(|field| !FLIGHT_COLUMNS.contains(&field.name.as_str()))
        .map(|field| (field.kind, field.name.clone()))
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn kind_name(kind: CustomKind) -> &'static str {
    match kind {
        CustomKind::Text => "Text",
        CustomKind::Numeric => "Numeric",
        CustomKind::Hours => "Hours",
        CustomKind::Counter => "Counter",
        CustomKind::Date => "Date",
        CustomKind::DateTime => "DateTime",
        CustomKind::Toggle => "Toggle",
    }
}

fn aircraft_cells(aircraft: &Aircraft) -> [String; 13] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let toggle = |value: Option<bool>| match value {
        Some(true) => "TRUE".to_owned(),
        Some(false) => "FALSE".to_owned(),
        None => String::new(),
    };
    [
        aircraft.tail.clone(),
        text(&aircraft.equipment),
        text(&aircraft.type_designator),
        aircraft.year.map_or_else(String::new, |y| y.to_string()),
        text(&aircraft.make),
        text(&aircraft.model),
        text(&aircraft.gear),
        text(&aircraft.engine),
        text(&aircraft.class),
        toggle(aircraft.complex),
        toggle(aircraft.high_performance),
        toggle(aircraft.pressurized),
        toggle(aircraft.technically_advanced),
    ]
}

fn flight_cells(flight: &Flight, custom_columns: &[(CustomKind, String)]) -> Vec<String> {
    let cell = |name: &str| -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let duration = |value: Seconds| {
            if value.is_zero() {
                String::new()
            } else {
                value.exact()
            }
        };
        let count = |value: Option<u32>| value.map_or_else(String::new, |v| v.to_string());
        let touch_and_go = |all: Option<u32>, full_stop: Option<u32>| {
            count(all.map(|all| all.saturating_sub(full_stop.unwrap_or(0))))
        };
        let flag = |value: bool| if value { "TRUE" } else { "" }.to_owned();
        let hundredths = |value: Option<crate::logbook::Hundredths>| {
            value.map_or_else(String::new, |v| v.to_string())
        };
        let time = |value: Option<jiff::Timestamp>| {
            value.map_or_else(String::new, |at| {
                at.to_zoned(jiff::tz::TimeZone::UTC)
                    .strftime("%H:%M")
                    .to_string()
            })
        };
        match name {
            "Date" => flight.date.to_string(),
            "AircraftID" => text(&flight.tail),
            "From" => text(&flight.departure),
            "To" => text(&flight.destination),
            "Route" => text(&flight.route),
            "TimeOut" => time(flight.out_at),
            "TimeOff" => time(flight.off_at),
            "TimeOn" => time(flight.on_at),
            "TimeIn" => time(flight.in_at),
            "TotalTime" => flight.total.exact(),
            "PIC" => duration(flight.pic),
            "SIC" => duration(flight.sic),
            "Night" => duration(flight.night),
            "Solo" => duration(flight.solo),
            "CrossCountry" => duration(flight.cross_country),
            "PICUS" => duration(flight.picus),
            "Distance" => hundredths(flight.distance),
            "Takeoff Day" => count(flight.takeoffs_day),
            "Takeoff Night" => count(flight.takeoffs_night),
            "Landing Full-Stop Day" => count(flight.full_stops_day),
            "Landing Full-Stop Night" => count(flight.full_stops_night),
            "Landing Touch-and-Go Day" => touch_and_go(flight.landings_day, flight.full_stops_day),
            "Landing Touch-and-Go Night" => {
                touch_and_go(flight.landings_night, flight.full_stops_night)
            }
            "AllLandings" => count(flight.landings),
            "ActualInstrument" => duration(flight.actual_instrument),
            "SimulatedInstrument" => duration(flight.simulated_instrument),
            "GroundTraining" => duration(flight.ground_received),
            "GroundTrainingGiven" => duration(flight.ground_given),
            "HobbsStart" => hundredths(flight.hobbs_start),
            "HobbsEnd" => hundredths(flight.hobbs_end),
            "TachStart" => hundredths(flight.tach_start),
            "TachEnd" => hundredths(flight.tach_end),
            "Holds" => count(flight.holds),
            "DualGiven" => duration(flight.dual_given),
            "DualReceived" => duration(flight.dual_received),
            "SimulatedFlight" => duration(flight.simulator),
            "InstructorName" => text(&flight.instructor.name),
            "InstructorComments" => text(&flight.instructor_comments),
            "PilotComments" => text(&flight.remarks),
            "Flight Review" => flag(flight.flight_review),
            "IPC" => flag(flight.instrument_proficiency_check),
            "Checkride" => flag(flight.checkride),
            "FAA 61.58" => flag(flight.proficiency_check),
            _ => packed(flight, name).unwrap_or_else(|| custom(&flight.custom_fields, name)),
        }
    };
    let mut cells: Vec<String> = FLIGHT_COLUMNS.iter().map(|name| cell(name)).collect();
    cells.extend(custom_columns.iter().map(|(kind, name)| {
        flight
            .custom_fields
            .iter()
            .find(|field| field.kind == *kind && field.name == *name)
            .map_or_else(String::new, |field| field.value.clone())
    }));
    cells
}

/// Packed approaches and persons: their parts joined by semicolons.
fn packed(flight: &Flight, name: &str) -> Option<String> {
    let index = |prefix: &str| {
        let number: usize = name.strip_prefix(prefix)?.parse().ok()?;
        (1..=PACKED).contains(&number).then(|| number - 1)
    };
    let join = |parts: &[&str]| {
        let parts: Vec<String> = parts.iter().map(|part| part.replace(';', ",")).collect();
        parts.join(";")
    };
    if let Some(index) = index("Approach") {
        let approach = flight.approaches.get(index);
        return Some(approach.map_or_else(String::new, |approach| {
            let count = approach.count.map_or_else(String::new, |c| c.to_string());
            join(&[
                &count,
                approach.kind.as_deref().unwrap_or_default(),
                approach.runway.as_deref().unwrap_or_default(),
                approach.airport.as_deref().unwrap_or_default(),
                approach.comments.as_deref().unwrap_or_default(),
            ])
        }));
    }
    let person = flight.persons.get(index("Person")?);
    Some(person.map_or_else(String::new, |person| {
        join(&[
            person.who.name.as_deref().unwrap_or_default(),
            person.part.as_deref().unwrap_or_default(),
            person.email.as_deref().unwrap_or_default(),
            person.phone.as_deref().unwrap_or_default(),
        ])
    }))
}

fn custom(fields: &[CustomField], name: &str) -> String {
    fields
        .iter()
        .find(|field| field.name == name)
        .map_or_else(String::new, |field| field.value.clone())
}

/// Rows of one width with cells quoted where they must be.
struct Table {
    width: usize,
    text: String,
}

impl Table {
    fn row(&mut self, cells: &[String]) {
        for index in 0..self.width {
            if index > 0 {
                self.text.push(',');
            }
            let cell = cells.get(index).map_or("", String::as_str);
            if cell.contains([',', '"', '\n', '\r']) {
                self.text.push('"');
                self.text.push_str(&cell.replace('"', "\"\""));
                self.text.push('"');
            } else {
                self.text.push_str(cell);
            }
        }
        self.text.push('\n');
    }
}
