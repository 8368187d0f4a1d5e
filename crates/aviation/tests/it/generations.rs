//! Small files in the manner of every generation of export.

use aeroedge_aviation::foreflight::{Encoding, Options, Outcome, Parsed, Table, parse};
use aeroedge_aviation::logbook::{Hundredths, Precision, Seconds};
use jiff::tz::TimeZone;

pub(crate) const GENERATION_2020: &str = "\
ForeFlight Logbook Import,,,,,,,,,
,,,,,,,,,
Aircraft Table,,,,,,,,,
AircraftID,EquipmentType,TypeCode,Year,Make,Model,Category,Class,GearType,EngineType,Complex,HighPerformance,Pressurized
N100AA,aircraft,172S,2001,Cessna,172SP,airplane,airplane_single_engine_land,fixed_tricycle,Piston,false,false,false
N200BB,aircraft,,,,,,,fixed_tailwheel,,true,false,false
n100aa,aircraft,C172,,Cessna,172SP,airplane,airplane_single_engine_land,fixed_tricycle,Piston,false,false,false
,,,,,,,,,
Flights Table,,,,,,,,,
Date,AircraftID,From,To,Route,TimeOut,TimeOff,TimeOn,TimeIn,OnDuty,OffDuty,TotalTime,PIC,SIC,Night,Solo,CrossCountry,Distance,DayTakeoffs,DayLandingsFullStop,NightTakeoffs,NightLandingsFullStop,AllLandings,ActualInstrument,SimulatedInstrument,HobbsStart,HobbsEnd,TachStart,TachEnd,Holds,Approach1,Approach2,Approach3,Approach4,Approach5,Approach6,DualGiven,DualReceived,SimulatedFlight,GroundTraining,InstructorName,InstructorComments,Person1,Person2,Person3,Person4,Person5,Person6,FlightReview,Checkride,IPC,PilotComments,[Hours]Complex,[Hours]High Performance
2020-02-21,N100AA,KPAO,KMRY,37.79\u{b0}N/122.41\u{b0}W ,21:37,21:40,00:10,00:15,,,1.8,1.8,0.0,0.3,0.0,1.8,117.50,2,1,0,1,5,0.2,0.0,1455.10,1456.90,0.00,0.00,1,2;ILS;25R;KLVK;,1;RNAV (GPS);31;KPAO;to minimums; twice,,,,,0.0,1.8,0.0,0.5,Avery Example,\"Good work, Sam\",Jo Example;Safety Pilot;jo@example.org;555-0100,Kim Example,,,,,false,true,false,,0.0,1.8
2020-02-20,,,,,,,,,,,0.0,0.0,0.0,0.0,0.0,0.0,0.00,4,4,0,0,4,0.0,0.0,0.00,0.00,0.00,0.00,0,,,,,,,0.0,0.0,0.0,0.0,,,,,,,,,false,false,false,pattern,0.0,0.0
";

pub(crate) const GENERATION_2025: &str = "\
ForeFlight Logbook Import,This row is required for importing into ForeFlight. Do not delete or modify.,,,
,,,,
Aircraft Table,,,,
AircraftID,TypeCode,Year,Make,Model,GearType,EngineType,equipType (FAA),aircraftClass (FAA),complexAircraft (FAA),taa (FAA),highPerformance (FAA),pressurized (FAA)
N300CC,T6,1944,North American,T-6G,retractable_tailwheel,Radial,aircraft,airplane_single_engine_land,TRUE,,TRUE,
,,,,
Flights Table ,,,,
Date,AircraftID,From,To,Route,TimeOut,TimeOff,TimeOn,TimeIn,OnDuty,OffDuty,TotalTime,PIC,SIC,Night,Solo,CrossCountry,PICUS,MultiPilot,IFR,Examiner,NVG,NVG Ops,Distance,ActualInstrument,SimulatedInstrument,HobbsStart,HobbsEnd,TachStart,TachEnd,Holds,Approach1,DualGiven,DualReceived,SimulatedFlight,GroundTraining,GroundTrainingGiven,InstructorName,InstructorComments,Person1,PilotComments,Flight Review (FAA),IPC (FAA),Checkride (FAA),FAA 61.58 (FAA),NVG Proficiency (FAA),DayTakeoffs,DayLandingsFullStop,NightTakeoffs,NightLandingsFullStop,AllLandings
2025-09-11,N300CC,KPAO,KPAO,LOCAL,,,,,,,1.6,,,,,,,,0.5,,,,,,,,,,,,,,1.6,,,,,,Lee Example;Instructor;lee@example.org;+1 (555) 555-0101,\"\"\"Fun flight in the T-6!\"\"\",TRUE,,,,,2,2,,,2
2025-09-01,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,2.0,,Lee Example,\"\"\"Ground, decision making\"\"\",,,,,,,,,,,,
";

