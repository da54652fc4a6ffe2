//! What the wire and the database say to each other: types, rows, errors, replies.
//!
//! The wire turns packets into calls of a [`Session`](super::session::Session) and its [`Reply`]s into
//! tokens; it knows nothing of SQL, and the database nothing of packets.

pub(crate) mod code_page;
mod collation;
pub(crate) mod forms;
mod language;
pub(crate) mod temporal;
pub(crate) mod units;

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;

pub use collation::Collation;
pub use language::Language;

/// Length of a character or binary type, in characters (N types), else in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// A declared length: 1 to 8000 (4000 for N types).
    Limited(u16),
    /// `(max)`.
    Max,
}

/// A SQL Server data type, and how its values stand in Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `Boolean`.
    Bit,
    /// Unsigned; `Int16`.
    TinyInt,
    /// `Int16`.
    SmallInt,
    /// `Int32`.
    Int,
    /// `Int64`.
    BigInt,
    /// `Float32`.
    Real,
    /// `Float64`.
    Float,
    /// `Decimal128(precision, scale)`.
    Decimal {
        /// 1 to 38.
        precision: u8,
        /// 0 to precision.
        scale: u8,
    },
    /// `Decimal128(19, 4)`.
    Money,
    /// `Decimal128(10, 4)`.
    SmallMoney,
    /// `Date32`.
    Date,
    /// `Time64(Nanosecond)`, in steps of 100 ns; the scale is 0 to 7.
    Time(u8),
    /// Whole minutes; `Timestamp(Microsecond)`.
    SmallDateTime,
    /// Steps of 1/300 s, shown rounded to 0, 3 or 7 ms; `Timestamp(Microsecond)`.
    DateTime,
    /// `FixedSizeBinary(8)`: steps of 100 ns since 0001-01-01, big endian. No Arrow timestamp holds them
    /// all; the order of these bytes is that of time.
    DateTime2(u8),
    /// `FixedSizeBinary(10)`: the instant in UTC as in `datetime2`, then the offset in minutes plus 840, big
    /// endian.
    DateTimeOffset(u8),
    /// `Utf8`, of characters that the collation's code page has; the length is in bytes of the page.
    Char(u16),
    /// As `char`.
    VarChar(Length),
    /// `Utf8`; a lone surrogate U+D800 to U+DFFF is held as U+10D800 to U+10DFFF.
    NChar(u16),
    /// As `nchar`.
    NVarChar(Length),
    /// `Binary`.
    Binary(u16),
    /// `Binary`.
    VarBinary(Length),
    /// `FixedSizeBinary(16)`: its bytes in the order in which SQL Server compares them.
    UniqueIdentifier,
    /// `timestamp`, the number of a row's version; `Binary` of eight bytes.
    RowVersion,
    /// `Utf8`, as `varchar(max)`; the older form of large text on the wire.
    Text,
    /// `Utf8`, as `nvarchar(max)`.
    NText,
    /// `Binary`.
    Image,
    /// `Utf8`, as `nvarchar(max)`.
    Xml,
    /// `LargeBinary`: a value as a `sql_variant` of MS-TDS has it (2.2.5.5.4) behind its length: the base
    /// type, its properties' length, the properties, the value.
    SqlVariant,
    /// `Binary`: the bytes in which the type is serialised.
    Udt(Udt),
}

/// The CLR types that SQL Server itself has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Udt {
    /// A place in a tree.
    HierarchyId,
    /// A shape in a plane.
    Geometry,
    /// A shape on the earth.
    Geography,
}

impl Udt {
    /// The type's name in T-SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::HierarchyId => "hierarchyid",
            Self::Geometry => "geometry",
            Self::Geography => "geography",
        }
    }

    /// The name of the class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::HierarchyId => "SqlHierarchyId",
            Self::Geometry => "SqlGeometry",
            Self::Geography => "SqlGeography",
        }
    }

    /// The longest value in bytes, if there is one.
    pub(crate) fn longest(self) -> Option<u16> {
        match self {
            Self::HierarchyId => Some(892),
            Self::Geometry | Self::Geography => None,
        }
    }
}

/// A column of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; empty for an expression without alias.
    pub name: String,
    /// Its type on the wire.
    pub sql_type: SqlType,
    /// The collation of a character type.
    pub collation: Collation,
    /// Whether NULL may occur.
    pub nullable: bool,
    /// Whether it is an IDENTITY column.
    pub identity: bool,
}

/// An ERROR or INFO token's content, with SQL Server's own numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Msg {number}, Level {severity}, State {state}, Line {line}: {message}")]
pub struct ServerError {
    /// The number in `sys.messages`, such as 208.
    pub number: u32,
    /// 0 to 10 informs, 11 to 16 fails the statement, 20 and above ends the connection.
    pub severity: u8,
    /// The state.
    pub state: u8,
    /// The line within the batch, from 1.
    pub line: u32,
    /// The text, in English.
    pub message: String,
}

/// A parameter of a remote procedure call, as sent by the client.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The name with its `@`, or empty for a positional one.
    pub name: String,
    /// The declared type; a text of a code page is in the server's collation, whatever the client sent.
    pub sql_type: SqlType,
    /// The value: an array of one element of the type's Arrow form.
    pub value: datafusion::arrow::array::ArrayRef,
    /// Whether it is an OUTPUT parameter.
    pub output: bool,
}

/// What has become of a transaction of more than one statement. The number is the session's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEvent {
    /// It began: by BEGIN TRANSACTION, a driver's request, or IMPLICIT_TRANSACTIONS.
    Began {
        /// Its number.
        transaction: u64,
    },
    /// It was committed.
    Committed {
        /// Its number.
        transaction: u64,
    },
    /// It was rolled back as a whole, by a statement or by an error.
    RolledBack {
        /// Its number.
        transaction: u64,
    },
}

/// One step of an answer, in the order in which it goes onto the wire.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A result set begins.
    Columns(Arc<[Column]>),
    /// Rows of the result set that began last; the batch has its columns, in their Arrow forms.
    Rows(RecordBatch),
    /// A statement has ended. `rows` is the count it reports, if it reports one (NOCOUNT is on otherwise).
    Done {
        /// Rows returned or affected.
        rows: Option<u64>,
        /// Whether the statement was a SELECT.
        select: bool,
    },
    /// The statement failed; `Done` does not follow.
    Error(ServerError),
    /// What a call's OUTPUT parameter was given; a parameter without this reply keeps the value sent. The name
    /// is the one that the statement knows it by.
    Output(Parameter),
    /// An informational message (PRINT, 5701).
    Info(ServerError),
    /// A transaction began or ended.
    Transaction(TransactionEvent),
    /// The session's language changed (SET LANGUAGE).
    Language {
        /// The language before.
        old: Language,
        /// The language from now on.
        new: Language,
    },
    /// The session's database changed (USE).
    Database {
        /// The database before.
        old: String,
        /// The database from now on.
        new: String,
    },
}
