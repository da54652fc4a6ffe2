//! `cdc.fn_cdc_get_net_changes_…`: one row for each key that changed within a range.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Int32Array, RecordBatch, UInt64Array,
};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{Int32Type, Schema};

use super::tables::Scan;
use crate::simulator::capture::{FIRST_CAPTURED, Instance};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{Table, internal, key_values};

const DELETE: i32 = 1;
const INSERT: i32 = 2;
const BEFORE: i32 = 3;
const UPDATE: i32 = 4;
/// Insert or update, as 'all with merge' has it.
const MERGE: i32 = 5;

/// What the rows say of what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetOption {
    /// The operation.
    All,
    /// The operation, and which columns an update changed.
    WithMask,
    /// Delete, or insert-or-update.
    WithMerge,
}

impl NetOption {
    /// The option of a name without case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "all" => Some(Self::All),
            "all with mask" => Some(Self::WithMask),
            "all with merge" => Some(Self::WithMerge),
            _ => None,
        }
    }
}

/// What happened to one key.
struct Net {
    first: i32,
    last: i32,
    row: u64,
    mask: Vec<u8>,
}

impl Net {
    /// The operation in the end; `None` for a row that came and went.
    fn operation(&self) -> Option<i32> {
        match (self.first, self.last) {
            (INSERT, DELETE) => None,
            (_, DELETE) => Some(DELETE),
            (INSERT, _) => Some(INSERT),
            _ => Some(UPDATE),
        }
    }
}

/// The net changes of the rows of a change table, which are in the order of the log.
pub(super) fn net_changes(
    instance: &Instance,
    table: &Table,
    rows: &[RecordBatch],
    option: NetOption,
) -> Result<Scan, ServerError> {
    let rows = concat_batches(&table.arrow_schema(), rows).map_err(internal)?;
    let captured: Vec<usize> = instance
        .index_columns
        .iter()
        .map(|at| FIRST_CAPTURED + at)
        .collect();
    let keys = key_values(&rows, &captured).map_err(internal)?;
    let operations = rows.column(3).as_primitive::<Int32Type>();
    let masks = rows.column(4).as_binary::<i32>();
    let mut places: HashMap<Box<[u8]>, usize> = HashMap::new();
    let mut nets: Vec<Net> = Vec::new();
    for (row, key) in keys.into_iter().enumerate() {
        let operation = operations.value(row);
        if operation == BEFORE {
            continue;
        }
        let next = nets.len();
        let at = *places.entry(key).or_insert(next);
        if at == next {
            nets.push(Net {
                first: operation,
                last: operation,
                row: row as u64,
                mask: masks.value(row).to_vec(),
            });
        } else if let Some(net) = nets.get_mut(at) {
            net.last = operation;
            net.row = row as u64;
            let bits = net.mask.iter_mut().zip(masks.value(row));
            bits.for_each(|(all, some)| *all |= some);
        }
    }
    nets.retain(|net| net.operation().is_some());
    shape(table, &rows, &nets, option)
}

fn shape(
    table: &Table,
    rows: &RecordBatch,
    nets: &[Net],
    option: NetOption,
) -> Result<Scan, ServerError> {
    let kept = kept_columns(table);
    let taken: UInt64Array = nets.iter().map(|net| net.row).collect();
    let taken = take_record_batch(rows, &taken).map_err(internal)?;
    let operations: Int32Array = nets
        .iter()
        .map(|net| match (option, net.operation()) {
            (NetOption::WithMerge, Some(INSERT | UPDATE)) => Some(MERGE),
            (_, operation) => operation,
        })
        .collect();
    let mut masks = BinaryBuilder::new();
    for net in nets {
        let shown = option == NetOption::WithMask && net.operation() == Some(UPDATE);
        masks.append_option(shown.then_some(net.mask.as_slice()));
    }
    let masks: ArrayRef = Arc::new(masks.finish());
    let columns = kept
        .iter()
        .map(|at| match at {
            3 => Arc::new(operations.clone()) as ArrayRef,
            4 => Arc::clone(&masks),
            at => Arc::clone(taken.column(*at)),
        })
        .collect();
    let schema: Arc<Schema> = Arc::new(table.arrow_schema().project(&kept).map_err(internal)?);
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(internal)?;
    Ok(Scan::of(schema, vec![rows]))
}

/// The columns that the function has: no end LSN, no position, no command id.
fn kept_columns(table: &Table) -> Vec<usize> {
    let columns = 0..table.columns.len();
    columns
        .filter(|at| !matches!(at, 1 | 2) && !is_command_id(table, *at))
        .collect()
}

/// Whether a column is the one that numbers a transaction's statements.
pub(super) fn is_command_id(table: &Table, at: usize) -> bool {
    at >= FIRST_CAPTURED
        && at + 1 == table.columns.len()
        && table.columns[at].name == "__$command_id"
}
