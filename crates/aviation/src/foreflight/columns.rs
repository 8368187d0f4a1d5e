//! Which column of a file means what, in every generation of header.
//!
//! Names are compared without case, spaces and punctuation, and without the suffixes of the authority the app was set to
//! (`(FAA)`) and of retired columns (`(Deprecated)`). Where an old and a new column for one thing stand together they are
//! alternatives, and never added.

use std::collections::BTreeMap;

use crate::logbook::{CustomField, CustomKind};

use super::rows::Row;

/// A column of the flights table that has a field of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlightColumn {
    Date,
    AircraftId,
    From,
    To,
    Route,
    TimeOut,
    TimeOff,
    TimeOn,
    TimeIn,
    TotalTime,
    Pic,
    Sic,
    Night,
    Solo,
    CrossCountry,
    Picus,
    Distance,
    TakeoffsDay,
    TakeoffsNight,
    FullStopsDay,
    FullStopsNight,
    TouchAndGoDay,
    TouchAndGoNight,
    AllLandings,
    ActualInstrument,
    SimulatedInstrument,
    HobbsStart,
    HobbsEnd,
    TachStart,
    TachEnd,
    Holds,
    Approach(u8),
    DualGiven,
    DualReceived,
    SimulatedFlight,
    GroundTraining,
    GroundTrainingGiven,
    InstructorName,
    InstructorComments,
    Person(u8),
    FlightReview,
    Checkride,
    InstrumentProficiencyCheck,
    ProficiencyCheck,
    PilotComments,
}

/// A column of the aircraft table that has a field of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AircraftColumn {
    AircraftId,
    Equipment,
    TypeCode,
    Year,
    Make,
    Model,
    Category,
    Class,
    Gear,
    Engine,
    Complex,
    HighPerformance,
    Pressurized,
    TechnicallyAdvanced,
}

/// Names in reduced form. Of several names for one column the earlier is preferred: the newer generation comes first.
const FLIGHT_NAMES: &[(&str, FlightColumn)] = &[
    ("date", FlightColumn::Date),
    ("aircraftid", FlightColumn::AircraftId),
    ("from", FlightColumn::From),
    ("to", FlightColumn::To),
    ("route", FlightColumn::Route),
    ("timeout", FlightColumn::TimeOut),
    ("timeoff", FlightColumn::TimeOff),
    ("timeon", FlightColumn::TimeOn),
    ("timein", FlightColumn::TimeIn),
    ("totaltime", FlightColumn::TotalTime),
    ("pic", FlightColumn::Pic),
    ("sic", FlightColumn::Sic),
    ("night", FlightColumn::Night),
    ("solo", FlightColumn::Solo),
    ("crosscountry", FlightColumn::CrossCountry),
    ("picus", FlightColumn::Picus),
    ("distance", FlightColumn::Distance),
    ("takeoffday", FlightColumn::TakeoffsDay),
    ("daytakeoffs", FlightColumn::TakeoffsDay),
    ("takeoffnight", FlightColumn::TakeoffsNight),
    ("nighttakeoffs", FlightColumn::TakeoffsNight),
    ("landingfullstopday", FlightColumn::FullStopsDay),
    ("daylandingsfullstop", FlightColumn::FullStopsDay),
    ("landingfullstopnight", FlightColumn::FullStopsNight),
    ("nightlandingsfullstop", FlightColumn::FullStopsNight),
    ("landingtouchandgoday", FlightColumn::TouchAndGoDay),
    ("landingtouchandgonight", FlightColumn::TouchAndGoNight),
    ("alllandings", FlightColumn::AllLandings),
    ("actualinstrument", FlightColumn::ActualInstrument),
    ("simulatedinstrument", FlightColumn::SimulatedInstrument),
    ("hobbsstart", FlightColumn::HobbsStart),
    ("hobbsend", FlightColumn::HobbsEnd),
    ("tachstart", FlightColumn::TachStart),
    ("tachend", FlightColumn::TachEnd),
    ("holds", FlightColumn::Holds),
    ("dualgiven", FlightColumn::DualGiven),
    ("dualreceived", FlightColumn::DualReceived),
    ("simulatedflight", FlightColumn::SimulatedFlight),
    ("groundtraining", FlightColumn::GroundTraining),
    ("groundtraininggiven", FlightColumn::GroundTrainingGiven),
    ("instructorname", FlightColumn::InstructorName),
    ("instructorcomments", FlightColumn::InstructorComments),
    ("flightreview", FlightColumn::FlightReview),
    ("checkride", FlightColumn::Checkride),
    ("ipc", FlightColumn::InstrumentProficiencyCheck),
    ("faa6158", FlightColumn::ProficiencyCheck),
    ("pilotcomments", FlightColumn::PilotComments),
];

