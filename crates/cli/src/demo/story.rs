//! What the demonstration shows, step by step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aeroedge_api::types::{
    ContextList, Created, Flight, FlightPage, Invite, Join, JoinState, PeerList, PeerState,
};
use aeroedge_app::explain::Kind;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::latency::{Latencies, Observer, log_flight, measure};
use super::machine::Machine;
use super::{Teller, milliseconds, seconds};
use crate::arguments::DemoArguments;
use crate::commands::imports::ImportResult;
use crate::commands::sync::SyncReport;
use crate::failure::{Doing, Failure};
use crate::running::Client;

const CLUB: &str = "Hangar 4 Flying Club";
/// Single writes on each device whose way to the others is timed.
const TIMED_WRITES: usize = 100;
/// Acknowledged writes after which the writing device is killed.
const BURST: usize = 300;
/// Requests under way at once during the burst.
const BURST_WIDTH: usize = 4;
/// How long anything may take before the demonstration gives up.
const PATIENCE: Duration = Duration::from_mins(3);

/// Shows everything and returns the address of the page.
pub(super) async fn tell(
    machines: &mut [Machine; 3],
    arguments: &DemoArguments,
    place: &Path,
    teller: &mut Teller,
) -> Result<String, Failure> {
    start(machines, teller).await?;
    let context = found_club(&machines[0], teller).await?;
    join(machines, &context, teller).await?;
    meet(machines, teller).await?;
    import(machines, &context, arguments, place, teller).await?;
    time_writes(machines, &context, teller).await?;
    kill_in_burst(machines, &context, teller).await?;
    compare(machines, &context, teller).await?;
    page(&machines[0])
}

async fn start(machines: &mut [Machine; 3], teller: &mut Teller) -> Result<(), Failure> {
    teller.begin("making three devices");
    let mut remarks = Vec::new();
    for machine in machines.iter_mut() {
        let name = format!("{} Example", machine.name);
        machine
            .ask::<serde_json::Value>(&["init", "--name", &name], "")
            .await?;
        let started = machine.start().await?;
        remarks.push(format!(
            "{:<5} {} (up in {})",
            machine.name,
            machine.path().display(),
            seconds(started)
        ));
    }
    teller.end(
        "three devices run, each in its own process and folder",
        true,
        remarks,
    );
    Ok(())
}

async fn found_club(founder: &Machine, teller: &mut Teller) -> Result<String, Failure> {
    teller.begin("founding a club");
    let created: Created = founder
        .ask(&["context", "create", CLUB, "--kind", "club"], "")
        .await?;
    teller.end(
        format!("{} founds the {CLUB}", founder.name),
        true,
        vec![format!("context {}", created.id)],
    );
    Ok(created.id)
}

async fn join(machines: &[Machine; 3], context: &str, teller: &mut Teller) -> Result<(), Failure> {
    let [ava, ben, cleo] = machines;
    let invite: Invite = ava
        .ask(&["context", "invite", context, "--uses", "2"], "")
        .await?;

    teller.begin("joining with a wrong secret");
    let wrong = "wrong-horse-battery-staple-wrong-horse\n";
    let refused = ben
        .run(
            &[
                "context",
                "join",
                &invite.link,
                "--secret-stdin",
                "--timeout",
                "60s",
            ],
            wrong,
        )
        .await?;
    let contexts: ContextList = ben.ask(&["context", "list"], "").await?;
    let left_nothing = contexts.contexts.iter().all(|known| known.id != context);
    teller.end(
        "a wrong secret is refused and leaves nothing behind",
        refused.code() == Some(4) && left_nothing,
        vec![format!("{}: {}", ben.name, refused.message())],
    );

    for joiner in [ben, cleo] {
        teller.begin("joining by link and secret, without any address");
        let joined: Join = joiner
            .ask(
                &[
                    "context",
                    "join",
                    &invite.link,
                    "--secret-stdin",
                    "--timeout",
                    "60s",
                ],
                &format!("{}\n", invite.secret),
            )
            .await?;
        teller.end(
            format!("{} joins by link and secret, found by mDNS", joiner.name),
            joined.state == JoinState::Joined && joined.context == context,
            Vec::new(),
        );
    }
    Ok(())
}

