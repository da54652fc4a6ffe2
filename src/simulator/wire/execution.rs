//! Running a statement while its answer is written and the client is listened to.

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::backend::Backend;
use super::disturbance::{Disturbance, Last};
use super::error::WireError;
use super::outgoing::Outgoing;
use super::packet::{Incoming, Message, PacketType};
use super::rows::Rows;
use super::rpc::Statement;
use super::stream::Stream;
use crate::simulator::control::{Fault, Strike, deadlock};
use crate::simulator::protocol::{Reply, ServerError};

/// Replies that the database may be ahead of the wire.
const REPLIES_AHEAD: usize = 2;

/// Bytes of tokens encoded before they are sent.
const PIECE: usize = 64 * 1024;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Line {
    input: ReadHalf<Stream>,
    output: WriteHalf<Stream>,
    incoming: Incoming,
    outgoing: Outgoing,
    /// A request that came while another was running.
    waiting: Option<Message>,
}

impl Line {
    pub(super) fn new(stream: Stream, incoming: Incoming, outgoing: Outgoing) -> Self {
        let (input, output) = split(stream);
        Self {
            input,
            output,
            incoming,
            outgoing,
            waiting: None,
        }
    }

    /// The next request; `None` when the client has left.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, WireError> {
        if let Some(message) = self.waiting.take() {
            return Ok(Some(message));
        }
        self.incoming.next(&mut self.input).await
    }

    /// Where the tokens of the response go.
    pub(super) fn tokens(&mut self) -> &mut Vec<u8> {
        self.outgoing.tokens()
    }

    /// Splits responses into packets of this size from now on.
    pub(super) fn set_packet_size(&mut self, packet_size: usize) {
        self.outgoing.set_packet_size(packet_size);
    }

    /// Sends what is left of the response.
    pub(super) async fn end_response(&mut self) -> Result<(), WireError> {
        self.outgoing.end(&mut self.output).await
    }

    /// Says goodbye.
    pub(super) async fn shutdown(&mut self) -> Result<(), WireError> {
        Ok(self.output.shutdown().await?)
    }
}

/// How an execution ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The statement is over, well or not; the answer lacks its end.
    Complete(Answer),
    /// The client has asked to stop.
    Attention,
    /// The client has left.
    Gone,
}

/// Runs a statement.
///
/// The database, the writing of its replies and the reading of the socket take turns in one task. An
/// attention is therefore heard while rows wait for the client to read them; what is already encoded
/// stays with the line, so that the response goes on from where it was.
pub(super) async fn execute<S: Backend>(
    line: &mut Line,
    session: &mut S,
    statement: &Statement,
    mut answer: Answer,
    strike: Option<&Strike>,
) -> Result<Ending, WireError> {
    if let Some(error) = refusal(strike, line.outgoing.session()) {
        if matches!(strike, Some(strike) if strike.fault == Fault::DeadlockVictim) {
            roll_back(session).await;
        }
        answer.fail(line.outgoing.tokens(), &error);
        return Ok(Ending::Complete(answer));
    }
    let (sender, receiver) = mpsc::channel(REPLIES_AHEAD);
    let run = async {
        // Moved in, so that the channel closes when the statement is over.
        let sender = sender;
        if let Some(strike) = strike.filter(|strike| strike.is_held()) {
            strike.released().await;
        }
        let (sql, parameters) = (&statement.sql, &statement.parameters);
        if statement.called {
            session.call(sql, parameters, &sender).await;
        } else {
            session.run(sql, parameters, &sender).await;
        }
    };
    let disturbance = Disturbance::of(strike, answer.is_chatty());
    let mut writer = Writer {
        answer: &mut answer,
        outgoing: &mut line.outgoing,
        output: &mut line.output,
        disturbance,
    };
    let write = writer.write(receiver);
    let work = async {
        tokio::pin!(run, write);
        tokio::select! {
            written = &mut write => written,
            () = &mut run => write.await,
        }
    };
    let watch = watch(&mut line.incoming, &mut line.input, &mut line.waiting);
    let interrupted = tokio::select! {
        biased;
        interrupted = watch => Some(interrupted?),
        worked = work => {
            worked?;
            None
        }
    };
    Ok(interrupted.unwrap_or(Ending::Complete(answer)))
}

