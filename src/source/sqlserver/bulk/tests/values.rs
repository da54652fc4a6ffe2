use proptest::collection::vec;
use proptest::prelude::*;
use tiberius::ColumnData;

use super::wire::{Answer, Prefix, Type};
use super::{assert_same, cells, driver, filtered};
use crate::source::sqlserver::bulk::Rows;

/// A value's bytes; `None` is NULL.
pub(super) type Value = Option<Vec<u8>>;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A type of those bytes, and values of it.
fn of(info: &[u8], prefix: Prefix, values: &[&[u8]]) -> (Type, Vec<Value>) {
    let values = values.iter().map(|value| Some(value.to_vec()));
    (Type::new(info, prefix), values.collect())
}

fn fixed(info: u8, values: &[&[u8]]) -> (Type, Vec<Value>) {
    of(&[info], Prefix::None, values)
}

fn of_a_byte(info: &[u8], values: &[&[u8]]) -> (Type, Vec<Value>) {
    let (column, mut values) = of(info, Prefix::Byte, values);
    values.push(None);
    (column, values)
}

/// Every type that is read here, with the values at its edges.
pub(super) fn edges() -> Vec<(Type, Vec<Value>)> {
    [numbers(), scaled(), varying()].concat()
}

fn numbers() -> Vec<(Type, Vec<Value>)> {
    vec![
        fixed(0x30, &[&[0], &[255]]),
        fixed(0x32, &[&[0], &[1], &[7]]),
        fixed(0x34, &[&[0, 0x80], &[0xFF, 0x7F]]),
        fixed(0x38, &[&i32::MIN.to_le_bytes(), &i32::MAX.to_le_bytes()]),
        fixed(0x3A, &[&[0; 4], &[0xFF, 0xFF, 0x9F, 5]]),
        fixed(0x3B, &[&f32::MIN.to_le_bytes(), &f32::NAN.to_le_bytes()]),
        fixed(0x3D, &[&[0x46, 0x2E, 0xFF, 0xFF, 0, 0, 0, 0], &[0xFF; 8]]),
        fixed(0x3E, &[&(-0.0_f64).to_le_bytes(), &f64::MAX.to_le_bytes()]),
        fixed(0x7F, &[&i64::MIN.to_le_bytes(), &i64::MAX.to_le_bytes()]),
        of_a_byte(
            &[0x24, 16],
            &[&[0; 16], &std::array::from_fn::<u8, 16, _>(|i| i as u8)],
        ),
        of_a_byte(&[0x26, 1], &[&[0], &[255]]),
        of_a_byte(&[0x26, 2], &[&[0, 0x80]]),
        of_a_byte(&[0x26, 4], &[&i32::MIN.to_le_bytes()]),
        of_a_byte(&[0x26, 8], &[&i64::MIN.to_le_bytes()]),
        of_a_byte(&[0x68, 1], &[&[0], &[1]]),
        of_a_byte(&[0x6D, 4], &[&0.1_f32.to_le_bytes()]),
        of_a_byte(&[0x6D, 8], &[&0.1_f64.to_le_bytes()]),
        of_a_byte(&[0x6F, 4], &[&[1, 0, 2, 0]]),
        of_a_byte(&[0x6F, 8], &[&[1, 0, 0, 0, 0x7F, 0x81, 0x8B, 1]]),
        of_a_byte(&[0x28], &[&[0; 3], &[0xDA, 0xB9, 0x37]]),
    ]
}

