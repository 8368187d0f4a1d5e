//! The bytes of the format, pinned: `docs/format-vectors.json` is made here and compared here.
//!
//! Run with `AEROEDGE_WRITE_VECTORS=1` to write the file anew, and read the difference before committing it: a changed
//! vector is a changed format.

use aeroedge_crdt::changeset::{ChangesetWriter, Kind};
use aeroedge_crdt::hlc::Hlc;
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value as Cell;
use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, EntryCheck, EntryHash, Millis, Seq,
    TransactionId, UserId,
};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{
    Founding, InviteTerms, act, add_device, create, invite, join, offer_device, open_writer,
    start_epoch, wrap_owed,
};
use aeroedge_log::control::{
    Action, Checkpoint, ControlEntry, CutOff, DeclareStale, RemoveMember, RevokeDevice, Role,
    SetRole,
};
use aeroedge_log::entry::{Body, EntryFields, EntryRef, Opener, Sealer, Seen, WriterTag};
use aeroedge_log::head::Head;
use aeroedge_log::history::History;
use aeroedge_log::invite::{InviteLink, InviteSeed, Secret, Stretch};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::keys::{EpochKey, WriterSecret};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_log::tags::LinkKey;
use data_encoding::HEXLOWER;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::world::rights;

const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/format-vectors.json"
);

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// 1, 2, 3 ... from `first`, so that a field in the wrong place is seen.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first.wrapping_add(index as u8))
}

fn compartments() -> Value {
    let context = ContextId(counting(1));
    let user = UserId(counting(0x81));
    let vector = |name: &str, kind: u8, audience: Audience| json!({ "audience": name, "kind": kind, "id": hex(audience.compartment(context).0) });
    json!({
        "context": hex(context.0),
        "user": hex(user.0),
        "ids": [
            vector("everyone", 0, Audience::Everyone),
            vector("staff", 1, Audience::Staff),
            vector("person", 2, Audience::Person(user)),
        ],
    })
}

fn epochs() -> Value {
    let (one, two) = (
        EpochKey::from_bytes(counting(1)),
        EpochKey::from_bytes(counting(0x41)),
    );
    json!({
        "key": hex(one.as_bytes()),
        "commitment": hex(one.commitment()),
        "link_key": hex(one.link_key().as_bytes()),
        "sealing_private": hex(one.sealing().as_bytes()),
        "sealing_public": hex(one.sealing().key().0),
        "second_key": hex(two.as_bytes()),
        "combined_key": hex(EpochKey::combine([&one, &two]).as_bytes()),
    })
}

fn tags() -> Value {
    let key = EpochKey::from_bytes(counting(1)).link_key();
    let invite = InviteSeed::from_bytes(counting(0x21)).key();
    json!({
        "link_key": hex(key.as_bytes()),
        "announce_nonce": hex(counting::<16>(0x71)),
        "announce_tag": hex(key.announce(&counting::<16>(0x71)).0),
        "invite_key": hex(invite.0),
        "invite_link_key": hex(LinkKey::of_invite(invite).as_bytes()),
    })
}

fn head() -> Value {
    let secret = WriterSecret::from_bytes(counting(1));
    let head = Head::sign(
        CompartmentId(counting(0x21)),
        Seq(258),
        EntryHash(counting(0x41)),
        &secret,
    );
    json!({
        "writer_secret": hex(secret.as_bytes()),
        "writer": hex(secret.key().0),
        "writer_tag": hex(WriterTag::of(&secret.key()).0),
        "compartment": hex(head.compartment.0),
        "seq": head.seq.0,
        "hash": hex(head.hash.0),
        "bytes": hex(head.to_bytes()),
        "device": hex(counting::<32>(0x61)),
        "writer_proof": hex(secret.prove(DeviceKey(counting(0x61)))),
    })
}

/// One table, three rows in two writes and a delete, with a value of each type.
fn changeset() -> Vec<u8> {
    let mut changes = ChangesetWriter::new();
    let table = changes.table("jumps", &["id"]);
    let name = |column: u16| ["place", "height", "note"][usize::from(column)];
    let rows = [
        (
            1,
            vec![0, 1],
            vec![Cell::Text(b"Ampfing"), Cell::Real(4000.5)],
        ),
        (
            2,
            vec![0, 1],
            vec![Cell::Text(b"caf\xe9"), Cell::Integer(-70_000)],
        ),
        (3, vec![2], vec![Cell::Null]),
    ];
    for (id, columns, values) in rows {
        let row = changes.row(table, Kind::Write, Life::FIRST, None, &columns, name);
        Cell::Blob(&[id; 3]).write(row);
        for value in values {
            value.write(row);
        }
    }
    let row = changes.row(table, Kind::Delete, Life::FIRST.died(), None, &[], name);
    Cell::Blob(&[4; 3]).write(row);
    changes.finish()
}

