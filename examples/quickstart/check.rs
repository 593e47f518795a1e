//! Holds what the clients know of each transaction against what the apps wrote down.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use ibp_core::wire::TransactionId;

use crate::Result;
use crate::journal::{Event, Record};
use crate::kinds::{KINDS, OVER_TCP};

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The journals of the platforms' apps.
    pub apps: Vec<Vec<Record>>,
    pub clients: Vec<ClientEvidence>,
    /// What the clients said of transactions that went wrong.
    pub notes: HashMap<TransactionId, String>,
}

/// What a client process left behind.
#[derive(Debug)]
pub struct ClientEvidence {
    /// The first transaction id of the process; all of its ids begin as this one does.
    pub first: TransactionId,
    /// It was killed: of what was on its way then, it gives no account.
    pub was_killed: bool,
    pub journal: Vec<Record>,
}

/// Bytes at the beginning of a transaction id that are a process's own.
const OF_PROCESS: usize = 10;

/// What the evidence says.
#[derive(Debug)]
pub struct Findings {
    /// By kind, over the Unix socket and over TCP.
    pub kinds: Vec<Calls>,
    pub failed: Vec<Failed>,
    /// Transactions that killed clients had on their way, and how many of these the apps finished.
    pub cut_off: u64,
    pub cut_off_finished: u64,
    /// Everything that must not be.
    pub contradictions: Vec<String>,
}

/// The right answers of one kind.
#[derive(Debug)]
pub struct Calls {
    pub name: String,
    /// How long the calls took, in nanoseconds.
    pub times: Histogram<u64>,
}

/// A failed transaction.
#[derive(Clone, Debug)]
pub struct Failed {
    pub transaction: TransactionId,
    pub kind: String,
    pub state: Event,
    pub app: AppDid,
    /// What the platform said of it last.
    pub said: Option<Event>,
    pub note: String,
}

/// What the journals say of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AppDid {
    NotBegin,
    Begin,
    End,
}

/// All that is known of one transaction.
#[derive(Debug, Default)]
struct Fate {
    begins: u32,
    ends: u32,
    verdict: Option<Record>,
    verdicts: u32,
    said: Vec<Event>,
}

impl Evidence {
    pub fn examine(&self) -> Result<Findings> {
        let fates = self.fates();
        let mut findings = Findings::new()?;
        let mut cut_off = vec![0_u64; self.clients.len()];
        for (id, fate) in &fates {
            if fate.begins > 1 || fate.ends > fate.begins {
                findings.contradict(
                    *id,
                    format!("its app began {} times and ended {} times", fate.begins, fate.ends),
                );
            }
            match fate.verdict {
                Some(verdict) => self.judge(&mut findings, fate, verdict)?,
                None => match self.killed_client_of(*id) {
                    Some(client) => {
                        cut_off[client] += 1;
                        findings.cut_off += 1;
                        findings.cut_off_finished += u64::from(fate.ends);
                    }
                    None => findings.contradict(*id, "an app ran it, and no client gives account of it"),
                },
            }
        }
        if cut_off.iter().any(|count| *count > KINDS.len() as u64) {
            let what = format!(
                "a killed client had {cut_off:?} transactions on its way, with {} threads",
                KINDS.len()
            );
            findings.contradictions.push(what);
        }
        findings.failed.sort_by_key(|failed| failed.transaction);
        Ok(findings)
    }

    fn fates(&self) -> HashMap<TransactionId, Fate> {
        let mut fates: HashMap<TransactionId, Fate> = HashMap::new();
        for record in self.apps.iter().flatten() {
            let fate = fates.entry(record.transaction).or_default();
            match record.event {
                Event::Begin => fate.begins += 1,
                _ => fate.ends += 1,
            }
        }
        for record in self.clients.iter().flat_map(|client| &client.journal) {
            let fate = fates.entry(record.transaction).or_default();
            match record.event {
                // It comes on top of what the client made of the call.
                Event::Wrong if fate.verdict.is_some() => fate.verdict = Some(*record),
                event if event.is_verdict() => {
                    fate.verdict = Some(*record);
                    fate.verdicts += 1;
                }
                event => fate.said.push(event),
            }
        }
        fates
    }

    fn killed_client_of(&self, id: TransactionId) -> Option<usize> {
        let is_its = |client: &ClientEvidence| client.first.0[..OF_PROCESS] == id.0[..OF_PROCESS];
        self.clients.iter().position(|client| client.was_killed && is_its(client))
    }