/// The error of a statement that is not run.
fn refusal(strike: Option<&Strike>, session: u16) -> Option<ServerError> {
    match &strike?.fault {
        Fault::Error(error) => Some(error.clone()),
        Fault::DeadlockVictim => Some(deadlock(session)),
        _ => None,
    }
}

/// Ends the session's transaction, if it has one.
async fn roll_back<S: Backend>(session: &mut S) {
    let (sender, mut receiver) = mpsc::channel(REPLIES_AHEAD);
    let run = async {
        let sender = sender;
        let sql = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";
        session.run(sql, &[], &sender).await;
    };
    let drain = async { while receiver.recv().await.is_some() {} };
    tokio::join!(run, drain);
}

/// Writes the replies of one statement.
struct Writer<'l> {
    answer: &'l mut Answer,
    outgoing: &'l mut Outgoing,
    output: &'l mut WriteHalf<Stream>,
    disturbance: Disturbance,
}

impl Writer<'_> {
    /// Writes replies until there are no more, or one that cannot be told.
    async fn write(&mut self, mut replies: mpsc::Receiver<Reply>) -> Result<(), WireError> {
        while let Some(reply) = replies.recv().await {
            if self.disturbance.interjects(&reply) {
                let within_rows = matches!(reply, Reply::Done { .. });
                self.answer.interject(self.outgoing.tokens(), within_rows);
            }
            match self.answer.reply(self.outgoing.tokens(), reply) {
                Ok(None) => {}
                Ok(Some(rows)) => {
                    if self.rows(rows).await? {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.answer.fail(self.outgoing.tokens(), &error);
                    return Ok(());
                }
            }
            self.outgoing.send(self.output).await?;
        }
        self.ended().await
    }

    /// Writes rows; whether the statement is over with them.
    async fn rows(&mut self, mut rows: Rows) -> Result<bool, WireError> {
        let cut = self.disturbance.rows(rows.left());
        if let Some(whole) = cut {
            if self.disturbance.cuts() {
                return self.cut(rows, whole).await.map(|()| true);
            }
            rows.keep(whole);
        }
        loop {
            let tokens = self.outgoing.tokens();
            let enough = if self.disturbance.is_chatty() {
                tokens.len() + 1
            } else {
                PIECE
            };
            match rows.put(tokens, enough) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.answer.fail(self.outgoing.tokens(), &error);
                    return Ok(true);
                }
            }
            if self.disturbance.is_chatty() {
                self.answer.interject(self.outgoing.tokens(), true);
            }
            self.outgoing.send(self.output).await?;
        }
        if cut.is_some() {
            self.ended().await?;
        }
        Ok(cut.is_some())
    }

    /// Cuts the connection in the middle of a row.
    async fn cut(&mut self, mut rows: Rows, whole: usize) -> Result<(), WireError> {
        let left = rows.left();
        rows.keep(whole);
        while rows.put(self.outgoing.tokens(), PIECE).unwrap_or(false) {
            self.outgoing.send(self.output).await?;
        }
        rows.keep_again(left - whole);
        // A row that cannot be told is cut before its first byte.
        let _ = rows.put_half(self.outgoing.tokens());
        self.outgoing.send_all(self.output).await?;
        Err(WireError::Cut)
    }

    /// Does what was to happen before the statement's end at the latest.
    async fn ended(&mut self) -> Result<(), WireError> {
        match self.disturbance.last() {
            Last::Nothing => Ok(()),
            Last::Error(error) => {
                self.answer.fail(self.outgoing.tokens(), &error);
                Ok(())
            }
            Last::Cut => {
                self.outgoing.send_all(self.output).await?;
                Err(WireError::Cut)
            }
        }
    }
}

/// Waits for the client to interrupt; ends in nothing else.
async fn watch(
    incoming: &mut Incoming,
    input: &mut ReadHalf<Stream>,
    waiting: &mut Option<Message>,
) -> Result<Ending, WireError> {
    while waiting.is_none() {
        match incoming.next(input).await? {
            None => return Ok(Ending::Gone),
            Some(message) if message.kind == PacketType::Attention => return Ok(Ending::Attention),
            Some(message) => *waiting = Some(message),
        }
    }
    std::future::pending().await
}