fn entries() -> Value {
    let key = EpochKey::from_bytes(counting(1));
    let mut sealer = Sealer::new().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut previous = EntryHash([0; 32]);
    let mut vectors = Vec::new();
    for (seq, changes, more_parts) in [(1, changeset(), false), (2, vec![b'a'; 1200], true)] {
        let body = Body {
            transaction: TransactionId(counting(0x10)),
            part: seq as u32 - 1,
            others: vec![CompartmentId(counting(0x20))],
            seen: vec![Seen {
                writer: WriterTag(counting(0x30)),
                seq: Seq(300),
                check: EntryCheck(counting(0x38)),
            }],
            changes: &changes,
        };
        let mut plaintext = Vec::new();
        body.encode(&mut plaintext);
        let fields = EntryFields {
            context: ContextId(counting(0x40)),
            compartment: CompartmentId(counting(0x50)),
            writer: WriterSecret::from_bytes(counting(1)).key(),
            seq: Seq(seq),
            previous,
            hlc: Hlc::from_bits(0x018b_cfe5_6800_0000 + seq),
            epoch: ControlHash(counting(0x60)),
            schema_version: 0x0102_0304,
            heads: vec![ControlHash(counting(0x70)), ControlHash(counting(0x80))],
            more_parts,
        };
        let sealed = sealer.seal(&fields, &plaintext, &key, &mut rng).unwrap();
        previous = sealed.hash;
        vectors.push(json!({
            "epoch_key": hex(key.as_bytes()),
            "body": hex(&plaintext),
            "bytes": hex(&sealed.bytes),
            "hash": hex(sealed.hash.0),
        }));
    }
    Value::Array(vectors)
}

