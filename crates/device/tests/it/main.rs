//! Whole devices against each other, without a network: what one offers is handed to the other.

#![cfg(test)]

mod away;
mod checkpoints;
mod clocks;
mod club;
mod exchanging;
mod forging;
mod forks;
mod groups;
mod joining;
mod leaks;
mod pairing;
mod people;
mod rejudging;
mod versions;
