//! One connection to one host: the protocol's session, its socket and its buffers. It sends a question and reads the
//! answer, and knows at each moment what is known of the question.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use ibp_core::wire::ib2::{
    ClientEvent, ClientHello, ClientSession, ClientStep, FrameType, GoodbyeReason, HEADER_LEN, Header,
    OutcomeAnswer, OutcomeQuery, Request, ResponseHead, put_preamble,
};
use ibp_core::wire::{Limits, ProtocolError, TransactionId};

use crate::buffers::Buffers;
use crate::cause::peer_text;
use crate::transport::{Deadline, Readiness, Socket};
use crate::{Cause, Phase, State};

/// A connection to a host.
pub(crate) struct Link {
    socket: Socket,
    session: ClientSession,
    buffers: Buffers,
    host: SocketAddr,
    greeting_sent: bool,
    /// What the server's hello said that it takes.
    server_limits: Option<Limits>,
    /// The number of the last question.
    number: u32,
    /// The server has said that it did not take the last question.
    not_taken: bool,
    /// Nothing can be asked any more: the server said goodbye, or a question was not sent whole.
    ended: bool,
    /// When the last question was asked.
    last_asked: Instant,
}

/// What is asked, by when, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) this_node: &'a str,
    pub(crate) subject: Subject<'a>,
    pub(crate) transaction: TransactionId,
    /// What the clock says.
    pub(crate) now: Instant,
    pub(crate) deadline: Deadline,
    pub(crate) limits: &'a Limits,
    /// No other question follows on this connection.
    pub(crate) last: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// Run an app.
    Request { node: &'a str, app: &'a str, body: &'a [u8], remaining_ms: u32 },
    /// What became of the transaction?
    Outcome,
}

/// What the platform answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The body is this part of [`Link::received`].
    Response(ResponseHead, Range<usize>),
    Outcome(OutcomeAnswer),
}

/// There is no answer, and the link is of no use any more.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) state: State,
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
}

/// Bodies up to this many bytes are copied behind the head of the request: cheaper than a second piece.
const COPIED_BODY: usize = 8 << 10;

/// A link whose last question was asked longer ago than this is looked at before it is used: whether the server has closed it, or died.
/// It costs a system call, which does not count at that pace.
const IDLE: Duration = Duration::from_millis(10);

/// Parts larger than this go out with `TCP_NODELAY` also on a short connection.
const LARGE: usize = 64 << 10;

impl Link {
    pub(crate) fn new(socket: Socket, host: SocketAddr, buffers: Buffers) -> Self {
        Self {
            socket,
            session: ClientSession::new(),
            buffers,
            host,
            greeting_sent: false,
            server_limits: None,
            number: 0,
            not_taken: false,
            ended: false,
            last_asked: Instant::now(),
        }
    }

    pub(crate) fn host(&self) -> SocketAddr {
        self.host
    }

    /// Over a Unix socket, not TCP.
    pub(crate) fn is_local(&self) -> bool {
        !self.socket.is_tcp()
    }

    /// The bytes that [`Answer::Response`] refers to.
    pub(crate) fn received(&self) -> &[u8] {
        self.buffers.inbox.bytes()
    }

    /// Has each request leave at once: for a link on which many are made.
    pub(crate) fn send_at_once(&self) {
        self.socket.send_at_once();
    }

    /// Why the link cannot be used for a question any more; `None` if nothing speaks against it. Nothing is under way.
    pub(crate) fn staleness(&mut self, limits: &Limits, now: Instant) -> Option<Cause> {
        if self.ended || self.number == u32::MAX {
            return Some(Cause::Goodbye(GoodbyeReason::Recycled));
        }
        self.buffers.inbox.forget_used();
        if now.saturating_duration_since(self.last_asked) > IDLE {
            match self.socket.receive_now(self.buffers.inbox.make_room(0)) {
                Ok(None) => {}
                Ok(Some(0)) => return Some(Cause::Closed),
                Ok(Some(_)) => {}
                Err(error) => return Some(Cause::Io(error)),
            }
        }
        if self.buffers.inbox.unused().is_empty() {
            return None;
        }
        // A server says nothing unasked but that it ends the connection.
        match self.session.step(self.buffers.inbox.unused(), limits) {
            Ok(ClientStep::Event { event: ClientEvent::Goodbye(goodbye), .. }) => {
                Some(Cause::Goodbye(goodbye.reason))
            }
            Ok(ClientStep::Event { event: ClientEvent::Error(error), .. }) => {
                Some(Cause::Peer { code: error.code, text: peer_text(error.text.as_bytes()) })
            }
            Ok(_) => Some(Cause::Closed),
            Err(error) => Some(Cause::Protocol(error)),
        }
    }