/// Every action once, in one divided context.
fn control() -> Value {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut time = 1_700_000_000_000;
    let mut next = || {
        time += 1000;
        Hlc::at(Millis(time))
    };
    let owner = DeviceSecrets::generate(&mut rng);
    let founding = Founding {
        user: UserId(counting(1)),
        division: Division::Divided,
        purpose: "club".to_owned(),
    };
    let entered = create(&owner, &founding, next(), &mut rng);
    let mut history = History::new(entered.context);
    let mut all = Vec::new();
    let mut record = |history: &mut History, entry: ControlEntry| {
        history.insert(entry.clone()).unwrap();
        all.push(entry);
    };
    for entry in entered.entries {
        record(&mut history, entry);
    }
    let owner_writer = entered.writer;
    let ring = |history: &History, secrets: &DeviceSecrets| {
        let mut ring = KeyRing::new(secrets);
        ring.learn(&history.roster().unwrap());
        ring
    };

    let secret = Secret::typed("lusab-babad-gutih-tugad");
    let terms = InviteTerms {
        rights: rights(Role::Member, &["teaches"]),
        expires: Millis(1_800_000_000_000),
        uses: 2,
    };
    let owner_ring = ring(&history, &owner);
    let (offer, seed) = invite(
        &history,
        &owner_ring,
        &owner,
        &terms,
        &secret,
        Stretch::FORMAT,
        next(),
        &mut rng,
    )
    .unwrap();
    record(&mut history, offer);
    let teacher = DeviceSecrets::generate(&mut rng);
    let joined = join(
        &history,
        &teacher,
        &seed,
        &secret,
        Stretch::FORMAT,
        UserId(counting(2)),
        next(),
        &mut rng,
    )
    .unwrap();
    for entry in joined.entries {
        record(&mut history, entry);
    }
    let void = act(&history, &owner, next(), Action::VoidInvite(seed.key()));
    record(&mut history, void);
    let phone = DeviceSecrets::generate(&mut rng);
    let (offer, _) = offer_device(&phone, entered.context, UserId(counting(2)), &mut rng);
    let teacher_ring = ring(&history, &teacher);
    let added = add_device(&history, &teacher_ring, &teacher, offer, next(), &mut rng).unwrap();
    record(&mut history, added);
    let (opened, writer) = open_writer(&history, &teacher, next(), &mut rng);
    record(&mut history, opened);
    let cut_off = CutOff {
        writer: writer.key(),
        compartment: Audience::Everyone.compartment(entered.context),
        seq: Seq(70_000),
        hash: EntryHash(counting(0x41)),
    };
    let actions = [
        (
            &teacher,
            Action::CloseWriter {
                writer: writer.key(),
                cut_offs: vec![cut_off],
            },
        ),
        (
            &owner,
            Action::Checkpoint(Checkpoint {
                compartment: Audience::Staff.compartment(entered.context),
                positions: counting(0x51),
                state: counting(0x61),
                writer: owner_writer.key(),
                first: Seq(3),
                last: Seq(300),
            }),
        ),
        (
            &owner,
            Action::DeclareStale(DeclareStale {
                device: phone.device(),
                cut_offs: Vec::new(),
            }),
        ),
        (
            &owner,
            Action::RevokeDevice(RevokeDevice {
                device: phone.device(),
                cut_offs: vec![
                    CutOff {
                        seq: Seq(60_000),
                        ..cut_off
                    },
                    cut_off,
                ],
            }),
        ),
        (
            &owner,
            Action::SetRole(SetRole {
                user: UserId(counting(2)),
                rights: rights(Role::Admin, &["bills", "teaches"]),
                cut_offs: Vec::new(),
            }),
        ),
    ];
    for (by, action) in actions {
        let entry = act(&history, by, next(), action);
        record(&mut history, entry);
    }
    let checkpoint = history
        .roster()
        .unwrap()
        .checkpoints()
        .next()
        .unwrap()
        .entry;
    let acknowledged = Action::AcknowledgeCheckpoints(vec![checkpoint]);
    let entry = act(&history, &teacher, next(), acknowledged);
    record(&mut history, entry);
    let rotation = start_epoch(&history, &owner, Audience::Everyone, next(), &mut rng).unwrap();
    record(&mut history, rotation);
    let owner_ring = ring(&history, &owner);
    assert!(wrap_owed(&history, &owner_ring, &owner, 10, next(), &mut rng).is_none());
    let entry = act(&history, &owner, next(), Action::WrapKeys(Vec::new()));
    record(&mut history, entry);
    let removal = RemoveMember {
        user: UserId(counting(2)),
        cut_offs: vec![cut_off],
    };
    let entry = act(&history, &owner, next(), Action::RemoveMember(removal));
    record(&mut history, entry);
    let entry = act(&history, &owner, next(), Action::Acknowledge);
    record(&mut history, entry);
    let entry = act(
        &history,
        &owner,
        next(),
        Action::Unknown {
            number: 4000,
            body: vec![0x91, 0x01],
        },
    );
    record(&mut history, entry);

    let owner_ring = ring(&history, &owner);
    let roster = history.roster().unwrap();
    json!({
        "context": hex(entered.context.0),
        "owner_sealing_private": hex(owner.sealing().as_bytes()),
        "owner_writer_secret": hex(owner_writer.as_bytes()),
        "invite_seed": hex(seed.as_bytes()),
        "invite_secret": "lusab-babad-gutih-tugad",
        "joiner_user": hex(counting::<16>(2)),
        "entries": all
            .iter()
            .map(|entry| json!({
                "action": entry.action().number(),
                "bytes": hex(entry.bytes()),
                "hash": hex(entry.hash().0),
            }))
            .collect::<Vec<_>>(),
        "owner_epoch_keys": roster
            .epochs()
            .filter_map(|epoch| Some(json!([hex(epoch.hash.0), hex(owner_ring.key(epoch.hash)?.as_bytes())])))
            .collect::<Vec<_>>(),
        "rejected": roster.rejected().keys().map(|hash| hex(hash.0)).collect::<Vec<_>>(),
    })
}

fn key_files() -> Value {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut secrets = DeviceSecrets::generate(&mut rng);
    secrets.add_writer(
        ContextId(counting(1)),
        WriterSecret::from_bytes(counting(0x31)),
    );
    json!({
        "device": hex(secrets.device().0),
        "sealing_public": hex(secrets.sealing_key().0),
        "context": hex(counting::<16>(1)),
        "writer": hex(WriterSecret::from_bytes(counting(0x31)).key().0),
        "in_clear": hex(&*secrets.to_file(&mut rng)),
        "passphrase": "open sesame",
        "sealed": hex(secrets.to_sealed_file("open sesame", Stretch::FORMAT, &mut rng).unwrap()),
    })
}