/// New and retired landing columns together.
const GENERATION_MIXED: &str = "\
ForeFlight Logbook Import
Aircraft Table
AircraftID,TypeCode
Flights Table
Date,AircraftID,TotalTime,PIC,Takeoff Day,Landing Full-Stop Day,Landing Touch-and-Go Day,DayTakeoffs,DayLandingsFullStop,NightTakeoffs,NightLandingsFullStop,AllLandings,[Toggle]Errata
2025-05-01,N100AA,1.0,1.0,3,1,2,3,1,0,0,3,TRUE
2025-05-02,N100AA,1.0,1.0,,,,4,2,1,1,6,
2025-05-03,N100AA,1.0,1.0,3,1,4,3,1,0,0,1,
";

const GENERATION_NEWEST: &str = "\
ForeFlight Logbook Import ,This row is required for importing into ForeFlight. Do not delete or modify. ,,
,,
Aircraft Table,,
Text,Text,Text,YYYY,Text,Text,Text,Text,Text,Boolean,Boolean,Boolean,Boolean,Text,Text,Boolean,Boolean,Boolean
AircraftID,equipType,TypeCode,Year,Make,Model,GearType,EngineType,Category/Class,complexAircraft,highPerformance,pressurized,taa,equipType (EASA),Category/Class (EASA),complexAircraft (EASA),multiPilot (EASA),sphp (EASA)
N400DD,aircraft,SR22,2019,Cirrus,SR22,fixed_tricycle,Piston,airplane_single_engine_land,FALSE,TRUE,FALSE,TRUE,,SEP (land),,FALSE,
,,
Flights Table,,,,#;type;runway;airport;comments,,
Date,Text,Text,Text,Decimal or HH:MM,Decimal or HH:MM,Number,Number,Number,Number,Number,Number
Date,AircraftID,From,To,TotalTime,PIC,Takeoff Day,Takeoff Night,Landing Full-Stop Day,Landing Full-Stop Night,Landing Touch-and-Go Day,Landing Touch-and-Go Night,NVGOps,FAA 61.58,[Text]Weather,[Hours]Formation,Takeoff Day Towered,Initial Check (EASA),GroundTrainingGiven
2026-01-05,N400DD,KPAO,KSQL,1:30,1:30,2,1,1,1,4,0,0,TRUE,calm,0:30,2,FALSE,0:45
2026-01-04,N400DD,KPAO,KSQL,0.5,0.5,,,1,,,,,,,,,,
";

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &Options::default()).unwrap()
}

fn hours(text: &str) -> Seconds {
    Seconds::parse(text).unwrap()
}