    /// What the platform takes as a body, if its hello has said so.
    pub(crate) fn longest_body(&self) -> Option<u64> {
        self.server_limits.map(|limits| limits.max_body)
    }

    /// Sends a question and reads its answer.
    pub(crate) fn ask(&mut self, question: &Question<'_>) -> Result<Answer, Broken> {
        let mut outbox = std::mem::take(&mut self.buffers.outbox);
        let mut flight = self.prepare(question, &mut outbox);
        let answer =
            self.exchange(question, &mut flight).map_err(|cause| flight.judge(cause, self.not_taken));
        if answer.is_err() || !flight.is_sent() {
            self.ended = true;
        }
        self.buffers.outbox = outbox;
        answer
    }

    /// Waits for the server to close first, after the last answer of a connection: the side that closes first keeps the
    /// port for a minute, and a client has few ports (`wire.md`, "Closing").
    pub(crate) fn finish(self, deadline: Deadline) -> Buffers {
        const LONGEST: Duration = Duration::from_secs(1);
        if self.socket.is_tcp() {
            self.socket.wait_for_end(deadline.at_most(LONGEST));
        }
        self.buffers
    }

    /// Writes what goes out for a question.
    fn prepare<'a>(&mut self, question: &Question<'a>, outbox: &'a mut Vec<u8>) -> Flight<'a> {
        outbox.clear();
        if !self.greeting_sent {
            put_preamble(outbox);
            ClientHello::plain(question.this_node).put(outbox);
        }
        let question_at = outbox.len();
        self.number = self.session.next_number();
        let (number, last, transaction) = (self.number, question.last, question.transaction);
        let body = match question.subject {
            Subject::Outcome => {
                OutcomeQuery { number, last, transaction }.put(outbox);
                &[][..]
            }
            Subject::Request { node, app, body, remaining_ms } => {
                let (copied, apart) =
                    if body.len() <= COPIED_BODY { (body, &[][..]) } else { (&[][..], body) };
                Request { number, last, transaction, remaining_ms, files: 0, app, node, body: copied }
                    .put(outbox);
                lengthen(outbox, question_at, last, number, apart.len());
                apart
            }
        };
        if body.len() > LARGE {
            self.socket.send_at_once();
        }
        let greets = !self.greeting_sent;
        self.greeting_sent = true;
        Flight { head: outbox, body, question_at, greets, sent: 0 }
    }

    fn exchange(&mut self, question: &Question<'_>, flight: &mut Flight<'_>) -> Result<Answer, Cause> {
        self.last_asked = question.now;
        let mut now = question.now;
        match self.send(question, flight)? {
            Sent::AtOnce => {}
            Sent::Waiting => now = Instant::now(),
            Sent::AndAnswered(answer) => return Ok(answer),
        }
        let mut wanted = HEADER_LEN as u64;
        loop {
            let room = self.buffers.inbox.make_room(wanted);
            match self.socket.receive(room, question.deadline, now) {
                Ok(0) => return Err(Cause::Closed),
                Ok(_) => {}
                Err(error) => return Err(failed(error, question)),
            }
            match self.hear(question)? {
                Heard::Answer(answer) => return Ok(answer),
                Heard::More(more) => wanted = more,
            }
            now = Instant::now();
        }
    }

