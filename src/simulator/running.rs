//! A database, served on loopback.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::behaviour::Behaviour;
use super::capture::{self, CaptureControl, CaptureJob};
use super::control::Control;
use super::errors::SimulatorError;
use super::script::Database;
use super::security::add_reader;
use super::server::{Certificate, Server, ServerOptions, Tls};
use super::session::Login;
use super::wire::LoginRequest;

/// Random bytes of a password that is made.
const PASSWORD_BYTES: usize = 16;

/// Characters in a line of a PEM file ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).
const PEM_LINE: usize = 64;

/// Where to listen, and whom to let in.
#[derive(Clone)]
pub struct SimulatorOptions {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's own login, which may do everything; `CREATE LOGIN` makes others.
    pub user: String,
    /// Its password; a random one is made unless given.
    pub password: Option<String>,
    /// How it uses the freedom that a server has.
    pub behaviour: Behaviour,
    /// The encryption offered.
    pub tls: Tls,
    /// Who vouches for it.
    pub certificate: Certificate,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            user: "sa".to_owned(),
            password: None,
            behaviour: Behaviour::default(),
            tls: Tls::default(),
            certificate: Certificate::default(),
        }
    }
}

impl fmt::Debug for SimulatorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorOptions")
            .field("listen", &self.listen)
            .field("user", &self.user)
            .field("behaviour", &self.behaviour)
            .finish_non_exhaustive()
    }
}

/// A running server; dropping it stops it.
pub struct Simulator {
    server: Server,
    user: String,
    password: String,
    database: Database,
    seed: u64,
    /// Dropped with the server, and ends with it.
    _jobs: JoinSet<()>,
    control: Control,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.control.stop();
        if std::thread::panicking() {
            eprintln!("the simulator's seed was {}", self.seed);
        }
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("server", &self.server)
            .field("database", &self.database())
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Serves `database` until dropped.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or no random password or seed can be made; or what clients commit is to be
    /// recorded under the machine's clock.
    pub async fn start(
        database: Database,
        options: SimulatorOptions,
    ) -> Result<Self, SimulatorError> {
        let password = match options.password {
            Some(password) => password,
            None => random_password().map_err(|source| SimulatorError::Random { source })?,
        };
        let seed = options
            .behaviour
            .seed()
            .map_err(|source| SimulatorError::Random { source })?;
        tracing::debug!(seed, "the simulator starts");
        let mut jobs = JoinSet::new();
        if let CaptureJob::Every(interval) = options.behaviour.capture_job {
            jobs.spawn(capture::run(Arc::clone(&database.server), interval));
        }
        let mut behaviour = Behaviour {
            seed: Some(seed),
            ..options.behaviour
        };
        if database.server.record().is_some() {
            behaviour = behaviour.recorded().ok_or(SimulatorError::Clock)?;
        }
        let database = database.behaving(behaviour.clone());
        database
            .server
            .logins(|logins| logins.set_own(&options.user));
        let served = database.clone();
        let control = Control::default();
        let sessions = Arc::new(move |login: &LoginRequest| {
            served.session(Login {
                session_id: login.session_id(),
                database: login.database().to_owned(),
                user: login.user().to_owned(),
                program: login.application().to_owned(),
                host: login.host().to_owned(),
                reads_only: login.reads_only(),
            })
        });
        let server_options = ServerOptions {
            listen: options.listen,
            user: options.user.clone(),
            password: SecretString::from(password.clone()),
            tls: options.tls,
            certificate: options.certificate,
            behaviour,
            control: control.clone(),
        };
        let server = Server::bind_with(server_options, database.accounts(), sessions)
            .await
            .map_err(|source| SimulatorError::Listen {
                address: options.listen,
                source,
            })?;
        Ok(Self {
            server,
            user: options.user,
            password,
            database,
            seed,
            _jobs: jobs,
            control,
        })
    }

    /// Moves its clock on, beyond what its statements or the machine do. A replay of what it records has other times.
    pub fn move_clock(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.database.server.move_clock(micros);
    }

    /// The address it listens on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The server's own login.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The login's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The database that a client gets unless it names another.
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// A hand on the capture of one of its databases; `None` if there is no such database.
    pub fn capture_of(&self, database: &str) -> Option<CaptureControl> {
        self.database.capture_of(database)
    }

    /// What makes it fail, for tests.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The seed of what is left to chance.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The certificate that clients have to trust, in DER: the server's own, or its authority's.
    pub fn certificate_der(&self) -> &[u8] {
        self.server.certificate_der()
    }

    /// The same certificate as a PEM file, for clients that verify it.
    pub fn certificate_pem(&self) -> String {
        let encoded = STANDARD.encode(self.certificate_der());
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for (index, character) in encoded.chars().enumerate() {
            if index > 0 && index % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
        pem
    }

    /// A connection URL with login and database. It holds the password.
    pub fn url(&self) -> String {
        self.url_of(&self.user, &self.password)
    }

    /// The connection URL of a new login, which may read what there is by now, its changes and the state of
    /// capture, and nothing else. It holds a password.
    ///
    /// # Errors
    ///
    /// No random password can be made, or the login cannot.
    pub fn reader_url(&self) -> Result<String, SimulatorError> {
        let password = random_password().map_err(|source| SimulatorError::Random { source })?;
        let user = add_reader(&self.database.server, &password)
            .map_err(|source| SimulatorError::Reader { source })?;
        Ok(self.url_of(&user, &password))
    }

    fn url_of(&self, user: &str, password: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!(
            "sqlserver://{}:{}@{}/{}?trust_server_certificate=true",
            encoded(user),
            encoded(password),
            self.address(),
            encoded(self.database())
        )
    }

    /// Waits until the listener ends, which it does only when accepting fails.
    pub async fn closed(&mut self) {
        self.server.closed().await;
    }
}

fn random_password() -> std::io::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