#[test]
fn generation_of_2020() {
    let parsed = read(GENERATION_2020);
    assert_eq!(parsed.report.rejected(), 0, "{:?}", parsed.report.rows);
    assert_eq!((parsed.report.aircraft_rows, parsed.aircraft.len()), (3, 2));
    assert_eq!(parsed.aircraft[0].type_designator.as_deref(), Some("172S"));
    assert_eq!(parsed.aircraft[0].engine_count, Some(1));
    assert_eq!(parsed.aircraft[1].tailwheel, Some(true));
    assert_eq!(parsed.aircraft[1].complex, Some(true));

    let flight = &parsed.flights[0].flight;
    assert_eq!(parsed.flights[0].row, 11);
    assert_eq!(flight.aircraft_type.as_deref(), Some("172S"));
    assert_eq!(flight.route.as_deref(), Some("37.79°N/122.41°W"));
    assert_eq!(flight.total, hours("1.8"));
    assert_eq!(flight.ground_received, hours("0.5"));
    assert_eq!(flight.landings, Some(5));
    assert_eq!(flight.full_stops_night, Some(1));
    assert_eq!(
        flight.landings_day, None,
        "old files do not split touch-and-go"
    );
    assert_eq!(flight.hobbs_end, Some(Hundredths(145_690)));
    assert_eq!(flight.tach_start, None, "0.00 is a reading not taken");
    assert_eq!(flight.in_at, Some("2020-02-22T00:15:00Z".parse().unwrap()));
    assert!(flight.checkride && !flight.flight_review);
    assert_eq!(
        flight.instructor_comments.as_deref(),
        Some("Good work, Sam")
    );
    assert_eq!(flight.instructor.name.as_deref(), Some("Avery Example"));
    assert_eq!(flight.safety_pilot.name.as_deref(), Some("Jo Example"));
    assert_eq!(flight.approaches[0].count, Some(2));
    assert_eq!(flight.approaches[1].kind.as_deref(), Some("RNAV (GPS)"));
    assert_eq!(
        flight.approaches[1].comments.as_deref(),
        Some("to minimums; twice")
    );
    assert_eq!(flight.persons[0].email.as_deref(), Some("jo@example.org"));
    assert_eq!(flight.persons[1].part, None);
    assert_eq!(flight.custom_fields.len(), 2);

    let zero = &parsed.flights[1].flight;
    assert_eq!((zero.tail.as_deref(), zero.landings), (None, Some(4)));
    assert_eq!(parsed.totals.total, hours("1.8"));
    assert_eq!(parsed.totals.landings.sum, 9);
    assert_eq!(parsed.totals.approaches, 3);
}

#[test]
fn generation_of_2025() {
    let parsed = read(GENERATION_2025);
    assert_eq!(parsed.report.rejected(), 0, "{:?}", parsed.report.rows);
    let aircraft = &parsed.aircraft[0];
    assert_eq!(
        (aircraft.tailwheel, aircraft.complex),
        (Some(true), Some(true))
    );
    assert_eq!(aircraft.technically_advanced, None);
    let flight = &parsed.flights[0].flight;
    assert_eq!(flight.remarks.as_deref(), Some("Fun flight in the T-6!"));
    assert!(flight.flight_review);
    assert_eq!(flight.takeoffs_night, None, "a blank count stays unknown");
    assert_eq!(flight.instructor.name.as_deref(), Some("Lee Example"));
    assert_eq!(flight.custom_fields[0].name, "IFR");
    let ground = &parsed.flights[1].flight;
    assert_eq!(ground.ground_received, hours("2"));
    assert_eq!(ground.landings, None);
    assert_eq!(
        ground.instructor_comments.as_deref(),
        Some("Ground, decision making")
    );
    assert_eq!(parsed.totals.landings.unknown, 1);
}

#[test]
fn new_and_retired_columns_are_never_added() {
    let parsed = read(GENERATION_MIXED);
    let [new, old, contradicting] = [0, 1, 2].map(|i| &parsed.flights[i].flight);
    assert_eq!(new.takeoffs_day, Some(3));
    assert_eq!((new.landings, new.landings_day), (Some(3), Some(3)));
    assert_eq!(new.custom_fields[0].name, "Errata");
    assert_eq!(old.takeoffs_day, Some(4));
    assert_eq!((old.landings, old.full_stops_day), (Some(6), Some(2)));
    assert_eq!(contradicting.landings, Some(5));
    let Outcome::Imported { notes } = &parsed.report.rows[2].outcome else {
        panic!("rejected");
    };
    assert!(notes[0].contains("AllLandings is 1"), "{notes:?}");
}

#[test]
fn newest_generation() {
    let parsed = read(GENERATION_NEWEST);
    assert_eq!(parsed.report.rejected(), 0, "{:?}", parsed.report.rows);
    assert_eq!(parsed.report.rows.len(), 3, "rows of types are no data");
    assert_eq!(parsed.aircraft[0].technically_advanced, Some(true));
    assert_eq!(parsed.aircraft[0].category.as_deref(), Some("airplane"));
    assert_eq!(parsed.aircraft[0].custom_fields[0].value, "SEP (land)");
    let flight = &parsed.flights[0].flight;
    assert_eq!(flight.total, hours("1.5"));
    assert_eq!((flight.landings, flight.landings_day), (Some(6), Some(5)));
    assert_eq!(flight.landings_night, Some(1));
    assert!(flight.proficiency_check);
    assert_eq!(flight.ground_given.decimal(Precision::Hundredths), "0.75");
    let kept: Vec<_> = flight
        .custom_fields
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(kept, ["Weather", "Formation", "Takeoff Day Towered"]);
    assert_eq!(parsed.flights[1].flight.takeoffs_day, None);
}

