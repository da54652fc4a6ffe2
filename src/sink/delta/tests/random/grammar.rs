//! Tables and merges, as small numbers that shrink.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::strategy::Just;

/// The most columns of a table.
pub(super) const COLUMNS: usize = 6;

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Long,
    Text,
    Money,
    Day,
    Instant,
    Double,
    Truth,
    Bytes,
}

/// A row: for each column the number of one of its type's values, zero for NULL.
pub(super) type Row = Vec<u8>;

/// A table and merges into it.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) kinds: Vec<Kind>,
    /// How many of the last columns partition the table.
    pub(super) partitions: usize,
    /// False for a table without deletion vectors.
    pub(super) vectors: bool,
    pub(super) feed: bool,
    pub(super) files: Vec<Vec<Row>>,
    pub(super) merges: Vec<Merge>,
}

#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) rows: Vec<Row>,
    /// True if the source has each key once.
    pub(super) distinct: bool,
    /// True if files are written anew.
    pub(super) rewrites: bool,
    pub(super) keys: Vec<Key>,
    pub(super) and: Option<Condition>,
    pub(super) matched: Vec<Clause>,
    pub(super) unmatched: Vec<Clause>,
}

/// How a column is compared in ON.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) column: usize,
    pub(super) nulls_match: bool,
    pub(super) swapped: bool,
    /// True for a comparison of texts.
    pub(super) cast: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Clause {
    pub(super) condition: Option<Condition>,
    pub(super) action: Action,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Delete,
    /// An UPDATE or INSERT of some columns.
    Set(Vec<(usize, Value)>),
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Source,
    Target,
    Null,
    Literal(u8),
    /// Made from both rows, where the type has such a thing.
    Both,
    /// The source's, or the target's where that is NULL.
    Either,
}

#[derive(Debug, Clone)]
pub(super) enum Condition {
    Compare(usize, &'static str, Operand, Operand),
    IsNull(usize, Operand),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Source,
    Target,
    Literal(u8),
}

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let kinds = vec(kind(), 2..=COLUMNS);
    let files = vec(vec(row(), 1..16), 1..4);
    let merges = vec(merge(), 1..5);
    let flags = (any::<bool>(), any::<bool>(), 0..3_usize);
    (kinds, files, merges, flags).prop_map(|(kinds, files, merges, (off, feed, partitions))| Plan {
        partitions: partitions.min(kinds.len() - 1),
        kinds: storable(kinds, partitions),
        vectors: !off || merges.len() > 2,
        feed,
        files,
        merges,
    })
}

/// deltalake reads other bytes in a partition column than it wrote.
fn storable(mut kinds: Vec<Kind>, partitions: usize) -> Vec<Kind> {
    for kind in kinds.iter_mut().rev().take(partitions) {
        if *kind == Kind::Bytes {
            *kind = Kind::Text;
        }
    }
    kinds
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Int),
        2 => Just(Kind::Text),
        1 => Just(Kind::Long),
        1 => Just(Kind::Money),
        1 => Just(Kind::Day),
        1 => Just(Kind::Instant),
        1 => Just(Kind::Double),
        1 => Just(Kind::Truth),
        1 => Just(Kind::Bytes),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    vec(0..8_u8, COLUMNS)
}

fn merge() -> impl Strategy<Value = Merge> {
    let keys = vec(key(), 1..3);
    let source = (
        vec(row(), 0..7),
        prop_oneof![1 => Just(false), 4 => Just(true)],
    );
    let matched = vec(clause(true), 0..4);
    let unmatched = vec(clause(false), 0..3);
    let and = prop_oneof![3 => Just(None), 1 => condition().prop_map(Some)];
    (source, any::<bool>(), keys, and, matched, unmatched).prop_map(
        |((rows, distinct), rewrites, keys, and, matched, unmatched)| Merge {
            rows,
            distinct,
            rewrites,
            keys,
            and,
            matched,
            unmatched,
        },
    )
}

fn key() -> impl Strategy<Value = Key> {
    let rarely = || prop_oneof![4 => Just(false), 1 => Just(true)];
    (0..COLUMNS, rarely(), any::<bool>(), rarely()).prop_map(
        |(column, nulls_match, swapped, cast)| Key {
            column,
            nulls_match,
            swapped,
            cast,
        },
    )
}

fn clause(matched: bool) -> impl Strategy<Value = Clause> {
    let set = vec((0..COLUMNS, value()), 1..4).prop_map(Action::Set);
    let delete = if matched { 1 } else { 0 };
    let action = (0..3, set).prop_map(move |(which, set)| match which {
        0 if delete == 1 => Action::Delete,
        _ => set,
    });
    (option::of(condition()), action).prop_map(|(condition, action)| Clause { condition, action })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(Value::Source),
        2 => Just(Value::Target),
        1 => Just(Value::Null),
        1 => (1..8_u8).prop_map(Value::Literal),
        2 => Just(Value::Both),
        1 => Just(Value::Either),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let operator = prop_oneof![Just("="), Just("<>"), Just("<"), Just(">=")];
    let leaf = prop_oneof![
        4 => (0..COLUMNS, operator, operand(), operand())
            .prop_map(|(column, operator, left, right)| Condition::Compare(column, operator, left, right)),
        1 => (0..COLUMNS, operand()).prop_map(|(column, operand)| Condition::IsNull(column, operand)),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        let boxed = inner.prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Condition::Not),
            (boxed.clone(), boxed.clone()).prop_map(|(one, other)| Condition::And(one, other)),
            (boxed.clone(), boxed).prop_map(|(one, other)| Condition::Or(one, other)),
        ]
    })
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        2 => Just(Operand::Source),
        2 => Just(Operand::Target),
        1 => (1..8_u8).prop_map(Operand::Literal),
    ]
}
