//! Crate tests over plain SQLite in memory.

#[cfg(test)]
mod contexts;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod flights;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod support;
