//! One connection, from its socket to its end.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::simulator::behaviour::{Behaviour, Chance};
use crate::simulator::control::{ClientSession, Control, Fault, LoginFault, Strike};
use crate::simulator::protocol::ServerError;
use crate::simulator::server::{Accounts, SessionFactory, Tls};

use super::answer::Answer;
use super::backend::Backend;
use super::error::WireError;
use super::execution::{Ending, Line, execute};
use super::handshake::{self, Introduced};
use super::login::{DEFAULT_PACKET_SIZE, LoginRequest};
use super::outgoing::Outgoing;
use super::packet::{Message, REQUEST_LIMIT, Reset};
use super::parameter::CallError;
use super::plan::Plan;
use super::prepared::Prepared;
use super::reader::Reader;
use super::request::Request;
use super::rpc::{self, Statement};
use super::tls::Identity;
use super::token::{self, Change, DONE_ATTENTION, DONE_ERROR, Done, DoneToken};
use super::transaction::TransactionRequest;

/// The first version with NBCROW.
const TDS_7_3_B: u32 = 0x730b_0003;
/// How long a client that is being turned out may take to hear why.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a server asks of its clients, and gives them.
pub(crate) struct Terms<S> {
    pub(crate) user: String,
    pub(crate) password: SecretString,
    pub(crate) accounts: Accounts,
    pub(crate) tls: Tls,
    pub(crate) behaviour: Behaviour,
    pub(crate) control: Control,
    pub(crate) identity: Identity,
    pub(crate) sessions: SessionFactory<S>,
}

impl<S> fmt::Debug for Terms<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Serves one client until it leaves; `session` is the id that its packets carry.
///
/// # Errors
///
/// The socket failed, or the client did not speak TDS.
pub(crate) async fn serve<S: Backend>(
    socket: TcpStream,
    terms: &Terms<S>,
    session: u16,
) -> Result<(), WireError> {
    let introduced = handshake::introduce(socket, terms.tls, &terms.identity, session).await?;
    let backend = match handshake::admit(terms, &introduced.login) {
        Ok(backend) => backend,
        Err(errors) => return handshake::turn_away(introduced.stream, session, &errors).await,
    };
    let is_writer = !introduced.login.reads_only();
    let fault = terms.control.login_fault();
    if let Some(fault) =
        fault.filter(|fault| !(is_writer && matches!(fault, LoginFault::RedirectReaders { .. })))
    {
        let place = (backend.database(), backend.locale().language);
        return handshake::fail_login(introduced, session, fault, place).await;
    }
    let login = &introduced.login;
    tracing::debug!(
        session,
        user = login.user(),
        application = login.application(),
        "logged in"
    );
    let registered = terms.control.register(ClientSession {
        id: session,
        user: login.user().to_owned(),
        application: login.application().to_owned(),
        encryption: introduced.encryption,
        read_only: login.reads_only(),
    });
    let mut connection = Connection::new(introduced, terms, backend, session);
    connection.welcome().await?;
    let killed = tokio::select! {
        result = connection.serve() => Some(result),
        () = registered.killed() => None,
    };
    let Some(result) = killed else {
        return connection.kill().await;
    };
    if let Err(WireError::Malformed { .. } | WireError::TooLong { .. }) = &result {
        connection.refuse().await?;
    }
    result
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The client may send another.
    Request,
    /// The connection is to be closed.
    Close,
}

/// A client that is logged in.
struct Connection<'t, S> {
    terms: &'t Terms<S>,
    login: LoginRequest,
    session: S,
    line: Line,
    prepared: Prepared,
    /// What chooses the forms of rows.
    chance: Option<Chance>,
    /// Whether a request is being answered.
    is_busy: bool,
}

impl<'t, S: Backend> Connection<'t, S> {
    fn new(introduced: Introduced, terms: &'t Terms<S>, session: S, id: u16) -> Self {
        let mut incoming = introduced.incoming;
        incoming.set_limit(REQUEST_LIMIT);
        let mut outgoing = Outgoing::new(DEFAULT_PACKET_SIZE, id);
        let behaviour = &terms.behaviour;
        outgoing.set_chance(behaviour.packet_chance(id), behaviour.segment_chance(id));
        let mut login = introduced.login;
        login.packet_size = behaviour.packet_size(id, login.packet_size);
        Self {
            terms,
            login,
            session,
            line: Line::new(introduced.stream, incoming, outgoing),
            prepared: Prepared::default(),
            chance: behaviour.row_chance(id),
            is_busy: false,
        }
    }

