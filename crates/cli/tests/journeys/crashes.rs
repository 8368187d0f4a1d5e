//! kill -9 of real processes at random moments: what was acknowledged is there, what was one transaction is there as a
//! whole or not at all, and nobody has to repair anything.

mod heavy {
    use std::fs;
    use std::io::Read;
    use std::path::Path;
    use std::process::Stdio;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{scope, sleep};
    use std::time::{Duration, Instant};

    use rand::RngExt;
    use serde_json::Value;

    use crate::machine::{Machine, eventually, found, join, log_flight, shows};

    const LATE: Duration = Duration::from_mins(1);
    const ANY_PORTS: &[&str] = &["--api-port", "0", "--lan-port", "0"];
    const FLIGHTS_PER_IMPORT: usize = 2000;

    /// How many processes are killed by all tests here together: AEROEDGE_CRASHES, or few enough for every day.
    fn crashes() -> u32 {
        let number = std::env::var("AEROEDGE_CRASHES")
            .ok()
            .and_then(|text| text.parse().ok());
        number.unwrap_or(30)
    }

    /// Two devices of one club on this computer, and its id.
    fn pair(
        place: &Path,
    ) -> (
        Machine<'static>,
        Machine<'static>,
        String,
        crate::machine::Invite,
    ) {
        let mut one = Machine::init(&place.join("one"), "Avery Example", None);
        let mut other = Machine::init(&place.join("other"), "Robin Example", None);
        let (context, invite) = found(&one, "Hangar 4 Flying Club");
        one.up(ANY_PORTS);
        other.up(ANY_PORTS);
        join(&other, &invite);
        (one, other, context, invite)
    }

    /// Checks that a device whose process was killed is as sound as any other.
    #[track_caller]
    fn is_sound(machine: &Machine<'_>, context: &str) {
        let ran = machine.run(&["doctor", "--json"], "");
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(found["healthy"], true, "{found}");
        let standing = machine.standing(context).unwrap();
        assert_eq!(standing["refused"], 0, "{standing}");
    }

    /// Checks that both hold the same in the end, and that neither refused anything of the other: a number used twice
    /// would contradict what the other holds, and leave the two apart for good.
    #[track_caller]
    fn become_equal(one: &Machine<'_>, other: &Machine<'_>, context: &str) {
        eventually("both hold the same", LATE, || {
            let digest = one.digest(context);
            digest.is_some() && digest == other.digest(context)
        });
        for machine in [one, other] {
            is_sound(machine, context);
            let standing = machine.standing(context).unwrap();
            assert_eq!(standing["waiting"], 0, "{standing}");
        }
    }

    fn logbook(place: &Path, seed: u64) -> String {
        let path = place.join(format!("logbook-{seed}.csv"));
        let made_up = aeroedge_aviation::demo::demo_logbook(seed, FLIGHTS_PER_IMPORT);
        let text = aeroedge_aviation::foreflight::write(&made_up.aircraft, &made_up.flights);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn an_import_that_is_killed_is_there_as_a_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let (mut one, other, context, _) = pair(place.path());
        let import = |file: &str| {
            [
                "import",
                "foreflight",
                file,
                "--context",
                &context,
                "--rows",
                "none",
                "--json",
            ]
            .map(str::to_owned)
        };
        let file = logbook(place.path(), 0);
        let began = Instant::now();
        one.ask(&import(&file).each_ref().map(String::as_str)[..7], "");
        let takes = began.elapsed();
        let mut stands = one.flights(&context);
        assert!(stands > 0);
        let mut random = rand::rng();
        let (mut whole, mut absent) = (0, 0);
        for number in 1..=crashes().div_ceil(3) {
            // Beside a running node as often as without one.
            if number % 2 == 0 {
                one.kill();
            }
            let file = logbook(place.path(), u64::from(number));
            let mut child = one
                .command(&import(&file).each_ref().map(String::as_str))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(takes.mul_f64(random.random_range(0.0..1.3)));
            child.kill().unwrap();
            let mut said = String::new();
            child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            child.wait().unwrap();
            let now = one.flights(&context);
            let acknowledged = serde_json::from_str::<Value>(&said)
                .ok()
                .map(|report| report["flights_added"].as_u64().unwrap());
            match (now - stands, acknowledged) {
                (0, None) => absent += 1,
                (added, Some(promised)) => {
                    assert_eq!(added, promised, "what was acknowledged is there");
                    whole += 1;
                }
                (added, None) => {
                    // Committed, and killed before it could say so: then nothing of the file is left to import.
                    let again = one.ask(&import(&file).each_ref().map(String::as_str)[..7], "");
                    assert_eq!(again["flights_added"], 0, "{added} of the file were there");
                    whole += 1;
                }
            }
            stands = one.flights(&context);
            is_sound(&one, &context);
            if number % 2 == 0 {
                one.up(ANY_PORTS);
            }
        }
        println!("of the imports killed, {whole} stand and {absent} never happened");
        become_equal(&one, &other, &context);
        assert_eq!(other.flights(&context), stands);
    }

