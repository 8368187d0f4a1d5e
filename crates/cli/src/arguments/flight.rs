//! `aeroedge flight ...` and `aeroedge aircraft ...`: what a pilot writes down.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum FlightCommand {
    /// Log a flight, a simulator session or a ground lesson
    #[command(
        after_help = "Times are hours (1.4) or hours and minutes (1:24). A count that is not given stays unknown.\n\nExamples:\n  aeroedge flight add --date 2026-05-14 --tail N738VU --from KPAO --to KSQL --total 1.4 --pic 1.4 --landings 3\n  aeroedge flight add --date 2026-05-15 --tail N738VU --total 1:30 --dual-received 1:30 --instructor 'Sam Sample' \\\n      --simulated-instrument 0.6 --approach 'ILS 28R KSFO' --context Hangar"
    )]
    Add(Box<AddFlightArguments>),
    /// List flights, the latest first
    #[command(
        after_help = "Examples:\n  aeroedge flight list\n  aeroedge flight list --context Hangar --since 2026-01-01 --search KSQL --limit 50"
    )]
    List(ListFlightArguments),
    /// Show everything about one flight
    #[command(after_help = "Examples:\n  aeroedge flight show 0197f3a2-4c1e")]
    Show {
        /// Id of the flight, or the beginning of it
        id: String,
    },
    /// Change what was logged, in every group that holds the flight
    #[command(
        after_help = "Examples:\n  aeroedge flight edit 0197f3a2-4c1e --total 1.5 --remarks 'Stayed for lunch'\n  aeroedge flight edit 0197f3a2-4c1e --clear holds --clear instructor"
    )]
    Edit(Box<EditFlightArguments>),
    /// Delete a flight, in every group that holds it and lets you
    #[command(
        after_help = "Examples:\n  aeroedge flight delete 0197f3a2-4c1e\n  aeroedge flight delete 0197f3a2-4c1e --context Hangar"
    )]
    Delete {
        /// Id of the flight, or the beginning of it
        id: String,
        /// Delete it in this group only
        #[arg(long, value_name = "CONTEXT")]
        context: Option<String>,
    },
    /// Add flights up
    #[command(
        after_help = "Examples:\n  aeroedge flight totals\n  aeroedge flight totals --since 2026-01-01 --tail N738VU"
    )]
    Totals(FlightFilterArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddFlightArguments {
    /// A group that shall hold it; may be repeated [default: the personal logbook]
    #[arg(long = "context", value_name = "CONTEXT")]
    pub(crate) contexts: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: FlightFields,
}

#[derive(Debug, Args)]
pub(crate) struct EditFlightArguments {
    /// Id of the flight, or the beginning of it
    pub(crate) id: String,
    /// Empty a field, by the name of its option; may be repeated
    #[arg(long = "clear", value_name = "FIELD")]
    pub(crate) clear: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: FlightFields,
}

#[derive(Debug, Args)]
pub(crate) struct ListFlightArguments {
    #[command(flatten)]
    pub(crate) filter: FlightFilterArguments,
    /// How many to show
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// How many to leave out at the start
    #[arg(long, default_value = "0")]
    pub(crate) offset: u64,
    /// The earliest first
    #[arg(long)]
    pub(crate) oldest_first: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FlightFilterArguments {
    /// Everybody's flights of this group [default: your own, of all groups]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Only your own, also of a group
    #[arg(long)]
    pub(crate) mine: bool,
    /// Only flights in which all these words occur
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
    /// Only this tail number
    #[arg(long)]
    pub(crate) tail: Option<String>,
    /// The first day, as in 2026-01-31
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// The last day
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
}

/// Options that set one field each; values are read by the use case, which knows what each of them means.
macro_rules! flight_fields {
    ($($(#[$meta:meta])* $option:literal $name:ident $value:literal;)*) => {
        /// What a pilot logs.
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "What was flown")]
        pub(crate) struct FlightFields {
            $($(#[$meta])* #[arg(long = $option, value_name = $value, allow_hyphen_values = true)] $name: Option<String>,)*
            /// An approach: kind, runway, airport and how many, as in 'ILS 28R KSFO 2'; may be repeated
            #[arg(long = "approach", value_name = "APPROACH")]
            pub(crate) approaches: Vec<String>,
        }

        impl FlightFields {
            /// Option, field of the record and text, of everything that was given.
            pub(crate) fn given(&self) -> Vec<(&'static str, &'static str, &str)> {
                let mut given = Vec::new();
                $(if let Some(text) = &self.$name {
                    given.push(($option, stringify!($name), text.as_str()));
                })*
                given
            }

            /// The field of the record that an option sets.
            pub(crate) fn named(option: &str) -> Option<&'static str> {
                match option {
                    $($option => Some(stringify!($name)),)*
                    "approach" => Some("approaches"),
                    _ => None,
                }
            }
        }
    };
}

flight_fields! {
    /// The local date at departure
    "date" date "DATE";
    /// Tail number, or the name of the simulator
    "tail" tail "TAIL";
    /// Type designator
    "type" aircraft_type "TYPE";
    /// Where it began
    "from" departure "AIRPORT";
    /// Where it ended
    "to" destination "AIRPORT";
    /// Places and fixes between
    "route" route "ROUTE";
    /// Off blocks: 17:05 UTC, or 2026-05-14T10:05-07:00
    "out" out_at "TIME";
    /// In the air
    "off" off_at "TIME";
    /// On the ground
    "on" on_at "TIME";
    /// On blocks
    "in" in_at "TIME";
    /// Time zone of the date
    "zone" departure_zone "ZONE";
    /// Hobbs meter before
    "hobbs-start" hobbs_start "HOURS";
    /// Hobbs meter after
    "hobbs-end" hobbs_end "HOURS";
    /// Tachometer before
    "tach-start" tach_start "HOURS";
    /// Tachometer after
    "tach-end" tach_end "HOURS";
    /// Total time
    "total" total "TIME";
    /// Pilot in command
    "pic" pic "TIME";
    /// Second in command
    "sic" sic "TIME";
    /// Pilot in command under supervision
    "picus" picus "TIME";
    /// Instruction received in the air
    "dual-received" dual_received "TIME";
    /// Instruction given in the air
    "dual-given" dual_given "TIME";
    /// Sole occupant
    "solo" solo "TIME";
    /// Cross-country
    "cross-country" cross_country "TIME";
    /// Night
    "night" night "TIME";
    /// In cloud
    "actual-instrument" actual_instrument "TIME";
    /// Under the hood
    "simulated-instrument" simulated_instrument "TIME";
    /// In a simulator or training device
    "simulator" simulator "TIME";
    /// Level of that device: FFS, FTD, AATD, BATD
    "simulator-level" simulator_level "LEVEL";
    /// Instruction received on the ground
    "ground-received" ground_received "TIME";
    /// Instruction given on the ground
    "ground-given" ground_given "TIME";
    /// Subject of a ground lesson
    "ground-topic" ground_topic "TEXT";
    /// Takeoffs by day
    "takeoffs-day" takeoffs_day "COUNT";
    /// Takeoffs by night
    "takeoffs-night" takeoffs_night "COUNT";
    /// All landings
    "landings" landings "COUNT";
    /// Landings by day
    "landings-day" landings_day "COUNT";
    /// Landings by night
    "landings-night" landings_night "COUNT";
    /// Full-stop landings by day
    "full-stops-day" full_stops_day "COUNT";
    /// Full-stop landings by night
    "full-stops-night" full_stops_night "COUNT";
    /// Holding procedures
    "holds" holds "COUNT";
    /// Intercepting and tracking was practised: yes or no
    "tracking" tracking "YES|NO";
    /// Who instructed
    "instructor" instructor "NAME";
    /// What the instructor wrote
    "instructor-comments" instructor_comments "TEXT";
    /// Number of the instructor's certificate
    "instructor-certificate" instructor_certificate "NUMBER";
    /// Who looked out while you were under the hood
    "safety-pilot" safety_pilot "NAME";
    /// Who examined
    "examiner" examiner "NAME";
    /// Distance in nautical miles
    "distance" distance "MILES";
    /// What you want to remember
    "remarks" remarks "TEXT";
    /// It was a flight review: yes or no
    "flight-review" flight_review "YES|NO";
    /// It was an instrument proficiency check: yes or no
    "proficiency-check-instrument" instrument_proficiency_check "YES|NO";
    /// It was a practical test: yes or no
    "checkride" checkride "YES|NO";
    /// It was a 61.58 proficiency check: yes or no
    "proficiency-check" proficiency_check "YES|NO";
}

#[derive(Debug, Subcommand)]
pub(crate) enum AircraftCommand {
    /// Add an aircraft
    #[command(
        after_help = "Examples:\n  aeroedge aircraft add N738VU --type C172 --make Cessna --model 172N\n  aeroedge aircraft add N80P --type J3 --tailwheel --context Hangar"
    )]
    Add(AircraftAddArguments),
    /// List the aircraft
    #[command(
        after_help = "Examples:\n  aeroedge aircraft list\n  aeroedge aircraft list --context Hangar --json"
    )]
    List {
        /// Only aircraft of this group
        #[arg(long, value_name = "CONTEXT")]
        context: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AircraftAddArguments {
    /// Tail number
    pub(crate) tail: String,
    /// The group it belongs to [default: the personal logbook]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Type designator
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) type_designator: Option<String>,
    /// Manufacturer
    #[arg(long)]
    pub(crate) make: Option<String>,
    /// Model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// airplane, rotorcraft, glider and so on
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// airplane_single_engine_land and so on
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Year of manufacture
    #[arg(long)]
    pub(crate) year: Option<u32>,
    /// Serial number
    #[arg(long)]
    pub(crate) serial: Option<String>,
    /// Lands on a tail wheel
    #[arg(long)]
    pub(crate) tailwheel: bool,
    /// Complex
    #[arg(long)]
    pub(crate) complex: bool,
    /// High performance
    #[arg(long)]
    pub(crate) high_performance: bool,
}
