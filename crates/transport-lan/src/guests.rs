//! Those who dialled this device and have not proved yet that they belong here: how many there may be, and who has to go for
//! a newcomer.
//!
//! Strangers cost a bounded number of places and keep nobody out: of one address few are there at once, and the one that has
//! been there longest without a proof makes room.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Guests from one address at once. Every device of a room behind one address may come at the same moment, a few may not.
const FROM_ONE_ADDRESS: usize = 16;
/// Guests from all addresses at once.
const GUESTS_MAX: usize = 128;

/// Number of a guest, in the order they came.
pub(crate) type GuestNumber = u64;

/// Everybody who is not known yet, with what it takes to send them away.
#[derive(Debug)]
pub(crate) struct Guests<T> {
    last: GuestNumber,
    by_number: BTreeMap<GuestNumber, (IpAddr, T)>,
}

impl<T> Guests<T> {
    pub(crate) fn new() -> Self {
        Self {
            last: 0,
            by_number: BTreeMap::new(),
        }
    }

    /// Makes room for one more from `address`; gives who has to go for it.
    pub(crate) fn make_room(&mut self, address: IpAddr) -> Option<T> {
        let number = if self.count_from(address) >= FROM_ONE_ADDRESS {
            self.oldest_from(address)
        } else if self.by_number.len() >= GUESTS_MAX {
            self.busiest().and_then(|busiest| self.oldest_from(busiest))
        } else {
            None
        };
        self.by_number.remove(&number?).map(|(_, guest)| guest)
    }

    /// Takes note of one more.
    pub(crate) fn add(&mut self, address: IpAddr, guest: T) -> GuestNumber {
        self.last += 1;
        self.by_number.insert(self.last, (address, guest));
        self.last
    }

    /// What is known of a guest from now on.
    pub(crate) fn change(&mut self, number: GuestNumber, guest: T) {
        if let Some((_, known)) = self.by_number.get_mut(&number) {
            *known = guest;
        }
    }

    /// Somebody left.
    pub(crate) fn remove(&mut self, number: GuestNumber) {
        self.by_number.remove(&number);
    }

    /// Whether somebody is still here as a guest.
    pub(crate) fn holds(&self, number: GuestNumber) -> bool {
        self.by_number.contains_key(&number)
    }

    /// Forgets all who left, or who are guests no more.
    pub(crate) fn retain(&mut self, mut is_guest: impl FnMut(&T) -> bool) {
        self.by_number.retain(|_, (_, guest)| is_guest(guest));
    }

    fn count_from(&self, address: IpAddr) -> usize {
        let from = self.by_number.values().filter(|(of, _)| *of == address);
        from.count()
    }

    fn oldest_from(&self, address: IpAddr) -> Option<GuestNumber> {
        let mut from = self.by_number.iter().filter(|(_, (of, _))| *of == address);
        from.next().map(|(number, _)| *number)
    }

    /// The address that most of them come from.
    fn busiest(&self) -> Option<IpAddr> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (address, _) in self.by_number.values() {
            *counts.entry(*address).or_default() += 1;
        }
        let busiest = counts.into_iter().max_by_key(|(_, count)| *count);
        busiest.map(|(address, _)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn the_oldest_of_an_address_makes_room_for_its_next() {
        let mut guests = Guests::new();
        guests.add(address(2), 1000);
        for number in 0..FROM_ONE_ADDRESS {
            assert_eq!(guests.make_room(address(1)), None);
            guests.add(address(1), number);
        }
        assert_eq!(guests.make_room(address(1)), Some(0));
        guests.add(address(1), 16);
        assert_eq!(guests.make_room(address(1)), Some(1));
        assert_eq!(guests.make_room(address(2)), None);
    }

    #[test]
    fn in_a_full_house_the_busiest_address_makes_room() {
        let mut guests = Guests::new();
        let full = (GUESTS_MAX - 10) / 4;
        for address_number in 0..4 {
            for _ in 0..full.min(FROM_ONE_ADDRESS) {
                guests.add(address(address_number), address_number);
            }
        }
        for single in 0.. {
            if guests.by_number.len() == GUESTS_MAX {
                break;
            }
            guests.add(address(100 + single), 100 + single);
        }
        let gone = guests.make_room(address(99)).expect("somebody goes");
        assert!(gone < 4, "an address with one guest keeps it");
        guests.retain(|guest| *guest >= 100);
        assert_eq!(guests.make_room(address(99)), None);
    }
}
