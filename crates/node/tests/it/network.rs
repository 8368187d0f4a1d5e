//! A network in memory: nodes whose tags match find each other and are linked again whenever a link ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aeroedge_transport::{
    Announcement, Closer, Link, Running, StartError, Status, Transport, memory,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// Where the nodes of one test meet.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Vec<Place>>>);

struct Place {
    nonce: [u8; 16],
    announcements: watch::Receiver<Announcement>,
    links: mpsc::Sender<Link>,
    open: Vec<([u8; 16], Closer)>,
}

impl Network {
    /// Cuts every link there is.
    pub(crate) fn cut(&self) {
        for place in self.0.lock().unwrap().iter() {
            for (_, closer) in &place.open {
                closer.close("cut");
            }
        }
    }

    fn meet(&self) {
        let mut places = self.0.lock().unwrap();
        places.retain(|place| !place.links.is_closed());
        for place in places.iter_mut() {
            place.open.retain(|(_, closer)| closer.reason().is_none());
        }
        for first in 0..places.len() {
            for second in 0..first {
                let (nonce, other) = (places[first].nonce, places[second].nonce);
                let tags = places[second].announcements.borrow().beacon.tags(&other);
                let known = places[first]
                    .announcements
                    .borrow()
                    .beacon
                    .recognises(&other, &tags);
                let linked = places[first].open.iter().any(|(to, _)| *to == other);
                if known && !linked {
                    let (here, there) = memory::pair();
                    places[first].open.push((other, here.closer()));
                    places[second].open.push((nonce, there.closer()));
                    let _ = places[first].links.try_send(here);
                    let _ = places[second].links.try_send(there);
                }
            }
        }
    }
}

impl Transport for Network {
    const NAME: &'static str = "memory";

    async fn start(
        self,
        announcements: watch::Receiver<Announcement>,
        links: mpsc::Sender<Link>,
    ) -> Result<Running, StartError> {
        let (status, watched) = watch::channel(Status::default());
        let (running, mut stopper) = Running::new(watched);
        let place = Place {
            nonce: rand::random(),
            announcements,
            links,
            open: Vec::new(),
        };
        self.0.lock().unwrap().push(place);
        tokio::spawn(async move {
            let _status = status;
            loop {
                tokio::select! {
                    () = stopper.stopped() => return,
                    () = sleep(Duration::from_millis(5)) => self.meet(),
                }
            }
        });
        Ok(running)
    }
}