const AIRCRAFT_NAMES: &[(&str, AircraftColumn)] = &[
    ("aircraftid", AircraftColumn::AircraftId),
    ("equiptype", AircraftColumn::Equipment),
    ("equipmenttype", AircraftColumn::Equipment),
    ("typecode", AircraftColumn::TypeCode),
    ("year", AircraftColumn::Year),
    ("make", AircraftColumn::Make),
    ("model", AircraftColumn::Model),
    ("category", AircraftColumn::Category),
    ("categoryclass", AircraftColumn::Class),
    ("aircraftclass", AircraftColumn::Class),
    ("class", AircraftColumn::Class),
    ("geartype", AircraftColumn::Gear),
    ("enginetype", AircraftColumn::Engine),
    ("complexaircraft", AircraftColumn::Complex),
    ("complex", AircraftColumn::Complex),
    ("highperformance", AircraftColumn::HighPerformance),
    ("pressurized", AircraftColumn::Pressurized),
    ("taa", AircraftColumn::TechnicallyAdvanced),
];

/// Columns of the app that these records have no field for, with what their values are.
const KEPT_FLIGHT_COLUMNS: &[(&str, CustomKind)] = &[
    ("onduty", CustomKind::Text),
    ("offduty", CustomKind::Text),
    ("multipilot", CustomKind::Hours),
    ("ifr", CustomKind::Hours),
    ("examiner", CustomKind::Hours),
    ("nvg", CustomKind::Hours),
    ("nvgops", CustomKind::Counter),
    ("nvgproficiency", CustomKind::Toggle),
    ("takeoffdaytowered", CustomKind::Counter),
    ("takeoffnighttowered", CustomKind::Counter),
    ("landingfullstopdaytowered", CustomKind::Counter),
    ("landingtouchandgodaytowered", CustomKind::Counter),
    ("landingfullstopnighttowered", CustomKind::Counter),
    ("landingtouchandgonighttowered", CustomKind::Counter),
    ("initialcheckeasa", CustomKind::Toggle),
    ("proficiencycheckeasa", CustomKind::Toggle),
    ("irproficiencycheckeasa", CustomKind::Toggle),
    ("refreshertrainingeasa", CustomKind::Toggle),
];

const KEPT_AIRCRAFT_COLUMNS: &[(&str, CustomKind)] = &[
    ("equiptypeeasa", CustomKind::Text),
    ("categoryclasseasa", CustomKind::Text),
    ("complexaircrafteasa", CustomKind::Toggle),
    ("multipiloteasa", CustomKind::Toggle),
    ("sphpeasa", CustomKind::Toggle),
];

/// The header of one table: where each column stands.
#[derive(Debug)]
pub(super) struct Header<C> {
    columns: BTreeMap<C, Vec<Position>>,
    kept: Vec<Kept>,
    width: usize,
}

#[derive(Debug)]
struct Position {
    index: usize,
    name: String,
    rank: (bool, usize),
}

/// A column without a field, whose values are kept word for word.
#[derive(Debug)]
pub(super) struct Kept {
    index: usize,
    /// Name as the file has it, without the kind.
    pub(super) name: String,
    kind: CustomKind,
    /// The app writes zeros and `false` into its own columns, which say nothing; into the user's columns only what the
    /// user wrote.
    zero_says_nothing: bool,
    /// Not of the app and not in the form of a custom column.
    pub(super) foreign: bool,
}

