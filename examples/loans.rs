//! A loan book kept at two desks. Every transaction travels as a changeset that says what its writer had seen, so two
//! returns of one book at the same time are noticed: the later one stands, the earlier one is in the conflict log.

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::{ConflictFilter, rusqlite::Connection};
use aeroedge_replica::{
    Incoming, Journal, JournalError, LocalTransaction, MergeError, Merged, Replica,
};

#[derive(Default)]
struct Outbox(Vec<(Hlc, Vec<u8>)>);

impl Journal for Outbox {
    fn append(&mut self, _: &Connection, loan: &LocalTransaction<'_>) -> Result<(), JournalError> {
        let parts = loan.changes.iter().flat_map(|(_, parts)| parts);
        self.0.extend(parts.map(|part| (loan.hlc, part.clone())));
        Ok(())
    }
}

fn desk(number: u8) -> Result<(Replica, Outbox), Box<dyn std::error::Error>> {
    let connection = Connection::open_in_memory()?;
    connection
        .execute_batch("CREATE TABLE loan(book INTEGER PRIMARY KEY, reader TEXT, returned TEXT)")?;
    let mut replica = Replica::open(connection, WriterKey([number; 32]))?;
    replica.declare(&[Merged::table("loan")], Millis(0))?;
    Ok((replica, Outbox::default()))
}

fn receive(
    desk: &mut Replica,
    from: WriterKey,
    outbox: &Outbox,
    seen: Hlc,
) -> Result<(), MergeError> {
    desk.merging(|merging| {
        for (hlc, changes) in &outbox.0 {
            let stamp = Stamp {
                hlc: *hlc,
                writer: from,
            };
            merging.apply(&Incoming {
                stamp,
                part: 0,
                compartment: None,
                seen: &|_| seen,
                changes,
            })?;
        }
        Ok::<_, MergeError>(())
    })?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ((mut east, mut sent_east), (mut west, mut sent_west)) = (desk(1)?, desk(2)?);
    let lend = "INSERT INTO loan VALUES (7, 'Rosa', NULL)";
    east.transaction_with(Millis(1), &mut sent_east, |book| book.execute(lend, []))?;
    receive(&mut west, east.writer(), &sent_east, Hlc::ZERO)?;
    let lent = east.last_hlc()?;
    east.transaction_with(Millis(2), &mut sent_east, |book| {
        book.execute("UPDATE loan SET returned = 'Monday'", [])
    })?;
    west.transaction_with(Millis(3), &mut sent_west, |book| {
        book.execute("UPDATE loan SET returned = 'Tuesday'", [])
    })?;
    receive(&mut west, east.writer(), &sent_east, Hlc::ZERO)?;
    receive(&mut east, west.writer(), &sent_west, lent)?;
    assert_eq!(east.digest(None)?, west.digest(None)?);
    assert_eq!(east.conflicts(ConflictFilter::default())?.len(), 1);
    Ok(())
}