async fn meet(machines: &[Machine; 3], teller: &mut Teller) -> Result<(), Failure> {
    teller.begin("waiting until everybody met everybody");
    let began = Instant::now();
    let mut met = Vec::new();
    while began.elapsed() < PATIENCE {
        met.clear();
        for machine in machines {
            let peers: PeerList = machine.client()?.get("/v1/sync/peers").await?;
            let connected = peers
                .peers
                .iter()
                .filter(|peer| peer.state == PeerState::Connected)
                .count();
            met.push(connected);
        }
        if met.iter().all(|connected| *connected == 2) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    teller.end(
        "each of the three is connected with both others",
        met.iter().all(|connected| *connected == 2),
        Vec::new(),
    );
    Ok(())
}

async fn import(
    machines: &[Machine; 3],
    context: &str,
    arguments: &DemoArguments,
    place: &Path,
    teller: &mut Teller,
) -> Result<(), Failure> {
    let file = logbook(arguments, place)?;
    let path = file.to_string_lossy().into_owned();
    let [ava, ben, cleo] = machines;
    teller.begin("importing a ForeFlight logbook");
    let began = Instant::now();
    let imported: ImportResult = ava
        .ask(
            &[
                "import",
                "foreflight",
                &path,
                "--context",
                context,
                "--rows",
                "none",
            ],
            "",
        )
        .await?;
    let took = began.elapsed();
    teller.end(
        format!("{} imports {} flights", ava.name, imported.flights_added),
        imported.flights_added > 0,
        vec![format!(
            "{} hours in all, {} rows skipped, {}",
            imported.total_hours,
            imported.flights_skipped,
            seconds(took)
        )],
    );

    teller.begin("waiting until the logbook stands on all");
    let expected = flights_in(ava.client()?, context).await?;
    let bar = teller.output.bar("flights on the other two", expected * 2);
    let mut counts = [0, 0];
    while counts != [expected; 2] && began.elapsed() < PATIENCE {
        for (count, machine) in counts.iter_mut().zip([ben, cleo]) {
            *count = flights_in(machine.client()?, context).await?;
        }
        bar.set_position(counts.iter().sum());
        sleep(Duration::from_millis(20)).await;
    }
    bar.finish_and_clear();
    let all = began.elapsed().as_secs_f64();
    teller.end(
        format!("{expected} flights stand on all three"),
        counts == [expected; 2],
        vec![format!(
            "{:.2} s from the start of the import, {:.0} flights/s",
            all,
            expected as f64 / all
        )],
    );
    Ok(())
}

async fn time_writes(
    machines: &[Machine; 3],
    context: &str,
    teller: &mut Teller,
) -> Result<(), Failure> {
    teller.begin("timing single writes");
    let clients: Vec<&Client> = machines
        .iter()
        .map(Machine::client)
        .collect::<Result<_, _>>()?;
    let observers: Vec<Observer> = clients.iter().map(|client| Observer::new(client)).collect();
    let mut all = Latencies::default();
    let mut remarks = Vec::new();
    for (index, machine) in machines.iter().enumerate() {
        let others: Vec<&Observer> = observers
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, observer)| observer)
            .collect();
        let latencies = measure(clients[index], &others, context, TIMED_WRITES).await?;
        remarks.push(format!(
            "{:<5} p50 {:>8}  p99 {:>8}",
            machine.name,
            milliseconds(latencies.percentile(50)),
            milliseconds(latencies.percentile(99))
        ));
        all.absorb(&latencies);
    }
    remarks.push(format!(
        "all   p50 {:>8}  p99 {:>8}  from the request to write, to a read on the other device",
        milliseconds(all.percentile(50)),
        milliseconds(all.percentile(99))
    ));
    teller.end(
        "what one writes the two others read",
        all.count() == TIMED_WRITES * 6,
        remarks,
    );
    Ok(())
}