/// Decimals, and what has a time of day.
fn scaled() -> Vec<(Type, Vec<Value>)> {
    let mut all = Vec::new();
    for (precision, scale, bytes) in [(9, 0, 4), (19, 4, 8), (28, 28, 12), (38, 10, 16)] {
        let digits = |sign: u8, byte: u8| {
            let mut value = vec![sign];
            value.extend(vec![byte; bytes]);
            value[bytes] &= 0x4B;
            value
        };
        let values: [&[u8]; 4] = [
            &digits(1, 0),
            &digits(0, 0xFF),
            &digits(1, 0xFF),
            &digits(0, 1),
        ];
        all.push(of_a_byte(
            &[0x6C, bytes as u8 + 1, precision, scale],
            &values,
        ));
        all.push(of_a_byte(
            &[0x6A, bytes as u8 + 1, precision, scale],
            &values,
        ));
    }
    for (scale, bytes) in [(0, 3), (2, 3), (3, 4), (4, 4), (5, 5), (7, 5)] {
        let value = |more: usize| vec![0xFE; bytes + more];
        all.push(of_a_byte(&[0x29, scale], &[&value(0), &vec![0; bytes]]));
        all.push(of_a_byte(&[0x2A, scale], &[&value(3), &vec![0; bytes + 3]]));
        all.push(of_a_byte(&[0x2B, scale], &[&value(5), &vec![0; bytes + 5]]));
    }
    all
}

/// Text and bytes.
fn varying() -> Vec<(Type, Vec<Value>)> {
    let mut all = Vec::new();
    let texts = [
        "",
        "a",
        "Zoë €",
        "ゴッサム 😀",
        "0123456789 abcdefghijklmnopqrstuvwxyz",
    ];
    let mut texts: Vec<Value> = texts.iter().map(|text| Some(utf16(text))).collect();
    // Halves of characters.
    texts.extend([
        Some(vec![0x00, 0xD8]),
        Some(vec![0x61, 0, 0x0A, 0xDC, 0x62, 0]),
        Some(vec![0x00, 0xDC, 0x00, 0xD8]),
        Some(vec![0x00, 0xD8, 0x3D, 0xD8, 0x00, 0xDE]),
        None,
    ]);
    let bytes: Vec<Value> = vec![
        Some(vec![]),
        Some(vec![0xFF; 7]),
        Some((0..=255).collect()),
        None,
    ];
    for (length, chunk) in [(510, 0), (0xFFFF, 5), (0xFFFF, 6), (0xFFFF, 8000)] {
        all.push((Type::varying(0xE7, length, chunk), texts.clone()));
        all.push((Type::varying(0xA5, length, chunk), bytes.clone()));
    }
    all.push((Type::varying(0xEF, 510, 0), texts.clone()));
    all.push((Type::varying(0xAD, 510, 0), bytes.clone()));
    all.push((Type::pointed(0x63), texts));
    all.push((Type::pointed(0x22), bytes));
    all
}

/// Types that are left to the driver.
pub(super) fn others() -> Vec<(Type, Vec<Value>)> {
    let page: Vec<Value> = vec![Some(vec![]), Some(b"abc".to_vec()), Some(vec![0xE9]), None];
    let mut udt = vec![0xF0, 0xFF, 0xFF];
    for part in ["d", "sys", "geometry"] {
        udt.push(part.len() as u8);
        udt.extend(utf16(part));
    }
    udt.extend([1, 0, b'a', 0]);
    let chunks = Prefix::Chunks(7);
    vec![
        fixed(0x3C, &[&[0, 0, 0, 0, 1, 0, 0, 0]]),
        fixed(0x7A, &[&[1, 0, 0, 0]]),
        of_a_byte(&[0x6E, 4], &[&[1, 0, 0, 0]]),
        of_a_byte(&[0x6E, 8], &[&[0, 0, 0, 0, 1, 0, 0, 0]]),
        (Type::varying(0xA7, 20, 0), page.clone()),
        (Type::varying(0xAF, 20, 0), page.clone()),
        (Type::varying(0xA7, 0xFFFF, 2), page.clone()),
        (Type::pointed(0x23), page),
        of(&[0xF1, 0], chunks, &[&utf16("<a/>"), &[]]),
        of(&udt, chunks, &[&[1, 2, 3], &[]]),
        of(
            &[0x62, 0x49, 0x1F, 0, 0],
            Prefix::None,
            &[&[6, 0, 0, 0, 0x38, 0, 1, 0, 0, 0]],
        ),
    ]
}