/// What one column, or the preferred of several alternatives, holds in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Header<FlightColumn> {
    /// Reads the header of the flights table.
    pub(super) fn flights(row: &Row) -> Self {
        Self::read(row, |reduced| {
            let numbered = |prefix: &str| {
                let number = reduced.strip_prefix(prefix)?;
                (number.len() <= 2)
                    .then(|| number.parse::<u8>().ok())
                    .flatten()
            };
            if let Some(number) = numbered("approach") {
                return Some((FlightColumn::Approach(number), 0));
            }
            if let Some(number) = numbered("person") {
                return Some((FlightColumn::Person(number), 0));
            }
            lookup(FLIGHT_NAMES, reduced)
        })
        .with_kept(row, KEPT_FLIGHT_COLUMNS)
    }

    /// The columns of packed approaches or persons, in order of their number.
    pub(super) fn numbered(
        &self,
        belongs: impl Fn(FlightColumn) -> bool,
    ) -> impl Iterator<Item = FlightColumn> {
        self.columns.keys().copied().filter(move |c| belongs(*c))
    }
}

impl Header<AircraftColumn> {
    /// Reads the header of the aircraft table.
    pub(super) fn aircraft(row: &Row) -> Self {
        Self::read(row, |reduced| lookup(AIRCRAFT_NAMES, reduced))
            .with_kept(row, KEPT_AIRCRAFT_COLUMNS)
    }
}

impl<C: Copy + Ord> Header<C> {
    fn read(row: &Row, column: impl Fn(&str) -> Option<(C, usize)>) -> Self {
        let mut columns: BTreeMap<C, Vec<Position>> = BTreeMap::new();
        for index in 0..row.filled() {
            let name = row.cell(index);
            let (reduced, deprecated) = reduce(name);
            if let Some((column, rank)) = column(&reduced) {
                columns.entry(column).or_default().push(Position {
                    index,
                    name: name.to_owned(),
                    rank: (deprecated, rank),
                });
            }
        }
        for positions in columns.values_mut() {
            positions.sort_by_key(|position| position.rank);
        }
        Self {
            columns,
            kept: Vec::new(),
            width: row.filled(),
        }
    }

    fn with_kept(mut self, row: &Row, known: &[(&str, CustomKind)]) -> Self {
        for index in 0..row.filled() {
            let name = row.cell(index);
            let taken = self
                .columns
                .values()
                .flatten()
                .any(|position| position.index == index);
            if name.is_empty() || taken {
                continue;
            }
            let (reduced, _) = reduce(name);
            let of_the_app = known.iter().find(|(known, _)| *known == reduced);
            let (kind, plain_name, foreign) = match (of_the_app, bracketed(name)) {
                (Some((_, kind)), _) => (*kind, name, false),
                (None, Some((kind, name))) => (kind, name, false),
                (None, None) => (CustomKind::Text, name, true),
            };
            self.kept.push(Kept {
                index,
                name: plain_name.to_owned(),
                kind,
                zero_says_nothing: of_the_app.is_some(),
                foreign,
            });
        }
        self
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn has(&self, column: C) -> bool {
        self.columns.contains_key(&column)
    }

    /// The column's cell: of alternatives the preferred one that is filled. `None` if the file lacks the column.
    pub(super) fn cell<'a>(&'a self, row: &'a Row, column: C) -> Option<Cell<'a>> {
        let positions = self.columns.get(&column)?;
        let filled = positions
            .iter()
            .find(|position| !row.cell(position.index).is_empty());
        let position = filled.or(positions.first())?;
        Some(Cell {
            name: &position.name,
            text: row.cell(position.index),
        })
    }

    /// Columns without a field of their own.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The filled cells of those columns.
    pub(super) fn custom_fields(&self, row: &Row) -> Vec<CustomField> {
        self.kept
            .iter()
            .filter_map(|kept| {
                let text = row.cell(kept.index);
                if text.is_empty() || (kept.zero_says_nothing && says_nothing(text, kept.kind)) {
                    return None;
                }
                Some(CustomField {
                    id: None,
                    name: kept.name.clone(),
                    kind: kept.kind,
                    value: text.to_owned(),
                })
            })
            .collect()
    }
}

fn says_nothing(text: &str, kind: CustomKind) -> bool {
    match kind {
        CustomKind::Toggle => text.eq_ignore_ascii_case("false"),
        CustomKind::Hours | CustomKind::Counter | CustomKind::Numeric => {
            text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b':'))
        }
        CustomKind::Text | CustomKind::Date | CustomKind::DateTime => false,
    }
}