    async fn welcome(&mut self) -> Result<(), WireError> {
        let (database, locale) = (self.session.database(), self.session.locale());
        handshake::welcome(self.line.tokens(), &self.login, database, locale.language);
        self.line.end_response().await?;
        self.line.set_packet_size(self.login.packet_size);
        Ok(())
    }

    async fn serve(&mut self) -> Result<(), WireError> {
        while let Some(message) = self.line.next().await? {
            self.is_busy = true;
            if self.reset(message.reset).await? == Next::Close
                || self.request(&message).await? == Next::Close
            {
                break;
            }
            self.is_busy = false;
        }
        self.line.shutdown().await
    }

    /// Gives a pooled connection's next user a new session.
    async fn reset(&mut self, reset: Reset) -> Result<Next, WireError> {
        if reset == Reset::Nothing {
            return Ok(Next::Request);
        }
        if reset == Reset::AllButTransaction {
            self.session.reset().await;
        } else {
            match (self.terms.sessions)(&self.login) {
                Ok(session) => self.session = session,
                Err(error) => {
                    self.fail_batch(&error).await?;
                    return Ok(Next::Close);
                }
            }
        }
        self.prepared = Prepared::default();
        token::change(self.line.tokens(), Change::Reset);
        Ok(Next::Request)
    }

    async fn request(&mut self, message: &Message) -> Result<Next, WireError> {
        match Request::decode(message)? {
            Request::Batch(sql) => self.batch(&Statement::batch(sql)).await,
            Request::Calls(calls) => self.calls(calls).await,
            Request::Transaction(request) => self.transaction(request).await,
            Request::Attention => self.acknowledge(None).await,
            Request::BulkLoad => self.fail_batch(&no_bulk_load()).await,
        }
    }

    fn answer(&mut self, token: DoneToken) -> Answer {
        let chance = self.chance.as_mut();
        let chance = chance.map(|chance| Chance::new(chance.next()));
        let language = self.session.locale().language;
        let knows_bitmap = self.login.tds_version >= TDS_7_3_B;
        Answer::new(token, knows_bitmap, chance, language)
            .with_messages(self.terms.behaviour.interjections)
    }

    /// Runs a batch.
    async fn batch(&mut self, statement: &Statement) -> Result<Next, WireError> {
        let answer = self.answer(DoneToken::Batch);
        let strike = self.terms.control.strike(&statement.sql);
        let strike = strike.as_ref();
        let (line, session) = (&mut self.line, &mut self.session);
        let answer = match execute(line, session, statement, answer, strike).await? {
            Ending::Complete(answer) => answer,
            Ending::Attention => return self.cancelled(strike).await,
            Ending::Gone => return Ok(Next::Close),
        };
        let next = after(&answer);
        answer.finish(self.line.tokens());
        self.line.end_response().await?;
        Ok(next)
    }

    async fn fail_batch(&mut self, error: &ServerError) -> Result<Next, WireError> {
        let mut answer = self.answer(DoneToken::Batch);
        answer.fail(self.line.tokens(), error);
        answer.finish(self.line.tokens());
        self.line.end_response().await?;
        Ok(Next::Request)
    }

    async fn calls(&mut self, mut calls: Reader<'_>) -> Result<Next, WireError> {
        let mut next = Next::Request;
        while next == Next::Request && !calls.is_empty() {
            let call = match rpc::next_call(&mut calls) {
                Ok(call) => call,
                Err(CallError::Wire(error)) => return Err(error),
                Err(CallError::Refused(error)) => {
                    // Where the next call would begin is not known.
                    self.refuse_call(&error, false);
                    break;
                }
            };
            let locale = self.session.locale();
            let plan = match locale.within(|| Plan::of(call, &mut self.prepared)) {
                Ok(plan) => plan,
                Err(error) => {
                    next = after(&self.refuse_call(&error, !calls.is_empty()));
                    continue;
                }
            };
            let statement = plan.statement.as_ref();
            let strike = statement.and_then(|statement| self.terms.control.strike(&statement.sql));
            let strike = strike.as_ref();
            match self.call(&plan, !calls.is_empty(), strike).await? {
                Ending::Complete(answer) => next = after(&answer),
                Ending::Attention => return self.cancelled(strike).await,
                Ending::Gone => return Ok(Next::Close),
            }
        }
        self.line.end_response().await?;
        Ok(next)
    }

