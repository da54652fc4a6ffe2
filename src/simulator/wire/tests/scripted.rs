//! A database that does as it is told.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Int32Type, Schema};
use tokio::sync::mpsc;

use crate::simulator::protocol::{
    Collation, Column, Length, Parameter, Reply, ServerError, SqlType, TransactionEvent,
};
use crate::simulator::wire::Backend;

/// A session whose statements are commands:
///
/// - `echo …` answers with its parameters, as one row; `echo not null` with columns that are NOT NULL;
/// - `text …` answers with the statement itself;
/// - `endless` sends rows until it is cancelled, `silent` nothing;
/// - `fail` sends an error after a row, `fatal` one that ends the connection;
/// - `double` gives its INT OUTPUT parameters twice their value;
/// - what begins or commits a transaction tells of it;
/// - `two` answers with two result sets and a count, `narrow` with a value that does not fit;
/// - anything else answers with a count of 1.
#[derive(Debug)]
pub(super) struct Scripted {
    database: String,
    home: String,
    transactions: u64,
}

impl Scripted {
    pub(super) fn new(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            home: database.to_owned(),
            transactions: 0,
        }
    }
}

impl Backend for Scripted {
    fn database(&self) -> &str {
        &self.database
    }

    async fn reset(&mut self) {
        self.home.clone_into(&mut self.database);
    }

    async fn run(&mut self, sql: &str, parameters: &[Parameter], replies: &mpsc::Sender<Reply>) {
        let answers = match sql.trim_end() {
            "echo not null" => echo(parameters, false),
            sql if sql.starts_with("echo") => echo(parameters, true),
            "fail" => [numbers(&[1])[..2].to_vec(), vec![error(208, 16)]].concat(),
            "fatal" => vec![error(9002, 20)],
            "two" => [numbers(&[1, 2]), numbers(&[3]), vec![count(7)]].concat(),
            "narrow" => result(SqlType::NVarChar(Length::Limited(2)), text("abc")),
            "double" => doubled(parameters),
            sql if sql.ends_with("BEGIN TRANSACTION") => {
                self.transactions += 1;
                let transaction = self.transactions;
                vec![
                    Reply::Transaction(TransactionEvent::Began { transaction }),
                    done(None, false),
                ]
            }
            sql if sql.starts_with("COMMIT") => {
                let transaction = self.transactions;
                let event = TransactionEvent::Committed { transaction };
                vec![Reply::Transaction(event), done(None, false)]
            }
            "silent" => return std::future::pending().await,
            "endless" => return endless(replies).await,
            sql if sql.starts_with("text") || sql.starts_with("EXEC") => {
                result(SqlType::NVarChar(Length::Max), text(sql))
            }
            sql if sql.starts_with("use ") => used(&mut self.database, &sql[4..]),
            _ => vec![count(1)],
        };
        for reply in answers {
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    }
}

async fn endless(replies: &mpsc::Sender<Reply>) {
    let numbers = numbers(&[7; 1000]);
    let mut next = numbers[0].clone();
    while replies.send(next).await.is_ok() {
        next = numbers[1].clone();
    }
}

fn used(database: &mut String, name: &str) -> Vec<Reply> {
    let old = std::mem::replace(database, name.to_owned());
    let new = name.to_owned();
    vec![Reply::Database { old, new }, done(None, false)]
}

fn echo(parameters: &[Parameter], nullable: bool) -> Vec<Reply> {
    let columns: Vec<Column> = parameters
        .iter()
        .map(|parameter| column(&parameter.name, parameter.sql_type, nullable))
        .collect();
    let arrays = parameters
        .iter()
        .map(|parameter| Arc::clone(&parameter.value))
        .collect();
    vec![
        Reply::Columns(columns.into()),
        Reply::Rows(batch(arrays)),
        done(Some(1), true),
    ]
}

fn doubled(parameters: &[Parameter]) -> Vec<Reply> {
    let outputs = parameters.iter().filter(|parameter| parameter.output);
    let mut replies = vec![count(1)];
    for output in outputs {
        let value = output.value.as_primitive::<Int32Type>().value(0);
        replies.push(Reply::Output(Parameter {
            value: Arc::new(Int32Array::from(vec![value * 2])),
            ..output.clone()
        }));
    }
    replies
}

fn numbers(values: &[i32]) -> Vec<Reply> {
    result(SqlType::Int, Arc::new(Int32Array::from(values.to_vec())))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn result(sql_type: SqlType, array: ArrayRef) -> Vec<Reply> {
    let rows = array.len() as u64;
    vec![
        Reply::Columns([column("value", sql_type, true)].into()),
        Reply::Rows(batch(vec![array])),
        done(Some(rows), true),
    ]
}

fn column(name: &str, sql_type: SqlType, nullable: bool) -> Column {
    Column {
        name: name.to_owned(),
        sql_type,
        collation: Collation::SERVER,
        nullable,
        identity: false,
    }
}

fn batch(arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = arrays
        .iter()
        .enumerate()
        .map(|(index, array)| Field::new(index.to_string(), array.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn count(rows: u64) -> Reply {
    done(Some(rows), false)
}

fn done(rows: Option<u64>, select: bool) -> Reply {
    Reply::Done { rows, select }
}

fn error(number: u32, severity: u8) -> Reply {
    Reply::Error(ServerError {
        number,
        severity,
        state: 1,
        line: 3,
        message: "Invalid object name 'dbo.nothing'.".to_owned(),
    })
}
