//! `cdcql init [DIR|FILE]`: a pipeline file for a server of one's own.

mod connection;
mod connection_url;
mod ignored;
mod tables;
mod text;

use std::fs::{File, create_dir_all};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use self::connection::Connection;
use self::connection_url::ConnectionUrl;
use self::tables::{Chosen, chosen};
use super::output::tell;
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::check;

/// The file that is written in a folder.
const NAME: &str = "pipeline.sql";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The file, whose name ends with .sql, or the folder that gets a pipeline.sql
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
    /// Where the database is, such as sqlserver://reader@db.example:1433/app_db?ca_file=/path/ca.pem, without the password;
    /// the path of embedded:SCRIPT starts at the file's folder
    #[arg(long, value_name = "URL", value_parser = ConnectionUrl,
          conflicts_with_all = ["host", "port", "database"])]
    url: Option<String>,
    /// The server's name or address
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Its port, 1433 unless given
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Who logs in
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The environment variable that has the password, here and at each run; it is never written to the file
    #[arg(long, value_name = "VARIABLE", default_value = "CDCQL_PASSWORD")]
    password_env: String,
    /// Take the captured tables of this schema; may be given more than once. All captured tables are taken where neither
    /// schemas nor tables are named
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Take this captured table, of schema dbo unless it says another (sales.orders); may be given more than once
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// Where the Delta tables shall lie: a folder beside the file, or the URL of an object store
    #[arg(long, value_name = "LOCATION", default_value = "lake", value_parser = location)]
    lake: String,
}

/// A place of the Delta tables; below an empty one they would lie at the root of the file system.
fn location(text: &str) -> Result<String, &'static str> {
    match text.trim().is_empty() || text.ends_with("://") {
        true => Err(NO_LOCATION),
        false => Ok(text.to_owned()),
    }
}

const NO_LOCATION: &str = "it names no place; write a folder beside the file, such as lake, or the URL of an object store, \
                           such as s3://bucket/lake";

/// Writes the file, after it has seen the server, and says what to do next.
pub(super) async fn run(arguments: &InitArguments, manner: Manner<'_>) -> Result<(), Error> {
    let file = file_of(&arguments.path);
    if file.exists() {
        return Err(Error::Exists { path: file });
    }
    let connection = Connection::asked_for(arguments)?;
    let made = make_folder(&file)?;
    let written = written(arguments, &connection, &file, manner).await;
    if let (Err(_), Some(folder)) = (&written, made) {
        // Nothing else is in it yet, or else it stays.
        let _ = std::fs::remove_dir(folder);
    }
    let chosen = written?;
    if manner.is_for_people() {
        say_next(&file, &chosen, connection.password());
    }
    Ok(())
}

/// Looks at the server, writes the file, and checks it; answers with what it is for.
async fn written(
    arguments: &InitArguments,
    connection: &Connection,
    file: &Path,
    manner: Manner<'_>,
) -> Result<Chosen, Error> {
    let session = Session::try_new(manner)?;
    let database = connection.open(&session.engine, file).await?;
    let chosen = chosen(&database, &arguments.schema, &arguments.table).await?;
    let name = database.shown_name();
    let text = text::pipeline(connection, &name, &chosen, &arguments.lake);
    write_new(file, &text)?;
    ignored::ignore(file, &arguments.lake, &chosen.schemas())?;
    let session = Session::try_new(manner)?;
    let parsed = session.parsed(file)?;
    let _ = check(session.engine, parsed, file).await?;
    Ok(chosen)
}

/// The file that a path means.
fn file_of(path: &Path) -> PathBuf {
    let is_file = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("sql"));
    match is_file && !path.is_dir() {
        true => path.to_path_buf(),
        false if path == Path::new(".") => PathBuf::from(NAME),
        false => path.join(NAME),
    }
}

/// Makes the file's folder, if it is not there: relative paths begin in it, and `..` leads out of it.
fn make_folder(file: &Path) -> Result<Option<PathBuf>, Error> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            let path = folder.to_path_buf();
            match create_dir_all(folder) {
                Ok(()) => Ok(Some(path)),
                Err(source) => Err(Error::NotWritten { path, source }),
            }
        }
        _ => Ok(None),
    }
}

/// Writes a file that is not there.
fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    let path = path.to_path_buf();
    written.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists { path },
        _ => Error::NotWritten { path, source },
    })
}

fn say_next(file: &Path, chosen: &Chosen, password: Option<&str>) {
    let file = file.display();
    let (taken, left_out) = (chosen.taken(), chosen.left_out());
    let plural = if taken == 1 { "" } else { "s" };
    tell!("{file}: {taken} table{plural} to copy");
    if left_out > 0 {
        tell!("{file}: {left_out} left out; its comments say why");
    }
    tell!("next:");
    if let Some(variable) = password {
        tell!("  keep {variable} set to the password");
    }
    tell!("  cdcql doctor {file}    is the server ready, and what mends it");
    tell!("  cdcql run {file}       copy the tables; again, to copy what is new");
}
