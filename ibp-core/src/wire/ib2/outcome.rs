use super::frame::{FrameType, Header, put_frame};
use super::response::{execution_fields, execution_from};
use crate::wire::bytes::Take;
use crate::wire::{Outcome, ProtocolError, TransactionId};

/// OUTCOME_QUERY: what became of a transaction?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeQuery {
    /// Its number on this connection; queries and requests are counted together.
    pub number: u32,
    /// No other will follow: the server closes after the answer.
    pub last: bool,
    /// The transaction asked about.
    pub transaction: TransactionId,
}

impl OutcomeQuery {
    pub(super) const LEN: u64 = 16;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let flags = if self.last { Header::LAST } else { 0 };
        put_frame(FrameType::OutcomeQuery, flags, self.number, out, |out| {
            out.extend_from_slice(&self.transaction.0);
        });
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// A payload of another length than 16 bytes.
    pub fn take(header: Header, payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("OUTCOME_QUERY", payload);
        let transaction = TransactionId(take.array()?);
        take.end()?;
        Ok(Self { number: header.number, last: header.flags & Header::LAST != 0, transaction })
    }
}

/// OUTCOME_ANSWER: this became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeAnswer {
    /// The query's number.
    pub number: u32,
    /// The transaction asked about.
    pub transaction: TransactionId,
    /// What the platform remembers.
    pub outcome: Outcome,
    /// How long ago the app began, in milliseconds; 0 when the outcome is unknown.
    pub age_ms: u64,
    /// How far the platform's memory reaches back, in milliseconds: of a transaction that it does not know and that
    /// was sent more recently than this, no app has begun.
    pub horizon_ms: u64,
}

impl OutcomeAnswer {
    pub(super) const LEN: u64 = 40;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let (kind, (reason, code)) = match self.outcome {
            Outcome::Ended(execution) => {
                let (kind, reason, code) = execution_fields(execution);
                (kind, (reason, code))
            }
            Outcome::Running => (3, (0, 0)),
            Outcome::Unknown => (4, (0, 0)),
        };
        put_frame(FrameType::OutcomeAnswer, 0, self.number, out, |out| {
            out.extend_from_slice(&self.transaction.0);
            out.push(kind);
            out.push(0);
            out.extend_from_slice(&reason.to_le_bytes());
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(&self.age_ms.to_le_bytes());
            out.extend_from_slice(&self.horizon_ms.to_le_bytes());
        });
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Any field that `docs/protocol.md` does not allow.
    pub fn take(header: Header, payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("OUTCOME_ANSWER", payload);
        let transaction = TransactionId(take.array()?);
        let kind = take.u8()?;
        take.zero::<1>()?;
        let reason = take.u16()?;
        let code = take.i32()?;
        let outcome = match (kind, reason, code) {
            (3, 0, 0) => Outcome::Running,
            (4, 0, 0) => Outcome::Unknown,
            _ => Outcome::Ended(
                execution_from(kind, reason, code).ok_or(take.malformed("its outcome is unknown"))?,
            ),
        };
        let age_ms = take.u64()?;
        let horizon_ms = take.u64()?;
        take.end()?;
        Ok(Self { number: header.number, transaction, outcome, age_ms, horizon_ms })
    }
}
