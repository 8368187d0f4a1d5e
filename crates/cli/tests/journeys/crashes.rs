//! kill -9 of real processes at random moments: what was acknowledged is there, what was one transaction is there as a
//! whole or not at all, no number of a log ever names two entries, and nobody has to repair anything.

mod heavy {
    use std::fs;
    use std::io::Read;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{scope, sleep};
    use std::time::{Duration, Instant};

    use rand::RngExt;
    use serde_json::Value;

    use crate::entries::Entries;
    use crate::machine::{Machine, eventually, found, join, log_flight, shows};

    const LATE: Duration = Duration::from_mins(1);
    const ANY_PORTS: &[&str] = &["--api-port", "0", "--lan-port", "0"];
    const FLIGHTS_PER_IMPORT: usize = 2000;

    /// Each test kills a third or a sixth of so many processes: AEROEDGE_CRASHES, or few enough for every day.
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

    /// Checks that a device whose process was killed is as sound as any other, without any repair.
    #[track_caller]
    fn is_well(machine: &Machine<'_>) {
        let ran = machine.run(&["doctor", "--json"], "");
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(found["healthy"], true, "{found}");
    }

    /// Checks that a member of a group whose process was killed is well, and refused nothing of others.
    #[track_caller]
    fn is_sound(machine: &Machine<'_>, context: &str) {
        is_well(machine);
        let standing = machine.standing(context).unwrap();
        assert_eq!(standing["refused"], 0, "{standing}");
    }

