//! Every row of some compartments in one canonical order, for comparing devices.

use aeroedge_ids::CompartmentId;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use crate::row::StoreError;
use crate::tables::MERGED;

/// Hands the rows of every merged table to `visit` as bytes: equal rows give equal bytes, different ones different bytes.
pub fn visit_rows(
    conn: &Connection,
    compartments: &[CompartmentId],
    visit: &mut dyn FnMut(&[u8]),
) -> Result<(), StoreError> {
    let mut names: Vec<&str> = MERGED.iter().map(|table| table.name).collect();
    names.sort_unstable();
    let places = vec!["?"; compartments.len()].join(", ");
    for name in names {
        let mut columns: Vec<String> = conn
            .prepare_cached("SELECT name FROM pragma_table_info(?1) ORDER BY name")?
            .query_map([name], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        columns.sort_unstable();
        visit_text(name, visit);
        let sql = format!(
            "SELECT {} FROM {name} WHERE compartment_id IN ({places}) ORDER BY id, compartment_id",
            columns.join(", ")
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let parameters = params_from_iter(compartments.iter().map(|compartment| compartment.0));
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            for (index, column) in columns.iter().enumerate() {
                let value = row.get_ref(index)?;
                // What nobody filled says nothing, so a column that only one schema has makes no difference.
                if value != ValueRef::Null {
                    visit_text(column, visit);
                    visit_value(value, visit);
                }
            }
            visit(&[0]);
        }
    }
    Ok(())
}

fn visit_text(text: &str, visit: &mut dyn FnMut(&[u8])) {
    visit_value(ValueRef::Text(text.as_bytes()), visit);
}

fn visit_value(value: ValueRef<'_>, visit: &mut dyn FnMut(&[u8])) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (1, &[]),
        ValueRef::Integer(number) => (2, &number.to_be_bytes()),
        ValueRef::Real(number) => (3, &number.to_be_bytes()),
        ValueRef::Text(text) => (4, text),
        ValueRef::Blob(bytes) => (5, bytes),
    };
    visit(&[kind]);
    visit(&(bytes.len() as u64).to_be_bytes());
    visit(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(conn: &Connection, compartment: CompartmentId) -> Vec<u8> {
        let mut bytes = Vec::new();
        visit_rows(conn, &[compartment], &mut |piece| {
            bytes.extend_from_slice(piece);
        })
        .unwrap();
        bytes
    }

    #[test]
    fn only_what_stands_in_the_compartment_counts() {
        let conn = Connection::open_in_memory().unwrap();
        crate::apply(&conn).unwrap();
        let (ours, theirs) = (CompartmentId([1; 16]), CompartmentId([2; 16]));
        let empty = bytes_of(&conn, ours);
        let insert = "INSERT INTO aircraft (id, compartment_id, tail) VALUES (?1, ?2, ?3)";
        conn.execute(insert, ("a", theirs.0, "N1")).unwrap();
        assert_eq!(bytes_of(&conn, ours), empty);
        conn.execute(insert, ("a", ours.0, "N1")).unwrap();
        let one = bytes_of(&conn, ours);
        assert_ne!(one, empty);
        conn.execute("UPDATE aircraft SET tail = 'N2'", ()).unwrap();
        assert_ne!(bytes_of(&conn, ours), one);
    }
}
