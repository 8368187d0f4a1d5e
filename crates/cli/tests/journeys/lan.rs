//! Three devices of a club on hosts of their own, with real mDNS: what they see of each other and how soon, what they
//! survive, and what somebody who records every packet learns.

mod in_namespaces {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{IpAddr, TcpListener, TcpStream};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use aeroedge_lan_lab::{Lab, pcap_contains};
    use data_encoding::HEXLOWER;
    use serde_json::json;

    use crate::machine::{Machine, eventually, found, join, log_flight, shows};

    const CLUB: &str = "Wobbegong Aero Society";
    const PEOPLE: [&str; 3] = [
        "Zuleika Quartermain",
        "Ottoline Vandergelder",
        "Barnaby Xanthopoulos",
    ];
    /// What is not there after this time will not come.
    const LATE: Duration = Duration::from_secs(30);

    /// Three devices of one club, each with a running node.
    struct Club<'lab> {
        machines: Vec<Machine<'lab>>,
        context: String,
        _place: tempfile::TempDir,
    }

    impl<'lab> Club<'lab> {
        fn on(lab: &'lab Lab) -> Self {
            let place = tempfile::tempdir().unwrap();
            let machines: Vec<Machine<'lab>> = PEOPLE
                .iter()
                .enumerate()
                .map(|(host, person)| {
                    let folder = place.path().join(host.to_string());
                    let mut machine = Machine::init(&folder, person, Some((lab, host)));
                    machine.up(&[]);
                    machine
                })
                .collect();
            let (context, invite) = found(&machines[0], CLUB);
            join(&machines[1], &invite);
            join(&machines[2], &invite);
            let club = Self {
                machines,
                context,
                _place: place,
            };
            club.meets("the club is together", LATE);
            club
        }

        /// Waits until a new flight of each device stands on all others; tells how long that took.
        #[track_caller]
        fn meets(&self, remarks: &str, patience: Duration) -> Duration {
            let began = Instant::now();
            for writer in &self.machines {
                let id = log_flight(&mut writer.http(), &self.context, remarks).unwrap();
                self.reaches_all(&id, patience);
            }
            began.elapsed()
        }

        #[track_caller]
        fn reaches_all(&self, id: &str, patience: Duration) -> Duration {
            let began = Instant::now();
            for reader in &self.machines {
                let mut http = reader.http();
                eventually("the flight arrives", patience, || shows(&mut http, id));
            }
            began.elapsed()
        }

        fn connected(&self, machine: usize) -> u64 {
            let answer = self.machines[machine].http().get("/v1/sync").unwrap();
            answer.body["connected"].as_u64().unwrap()
        }

        #[track_caller]
        fn is_equal(&self) {
            eventually("all hold the same", LATE, || {
                let digests: Vec<_> = self
                    .machines
                    .iter()
                    .map(|machine| machine.digest(&self.context))
                    .collect();
                digests
                    .iter()
                    .all(|digest| digest.is_some() && *digest == digests[0])
            });
        }
    }

    /// How long the cable stays cut: AEROEDGE_CUT_SECONDS, or enough that every retry has reached its longest pause.
    fn cut_for() -> Duration {
        let seconds = std::env::var("AEROEDGE_CUT_SECONDS")
            .ok()
            .and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(10))
    }

    fn milliseconds(duration: Duration) -> f64 {
        duration.as_secs_f64() * 1000.0
    }

    #[test]
    fn neighbours_meet_soon_after_the_start() {
        let lab = Lab::new(3).unwrap();
        let mut club = Club::on(&lab);
        // The last device is started anew, and found by both others without any address given.
        club.machines[2].down();
        eventually("the others notice", LATE, || {
            club.connected(0) == 1 && club.connected(1) == 1
        });
        let began = Instant::now();
        let up = club.machines[2].up(&[]);
        eventually("all are connected", LATE, || {
            (0..3).all(|one| club.connected(one) == 2)
        });
        let met = began.elapsed();
        println!(
            "connected with both neighbours {:.0} ms after the start of the process, {:.0} ms after it answered",
            milliseconds(met),
            milliseconds(met.saturating_sub(up))
        );
        assert!(met < Duration::from_secs(20), "{met:?}");
    }

    /// One device has its cable pulled and sees it; another's network loses everything in silence.
    #[test]
    fn cut_links_heal() {
        const CUT: usize = 2;
        const SILENCED: usize = 1;
        let lab = Lab::new(3).unwrap();
        let club = Club::on(&lab);
        lab.cut(CUT).unwrap();
        lab.silence(SILENCED).unwrap();
        let alone = [0, CUT, SILENCED].map(|writer| {
            let mut http = club.machines[writer].http();
            (
                writer,
                log_flight(&mut http, &club.context, "alone").unwrap(),
            )
        });
        sleep(cut_for());
        for (writer, id) in &alone {
            for (reader, machine) in club.machines.iter().enumerate() {
                assert_eq!(shows(&mut machine.http(), id), reader == *writer);
            }
        }
        // Counted from the moment the cable is put in: the kernel takes up to a second to notice.
        for host in [CUT, SILENCED] {
            let plugged_in = Instant::now();
            lab.restore(host).unwrap();
            let noticed = plugged_in.elapsed();
            for (_, id) in alone
                .iter()
                .filter(|(writer, _)| *writer != SILENCED || host == SILENCED)
            {
                for reader in [0, host] {
                    let mut http = club.machines[reader].http();
                    eventually("the flight arrives", LATE, || shows(&mut http, id));
                }
            }
            let healed = plugged_in.elapsed();
            println!(
                "{} for {} s, healed in {:.0} ms, {:.0} of them until the cable carried",
                if host == CUT { "cut" } else { "silenced" },
                cut_for().as_secs(),
                milliseconds(healed),
                milliseconds(noticed)
            );
            // Three times the goal: nobody knows what else the machine does.
            assert!(healed < Duration::from_secs(9), "{healed:?}");
        }
        club.is_equal();
    }

    #[test]
    fn addresses_may_come_and_go() {
        let lab = Lab::new(3).unwrap();
        let club = Club::on(&lab);
        for address in ["10.77.0.200", "fd77::200"] {
            lab.add_address(1, address.parse().unwrap()).unwrap();
        }
        let took = club.meets("with a second address", LATE);
        println!(
            "a second address: in step after {:.0} ms",
            milliseconds(took)
        );
        for address in ["10.77.0.201", "fd77::201"] {
            lab.change_address(1, address.parse::<IpAddr>().unwrap())
                .unwrap();
        }
        let took = club.meets("at another address", LATE);
        println!(
            "another address: in step after {:.0} ms",
            milliseconds(took)
        );
        club.is_equal();
    }

    #[test]
    fn a_port_that_is_taken_is_no_obstacle() {
        let lab = Lab::new(3).unwrap();
        let taken = ["0.0.0.0:8765", "127.0.0.1:8766"]
            .map(|address| lab.at(1, || TcpListener::bind(address).unwrap()).unwrap());
        let club = Club::on(&lab);
        let ports: Vec<_> = club
            .machines
            .iter()
            .map(|machine| machine.node_file()["lan_port"].clone())
            .collect();
        assert_eq!(ports[0], 8765);
        assert_ne!(ports[1], 8765);
        assert_ne!(club.machines[1].node_file()["port"], 8766);
        club.is_equal();
        drop(taken);
    }

    #[test]
    fn a_recording_of_every_packet_tells_nothing() {
        const EMAIL: &str = "zuleika.q@wobbegong-aero.example";
        const TAIL: &str = "N7QXJZ";
        const REMARKS: &str = "marmalade over the Farallon islands";
        const PLANTED: &str = "planted where it can be read";
        let lab = Lab::new(3).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let capture = lab
            .capture_all(&folder.path().join("everything.pcap"))
            .unwrap();
        let mut club = Club::on(&lab);
        for machine in &club.machines {
            let flight = json!({
                "contexts": [club.context],
                "entry": {
                    "date": "2026-05-14", "tail": TAIL, "total": 5040, "remarks": REMARKS,
                    "instructor": { "name": PEOPLE[1] },
                    "persons": [{ "who": { "name": PEOPLE[2] }, "email": EMAIL }],
                },
            });
            let answer = machine.http().post("/v1/flights", &flight).unwrap();
            assert_eq!(answer.status, 201, "{}", answer.body);
            club.reaches_all(answer.body["id"].as_str().unwrap(), LATE);
        }
        // Coming back and catching up is on the recording, too.
        club.machines[1].down();
        club.machines[1].up(&[]);
        club.meets(REMARKS, LATE);
        plant(&lab, PLANTED);

        let context = HEXLOWER.decode(club.context.as_bytes()).unwrap();
        let mut owned: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, bytes: &[u8]| owned.push((name.to_owned(), bytes.to_vec()));
        add("planted", PLANTED.as_bytes());
        add("remarks", REMARKS.as_bytes());
        add("tail number", TAIL.as_bytes());
        add("e-mail", EMAIL.as_bytes());
        add("name of the club", CLUB.as_bytes());
        add("id of the club", &context);
        for (machine, person) in club.machines.iter().zip(PEOPLE) {
            add("name of a person", person.as_bytes());
            let said = machine.http().get("/v1/version").unwrap().body;
            for what in ["device", "user"] {
                let id = said[what].as_str().unwrap();
                add(what, &HEXLOWER.decode(id.as_bytes()).unwrap());
            }
        }
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        if host.trim().len() >= 6 {
            add("name of the computer", host.trim().as_bytes());
        }
        let file = capture.finish().unwrap();
        let needles: Vec<(&str, &[u8])> = owned
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let searched = pcap_contains(&file, &needles).unwrap();
        println!(
            "searched {} packets and {} bytes of streams for {} words",
            searched.packets,
            searched.stream_bytes,
            needles.len()
        );
        assert!(searched.packets > 100, "{searched:?}");
        assert!(searched.stream_bytes > 10_000, "{searched:?}");
        assert!(!searched.hits.is_empty(), "what was planted is found");
        for hit in &searched.hits {
            assert_eq!(hit.name, "planted", "{hit}");
        }
    }

    /// Sends a word from one host to another for everybody to read.
    fn plant(lab: &Lab, word: &str) {
        let listener = lab
            .at(1, || TcpListener::bind("0.0.0.0:7001").unwrap())
            .unwrap();
        let there = (lab.ipv4(1), 7001);
        let mut from = lab.at(0, || TcpStream::connect(there).unwrap()).unwrap();
        from.write_all(word.as_bytes()).unwrap();
        drop(from);
        let mut arrived = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut arrived)
            .unwrap();
        assert_eq!(arrived, word);
    }

    /// Has the machine to itself.
    mod measured {
        use super::*;

        const TIMED_WRITES: usize = 200;

        #[test]
        fn a_write_is_seen_by_the_neighbour_at_once() {
            let lab = Lab::new(3).unwrap();
            let club = Club::on(&lab);
            let [writer, reader, _] = &club.machines[..] else {
                unreachable!()
            };
            let (mut write, mut read) = (writer.http(), reader.http());
            let mut events = reader.http().into_events().unwrap();
            let mut from_request = Vec::new();
            let mut from_acknowledgement = Vec::new();
            for number in 0..TIMED_WRITES {
                let asked = Instant::now();
                let id = log_flight(&mut write, &club.context, &format!("timed {number}")).unwrap();
                let acknowledged = Instant::now();
                while !shows(&mut read, &id) {
                    assert!(asked.elapsed() < LATE, "flight {number} does not arrive");
                    events.wait(Duration::from_millis(20));
                }
                from_request.push(asked.elapsed());
                from_acknowledgement.push(acknowledged.elapsed());
                // Single writes as people make them, not a stream.
                sleep(Duration::from_millis(5));
            }
            for (what, latencies) in [
                ("from the request to write", &mut from_request),
                (
                    "from the answer, when it is durable,",
                    &mut from_acknowledgement,
                ),
            ] {
                latencies.sort_unstable();
                println!(
                    "{what} until the neighbour shows it: p50 {:.1} ms, p99 {:.1} ms",
                    milliseconds(latencies[TIMED_WRITES / 2]),
                    milliseconds(latencies[TIMED_WRITES * 99 / 100]),
                );
            }
            // Twenty times the goal: nobody knows what else the machine does.
            assert!(from_acknowledgement[TIMED_WRITES / 2] < Duration::from_millis(100));
            assert!(from_acknowledgement[TIMED_WRITES * 99 / 100] < Duration::from_millis(500));
        }
    }
}
