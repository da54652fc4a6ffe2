use proptest::collection::vec;
use proptest::prelude::*;
use tiberius::{ColumnData, ColumnType, Row};

use super::filtered;
use super::wire::{Answer, Prefix, Type, packets};
use crate::source::sqlserver::bulk::{Chunk, Filter, Passage, Rows, mark};

fn word(chunk: u8) -> Row {
    let cell = ColumnData::Binary(Some(vec![chunk].into()));
    Row::builder()
        .column(mark(), ColumnType::BigVarBin, cell)
        .build()
}

/// Reads all cells of what a filter has put together; an error ends it.
fn read(columns: &[u8], chunks: &[(u8, Vec<u8>)]) -> Result<usize, tiberius::error::Error> {
    let passage = Passage::default();
    let mut rows = Rows::new(passage.clone());
    passage.put(columns);
    rows.take(word(Chunk::Columns as u8))?;
    let mut cells = 0;
    for (kind, bytes) in chunks {
        passage.put(bytes);
        rows.take(word(*kind))?;
        while rows.next_row()? {
            while rows.cell(|_| ())?.is_some() {
                cells += 1;
            }
        }
    }
    Ok(cells)
}

fn int_and_text() -> [Type; 3] {
    [
        Type::new(&[0x26, 4], Prefix::Byte),
        Type::varying(0xE7, 40, 0),
        Type::varying(0xA5, 0xFFFF, 3),
    ]
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let mut filter = Filter::new(0, Passage::default());
    let other_type = [0x05, 1, 0, 9, 0, 0, 0, 0, 0];
    assert!(filter.take(&other_type).is_err());
    let too_short = [0x04, 1, 0, 7, 0, 0, 0, 0, 0];
    assert!(Filter::new(0, Passage::default()).take(&too_short).is_err());
    let types = int_and_text();
    let within_a_row = Answer::default().columns(&types).token(&[0xD1, 4, 1]);
    assert!(filtered(0, &within_a_row.packets(4000), &[]).is_err());
    let within_the_columns = Answer::default().token(&[0x81, 3, 0, 0]);
    assert!(filtered(0, &within_the_columns.packets(4000), &[]).is_err());
}

#[test]
fn a_value_that_is_longer_than_values_are_is_an_error() {
    let types = [Type::varying(0xA5, 0xFFFF, 3)];
    let mut row = vec![0xD1];
    row.extend(0xFFFF_FFFF_FFFF_FFFE_u64.to_le_bytes());
    row.extend(u32::MAX.to_le_bytes());
    let answer = Answer::default().columns(&types).token(&row);
    assert!(filtered(0, &answer.packets(4000), &[]).is_err());
    let types = [Type::pointed(0x22)];
    let mut row = vec![0xD1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    row.extend(u32::MAX.to_le_bytes());
    let answer = Answer::default().columns(&types).token(&row);
    assert!(filtered(0, &answer.packets(4000), &[]).is_err());
}

#[test]
fn bytes_that_are_no_value_of_the_type_are_an_error() {
    let length = |info: &[u8], value: &[u8]| {
        let mut columns = vec![1, 0, 0, 0, 0, 0, 0, 0];
        columns.extend(info);
        columns.push(0);
        let mut row = vec![0xD1, value.len() as u8];
        row.extend(value);
        read(&columns, &[(Chunk::Whole as u8, row)])
    };
    assert!(length(&[0x26, 4], &[1, 2, 3, 4]).is_ok());
    for (info, value) in [
        (&[0x26, 4][..], &[1, 2, 3][..]),
        (&[0x68, 1], &[1, 1]),
        (&[0x6D, 8], &[1, 2]),
        (&[0x6F, 8], &[1, 2]),
        (&[0x24, 16], &[1, 2]),
        (&[0x28], &[1, 2]),
        (&[0x29, 7], &[1, 2, 3]),
        (&[0x29, 9], &[1, 2, 3, 4, 5]),
        (&[0x2A, 7], &[1, 2]),
        (&[0x2B, 7], &[1]),
        (&[0x6C, 5, 9, 0], &[1, 2]),
        (&[0x6C, 5, 9, 0], &[2, 1, 1, 1, 1]),
    ] {
        let error = length(info, value).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
    // A number that no decimal has, and text of half a unit.
    let mut digits = vec![1];
    digits.extend([0xFF; 16]);
    assert!(length(&[0x6C, 17, 38, 0], &digits).is_err());
    let columns = [1, 0, 0, 0, 0, 0, 0, 0, 0xE7, 40, 0, 0, 0, 0, 0, 0, 0];
    let row = (Chunk::Whole as u8, vec![0xD1, 3, 0, 1, 0, 1]);
    assert!(read(&columns, &[row]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_filtered_to_an_end(bytes in vec(any::<u8>(), 0..200), most in 1_usize..300) {
        // An error or an end, and never more than what came, but for what is put around it.
        if let Ok((output, _)) = filtered(0, &packets(&bytes, most), &[3, 5]) {
            prop_assert!(output.len() <= 40 * (bytes.len() + 40));
        }
    }

    #[test]
    fn rows_with_bytes_changed_are_an_error_or_an_answer(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        most in 1_usize..100,
    ) {
        let types = int_and_text();
        let values = [Some(vec![1, 0, 0, 0]), Some(vec![b'x', 0]), Some(vec![7; 9])];
        let mut answer = Answer::default().columns(&types);
        for _ in 0..5 {
            answer = answer.row(&types, &values).compressed_row(&types, &values);
        }
        let mut answer = answer.done(0xFD, false).packets(most);
        for (place, byte) in changes {
            *place.get_mut(&mut answer) = byte;
        }
        let _ = filtered(0, &answer, &[1, 7]);
    }

    #[test]
    fn any_chunks_are_read_to_an_end(
        columns in prop_oneof![
            vec(any::<u8>(), 0..60),
            Just(vec![2, 0, 0, 0, 0, 0, 0, 0, 0x26, 4, 0, 0, 0, 0, 0, 0, 0, 0xA5, 0xFF, 0xFF, 0]),
        ],
        chunks in vec((0_u8..4, vec(prop_oneof![Just(0xD1), Just(0), Just(0xFF), any::<u8>()], 0..60)), 0..6),
    ) {
        let _ = read(&columns, &chunks);
    }
}