fn links() -> Value {
    let link = InviteLink {
        context: ContextId(counting(1)),
        name: "Söhne & Co".to_owned(),
        seed: InviteSeed::from_bytes(counting(0x21)),
        hints: vec!["192.0.2.7:8765".to_owned()],
    };
    json!({
        "context": hex(link.context.0),
        "name": &link.name,
        "seed": hex(link.seed.as_bytes()),
        "hints": &link.hints,
        "text": link.to_text(),
        "https": link.to_https("https://example.org"),
    })
}

fn all() -> String {
    let vectors = json!({
        "compartments": compartments(),
        "epochs": epochs(),
        "tags": tags(),
        "head": head(),
        "entries": entries(),
        "control": control(),
        "key_file": key_files(),
        "link": links(),
    });
    format!("{vectors:#}\n")
}

#[test]
fn the_format_has_not_changed() {
    let vectors = all();
    if std::env::var_os("AEROEDGE_WRITE_VECTORS").is_some() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one test that makes a file of the repository"
        )]
        std::fs::write(PATH, &vectors).unwrap();
    }
    let pinned = std::fs::read_to_string(PATH).unwrap();
    assert!(
        vectors == pinned,
        "the format changed: see the head of this file"
    );
}

#[test]
fn the_pinned_bytes_are_read_as_they_were_meant() {
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();

    let mut opener = Opener::new().unwrap();
    for vector in vectors["entries"].as_array().unwrap() {
        let entry = bytes(&vector["bytes"]);
        let entry = EntryRef::parse(&entry).unwrap();
        assert_eq!(hex(entry.hash().0), vector["hash"]);
        let key = EpochKey::from_bytes(array(&vector["epoch_key"]));
        assert_eq!(hex(opener.open(&entry, &key).unwrap()), vector["body"]);
    }

    let head = Head::from_bytes(&bytes(&vectors["head"]["bytes"])).unwrap();
    assert_eq!((head.verify(), head.seq), (Ok(()), Seq(258)));

    let control = &vectors["control"];
    let mut history = History::new(ContextId(array(&control["context"])));
    let mut numbers = Vec::new();
    for vector in control["entries"].as_array().unwrap() {
        let entry = ControlEntry::decode(&bytes(&vector["bytes"])).unwrap();
        assert_eq!(hex(entry.hash().0), vector["hash"]);
        numbers.push(entry.action().number());
        let joins = numbers.last() == Some(&4);
        if joins {
            // The invite opens with link and secret alone, as it did for the one who joined.
            let secret = Secret::typed(control["invite_secret"].as_str().unwrap());
            let seed = InviteSeed::from_bytes(array(&control["invite_seed"]));
            let mut rng = ChaCha20Rng::seed_from_u64(99);
            let secrets = DeviceSecrets::generate(&mut rng);
            let user = UserId(array(&control["joiner_user"]));
            let hlc = Hlc::at(Millis(1_700_000_100_000));
            join(
                &history,
                &secrets,
                &seed,
                &secret,
                Stretch::FORMAT,
                user,
                hlc,
                &mut rng,
            )
            .unwrap();
        }
        history.insert(entry).unwrap();
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 4000]
    );
    let roster = history.roster().unwrap();
    let rejected: Vec<_> = roster.rejected().keys().map(|hash| hex(hash.0)).collect();
    assert_eq!(json!(rejected), control["rejected"]);
    assert_eq!(rejected.len(), 1, "only the unknown action is ignored");

    for (file, passphrase) in [
        ("in_clear", None),
        ("sealed", vectors["key_file"]["passphrase"].as_str()),
    ] {
        let file = bytes(&vectors["key_file"][file]);
        let secrets = DeviceSecrets::from_file(&file, passphrase, Stretch::FORMAT).unwrap();
        assert_eq!(hex(secrets.device().0), vectors["key_file"]["device"]);
        assert_eq!(
            hex(secrets.sealing_key().0),
            vectors["key_file"]["sealing_public"]
        );
        let writer = secrets
            .writer(ContextId(array(&vectors["key_file"]["context"])))
            .unwrap();
        assert_eq!(hex(writer.key().0), vectors["key_file"]["writer"]);
    }

    let link = InviteLink::parse(vectors["link"]["https"].as_str().unwrap()).unwrap();
    assert_eq!(
        Ok(&link),
        InviteLink::parse(vectors["link"]["text"].as_str().unwrap()).as_ref()
    );
    assert_eq!(hex(link.seed.as_bytes()), vectors["link"]["seed"]);
}