    /// Sends a flight whole. A server that answers before it has everything, to refuse it, is listened to.
    fn send(&mut self, question: &Question<'_>, flight: &mut Flight<'_>) -> Result<Sent, Cause> {
        let mut sent = Sent::AtOnce;
        while !flight.is_sent() {
            let (head, body) = flight.rest();
            match self.socket.send(head, body) {
                Ok(0) => match self.socket.wait_to_send(question.deadline) {
                    Ok(Readiness::ToSend) => sent = Sent::Waiting,
                    Ok(Readiness::ToReceive) => match self.listen(question)? {
                        Listened::Answer(answer) => return Ok(Sent::AndAnswered(answer)),
                        Listened::Nothing => sent = Sent::Waiting,
                        Listened::End => return Err(Cause::Closed),
                    },
                    Err(error) => return Err(failed(error, question)),
                },
                Ok(count) => flight.sent += count,
                // The server takes no more. It may have said why before.
                Err(error) => {
                    return match self.listen(question) {
                        Ok(Listened::Answer(answer)) => Ok(Sent::AndAnswered(answer)),
                        Ok(Listened::Nothing | Listened::End) => Err(Cause::Io(error)),
                        // A goodbye or an error of the peer says more than the broken pipe.
                        Err(cause @ (Cause::Goodbye(_) | Cause::Peer { .. })) => Err(cause),
                        Err(_) => Err(Cause::Io(error)),
                    };
                }
            }
        }
        Ok(sent)
    }

    /// Takes in what is there already.
    fn listen(&mut self, question: &Question<'_>) -> Result<Listened, Cause> {
        let mut wanted = HEADER_LEN as u64;
        loop {
            match self.socket.receive_now(self.buffers.inbox.make_room(wanted)) {
                Ok(None) => return Ok(Listened::Nothing),
                Ok(Some(0)) => return Ok(Listened::End),
                Ok(Some(_)) => {}
                Err(error) => return Err(Cause::Io(error)),
            }
            match self.hear(question)? {
                Heard::Answer(answer) => return Ok(Listened::Answer(answer)),
                Heard::More(more) => wanted = more,
            }
        }
    }

    /// Goes through what was received, up to the answer.
    fn hear(&mut self, question: &Question<'_>) -> Result<Heard, Cause> {
        loop {
            let inbox = &self.buffers.inbox;
            let (event, used) = match self.session.step(inbox.unused(), question.limits) {
                Ok(ClientStep::More(more)) => return Ok(Heard::More(more)),
                Ok(ClientStep::Event { event, used }) => (event, used),
                Err(error) => return Err(Cause::Protocol(error)),
            };
            let answer = match event {
                ClientEvent::Hello(hello) => {
                    if hello.chosen != 0 {
                        return Err(Cause::Protocol(ProtocolError::Security(
                            "the platform switches on what was not offered",
                        )));
                    }
                    self.server_limits = Some(hello.limits);
                    None
                }
                ClientEvent::Response(response) => {
                    let end = inbox.used() + used;
                    Some(Answer::Response(response.head, end - response.body.len()..end))
                }
                ClientEvent::OutcomeAnswer(answer) => Some(Answer::Outcome(answer)),
                ClientEvent::Goodbye(goodbye) => {
                    self.not_taken = !self.session.was_taken(self.number, goodbye.last_taken);
                    // It is the server's last frame: with the question taken, its answer is lost.
                    return Err(if self.not_taken { Cause::Goodbye(goodbye.reason) } else { Cause::Closed });
                }
                ClientEvent::Error(error) => {
                    self.not_taken = !self.session.was_taken(self.number, error.last_taken);
                    return Err(Cause::Peer { code: error.code, text: peer_text(error.text.as_bytes()) });
                }
                ClientEvent::FileBegin(_) | ClientEvent::FileData(_) | ClientEvent::FileEnd => {
                    return Err(unexpected(FrameType::FileBegin, "before a file was asked for"));
                }
            };
            self.buffers.inbox.mark_used(used);
            if let Some(answer) = answer {
                return answer.checked(question).map(Heard::Answer);
            }
        }
    }
}

enum Sent {
    AtOnce,
    /// And it took some time.
    Waiting,
    /// Not whole perhaps: the answer came before.
    AndAnswered(Answer),
}

