//! Rows as numbers: what tells two tables apart without one being sent to the other.
//!
//! A row's hash is the first half of the SHA-256 of its values in arrow's row format, in which two rows have the same bytes
//! if and only if they have the same values: `-0.0` is another than `0.0`, a NaN is itself, NULL is no value. Rows go into
//! buckets by the hash of their key; a bucket's digest is how many rows it has and the sum of their hashes, which does
//! not depend on their order and in which rows that come twice do not cancel out.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sha2::{Digest as _, Sha256};

/// How many buckets there are.
const BUCKETS: usize = 1 << 16;

/// How many rows each bucket has, and the sum of their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    buckets: Vec<(u64, u128)>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            buckets: vec![(0, 0); BUCKETS],
        }
    }
}

impl Digest {
    fn add(&mut self, bucket: usize, rows: u64, hash: u128) {
        let (count, sum) = &mut self.buckets[bucket];
        *count += rows;
        *sum = sum.wrapping_add(hash);
    }

    /// Takes in what another part of the table has.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, (rows, hash)) in other.buckets.iter().enumerate() {
            self.add(bucket, *rows, *hash);
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.buckets.iter().map(|(rows, _)| rows).sum()
    }

    /// The buckets in which the two are not the same.
    pub(super) fn unlike(&self, other: &Self) -> Buckets {
        let pairs = self.buckets.iter().zip(&other.buckets);
        let unlike = pairs.map(|(one, other)| one != other);
        Buckets(Arc::new(unlike.collect()))
    }
}

/// Some of the buckets.
#[derive(Debug, Clone)]
pub(super) struct Buckets(Arc<Vec<bool>>);

impl Buckets {
    pub(super) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

fn hash(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}

fn bucket_of(key: &[u8]) -> usize {
    (hash(key) >> (u128::BITS - BUCKETS.trailing_zeros())) as usize
}

/// The row format of columns of these types.
pub(super) fn converter<'a>(
    types: impl IntoIterator<Item = &'a DataType>,
) -> Result<RowConverter, ArrowError> {
    let fields = types.into_iter().cloned().map(SortField::new);
    RowConverter::new(fields.collect())
}

fn rows_of(columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let types = columns.iter().map(|column| column.data_type());
    converter(types)?.convert_columns(columns)
}

/// Puts rows of a schema into digests.
#[derive(Debug)]
pub(super) struct RowHasher {
    keys: Vec<usize>,
    key: RowConverter,
    whole: RowConverter,
}

impl RowHasher {
    /// A hasher of rows whose key is at the places `keys`.
    pub(super) fn try_new(schema: &SchemaRef, keys: Vec<usize>) -> Result<Self, ArrowError> {
        let key = keys.iter().map(|place| schema.field(*place).data_type());
        Ok(Self {
            key: converter(key)?,
            whole: converter(schema.fields().iter().map(|field| field.data_type()))?,
            keys,
        })
    }

    pub(super) fn add(&self, digest: &mut Digest, batch: &RecordBatch) -> Result<(), ArrowError> {
        let keys = self
            .key
            .convert_columns(batch.project(&self.keys)?.columns())?;
        let rows = self.whole.convert_columns(batch.columns())?;
        for (key, row) in keys.iter().zip(rows.iter()) {
            digest.add(bucket_of(key.as_ref()), 1, hash(row.as_ref()));
        }
        Ok(())
    }
}

/// Which rows are looked at, by their keys.
#[derive(Clone)]
pub(super) enum Chosen {
    /// Those in some buckets.
    Buckets(Buckets),
    /// Those of some keys, in the row format.
    Keys(Arc<HashSet<Vec<u8>>>),
}

impl Chosen {
    /// Which of the rows of `keys`, a column for each of the key's, are chosen.
    pub(super) fn of(&self, keys: &[ArrayRef]) -> Result<BooleanArray, ArrowError> {
        let rows = rows_of(keys)?;
        let chosen = rows.iter().map(|key| {
            Some(match self {
                Self::Buckets(buckets) => buckets.0[bucket_of(key.as_ref())],
                Self::Keys(keys) => keys.contains(key.as_ref()),
            })
        });
        Ok(chosen.collect())
    }

    /// A condition over the columns of a key.
    pub(super) fn condition(&self, keys: Vec<Expr>) -> Expr {
        let function = IsChosen {
            chosen: self.clone(),
            // No source of rows should try to understand it.
            signature: Signature::variadic_any(Volatility::Volatile),
        };
        ScalarUDF::new_from_impl(function).call(keys)
    }

