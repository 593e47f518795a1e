//! What one visit to a connection does: take what the peer sent, answer it, and say how the connection goes on.
//!
//! A visit never waits. What is missing of a frame, and what the peer does not take of an answer, is kept
//! ([`Conversation::keep`]), and whichever worker is woken next goes on with it.

mod input;
mod linger;
mod pieces;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ibp_core::wire::ib2::{
    ClientHello, OutcomeAnswer, OutcomeQuery, PeerError, Request, ResponseHead, ServerEvent, ServerHello,
    ServerPhase, ServerStep, put_preamble,
};
use ibp_core::wire::{AbortReason, ErrorCode, Execution, Protocol, ProtocolError, RejectReason};
use ibp_shm::boottime_ms;
use rustix::io::Errno;

use crate::pool::Pool;
use crate::service::{self, Response, Service};
use crate::shared::board::{Call, Row, Step};
use crate::shared::control::{Count, Stage};
use crate::shared::name::Name;
use crate::shared::table::{Saved, State};
use crate::sys::descriptor::Descriptor;
use crate::worker::Exit;

use self::input::{BUFFER, BUFFER_KEPT, Input};
use self::linger::Linger;

/// Requests of one connection answered in a row, before others get their turn.
const REQUESTS_IN_A_ROW: usize = 8;

/// The same while the worker lingers on a connection that always asks again at once.
const LINGERED_IN_A_ROW: usize = 64;

/// A connection while a worker has it.
pub(crate) struct Live {
    pub(crate) descriptor: Descriptor,
    /// Its row; `None` for a fresh connection, which no other process knows.
    pub(crate) id: Option<u32>,
    pub(crate) saved: Saved,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is over, or broken.
    Close,
    /// It waits, in this state.
    Park(State),
    /// An error was sent, and the peer is to close.
    Part,
}

pub(crate) struct Conversation<'p> {
    pool: &'p Pool,
    slot: usize,
    row: &'p Row,
    input: Input,
    /// What is to be sent, and how much of it was.
    output: Vec<u8>,
    sent: usize,
    linger: Linger,
    exit: Option<Exit>,
}

impl<'p> Conversation<'p> {
    pub(crate) fn new(pool: &'p Pool, slot: usize) -> Self {
        let input = Input::new();
        let output = Vec::with_capacity(BUFFER);
        Self {
            pool,
            slot,
            row: pool.board.row(slot),
            input,
            output,
            sent: 0,
            linger: Linger::new(),
            exit: None,
        }
    }

    /// Why the worker has to end after this visit, if it has to.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Visits a connection.
    pub(crate) fn hold(&mut self, live: &mut Live) -> Verdict {
        self.input.empty();
        self.output.clear();
        self.output.shrink_to(BUFFER_KEPT);
        self.sent = 0;
        if let Some(verdict) = self.go_on_sending(live) {
            return verdict;
        }
        self.row.set_step(Step::Receiving);
        if let Some(verdict) = self.go_on_receiving(live) {
            return verdict;
        }
        match self.converse(live) {
            Ok(verdict) => verdict,
            Err(error) => self.say_error(live, &error),
        }
    }

    fn converse(&mut self, live: &mut Live) -> Result<Verdict, ProtocolError> {
        let mut answered = 0;
        let mut lingering = false;
        loop {
            let input = std::mem::take(&mut self.input.bytes);
            let rest = &input[self.input.start..self.input.end];
            let step = live.saved.session.step(rest, &self.pool.settings.limits);
            let outcome = match step {
                Ok(ServerStep::Event { event, used }) => Ok((Some(self.answer(live, event)), used, 0)),
                Ok(ServerStep::More(need)) => Ok((None, 0, need)),
                Err(error) => Err(error),
            };
            self.input.bytes = input;
            let (event, used, need) = outcome?;
            self.input.use_up(used);
            match event {
                // The hello's answer goes with the first response, if that request is there already.
                Some(Ok(Answered::Hello)) => continue,
                Some(Ok(Answered::Request)) => {
                    answered += 1;
                    live.saved.since_ms = 0;
                    if !self.send(live.descriptor)? {
                        return Ok(Verdict::Park(State::Writing));
                    }
                    self.row.set_answered();
                    if live.saved.session.phase() == ServerPhase::Last {
                        return Ok(Verdict::Close);
                    }
                    if self.exit.is_some() || answered >= REQUESTS_IN_A_ROW && self.input.len() > 0 {
                        return Ok(Verdict::Park(if self.input.len() > 0 {
                            State::Queued
                        } else {
                            State::Idle
                        }));
                    }
                    continue;
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
            self.input.need = need;
            if !self.output.is_empty() {
                // The hello. Whoever finds this worker dead here cannot know whether the client has it.
                self.row.set_step(Step::Answering);
                if !self.send(live.descriptor)? {
                    return Ok(Verdict::Park(State::Writing));
                }
                self.row.set_answered();
                live.saved.since_ms = 0;
            }
            if answered > 0 && self.input.len() == 0 {
                if answered >= LINGERED_IN_A_ROW || !self.linger.is_worth_it() {
                    return Ok(Verdict::Park(State::Idle));
                }
                rustix::thread::sched_yield();
                lingering = true;
            }
            if answered == 0 {
                self.row.set_step(Step::Receiving);
            }
            self.input.make_room();
            let end = self.input.end;
            let received = live.descriptor.receive(&mut self.input.bytes[end..]);
            if lingering {
                self.linger.learn(received.is_ok());
                lingering = false;
            }
            match received {
                Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Verdict::Close),
                Ok(length) => {
                    if self.input.len() == 0 {
                        // From now on the peer has begun something.
                        live.saved.since_ms = 0;
                    }
                    self.input.end += length;
                }
                Err(Errno::AGAIN) => return Ok(Verdict::Park(State::Idle)),
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    return Ok(Verdict::Close);
                }
            }
        }
    }

