//! Sealed, chained and signed entries, the keys that open them and the signed history of who may write them.