    #[test]
    fn nodes_killed_in_the_middle_of_exchange_lose_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (mut one, mut other, context, _) = pair(place.path());
        let mut random = rand::rng();
        let mut acknowledged = [Vec::new(), Vec::new()];
        for number in 0..crashes().div_ceil(3) {
            let victim = (number % 2) as usize;
            let known: Vec<usize> = acknowledged.iter().map(Vec::len).collect();
            let ended = AtomicBool::new(false);
            let after = Duration::from_millis(random.random_range(20..900));
            let writers = [one.http(), other.http()];
            scope(|scope| {
                for ((http, ids), name) in writers
                    .into_iter()
                    .zip(&mut acknowledged)
                    .zip(["one", "other"])
                {
                    let (ended, context) = (&ended, &context);
                    scope.spawn(move || {
                        let mut http = http;
                        while !ended.load(Ordering::Relaxed) {
                            match log_flight(
                                &mut http,
                                context,
                                &format!("round {number} of {name}"),
                            ) {
                                Ok(id) => ids.push(id),
                                Err(_) => return,
                            }
                        }
                    });
                }
                sleep(after);
                [&mut one, &mut other][victim].kill();
                ended.store(true, Ordering::Relaxed);
            });
            let killed = [&mut one, &mut other].into_iter().nth(victim).unwrap();
            // Seen by a command before any node could tidy up.
            is_sound(killed, &context);
            killed.up(ANY_PORTS);
            let mut http = killed.http();
            for id in &acknowledged[victim][known[victim]..] {
                assert!(shows(&mut http, id), "{id} was acknowledged and is gone");
            }
        }
        become_equal(&one, &other, &context);
        let written: usize = acknowledged.iter().map(Vec::len).sum();
        println!("{written} flights were acknowledged");
        for machine in [&one, &other] {
            let mut http = machine.http();
            for id in acknowledged.iter().flatten() {
                assert!(shows(&mut http, id), "{id} was acknowledged and is gone");
            }
        }
    }

    #[test]
    fn a_join_that_is_killed_happens_or_can_be_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let (one, other, context, invite) = pair(place.path());
        one.ask(
            &[
                "import",
                "foreflight",
                &logbook(place.path(), 1),
                "--context",
                &context,
            ],
            "",
        );
        become_equal(&one, &other, &context);
        let mut random = rand::rng();
        let (mut joined_already, mut tried_again) = (0, 0);
        let secret = place.path().join("secret");
        fs::write(&secret, &invite.secret).unwrap();
        let undisturbed = Machine::init(&place.path().join("undisturbed"), "Kim Example", None);
        let began = Instant::now();
        join(&undisturbed, &invite);
        let mut takes = began.elapsed();
        for number in 0..crashes().div_ceil(3) {
            let mut joiner = Machine::init(
                &place.path().join(format!("joiner-{number}")),
                "Jo Example",
                None,
            );
            let mut child = joiner
                .command(&["context", "join", &invite.link, "--secret-file"])
                .arg(&secret)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(takes.mul_f64(random.random_range(0.0..1.2)));
            child.kill().unwrap();
            let finished = child.wait().unwrap().success();
            let is_member = |machine: &Machine<'_>| {
                let list = machine.ask(&["context", "list"], "");
                list["contexts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|known| known["id"] == *context)
            };
            if is_member(&joiner) {
                joined_already += 1;
            } else {
                assert!(!finished, "a join that was acknowledged holds");
                tried_again += 1;
                let began = Instant::now();
                join(&joiner, &invite);
                takes = began.elapsed();
            }
            is_sound(&joiner, &context);
            // In the middle of catching up once more.
            joiner.up(ANY_PORTS);
            sleep(Duration::from_millis(random.random_range(0..600)));
            joiner.kill();
            is_sound(&joiner, &context);
            joiner.up(ANY_PORTS);
            become_equal(&joiner, &one, &context);
            joiner.down();
        }
        println!(
            "of the joins killed, {joined_already} had happened and {tried_again} were tried again"
        );
        become_equal(&one, &other, &context);
    }
}