    /// Sends all output; false when the peer did not take all of it.
    fn send(&mut self, descriptor: Descriptor) -> Result<bool, ProtocolError> {
        while self.sent < self.output.len() {
            match descriptor.send(&self.output[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => {
                    // The peer has gone; the next read says so.
                    break;
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    fn answer(&mut self, live: &mut Live, event: ServerEvent<'_>) -> Result<Answered, ProtocolError> {
        match event {
            ServerEvent::Hello(hello) => self.greet(live, &hello).map(|()| Answered::Hello),
            ServerEvent::Request(request) => {
                self.run(live, &request);
                Ok(Answered::Request)
            }
            ServerEvent::OutcomeQuery(query) => {
                self.tell_outcome(&query);
                Ok(Answered::Request)
            }
            ServerEvent::FileBegin(_) | ServerEvent::FileData(_) | ServerEvent::FileEnd => {
                Err(ProtocolError::Malformed { frame: "FILE_BEGIN", what: "this platform takes no files" })
            }
            ServerEvent::FetchFile(_) | ServerEvent::FilesDone => {
                Err(ProtocolError::Malformed { frame: "FETCH_FILE", what: "there is no file to fetch" })
            }
        }
    }

    fn greet(&mut self, live: &mut Live, hello: &ClientHello<'_>) -> Result<(), ProtocolError> {
        if hello.requires != 0 {
            return Err(ProtocolError::Security("this platform cannot give what the client requires"));
        }
        live.saved.client_node = Name::new(hello.node);
        put_preamble(&mut self.output);
        ServerHello::plain(self.pool.settings.limits, self.pool.load()).put(&mut self.output);
        Ok(())
    }

    fn tell_outcome(&mut self, query: &OutcomeQuery) {
        self.row.set_number(query.number);
        let remembered = self.pool.outcomes.find(query.transaction, boottime_ms());
        OutcomeAnswer {
            number: query.number,
            transaction: query.transaction,
            outcome: remembered.outcome,
            age_ms: remembered.age_ms,
            horizon_ms: remembered.horizon_ms,
        }
        .put(&mut self.output);
    }

    /// Runs the app that a request asks for, and puts the answer into the output.
    fn run(&mut self, live: &Live, request: &Request<'_>) {
        // The fixed part of the answer is filled in when the body behind it is written.
        let head_at = self.output.len();
        self.output.resize(head_at + ResponseHead::LEN, 0);
        let execution = match live.saved.client_node.read(|client| self.admit(client, request)) {
            Ok((service, timeout_ms)) => self.call(live, request, service, timeout_ms, head_at),
            Err(reason) => {
                self.row.set_number(request.number);
                self.row.count_rejected();
                Execution::Rejected(reason)
            }
        };
        let explanation = match execution {
            Execution::Executed(_) => None,
            Execution::Rejected(reason) => Some(reason.to_string()),
            Execution::Aborted(reason) => Some(reason.to_string()),
        };
        if let Some(text) = explanation {
            self.output.truncate(head_at + ResponseHead::LEN);
            self.output.extend_from_slice(text.as_bytes());
        }
        let head = ResponseHead {
            number: request.number,
            transaction: request.transaction,
            execution,
            load: self.pool.load(),
            files: 0,
        };
        let body_length = self.output.len() - head_at - ResponseHead::LEN;
        self.output[head_at..head_at + ResponseHead::LEN].copy_from_slice(&head.to_bytes(body_length));
    }

    /// Whether the request may run: what runs it, and for how long it may.
    fn admit(&self, client: &str, request: &Request<'_>) -> Result<(&'p dyn Service, u64), RejectReason> {
        if self.pool.control.stage() >= Stage::Draining {
            return Err(RejectReason::Draining);
        }
        if request.remaining_ms == 0 {
            return Err(RejectReason::DeadlineOver);
        }
        let node = self.pool.node.as_str();
        if !request.node.is_empty() && !node.is_empty() && request.node != node {
            return Err(RejectReason::WrongNode);
        }
        let service = self.pool.services.get(request.app).ok_or(RejectReason::UnknownApp)?;
        let mut timeout_ms = self.pool.settings.app_timeout.as_millis() as u64;
        if let Some(reader) = &self.pool.configuration {
            let configuration = reader.current();
            if configuration.node(node).is_some_and(|node| node.invalid()) {
                return Err(RejectReason::InvalidNode);
            }
            if let Some(app) = configuration.app(request.app) {
                if app.invalid() {
                    return Err(RejectReason::InvalidApp);
                }
                timeout_ms = u64::from(app.timeout2_ms());
            }
            if !configuration.permits(client, node, request.app) {
                return Err(RejectReason::NotPermitted);
            }
        }
        Ok((service.as_ref(), timeout_ms))
    }

    fn call(
        &mut self,
        live: &Live,
        request: &Request<'_>,
        service: &dyn Service,
        timeout_ms: u64,
        head_at: usize,
    ) -> Execution {
        let now_ms = boottime_ms();
        let outcome = self.pool.outcomes.begin(request.transaction, now_ms);
        self.row.begin(&Call {
            app: request.app,
            number: request.number,
            transaction: request.transaction,
            outcome,
            now_ms,
            timeout_ms,
        });
        let limit = self.pool.settings.limits.max_body as usize;
        let execution = live.saved.client_node.read(|client_node| {
            let asked = service::Request {
                app: request.app,
                body: request.body,
                transaction: request.transaction,
                remaining: Duration::from_millis(u64::from(request.remaining_ms)),
                client_node,
                connection: live.descriptor,
                worker: self.slot,
            };
            let mut response = Response::new(&mut self.output, limit);
            match catch_unwind(AssertUnwindSafe(|| service.call(&asked, &mut response))) {
                Ok(_) if response.is_over() => Execution::Aborted(AbortReason::ResponseTooLong),
                Ok(code) => Execution::Executed(code),
                Err(_) => Execution::Aborted(AbortReason::AppPanicked),
            }
        });
        if execution == Execution::Aborted(AbortReason::AppPanicked) {
            tracing::error!(
                slot = self.slot,
                app = request.app,
                transaction = %request.transaction,
                "the app panicked; its worker is replaced"
            );
            self.exit = Some(Exit::Panicked);
            // The app may have left the buffer in any length.
            self.output.resize(head_at + ResponseHead::LEN, 0);
        }
        self.pool.outcomes.end(outcome, execution);
        self.row.set_step(Step::Answering);
        if matches!(execution, Execution::Executed(_)) {
            self.row.count_executed();
        } else {
            self.row.count_aborted();
        }
        execution
    }

    /// Tells a peer what it did wrong.
    fn say_error(&mut self, live: &Live, error: &ProtocolError) -> Verdict {
        self.pool.control.count(Count::ProtocolError);
        tracing::info!(peer = ?peer_of(live.descriptor), %error, "a peer broke the protocol");
        // The answer to a hello may wait in the output: it goes first.
        if let ProtocolError::BadPreamble(_) = error
            && Protocol::detect(self.input.rest()) == Some(Protocol::Http)
        {
            let head = "HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain\r\nConnection: close";
            let text = format!("{error}\n");
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            self.output.extend_from_slice(answer.as_bytes());
        } else {
            put_error(&live.saved, error.code(), &error.to_string(), &mut self.output);
        }
        let _ = live.descriptor.send(&self.output);
        self.output.clear();
        // What came with the error is not looked at any more.
        (self.input.start, self.input.end) = (0, 0);
        Verdict::Part
    }

    fn say_full(&mut self, live: &Live) -> Verdict {
        self.pool.control.count(Count::Refused);
        self.refuse(live);
        Verdict::Part
    }

    /// Tells a peer that there is no room for its connection.
    pub(crate) fn refuse(&self, live: &Live) {
        let text = "the platform has no room for this now; try again later";
        say(live.descriptor, &live.saved, ErrorCode::Full, text);
    }

    /// Tells a peer that it was too slow.
    pub(crate) fn say_too_slow(&self, descriptor: Descriptor, saved: &Saved) {
        let text = "the rest of what was begun did not come in time";
        say(descriptor, saved, ErrorCode::Timeout, text);
    }
}

/// What was made of an event.
enum Answered {
    Hello,
    Request,
}

fn say(descriptor: Descriptor, saved: &Saved, code: ErrorCode, text: &str) {
    let mut bytes = Vec::with_capacity(128);
    put_error(saved, code, text, &mut bytes);
    // A peer that does not read it sees the end.
    let _ = descriptor.send(&bytes);
}

fn put_error(saved: &Saved, code: ErrorCode, text: &str, out: &mut Vec<u8>) {
    if saved.session.phase() == ServerPhase::Hello {
        put_preamble(out);
    }
    PeerError { last_taken: saved.session.last_taken(), code, text }.put(out);
}

fn peer_of(descriptor: Descriptor) -> Option<std::net::SocketAddr> {
    rustix::net::getpeername(descriptor).ok()??.try_into().ok()
}
