//! Running a statement while its answer is written and the client is listened to.

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::backend::Backend;
use super::error::WireError;
use super::outgoing::Outgoing;
use super::packet::{Incoming, Message, PacketType};
use super::rpc::Statement;
use super::stream::Stream;
use crate::simulator::protocol::Reply;

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
) -> Result<Ending, WireError> {
    let (sender, receiver) = mpsc::channel(REPLIES_AHEAD);
    let run = async {
        // Moved in, so that the channel closes when the statement is over.
        let sender = sender;
        session
            .run(&statement.sql, &statement.parameters, &sender)
            .await;
    };
    let write = write(receiver, &mut answer, &mut line.outgoing, &mut line.output);
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

/// Writes replies until there are no more, or one that cannot be told.
async fn write(
    mut replies: mpsc::Receiver<Reply>,
    answer: &mut Answer,
    outgoing: &mut Outgoing,
    output: &mut WriteHalf<Stream>,
) -> Result<(), WireError> {
    while let Some(reply) = replies.recv().await {
        let mut rows = match answer.reply(outgoing.tokens(), reply) {
            Ok(rows) => rows,
            Err(error) => {
                answer.fail(outgoing.tokens(), &error);
                return Ok(());
            }
        };
        while let Some(left) = &mut rows {
            match left.put(outgoing.tokens(), PIECE) {
                Ok(true) => {}
                Ok(false) => rows = None,
                Err(error) => {
                    answer.fail(outgoing.tokens(), &error);
                    return Ok(());
                }
            }
            outgoing.send(output).await?;
        }
        outgoing.send(output).await?;
    }
    Ok(())
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