    /// Checks that both hold the same in the end, and that neither refused anything of the other.
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
        let mut entries = Entries::default();
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
            entries.note_all(&[&one, &other]);
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
        entries.note_all(&[&one, &other]);
    }

    #[test]
    fn nodes_killed_in_the_middle_of_exchange_lose_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (mut one, mut other, context, _) = pair(place.path());
        let mut random = rand::rng();
        let mut entries = Entries::default();
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
            // What the victim never signed, and what the other already had of it.
            entries.note_all(&[&one, &other]);
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
        entries.note_all(&[&one, &other]);
        let written: usize = acknowledged.iter().map(Vec::len).sum();
        println!("{written} flights were acknowledged");
        for machine in [&one, &other] {
            let mut http = machine.http();
            for id in acknowledged.iter().flatten() {
                assert!(shows(&mut http, id), "{id} was acknowledged and is gone");
            }
        }
    }

    /// Runs a command and kills it after some time; tells whether it came to its end before.
    fn kill_within(mut command: Command, patience: Duration) -> bool {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap().success()
    }

    /// A moment while something goes on that takes so long, or shortly after.
    fn some_moment(takes: Duration) -> Duration {
        takes.mul_f64(rand::rng().random_range(0.0..1.2))
    }

    #[test]
    fn a_killed_init_is_an_installation_or_can_be_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let began = Instant::now();
        Machine::init(&place.path().join("undisturbed"), "Avery Example", None);
        let takes = began.elapsed();
        let (mut whole, mut again) = (0, 0);
        for number in 0..crashes().div_ceil(3) {
            let machine = Machine::bare(&place.path().join(number.to_string()), None);
            let init = machine.command(&["init", "--name", "Avery Example"]);
            let finished = kill_within(init, some_moment(takes));
            if machine.run(&["context", "list"], "").code == Some(0) {
                whole += 1;
            } else {
                assert!(!finished, "an installation that was acknowledged is there");
                again += 1;
                machine.ask(&["init", "--name", "Avery Example"], "");
            }
            is_well(&machine);
            let list = machine.ask(&["context", "list"], "");
            assert_eq!(list["contexts"].as_array().unwrap().len(), 1, "{list}");
            assert_eq!(list["contexts"][0]["name"], "Logbook of Avery Example");
        }
        println!("of the installations killed, {whole} were whole and {again} were begun anew");
    }

    #[test]
    fn a_killed_founding_is_a_whole_group_or_none() {
        let place = tempfile::tempdir().unwrap();
        let machine = Machine::init(&place.path().join("one"), "Avery Example", None);
        let began = Instant::now();
        found(&machine, "Undisturbed Flyers");
        let takes = began.elapsed() / 2;
        let mut entries = Entries::default();
        let (mut whole, mut absent) = (0, 0);
        for number in 0..crashes().div_ceil(3) {
            let name = format!("Flyers of Hangar {number}");
            let create = machine.command(&["context", "create", &name, "--kind", "club"]);
            let finished = kill_within(create, some_moment(takes));
            entries.note_all(&[&machine]);
            let list = machine.ask(&["context", "list"], "");
            let groups = list["contexts"].as_array().unwrap();
            assert_eq!(
                groups.len(),
                2 + whole + usize::from(is_there(groups, &name))
            );
            if is_there(groups, &name) {
                whole += 1;
                // It is as good as any: its founder has a name in it and may invite.
                let members = machine.ask(&["context", "members", &name], "");
                assert_eq!(members["members"][0]["name"], "Avery Example", "{members}");
                crate::machine::invite(&machine, &name);
            } else {
                assert!(!finished, "a group that was acknowledged is there");
                absent += 1;
            }
            is_well(&machine);
        }
        entries.note_all(&[&machine]);
        println!("of the groups killed, {whole} are whole and {absent} never were");
    }

    fn is_there(groups: &[Value], name: &str) -> bool {
        groups.iter().any(|group| group["name"] == name)
    }

    fn is_member(machine: &Machine<'_>, context: &str) -> bool {
        let list = machine.ask(&["context", "list"], "");
        let groups = list["contexts"].as_array().unwrap();
        groups.iter().any(|known| known["id"] == *context)
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
        let mut entries = Entries::default();
        for number in 0..crashes().div_ceil(3) {
            let mut joiner = Machine::init(
                &place.path().join(format!("joiner-{number}")),
                "Jo Example",
                None,
            );
            let mut command = joiner.command(&["context", "join", &invite.link, "--secret-file"]);
            command.arg(&secret);
            let finished = kill_within(command, some_moment(takes));
            entries.note_all(&[&one, &other, &joiner]);
            if is_member(&joiner, &context) {
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
            entries.note_all(&[&one, &other, &joiner]);
            is_sound(&joiner, &context);
            joiner.up(ANY_PORTS);
            become_equal(&joiner, &one, &context);
            joiner.down();
            entries.note_all(&[&one, &other, &joiner]);
        }
        println!(
            "of the joins killed, {joined_already} had happened and {tried_again} were tried again"
        );
        become_equal(&one, &other, &context);
    }
    #[test]
    fn an_inviter_killed_while_somebody_joins_holds_nobody_up() {
        let place = tempfile::tempdir().unwrap();
        let mut inviter = Machine::init(&place.path().join("inviter"), "Avery Example", None);
        let (context, _) = found(&inviter, "Hangar 4 Flying Club");
        let file = logbook(place.path(), 1);
        inviter.ask(&["import", "foreflight", &file, "--context", &context], "");
        inviter.up(ANY_PORTS);
        let mut entries = Entries::default();
        let mut takes = Duration::from_secs(1);
        for number in 0..crashes().div_ceil(6) {
            let folder = place.path().join(format!("joiner-{number}"));
            let mut joiner = Machine::init(&folder, "Jo Example", None);
            // Made by the node that dies; what was acknowledged can be joined by.
            let invite = crate::machine::invite(&inviter, &context);
            let began = Instant::now();
            scope(|scope| {
                let joining = scope.spawn(|| {
                    join(&joiner, &invite);
                    began.elapsed()
                });
                sleep(some_moment(takes));
                inviter.kill();
                entries.note_all(&[&inviter, &joiner]);
                is_sound(&inviter, &context);
                inviter.up(ANY_PORTS);
                takes = joining
                    .join()
                    .expect("the join ends well")
                    .min(Duration::from_secs(2));
            });
            is_sound(&joiner, &context);
            joiner.up(ANY_PORTS);
            become_equal(&joiner, &inviter, &context);
            joiner.down();
            entries.note_all(&[&inviter, &joiner]);
        }
        let members = inviter.ask(&["context", "members", &context], "");
        let count = members["members"].as_array().unwrap().len();
        assert_eq!(count, 1 + crashes().div_ceil(6) as usize, "{members}");
    }
}