fn lookup<C: Copy>(names: &[(&str, C)], reduced: &str) -> Option<(C, usize)> {
    names
        .iter()
        .enumerate()
        .find(|(_, (name, _))| *name == reduced)
        .map(|(rank, (_, column))| (*column, rank))
}

/// A name without case, spaces and punctuation, and whether it is marked as retired. Names of custom columns stay apart
/// from the app's own by their bracket.
fn reduce(name: &str) -> (String, bool) {
    if name.trim_start().starts_with('[') {
        return (name.to_owned(), false);
    }
    let mut reduced: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let mut deprecated = false;
    loop {
        if let Some(rest) = reduced
            .strip_suffix("deprecated")
            .or_else(|| reduced.strip_prefix("deprecated"))
        {
            reduced = rest.to_owned();
            deprecated = true;
        } else if let Some(rest) = reduced.strip_suffix("faa") {
            reduced = rest.to_owned();
        } else {
            return (reduced, deprecated);
        }
    }
}

/// The kind and the name of a custom column such as `[Hours]Complex`.
fn bracketed(name: &str) -> Option<(CustomKind, &str)> {
    let (kind, name) = name.strip_prefix('[')?.split_once(']')?;
    let kind = match kind.trim().to_ascii_lowercase().as_str() {
        "hours" => CustomKind::Hours,
        "numeric" => CustomKind::Numeric,
        "counter" => CustomKind::Counter,
        "date" => CustomKind::Date,
        "datetime" => CustomKind::DateTime,
        "toggle" => CustomKind::Toggle,
        _ => CustomKind::Text,
    };
    Some((kind, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreflight::rows::Rows;

    fn row(text: &str) -> Row {
        Rows::new(text, b',').next().unwrap()
    }

    #[test]
    fn names_of_all_generations_reduce_to_one() {
        for names in [
            ["Flight Review (FAA)", "FlightReview", "Flight Review"],
            ["NVG Ops", "NVGOps", "nvg_ops"],
            ["FAA 61.58 (FAA)", "FAA6158", "FAA 61.58"],
            [
                "DayTakeoffs",
                "Day Takeoffs (Deprecated)",
                "Deprecated DayTakeoffs",
            ],
        ] {
            let reduced: Vec<_> = names.iter().map(|name| reduce(name).0).collect();
            assert!(
                reduced.iter().all(|name| *name == reduced[0]),
                "{reduced:?}"
            );
        }
    }

    #[test]
    fn of_a_new_and_an_old_column_the_new_one_counts_unless_it_is_blank() {
        let header = Header::flights(&row("Date,DayTakeoffs,Takeoff Day"));
        let both = row("2026-01-01,4,2");
        let old_only = row("2026-01-01,4,");
        let cell = |row| {
            header
                .cell(row, FlightColumn::TakeoffsDay)
                .unwrap()
                .text
                .to_owned()
        };
        assert_eq!(cell(&both), "2");
        assert_eq!(cell(&old_only), "4");
    }

    #[test]
    fn what_has_no_field_is_kept_and_zeros_of_the_app_are_not() {
        let header = Header::flights(&row("Date,IFR,NVG,[Hours]Complex,[Toggle]IPC,Weather"));
        let fields = header.custom_fields(&row("2026-01-01,0.5,0.0,0.0,,calm"));
        let kept: Vec<_> = fields
            .iter()
            .map(|f| (f.name.as_str(), f.kind.as_str(), f.value.as_str()))
            .collect();
        assert_eq!(
            kept,
            [
                ("IFR", "hours", "0.5"),
                ("Complex", "hours", "0.0"),
                ("Weather", "text", "calm")
            ]
        );
        assert!(!header.has(FlightColumn::InstrumentProficiencyCheck));
    }
}