#[test]
fn every_value_of_every_type_is_the_drivers() {
    for (column, values) in edges() {
        let types = [Type::new(&[0x26, 4], Prefix::Byte), column.clone()];
        let mut answer = Answer::default().columns(&types);
        for (number, value) in values.iter().enumerate() {
            let row = [Some((number as u32).to_le_bytes().to_vec()), value.clone()];
            answer = answer.row(&types, &row).compressed_row(&types, &row);
        }
        let answer = answer.done(0xFD, false).packets(4000);
        let rows = assert_same(0, &answer, &[]);
        assert_eq!(rows.len(), 2 * values.len(), "{column:?}");
    }
}

#[test]
fn what_is_not_read_here_is_left_to_the_driver() {
    let money = Type::new(&[0x6E, 8], Prefix::Byte);
    let page = Type::varying(0xA7, 20, 0);
    let variant = Type::new(&[0x62, 0x49, 0x1F, 0, 0], Prefix::None);
    for (column, value) in [
        (money, vec![0, 0, 0, 0, 1, 0, 0, 0]),
        (page, b"abc".to_vec()),
        (variant, vec![6, 0, 0, 0, 0x38, 0, 1, 0, 0, 0]),
    ] {
        let types = [column];
        let answer = Answer::default().columns(&types);
        let answer = answer.row(&types, &[Some(value)]);
        let answer = answer.done(0xFD, false).packets(4000);
        assert_eq!(filtered(0, &answer, &[]).unwrap().0, answer);
        assert_eq!(assert_same(0, &answer, &[]).len(), 1);
    }
}

#[test]
fn the_other_results_and_tokens_of_an_answer_stay_as_they_are() {
    let types = [
        Type::new(&[0x26, 4], Prefix::Byte),
        Type::varying(0xE7, 40, 0),
    ];
    let row = |number: i32| {
        let value = number.to_le_bytes().to_vec();
        [Some(value), Some(utf16("text"))]
    };
    let guard = [
        Type::new(&[0x38], Prefix::None),
        Type::new(&[0x6E, 8], Prefix::Byte),
    ];
    let guard_row = [Some(vec![1, 0, 0, 0]), None];
    let mut answer = Answer::default()
        .columns(&guard)
        .row(&guard, &guard_row)
        .done(0xFF, true)
        .columns(&types)
        .order();
    for number in 0..500 {
        answer = answer.row(&types, &row(number));
        if number % 100 == 0 {
            answer = answer.info();
        }
    }
    let answer = answer
        .done(0xFF, true)
        .columns(&guard)
        .row(&guard, &guard_row)
        .done(0xFF, true)
        .token(&[0x79, 0, 0, 0, 0])
        .done(0xFE, false);
    let answer = answer.packets(700);
    assert_eq!(assert_same(1, &answer, &[]).len(), 500);
    let through = driver::rows(&filtered(1, &answer, &[]).unwrap().0);
    for result in [0, 2] {
        let guard = through.iter().filter(|row| row.result_index() == result);
        assert_eq!(guard.count(), 1);
    }
    // A few rows of many rows each.
    assert!(through.len() < 60, "{}", through.len());
    // Where another result is wanted, or none that there is, the driver has the rest.
    assert_eq!(assert_same(7, &answer, &[]).len(), 0);
    let (through, passage) = filtered(7, &answer, &[]).unwrap();
    assert_eq!(cells((driver::rows(&through), passage), 1).len(), 500);
}

#[test]
fn a_row_that_is_larger_than_what_is_kept_comes_in_parts() {
    let types = [
        Type::new(&[0x26, 4], Prefix::Byte),
        Type::varying(0xA5, 0xFFFF, 8000),
        Type::varying(0xE7, 0xFFFF, 8000),
    ];
    let large = |length: usize| {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let text = [b'x', 0].repeat(length);
        [Some(vec![1, 0, 0, 0]), Some(bytes), Some(text)]
    };
    let answer = Answer::default()
        .columns(&types)
        .row(&types, &large(3))
        .row(&types, &large(300_000))
        .row(&types, &large(1))
        .compressed_row(&types, &large(70_000))
        .compressed_row(&types, &large(0));
    let answer = answer.done(0xFD, false).packets(32_000);
    let rows = assert_same(0, &answer, &[]);
    assert_eq!(rows.len(), 5);
}

