//! The same bytes by the driver alone and by way of the filter give the same values.

mod answers;
mod driver;
mod malformed;
mod values;
mod wire;

use std::io;

use tiberius::{ColumnData, Row};
use tokio::io::ReadBuf;

use super::{Filter, Passage, Rows};

/// What a filter gives the driver of an answer that comes in reads of those sizes, and of the rest.
fn filtered(wanted: usize, answer: &[u8], reads: &[usize]) -> io::Result<(Vec<u8>, Passage)> {
    let (output, passage, ended) = filtered_up_to(wanted, answer, reads);
    ended.map(|()| (output, passage))
}

/// The same up to an error.
fn filtered_up_to(
    wanted: usize,
    answer: &[u8],
    reads: &[usize],
) -> (Vec<u8>, Passage, io::Result<()>) {
    let passage = Passage::default();
    let mut filter = Filter::new(wanted, passage.clone());
    let mut output = Vec::new();
    let mut buffer = vec![0; 8 << 10];
    let mut rest = answer;
    let mut sizes = reads.iter().copied();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (part, after) = rest.split_at(size);
        if let Err(error) = filter.take(part) {
            return (output, passage, Err(error));
        }
        rest = after;
        loop {
            let mut read = ReadBuf::new(&mut buffer);
            if !filter.give(&mut read) {
                break;
            }
            output.extend_from_slice(read.filled());
        }
    }
    (output, passage, Ok(()))
}

/// The cells of one result set in the driver's rows, as text that tells all of them apart.
fn cells((rows, passage): (Vec<Row>, Passage), wanted: usize) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut reader = Rows::new(passage);
    for row in rows.into_iter().filter(|row| row.result_index() == wanted) {
        reader.take(row).unwrap();
        while reader.next_row().unwrap() {
            let mut cells = Vec::new();
            while let Some(cell) = reader.cell(|cell| shown(&cell)).unwrap() {
                cells.push(cell);
            }
            all.push(cells);
        }
    }
    all
}

fn shown(cell: &ColumnData<'_>) -> String {
    match cell {
        // The two are one where they are NULL.
        ColumnData::SmallDateTime(None) => shown(&ColumnData::DateTime(None)),
        other => format!("{other:?}"),
    }
}

/// Reads an answer in both ways, and compares.
#[track_caller]
fn assert_same(wanted: usize, answer: &[u8], reads: &[usize]) -> Vec<Vec<String>> {
    let plain = cells((driver::rows(answer), Passage::default()), wanted);
    let (through, passage) = filtered(wanted, answer, reads).unwrap();
    assert_eq!(cells((driver::rows(&through), passage), wanted), plain);
    plain
}
