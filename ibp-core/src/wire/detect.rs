/// Which protocol the first bytes of a connection speak (seed 004, 2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The requester's protocol, [`crate::wire::ib2`].
    Ib2,
    /// Minimal binary frames without negotiation.
    Ib1,
    /// HTTP/1.1.
    Http,
    /// None that this software speaks.
    Unknown,
}

const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];

impl Protocol {
    /// Looks at the first bytes of a connection; `None` while more bytes are needed to tell (at most 8).
    #[must_use]
    pub fn detect(first: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| first.starts_with(magic);
        let may_become = |magic: &[u8]| magic.starts_with(first);
        if starts(b"IB2") {
            Some(Self::Ib2)
        } else if starts(b"IB1") {
            Some(Self::Ib1)
        } else if METHODS.into_iter().any(starts) {
            Some(Self::Http)
        } else if may_become(b"IB2") || may_become(b"IB1") || METHODS.into_iter().any(may_become) {
            None
        } else {
            Some(Self::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn tells_as_early_as_it_can() {
        assert_eq!(Protocol::detect(b""), None);
        assert_eq!(Protocol::detect(b"I"), None);
        assert_eq!(Protocol::detect(b"IB"), None);
        assert_eq!(Protocol::detect(b"IB2"), Some(Protocol::Ib2));
        assert_eq!(Protocol::detect(b"IB1x"), Some(Protocol::Ib1));
        assert_eq!(Protocol::detect(b"POS"), None);
        assert_eq!(Protocol::detect(b"POST /"), Some(Protocol::Http));
        assert_eq!(Protocol::detect(b"POSTS"), Some(Protocol::Unknown));
        assert_eq!(Protocol::detect(&[0x16, 3, 1]), Some(Protocol::Unknown));
    }
}