#[test]
fn a_row_that_ends_about_where_a_part_does_is_whole() {
    let types = [
        Type::new(&[0x26, 4], Prefix::Byte),
        Type::varying(0xA5, 0xFFFF, 8000),
        Type::new(&[0x38], Prefix::None),
    ];
    let row = |length: usize| {
        let number = Some(length.to_le_bytes()[..4].to_vec());
        [number.clone(), Some(vec![0xD1; length]), number]
    };
    // What is kept, less what is around the bytes.
    let most = (1 << 16) - 66;
    for length in most - 8..most + 8 {
        let answer = Answer::default()
            .columns(&types)
            .row(&types, &row(2))
            .row(&types, &row(length))
            .compressed_row(&types, &row(2 * length))
            .row(&types, &row(0));
        let answer = answer.done(0xFD, false).packets(1 << 13);
        assert_eq!(assert_same(0, &answer, &[]).len(), 4, "{length}");
    }
}

#[test]
fn a_row_is_passed_over_whose_cells_nobody_reads() {
    let types = [
        Type::new(&[0x26, 4], Prefix::Byte),
        Type::varying(0xA5, 0xFFFF, 3),
        Type::varying(0xE7, 40, 0),
    ];
    let values = [Some(vec![7, 0, 0, 0]), Some(vec![1; 8]), Some(utf16("x"))];
    let missing = [Some(vec![7, 0, 0, 0]), None, None];
    let answer = Answer::default()
        .columns(&types)
        .row(&types, &values)
        .compressed_row(&types, &missing)
        .row(&types, &missing)
        .compressed_row(&types, &values);
    let answer = answer.done(0xFD, false).packets(40);
    for wanted in 0..=types.len() {
        let (through, passage) = filtered(0, &answer, &[]).unwrap();
        let mut reader = Rows::new(passage);
        let mut count = 0;
        for row in driver::rows(&through) {
            reader.take(row).unwrap();
            while reader.next_row().unwrap() {
                for column in 0..wanted {
                    let is_seven = reader.cell(|cell| cell == ColumnData::I32(Some(7)));
                    assert!(is_seven.unwrap().unwrap() || column > 0);
                }
                count += 1;
            }
        }
        assert_eq!(count, 4, "{wanted}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_rows_in_any_packets_and_reads_are_the_drivers(
        rows in vec((vec(any::<prop::sample::Index>(), 12), any::<bool>()), 0..24),
        picked in vec(any::<prop::sample::Index>(), 1..12),
        most in 1_usize..900,
        reads in vec(1_usize..2000, 0..60),
    ) {
        let edges = edges();
        let columns: Vec<_> = picked.iter().map(|index| index.get(&edges)).collect();
        let types: Vec<Type> = columns.iter().map(|(column, _)| column.clone()).collect();
        let mut answer = Answer::default().columns(&types);
        let count = rows.len();
        for (values, is_compressed) in rows {
            let row: Vec<Value> = columns
                .iter()
                .zip(&values)
                .map(|((_, edges), index)| index.get(edges).clone())
                .collect();
            answer = match is_compressed {
                true => answer.compressed_row(&types, &row),
                false => answer.row(&types, &row),
            };
        }
        let answer = answer.done(0xFD, false).packets(most);
        prop_assert_eq!(assert_same(0, &answer, &reads).len(), count);
    }

    #[test]
    fn any_text_is_the_drivers(units in vec(any::<u16>(), 0..40), chunk in 1_usize..9) {
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let types = [Type::varying(0xE7, 0xFFFF, chunk), Type::varying(0xEF, 100, 0)];
        let answer = Answer::default().columns(&types);
        let answer = answer.row(&types, &[Some(bytes.clone()), Some(bytes)]);
        assert_same(0, &answer.done(0xFD, false).packets(4000), &[]);
    }
}
