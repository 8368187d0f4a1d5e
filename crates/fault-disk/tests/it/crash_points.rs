//! The power goes at every write and every fsync of each operation, and what was not synced is kept, lost, torn or reordered: nothing
//! promised is lost, no number of a log is used twice, nothing needs a repair, and the device goes on.

use aeroedge_fault_disk::rusqlite::functions::FunctionFlags;
use aeroedge_fault_disk::{Disk, Loss};
use aeroedge_log::entry::EntryRef;

use crate::operations::{Machine, Operation, Published, Scene, Stopped};

/// Operations of more steps than this meet one way of losing things at each, in turn, and not all.
const MANY_STEPS: u64 = 100;

/// How the power goes at a step. `AEROEDGE_CRASH_SHUFFLES=20` tears and reorders each step that many times.
fn losses(step: u64, steps: u64) -> Vec<Loss> {
    let shuffles = std::env::var("AEROEDGE_CRASH_SHUFFLES")
        .ok()
        .map(|count| count.parse().expect("AEROEDGE_CRASH_SHUFFLES is a number"));
    let mut losses = vec![Loss::Killed, Loss::Lost];
    for shuffle in 0..shuffles.unwrap_or(1) {
        let seed = step * 31 + shuffle;
        losses.extend([Loss::Torn(seed), Loss::Reordered(seed)]);
    }
    if shuffles.is_none() && steps > MANY_STEPS {
        losses = vec![losses[step as usize % losses.len()]];
    }
    losses
}

/// Crashes an operation at every step; returns how many there were.
fn crash_at_every_step(operation: Operation) -> u64 {
    let base = Scene::new();
    let mut whole = base.image();
    let before = whole.here.disk.steps();
    operation.run(&mut whole).unwrap();
    let steps = whole.here.disk.steps() - before;
    whole.end().unwrap();
    for step in 0..steps {
        let mut scene = base.image();
        scene.here.disk.crash_after(step);
        let outcome = operation.run(&mut scene);
        assert!(
            scene.here.disk.has_crashed(),
            "{operation:?} took fewer than {step} steps: {outcome:?}"
        );
        for loss in losses(step, steps) {
            if let Err(error) = come_back(&scene, operation, loss) {
                panic!("{operation:?}, power gone at step {step} of {steps}, {loss:?}: {error}");
            }
        }
    }
    steps
}

/// Switches the machine on again with what the power cut left, and goes on.
fn come_back(scene: &Scene, operation: Operation, loss: Loss) -> Result<(), Stopped> {
    let disk: Disk = scene.here.disk.after(loss);
    check_sound(&disk)?;
    let here = Machine::on(disk, &scene.here.keys, false)?;
    check_promised(scene, &here)?;
    check_published(&here, &scene.published)?;
    let there = Machine::on(scene.there.disk.image(), &scene.there.keys, false)?;
    let mut scene = Scene {
        here,
        there,
        context: scene.context,
        promised: scene.promised.clone(),
        published: scene.published.clone(),
        invited: scene.invited.clone(),
    };
    scene.go_on()?;
    // What was cut short can be done again.
    operation.run(&mut scene)?;
    scene.end()
}

/// Every row that was promised is there.
fn check_promised(scene: &Scene, here: &Machine) -> Result<(), Stopped> {
    for (id, titles) in &scene.promised {
        if here.title(id).is_none_or(|title| !titles.contains(&title)) {
            return Err(format!("row {id} was promised and is gone").into());
        }
    }
    Ok(())
}

/// SQLite finds every page, row and index in order.
fn check_sound(disk: &Disk) -> Result<(), Stopped> {
    let connection = disk.image().open("device.db")?;
    // The guard of the merged tables is an index over a function of the engine.
    connection.create_scalar_function(
        "replica_guard",
        0,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
        |_| Ok(false),
    )?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if sound == "ok" {
        Ok(())
    } else {
        Err(sound.into())
    }
}

/// Every entry that left the machine is still there, byte for byte.
fn check_published(here: &Machine, published: &Published) -> Result<(), Stopped> {
    let mut statement = here.device.connection().prepare(
        "SELECT e.bytes FROM device_entry e JOIN device_log l USING (log)
         WHERE l.compartment = ?1 AND l.writer = ?2 AND e.seq = ?3",
    )?;
    for ((compartment, writer, seq), hash) in published {
        let bytes: Vec<u8> = statement
            .query_row((compartment.0, writer.0, seq.0 as i64), |row| row.get(0))
            .map_err(|_| format!("entry {seq} had left and is gone"))?;
        let found = EntryRef::parse(&bytes).map_err(|error| error.to_string())?;
        if found.hash() != *hash {
            return Err(format!("entry {seq} had left and is another now").into());
        }
    }
    Ok(())
}

#[test]
fn sealing_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Seal) > 20);
}

#[test]
fn sealing_in_several_parts_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::SealParts) > 100);
}

#[test]
fn merging_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Merge) > 3);
}

#[test]
fn founding_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Found) > 3);
}

#[test]
fn joining_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Join) > 3);
}

#[test]
fn a_new_writer_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Renew) > 3);
}

#[test]
fn moving_the_log_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Checkpoint) > 10);
}

#[test]
fn migrating_survives_a_crash_at_every_step() {
    assert!(crash_at_every_step(Operation::Migrate) > 10);
}

/// A disk that is full at any point of an operation refuses with a word about it, keeps everything promised, and the operation
/// can be done again when there is room.
#[test]
fn a_full_disk_stops_an_operation_and_harms_nothing() {
    for operation in Operation::ALL {
        let base = Scene::new();
        let mut refused = 0;
        for room in (0..200_000).step_by(7_000) {
            let mut scene = base.image();
            scene.here.disk.limit(Some(scene.here.disk.used() + room));
            if let Err(error) = operation.run(&mut scene) {
                refused += 1;
                assert!(
                    says_full(&*error),
                    "{operation:?} with {room} bytes left: {error:?}"
                );
            }
            scene.here.disk.limit(None);
            if operation == Operation::Migrate {
                // Whichever program was about to start does so now.
                scene.here.restart().unwrap();
            }
            let done = scene.go_on().and_then(|()| {
                check_promised(&scene, &scene.here)?;
                operation.run(&mut scene)?;
                scene.end()
            });
            if let Err(error) = done {
                panic!("{operation:?} after a disk with {room} bytes left: {error:?}");
            }
        }
        assert!(refused > 0, "{operation:?} never met the end of the disk");
    }
}

/// Whether the error, or what caused it, says that the disk is full.
fn says_full(error: &dyn std::error::Error) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("full") {
            return true;
        }
        cause = error.source();
    }
    false
}