    fn judge(&self, findings: &mut Findings, fate: &Fate, verdict: Record) -> Result<()> {
        let id = verdict.transaction;
        if fate.verdicts > 1 {
            findings.contradict(id, "its client gives account of it twice");
        }
        let app = match (fate.begins, fate.ends) {
            (0, _) => AppDid::NotBegin,
            (_, 0) => AppDid::Begin,
            _ => AppDid::End,
        };
        if verdict.event == Event::Right {
            if app != AppDid::End {
                findings.contradict(id, "it was answered, and no app has ended it");
            }
            return findings.count(verdict);
        }
        let note = self.notes.get(&id).cloned().unwrap_or_default();
        let said = fate.said.last().copied();
        let failed =
            Failed { transaction: id, kind: name_of(verdict.kind), state: verdict.event, app, said, note };
        for what in failed.contradictions(&fate.said) {
            findings.contradict(id, format!("{what} ({}; {})", failed.kind, failed.note));
        }
        findings.failed.push(failed);
        Ok(())
    }
}

impl Failed {
    /// What in the client's account contradicts the journals, or itself.
    fn contradictions(&self, said: &[Event]) -> Vec<&'static str> {
        let mut found = Vec::new();
        match self.state {
            Event::Wrong => found.push("a wrong answer"),
            Event::Hung => found.push("a call that hung until its deadline"),
            Event::NotSent if self.app != AppDid::NotBegin => found.push("not sent, and an app began it"),
            Event::Responded if self.app != AppDid::End => found.push("responded, and no app has ended it"),
            _ => {}
        }
        for event in said {
            match event {
                Event::SaysExecuted if self.app != AppDid::End => {
                    found.push("the platform says executed, and no app has ended it");
                }
                Event::SaysRejected if self.app != AppDid::NotBegin => {
                    found.push("the platform says rejected, and an app began it");
                }
                Event::SaysExecuted | Event::SaysAborted | Event::SaysRunning
                    if self.state == Event::NotSent =>
                {
                    found.push("not sent, and the platform says that an app began it");
                }
                _ => {}
            }
        }
        // The last answer came when nothing was on its way any more.
        match said.last() {
            Some(Event::SaysUnknown) if said.len() > 1 && self.app != AppDid::NotBegin => {
                found.push("the platform does not know it, and an app began it");
            }
            Some(Event::SaysRunning) if said.len() > 1 => {
                found.push("the platform says it runs, and it does not")
            }
            Some(Event::SaysNothing) if said.len() > 1 && self.state == Event::Suspicious => {
                found.push("the platform does not say what became of it");
            }
            _ => {}
        }
        found
    }
}

impl Findings {
    fn new() -> Result<Self> {
        let kinds = (0..KINDS.len() * 2).map(|place| {
            let (number, transport) = (place / 2, if place % 2 == 0 { 0 } else { OVER_TCP });
            Ok(Calls { name: name_of(number as u8 | transport), times: Histogram::new(3)? })
        });
        Ok(Self {
            kinds: kinds.collect::<Result<_>>()?,
            failed: Vec::new(),
            cut_off: 0,
            cut_off_finished: 0,
            contradictions: Vec::new(),
        })
    }

    fn count(&mut self, right: Record) -> Result<()> {
        let place = usize::from(right.kind & !OVER_TCP) * 2 + usize::from(right.kind & OVER_TCP != 0);
        match self.kinds.get_mut(place) {
            Some(calls) => Ok(calls.times.record(right.nanoseconds)?),
            None => Err(format!("a journal has a transaction of kind {}", right.kind).into()),
        }
    }

    fn contradict(&mut self, id: TransactionId, what: impl std::fmt::Display) {
        self.contradictions.push(format!("transaction {id}: {what}"));
    }

    /// Transactions of which a client gives account.
    pub fn transactions(&self) -> u64 {
        self.kinds.iter().map(|calls| calls.times.len()).sum::<u64>() + self.failed.len() as u64
    }
}

impl Event {
    fn is_verdict(self) -> bool {
        matches!(
            self,
            Event::Right | Event::Wrong | Event::NotSent | Event::Suspicious | Event::Responded | Event::Hung
        )
    }
}

fn name_of(kind: u8) -> String {
    let name = KINDS.get(usize::from(kind & !OVER_TCP)).map_or("?", |kind| kind.name);
    let transport = if kind & OVER_TCP == 0 { "Unix" } else { "TCP" };
    format!("{name}, {transport}")
}
