//! Finds neighbours by mDNS and talks to them over encrypted sockets.
