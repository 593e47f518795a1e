//! The client's role: asks node ECIF in one thread of each kind, checks each answer byte by byte, and keeps a journal.

use std::io::{Read, Write, stdin, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ibp_client::{Cause, Client, Connection, Error, State};
use ibp_core::wire::{Execution, Outcome, TransactionId};
use rustix::process::Signal;

use crate::Result;
use crate::journal::{Event, Journal, Record};
use crate::kinds::{KINDS, Kind, OVER_TCP, SERVER_NODE};
use crate::process::die_with;

/// How long a running transaction may go on until the platform says how it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks until its standard input ends, then has the platforms tell what became of the suspicious transactions. Says
/// `ready ID` with the first transaction id of this process, `note ID TEXT` for each transaction that went wrong, and `done`.
pub fn run(journal: &Path, seed: u64, parent: i32, tcp: bool) -> Result<()> {
    die_with(parent, Signal::KILL)?;
    let journal = Journal::open(journal)?;
    let builder = Client::builder();
    let builder = if tcp { builder.tcp_only() } else { builder };
    // The installation is the one that IBP_HOME names.
    let client = builder.open("ibma.conf")?;
    writeln!(stdout(), "ready {}", client.new_transaction())?;
    let stop = AtomicBool::new(false);
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, kind) in (0..).zip(KINDS) {
            let mut caller = Caller {
                client: &client,
                journal: &journal,
                kind,
                number: number | if tcp { OVER_TCP } else { 0 },
                random: fastrand::Rng::with_seed(seed.wrapping_add(u64::from(number))),
                body: vec![0; kind.body],
                connection: None,
                failed: Vec::new(),
            };
            let stop = &stop;
            threads.push(scope.spawn(move || caller.run(stop).map(|()| caller.failed)));
        }
        let read = stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(result) => failed.extend(result?),
                Err(_) => return Err("a thread of the client panicked".into()),
            }
        }
        read.map(|_| ()).map_err(crate::Error::from)
    })?;
    for failed in &failed {
        let event = failed.ask_until_it_ended(&client);
        journal.append(Record { event, ..failed.record })?;
    }
    Ok(writeln!(stdout(), "done")?)
}

/// Makes the transactions of one kind.
struct Caller<'a> {
    client: &'a Client,
    journal: &'a Journal,
    kind: Kind,
    number: u8,
    random: fastrand::Rng,
    body: Vec<u8>,
    connection: Option<Connection>,
    failed: Vec<Failed>,
}

/// A transaction that failed.
struct Failed {
    error: Error,
    sent: Instant,
    record: Record,
}

impl Caller<'_> {
    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.transact()?;
        }
        Ok(())
    }

    fn transact(&mut self) -> Result<()> {
        let id = self.client.new_transaction();
        // No two requests are alike, so that an answer to another one is seen.
        self.random.fill(&mut self.body);
        self.body[..16].copy_from_slice(&id.0);
        let sent = Instant::now();
        let answer = self.call(id);
        let nanoseconds = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let record = Record { transaction: id, event: Event::Right, kind: self.number, nanoseconds };
        match answer {
            Ok(None) => Ok(self.journal.append(record)?),
            Ok(Some(wrong)) => {
                note(id, &wrong);
                Ok(self.journal.append(Record { event: Event::Wrong, ..record })?)
            }
            Err(error) => self.failed(Failed { error, sent, record }),
        }
    }

    /// What is wrong with the answer, if there is one.
    fn call(&mut self, id: TransactionId) -> std::result::Result<Option<String>, Error> {
        let Kind { is_short, app, .. } = self.kind;
        if is_short {
            let request = self.client.request(SERVER_NODE, app).body(&self.body);
            return request.transaction(id).send().map(|response| self.wrong(id, &response));
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.connect(SERVER_NODE)?,
        };
        let response = connection.call_with(app).body(&self.body).transaction(id).send();
        let result = response.map(|response| self.wrong(id, &response));
        self.connection = Some(connection);
        result
    }

    fn wrong(&self, id: TransactionId, response: &ibp_client::Response<'_>) -> Option<String> {
        if response.code() != 0 {
            return Some(format!("the app answered with code {}", response.code()));
        }
        if response.transaction() != id {
            return Some(format!("the answer is to transaction {}", response.transaction()));
        }
        if response.body() == self.body {
            return None;
        }
        let (got, sent) = (response.body(), &self.body);
        let at = got.iter().zip(sent).position(|(got, sent)| got != sent);
        let at = at.unwrap_or(got.len().min(sent.len()));
        Some(format!(
            "the answer of {} bytes is not the request of {} from byte {at} on",
            got.len(),
            sent.len()
        ))
    }

    fn failed(&mut self, mut failed: Failed) -> Result<()> {
        let error = &failed.error;
        failed.record.event = match (error.state(), error.cause()) {
            (_, Some(Cause::Deadline(_))) => Event::Hung,
            (State::NotSent, _) => Event::NotSent,
            (State::Suspicious, _) => Event::Suspicious,
            (State::Responded, _) => Event::Responded,
        };
        note(failed.record.transaction, error);
        self.journal.append(failed.record)?;
        if error.transaction().is_some_and(|id| id != failed.record.transaction) {
            note(failed.record.transaction, "the error is about another transaction");
            self.journal.append(Record { event: Event::Wrong, ..failed.record })?;
        }
        let event = failed.ask(self.client);
        self.journal.append(Record { event, ..failed.record })?;
        // A node without a host that can be asked is not asked in a hot loop.
        if failed.error.state() == State::NotSent {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.failed.push(failed);
        Ok(())
    }
}

impl Failed {
    /// What the platform says of it now.
    fn ask(&self, client: &Client) -> Event {
        let asked = Instant::now();
        let Ok(report) = client.outcome(&self.error) else { return Event::SaysNothing };
        match report.outcome {
            Outcome::Ended(Execution::Executed(_)) => Event::SaysExecuted,
            Outcome::Ended(Execution::Aborted(_)) => Event::SaysAborted,
            Outcome::Ended(Execution::Rejected(_)) => Event::SaysRejected,
            Outcome::Running => Event::SaysRunning,
            Outcome::Unknown if asked - self.sent < report.memory => Event::SaysUnknown,
            Outcome::Unknown => Event::SaysForgotten,
        }
    }

    fn ask_until_it_ended(&self, client: &Client) -> Event {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.ask(client) {
                Event::SaysRunning if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                event => return event,
            }
        }
    }
}

/// Nobody may be there to read it any more.
fn note(id: TransactionId, text: impl std::fmt::Display) {
    let _ = writeln!(stdout(), "note {id} {text}");
}