#[test]
fn a_count_without_a_column_stays_unknown_and_is_named() {
    let parsed = read("Date,AircraftID,TotalTime,AllLandings\n2026-01-01,N1,1.0,3\n");
    let flight = &parsed.flights[0].flight;
    assert_eq!(flight.landings, Some(3));
    assert_eq!((flight.takeoffs_day, flight.takeoffs_night), (None, None));
    assert_eq!(
        (flight.full_stops_day, flight.full_stops_night),
        (None, None)
    );
    assert_eq!(flight.holds, None);
    assert!(
        parsed
            .report
            .absent_counts
            .contains(&"night takeoffs".to_owned())
    );
    assert!(parsed.report.notes[0].contains("title line"));
}

#[test]
fn full_stops_alone_are_not_all_landings() {
    let parsed = read("Date,AircraftID,TotalTime,DayLandingsFullStop\n2026-01-01,N1,1.0,3\n");
    assert_eq!(parsed.flights[0].flight.full_stops_day, Some(3));
    assert_eq!(parsed.flights[0].flight.landings, None);
}

#[test]
fn a_bad_row_never_costs_a_good_one() {
    let text = "\
ForeFlight Logbook Import
Flights Table
Date,AircraftID,From,TotalTime,PIC,AllLandings,PilotComments
2026-01-01,N1,KPAO,1.0,1.0,1,good
2026-01-02,N1,KPAO,one,1.0,1,bad total
2026-01-03,N1,KPAO,1.0,1.0,x,bad count
soon,N1,KPAO,-1.0,1.0,1,bad date and total
,N1,KPAO,1.0,1.0,1,no date
2026-01-04,N1,KPAO,1.0,1.0,1,a, comma too many
2026-01-05,N1,KPAO
2026-01-06,N1,KPAO,1.0,1.0,1,good
";
    let parsed = read(text);
    assert_eq!(parsed.totals.flights, 3, "a short row has blanks");
    let rejected: Vec<(u32, String)> = parsed
        .report
        .rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Rejected { problems } => {
                let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Some((row.row, told.join("; ")))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (
            5,
            "column TotalTime: \"one\" is not a duration: write 1.5 or 1:30",
        ),
        (
            6,
            "column AllLandings: \"x\" is not a count: write a whole number",
        ),
        (
            7,
            "column Date: \"soon\" is not a date: write it as 2026-02-11; \
             column TotalTime: \"-1.0\" is negative: no logbook quantity is",
        ),
        (8, "the row has no Date"),
        (
            9,
            "the row has 8 cells where the header has 7: a comma in a text is not quoted",
        ),
    ];
    assert_eq!(rejected, expected.map(|(row, why)| (row, why.to_owned())));
    assert_eq!((parsed.report.imported(), parsed.report.rejected()), (3, 5));
}

#[test]
fn an_unclosed_quote_costs_one_row() {
    let mut text =
        String::from("Date,AircraftID,From,To,Route,TotalTime,PIC,SIC,Night,Solo,PilotComments\n");
    for day in 1..=9 {
        let comment = match day {
            4 => "\"never closed",
            6 => "\"two\nlines, closed\"",
            _ => "\"fine\"",
        };
        let row = format!("2026-01-0{day},N1,KPAO,KSQL,,1.0,1.0,,,,{comment}\n");
        text.push_str(&row);
    }
    let parsed = read(&text);
    assert_eq!(parsed.totals.flights, 8);
    assert_eq!(
        parsed.flights[4].flight.remarks.as_deref(),
        Some("two\nlines, closed")
    );
    let bad: Vec<_> = parsed
        .report
        .rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Rejected { .. }))
        .map(|row| (row.row, row.line, row.table))
        .collect();
    assert_eq!(bad, [(5, 5, Table::Flights)]);
    let last = parsed.report.rows.last().unwrap();
    assert_eq!(
        (last.row, last.line),
        (10, 11),
        "rows and lines part company"
    );
}