enum Heard {
    Answer(Answer),
    /// The next frame is not whole: this many unused bytes make it so.
    More(u64),
}

enum Listened {
    Answer(Answer),
    Nothing,
    End,
}

impl Answer {
    /// Whether it answers this question: the right kind, about the right transaction.
    fn checked(self, question: &Question<'_>) -> Result<Self, Cause> {
        let (frame, name, transaction) = match (&self, question.subject) {
            (Answer::Response(head, _), Subject::Request { .. }) => {
                (FrameType::Response, "RESPONSE", head.transaction)
            }
            (Answer::Outcome(answer), Subject::Outcome) => {
                (FrameType::OutcomeAnswer, "OUTCOME_ANSWER", answer.transaction)
            }
            (Answer::Response(..), _) => return Err(unexpected(FrameType::Response, "after a query")),
            (Answer::Outcome(_), _) => return Err(unexpected(FrameType::OutcomeAnswer, "after a request")),
        };
        debug_assert_eq!(frame.name(), name);
        if transaction != question.transaction {
            let what = "it is about another transaction";
            return Err(Cause::Protocol(ProtocolError::Malformed { frame: name, what }));
        }
        Ok(self)
    }
}

fn unexpected(frame: FrameType, place: &'static str) -> Cause {
    Cause::Protocol(ProtocolError::UnexpectedFrame { frame: frame as u8, place })
}

fn failed(error: io::Error, question: &Question<'_>) -> Cause {
    if error.kind() == io::ErrorKind::TimedOut {
        Cause::Deadline(question.deadline.whole())
    } else {
        Cause::Io(error)
    }
}

/// What goes out for one question, and how much of it is out.
struct Flight<'a> {
    head: &'a [u8],
    body: &'a [u8],
    /// Where in `head` the question's frame begins.
    question_at: usize,
    /// Preamble and hello stand before it.
    greets: bool,
    /// Bytes that the kernel took.
    sent: usize,
}

impl Flight<'_> {
    fn is_sent(&self) -> bool {
        self.sent >= self.head.len() + self.body.len()
    }

    fn rest(&self) -> (&[u8], &[u8]) {
        match self.sent.checked_sub(self.head.len()) {
            None => (&self.head[self.sent..], self.body),
            Some(of_body) => (&self.body[of_body.min(self.body.len())..], &[]),
        }
    }

    /// What is known when it failed for this cause.
    fn judge(&self, cause: Cause, not_taken: bool) -> Broken {
        let begun = self.sent > self.question_at;
        let phase = if self.is_sent() {
            Phase::Waiting
        } else if begun || !self.greets {
            Phase::Sending
        } else {
            Phase::Hello
        };
        let state = if begun && !not_taken { State::Suspicious } else { State::NotSent };
        Broken { state, phase, cause }
    }
}

/// Has the header of the request at `at` say that `more` bytes of body follow what is there.
fn lengthen(outbox: &mut [u8], at: usize, last: bool, number: u32, more: usize) {
    if more == 0 {
        return;
    }
    let length = (outbox.len() - at - HEADER_LEN + more) as u64;
    let flags = if last { Header::LAST } else { 0 };
    let header = Header { frame: FrameType::Request, flags, number, length };
    outbox[at..at + HEADER_LEN].copy_from_slice(&header.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::lengthen;
    use ibp_core::wire::TransactionId;
    use ibp_core::wire::ib2::Request;

    #[test]
    fn a_body_apart_makes_the_same_bytes() {
        let body = [7; 100];
        let request = Request {
            number: 9,
            last: true,
            transaction: TransactionId([1; 16]),
            remaining_ms: 5,
            files: 0,
            app: "app",
            node: "NODE",
            body: &body,
        };
        let mut whole = b"before".to_vec();
        request.put(&mut whole);
        let mut apart = b"before".to_vec();
        Request { body: &[], ..request }.put(&mut apart);
        lengthen(&mut apart, 6, true, 9, body.len());
        apart.extend_from_slice(&body);
        assert_eq!(whole, apart);
    }
}