async fn kill_in_burst(
    machines: &mut [Machine; 3],
    context: &str,
    teller: &mut Teller,
) -> Result<(), Failure> {
    teller.begin("killing a device in the middle of a burst of writes");
    let client = machines[1].client()?.clone();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..BURST_WIDTH)
        .map(|number| {
            let client = client.clone();
            let acknowledged = Arc::clone(&acknowledged);
            let context = context.to_owned();
            tokio::spawn(async move {
                // Ends with the node it writes to.
                while let Ok(id) = log_flight(&client, &context, &format!("burst {number}")).await {
                    acknowledged.lock().await.push(id);
                }
            })
        })
        .collect();
    let began = Instant::now();
    while acknowledged.lock().await.len() < BURST && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(1)).await;
    }
    machines[1].kill().await?;
    for writer in writers {
        writer.await.doing(|| "wait for the writers".into())?;
    }
    let back = machines[1].start().await?;
    let acknowledged = acknowledged.lock().await;
    let [ava, ben, cleo] = &*machines;
    let lost = missing(ben.client()?, &acknowledged).await?;
    teller.end(
        format!(
            "{} is killed with -9 while writing and comes back",
            ben.name
        ),
        lost == 0 && acknowledged.len() >= BURST,
        vec![format!(
            "{} writes acknowledged, {lost} of them lost, back in {}",
            acknowledged.len(),
            seconds(back)
        )],
    );

    teller.begin("waiting until the others have what was acknowledged");
    let began = Instant::now();
    let mut lost = usize::MAX;
    while lost > 0 && began.elapsed() < PATIENCE {
        lost = missing(ava.client()?, &acknowledged).await?
            + missing(cleo.client()?, &acknowledged).await?;
    }
    teller.end(
        "everything acknowledged before the kill stands on the others",
        lost == 0,
        Vec::new(),
    );
    Ok(())
}

async fn compare(
    machines: &[Machine; 3],
    context: &str,
    teller: &mut Teller,
) -> Result<(), Failure> {
    teller.begin("comparing");
    let began = Instant::now();
    let mut digests: Vec<String> = Vec::new();
    while began.elapsed() < PATIENCE {
        digests.clear();
        for machine in machines {
            let report: SyncReport = machine.ask(&["sync", "status"], "").await?;
            digests.extend(
                report
                    .contexts
                    .into_iter()
                    .find(|known| known.id == context)
                    .map(|known| known.digest),
            );
        }
        if digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]) {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let equal = digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]);
    let remarks = machines
        .iter()
        .zip(&digests)
        .map(|(machine, digest)| format!("{:<5} {digest}", machine.name))
        .collect();
    teller.end("all three hold the same, to the byte", equal, remarks);
    Ok(())
}

fn page(machine: &Machine) -> Result<String, Failure> {
    Ok(machine.client()?.page())
}

/// How many flights of the context a device shows.
async fn flights_in(client: &Client, context: &str) -> Result<u64, Failure> {
    let page: FlightPage = client
        .get(&format!("/v1/flights?context={context}&limit=1"))
        .await?;
    Ok(page.count)
}

/// How many of these flights a device does not have.
async fn missing(client: &Client, ids: &[String]) -> Result<usize, Failure> {
    let mut missing = 0;
    for id in ids {
        match client.get::<Flight>(&format!("/v1/flights/{id}")).await {
            Ok(_) => {}
            Err(failure) if failure.kind() == Kind::NotFound => missing += 1,
            Err(failure) => return Err(failure),
        }
    }
    Ok(missing)
}

/// The file to import: the person's own, or a made-up one.
fn logbook(arguments: &DemoArguments, place: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.logbook {
        return Ok(path.clone());
    }
    let path = place.join("logbook.csv");
    let made_up = aeroedge_aviation::demo::demo_logbook(1, arguments.flights as usize);
    let text = aeroedge_aviation::foreflight::write(&made_up.aircraft, &made_up.flights);
    fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    Ok(path)
}
