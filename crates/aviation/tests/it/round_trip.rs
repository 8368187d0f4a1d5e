//! What is written reads back: any flight, in any words.

use aeroedge_aviation::foreflight::{Options, parse, write};
use aeroedge_aviation::logbook::{
    Approach, CustomField, CustomKind, Flight, FlightPerson, Hundredths, Seconds, Source, Who,
};
use jiff::civil::date;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Text that may stand in a cell: trimmed, and without a mark that the format has for itself.
fn words() -> &'static str {
    "[A-Za-z0-9(][A-Za-z0-9 ,.'\u{e9}\u{b0}\"/\n-]{0,20}[A-Za-z0-9)]"
}

fn plain() -> &'static str {
    "[A-Z0-9]{1,8}"
}

fn seconds() -> impl Strategy<Value = Seconds> {
    (0_i64..100_000).prop_map(Seconds)
}

fn count() -> impl Strategy<Value = u32> {
    0_u32..50
}

prop_compose! {
    fn approach()(count in count(), kind in of(plain()), runway in of(plain()), airport in of(plain()), comments in of(plain())) -> Approach {
        Approach { count: Some(count), kind, runway, airport, comments, ..Approach::default() }
    }
}

prop_compose! {
    fn person()(name in plain(), part in of(plain()), email in of(plain()), phone in of(plain())) -> FlightPerson {
        FlightPerson { who: Who::named(name), part, email, phone, id: None }
    }
}

prop_compose! {
    fn flight()(
        day in 0_i32..20_000,
        texts in [of(plain()), of(plain()), of(plain()), of(words()), of(words()), of(words())],
        durations in vec(seconds(), 14),
        counts in (of(count()), of(count()), of((count(), count())), of((count(), count())), of(count())),
        meters in vec(of(1_i64..10_000_000), 5),
        flags in any::<[bool; 4]>(),
        instructor in of(words()),
        approaches in vec(approach(), 0..=6),
        persons in vec(person(), 0..=6),
        custom in of(words()),
    ) -> Flight {
        use jiff::ToSpan;
        let [tail, departure, destination, route, remarks, instructor_comments] = texts;
        let meter = |index: usize| meters[index].map(Hundredths);
        let sum = |pair: Option<(u32, u32)>| pair.map(|(full_stop, touch_and_go)| full_stop + touch_and_go);
        let (takeoffs_day, takeoffs_night, day_landings, night_landings, holds) = counts;
        let landings = match (sum(day_landings), sum(night_landings)) {
            (None, None) => None,
            (day, night) => Some(day.unwrap_or(0) + night.unwrap_or(0)),
        };
        Flight {
            date: date(1960, 1, 1).checked_add(day.days()).unwrap(),
            tail, departure, destination, route, remarks, instructor_comments,
            total: durations[0],
            pic: durations[1],
            sic: durations[2],
            picus: durations[3],
            dual_received: durations[4],
            dual_given: durations[5],
            solo: durations[6],
            cross_country: durations[7],
            night: durations[8],
            actual_instrument: durations[9],
            simulated_instrument: durations[10],
            simulator: durations[11],
            ground_received: durations[12],
            ground_given: durations[13],
            takeoffs_day,
            takeoffs_night,
            landings,
            landings_day: sum(day_landings),
            landings_night: sum(night_landings),
            full_stops_day: day_landings.map(|(full_stop, _)| full_stop),
            full_stops_night: night_landings.map(|(full_stop, _)| full_stop),
            holds,
            hobbs_start: meter(0),
            hobbs_end: meter(1),
            tach_start: meter(2),
            tach_end: meter(3),
            distance: meter(4),
            flight_review: flags[0],
            instrument_proficiency_check: flags[1],
            checkride: flags[2],
            proficiency_check: flags[3],
            instructor: Who { person_id: None, name: instructor },
            source: Source::Import,
            approaches,
            persons,
            custom_fields: custom
                .map(|value| CustomField { name: "Weather".into(), kind: CustomKind::Text, value, id: None })
                .into_iter()
                .collect(),
            ..Flight::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_flight_reads_back_as_it_was_written(flights in vec(flight(), 1..5)) {
        let text = write(&[], &flights);
        let parsed = parse(text.as_bytes(), &Options::default()).unwrap();
        prop_assert_eq!(parsed.report.rejected(), 0, "{:?}", parsed.report.rows);
        let read: Vec<Flight> = parsed.flights.into_iter().map(|parsed| parsed.flight).collect();
        prop_assert_eq!(read, flights);
    }
}
