//! Crate tests: the ForeFlight reader against every generation of export, golden totals and damaged files.

#[cfg(test)]
mod damage;
#[cfg(test)]
mod generations;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod round_trip;