    async fn call(
        &mut self,
        plan: &Plan,
        more: bool,
        strike: Option<&Strike>,
    ) -> Result<Ending, WireError> {
        let mut answer = self.answer(DoneToken::InProcedure);
        if let Some(statement) = &plan.statement {
            let (line, session) = (&mut self.line, &mut self.session);
            match execute(line, session, statement, answer, strike).await? {
                Ending::Complete(complete) => answer = complete,
                interrupted => return Ok(interrupted),
            }
        }
        let values = match plan.return_values(&answer) {
            Ok(values) => values,
            Err(error) => {
                answer.fail(self.line.tokens(), &error);
                Vec::new()
            }
        };
        answer.finish_call(self.line.tokens(), more, |tokens| {
            tokens.extend_from_slice(&values);
        });
        Ok(Ending::Complete(answer))
    }

    fn refuse_call(&mut self, error: &ServerError, more: bool) -> Answer {
        let mut answer = self.answer(DoneToken::InProcedure);
        answer.fail(self.line.tokens(), error);
        answer.finish_call(self.line.tokens(), more, |_| ());
        answer
    }

    async fn transaction(&mut self, request: TransactionRequest) -> Result<Next, WireError> {
        let sql = match request.sql() {
            Ok(sql) => sql,
            Err(error) => return self.fail_batch(&error).await,
        };
        self.batch(&Statement::batch(sql)).await
    }

    /// Answers the attention that has ended a request.
    async fn cancelled(&mut self, strike: Option<&Strike>) -> Result<Next, WireError> {
        self.terms.control.note_cancelled();
        self.acknowledge(strike).await
    }

    /// Answers an attention, when a fault lets it.
    async fn acknowledge(&mut self, strike: Option<&Strike>) -> Result<Next, WireError> {
        if let Some(strike) = strike.filter(|strike| strike.fault == Fault::LateAttention) {
            strike.released().await;
        }
        let done = Done::plain(DoneToken::Batch, DONE_ATTENTION);
        token::done(self.line.tokens(), done);
        self.line.end_response().await?;
        Ok(Next::Request)
    }

    /// Ends a session that was killed: a request that was being answered ends with error 596.
    async fn kill(&mut self) -> Result<(), WireError> {
        if self.is_busy {
            let language = self.session.locale().language;
            token::message(self.line.tokens(), &language.message(&killed()));
            let done = Done::plain(DoneToken::Batch, DONE_ERROR);
            token::done(self.line.tokens(), done);
        }
        let is_busy = self.is_busy;
        let goodbye = async {
            if is_busy {
                self.line.end_response().await?;
            }
            self.line.shutdown().await
        };
        timeout(GOODBYE, goodbye).await.unwrap_or(Ok(()))
    }

    /// Tells a client that what it sent is not TDS, as far as it still listens.
    async fn refuse(&mut self) -> Result<(), WireError> {
        token::message(self.line.tokens(), &not_tds());
        let done = Done::plain(DoneToken::Batch, DONE_ERROR);
        token::done(self.line.tokens(), done);
        let goodbye = async {
            self.line.end_response().await?;
            self.line.shutdown().await
        };
        timeout(GOODBYE, goodbye).await.unwrap_or(Ok(()))
    }
}

fn after(answer: &Answer) -> Next {
    if answer.is_fatal() {
        Next::Close
    } else {
        Next::Request
    }
}

fn not_tds() -> ServerError {
    ServerError {
        number: 4002,
        severity: 20,
        state: 1,
        line: 1,
        message: "The incoming tabular data stream (TDS) protocol stream is incorrect. The stream ended unexpectedly.".to_owned(),
    }
}

/// 596.
fn killed() -> ServerError {
    ServerError {
        number: 596,
        severity: 21,
        state: 1,
        line: 1,
        message: "Cannot continue the execution because the session is in the kill state."
            .to_owned(),
    }
}

fn no_bulk_load() -> ServerError {
    ServerError {
        number: 40519,
        severity: 16,
        state: 1,
        line: 1,
        message: "Bulk load is not supported by the simulator; use INSERT.".to_owned(),
    }
}