    fn address(&self) -> usize {
        match self {
            Self::Buckets(buckets) => Arc::as_ptr(&buckets.0) as usize,
            Self::Keys(keys) => Arc::as_ptr(keys) as usize,
        }
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buckets(_) => "buckets",
            Self::Keys(_) => "keys",
        })
    }
}

/// See [`Chosen::condition`].
#[derive(Debug)]
struct IsChosen {
    chosen: Chosen,
    signature: Signature,
}

impl PartialEq for IsChosen {
    fn eq(&self, other: &Self) -> bool {
        self.chosen.address() == other.chosen.address()
    }
}

impl Eq for IsChosen {}

impl Hash for IsChosen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.chosen.address().hash(state);
    }
}

impl ScalarUDFImpl for IsChosen {
    fn name(&self) -> &str {
        "is_chosen"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let keys = ColumnarValue::values_to_arrays(&arguments.args)?;
        Ok(ColumnarValue::Array(Arc::new(self.chosen.of(&keys)?)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, Int32Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn digest_of(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Digest {
        let batch = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
        let mut digest = Digest::default();
        let hasher = RowHasher::try_new(schema, vec![0]).unwrap();
        hasher.add(&mut digest, &batch).unwrap();
        digest
    }

    fn texts(rows: &[(i32, Option<&str>)]) -> Digest {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        let ids = Int32Array::from_iter_values(rows.iter().map(|row| row.0));
        let texts = StringArray::from_iter(rows.iter().map(|row| row.1));
        digest_of(&schema, vec![Arc::new(ids), Arc::new(texts)])
    }

    fn numbers(values: &[f64]) -> Digest {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("n", DataType::Float64, true),
        ]));
        let ids = Int32Array::from_iter_values(values.iter().map(|_| 1));
        let values = Float64Array::from_iter_values(values.iter().copied());
        digest_of(&schema, vec![Arc::new(ids), Arc::new(values)])
    }

    #[test]
    fn the_order_of_rows_and_their_parts_do_not_matter() {
        let one = texts(&[(1, Some("a")), (2, None), (3, Some(""))]);
        let other = texts(&[(3, Some("")), (1, Some("a")), (2, None)]);
        assert_eq!(one, other);
        let mut parts = texts(&[(2, None)]);
        parts.merge(&texts(&[(1, Some("a")), (3, Some(""))]));
        assert_eq!(one, parts);
        assert!(one.unlike(&parts).is_empty());
        assert_eq!(one.rows(), 3);
    }

    #[test]
    fn whatever_differs_is_in_the_bucket_of_its_key_and_in_no_other() {
        let one = texts(&[(1, Some("a")), (2, None), (3, Some("c"))]);
        for other in [
            texts(&[(1, Some("a")), (2, Some("")), (3, Some("c"))]),
            texts(&[(1, Some("a")), (3, Some("c"))]),
            texts(&[(1, Some("a")), (2, None), (2, None), (3, Some("c"))]),
            texts(&[
                (1, Some("a")),
                (2, None),
                (2, None),
                (2, None),
                (3, Some("c")),
            ]),
        ] {
            let unlike = Chosen::Buckets(one.unlike(&other));
            let keys: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
            let chosen = unlike.of(&[keys]).unwrap();
            assert_eq!(chosen, BooleanArray::from(vec![false, true, false]));
        }
    }

    #[test]
    fn numbers_are_the_same_that_have_the_same_bits() {
        assert_ne!(numbers(&[0.0]), numbers(&[-0.0]));
        assert_eq!(numbers(&[f64::NAN]), numbers(&[f64::NAN]));
        assert_ne!(numbers(&[f64::NAN]), numbers(&[f64::INFINITY]));
    }

    #[test]
    fn keys_that_differ_in_case_are_two() {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "A"]));
        let rows = rows_of(&[Arc::clone(&keys)]).unwrap();
        let small = HashSet::from([rows.row(0).as_ref().to_vec()]);
        let chosen = Chosen::Keys(Arc::new(small)).of(&[keys]).unwrap();
        assert_eq!(chosen, BooleanArray::from(vec![true, false]));
    }

    #[test]
    fn keys_fill_all_buckets_alike() {
        let rows: Vec<_> = (0..262_144).map(|id| (id, None)).collect();
        let digest = texts(&rows);
        let most = digest.buckets.iter().map(|(rows, _)| *rows).max();
        assert!(most.is_some_and(|most| most < 24), "{most:?}");
    }
}