#[test]
fn identical_rows_stay_two() {
    let row = "2026-01-01,N1,1.0,1\n";
    let parsed = read(&format!(
        "Date,AircraftID,TotalTime,AllLandings\n{row}{row}"
    ));
    assert_eq!(parsed.flights[0].fingerprint, parsed.flights[1].fingerprint);
    assert_eq!(
        parsed
            .flights
            .iter()
            .map(|f| f.occurrence)
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn an_export_of_an_older_app_has_the_fingerprints_of_a_newer_one() {
    let older = read(
        "Date,AircraftID,TotalTime,DayTakeoffs,DayLandingsFullStop,NightLandingsFullStop,AllLandings,PilotComments\n\
         2026-01-01,N1,1.50,3,1,0,3,\"\"\"pattern\"\"\"\n",
    );
    let newer = read(
        "Date,AircraftID,TotalTime,Takeoff Day,Takeoff Night,Landing Full-Stop Day,Landing Touch-and-Go Day,PilotComments,[Text]New\n\
         2026-01-01,n1,1:30,3,,1,2,pattern,x\n",
    );
    assert_eq!(older.flights[0].fingerprint, newer.flights[0].fingerprint);
}

#[test]
fn every_line_end_and_encoding_reads_the_same() {
    let expected = read(GENERATION_2020);
    let crlf = GENERATION_2020.replace('\n', "\r\n");
    let cr = GENERATION_2020.replace('\n', "\r");
    let semicolons = GENERATION_NEWEST.replace(',', ";");
    for text in [&crlf, &cr] {
        assert_eq!(read(text).flights, expected.flights);
    }
    let mut marked = b"\xEF\xBB\xBF".to_vec();
    marked.extend(GENERATION_2020.as_bytes());
    let utf16: Vec<u8> = [0xFF, 0xFE]
        .into_iter()
        .chain(GENERATION_2020.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let latin: Vec<u8> = GENERATION_2020.chars().map(|c| c as u8).collect();
    for (bytes, encoding) in [
        (marked, Encoding::Utf8),
        (utf16, Encoding::Utf16LittleEndian),
        (latin, Encoding::Windows1252),
    ] {
        let parsed = parse(&bytes, &Options::default()).unwrap();
        assert_eq!(parsed.report.encoding, encoding);
        assert_eq!(parsed.flights, expected.flights);
    }
    let parsed = parse(semicolons.as_bytes(), &Options::default()).unwrap();
    assert_eq!(parsed.flights.len(), 2);
}

#[test]
fn times_follow_the_zone_of_the_airport_then_of_home() {
    let text = "Date,AircraftID,From,TimeOut,TimeIn,TotalTime\n\
                2026-03-01,N1,KPAO,04:30,06:00,1.5\n\
                2026-03-01,N1,EDDF,22:30,23:30,1.0\n";
    let california = TimeZone::get("America/Los_Angeles").unwrap();
    let lookup =
        |airport: &str| (airport == "EDDF").then(|| TimeZone::get("Europe/Berlin").ok())?;
    let options = Options {
        home_zone: Some(california),
        airport_zone: Some(&lookup),
    };
    let parsed = parse(text.as_bytes(), &options).unwrap();
    let [palo_alto, frankfurt] = [0, 1].map(|i| &parsed.flights[i].flight);
    assert_eq!(
        palo_alto.out_at,
        Some("2026-03-02T04:30:00Z".parse().unwrap())
    );
    assert_eq!(
        palo_alto.departure_zone.as_deref(),
        Some("America/Los_Angeles")
    );
    assert_eq!(
        frankfurt.out_at,
        Some("2026-03-01T22:30:00Z".parse().unwrap())
    );
    let without = read(text);
    assert_eq!(
        without.flights[0].fingerprint, parsed.flights[0].fingerprint,
        "a zone learnt later does not make another flight"
    );
}

#[test]
fn dates_of_a_spreadsheet_are_read_in_the_order_of_the_file() {
    let header = "Date,AircraftID,TotalTime\n";
    let check = |rows: &str, expected: &[&str]| {
        let parsed = read(&format!("{header}{rows}"));
        let dates: Vec<_> = parsed
            .flights
            .iter()
            .map(|f| f.flight.date.to_string())
            .collect();
        assert_eq!(dates, expected);
    };
    check(
        "3/4/2020,N1,1.0\n3/25/2020,N1,1.0\n",
        &["2020-03-04", "2020-03-25"],
    );
    check(
        "3/4/2020,N1,1.0\n25/3/2020,N1,1.0\n",
        &["2020-04-03", "2020-03-25"],
    );
    check("13/4/2020,N1,1.0\n3/25/2020,N1,1.0\n", &[]);
}
