//! Which data files are written anew, and which of them together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use datafusion::error::Result;
use datafusion::scalar::ScalarValue;
use deltalake::kernel::EagerSnapshot;

use super::super::write::{DataFile, FILE_SIZE, data_files, scalar_value};
use super::{Figures, Maintenance};

/// A file is small below one in this many of a full file's bytes.
const SMALL: u64 = 2;
/// The fewest small files of a partition that are worth writing them anew for their number alone.
const FEWEST_SMALL: usize = 4;
/// Bytes of the files that are written anew in one commit, unless one full file is more: a conflict costs no more than
/// that.
const BATCH: u64 = 512 << 20;

/// The data files of a version that are to be written anew, in batches of one commit each.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Each ordered by partition, and within it by the first key.
    pub(super) batches: Vec<Vec<DataFile>>,
}

impl Choice {
    /// Chooses among the files of `snapshot`, or of those whose path is `wanted`.
    pub(super) fn of(
        snapshot: &EagerSnapshot,
        maintenance: &Maintenance,
        wanted: Option<&HashSet<String>>,
    ) -> Result<Self> {
        let size = file_size(snapshot);
        let key = maintenance.keys.first();
        let mut partitions: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for file in data_files(snapshot, &snapshot.arrow_schema())? {
            let is_wanted = wanted.is_none_or(|wanted| wanted.contains(file.path().as_ref()));
            let dead = is_purged(&file, maintenance.purge_percent);
            if is_wanted && (dead || file.size() < size / SMALL) {
                // Only files of one partition have one text.
                let partition = format!("{:?}", file.partition);
                partitions.entry(partition).or_default().push(file);
            }
        }
        let worth = |files: &[DataFile], fewest: usize| {
            let mut files = files.iter();
            files.len() >= fewest || files.any(|file| is_purged(file, maintenance.purge_percent))
        };
        let mut batches = Batches::new(size);
        for mut files in partitions.into_values() {
            if worth(&files, FEWEST_SMALL) {
                files.sort_by(|a, b| by_key(a, b, key.map(String::as_str)));
                batches.partition(files);
            }
        }
        let mut batches = batches.finish();
        // A file that is alone in its batch is small for nothing.
        batches.retain(|files| worth(files, 2));
        Ok(Self { batches })
    }

    /// The paths of all chosen files.
    pub(super) fn paths(&self) -> HashSet<String> {
        let files = self.batches.iter().flatten();
        files.map(|file| file.path().to_string()).collect()
    }
}

/// Bytes of a full file of the table.
pub(super) fn file_size(snapshot: &EagerSnapshot) -> u64 {
    let size = snapshot.table_properties().target_file_size;
    size.unwrap_or(FILE_SIZE).get()
}

/// What the log tells of `files`.
pub(super) fn figures(files: &[DataFile]) -> Figures {
    let mut figures = Figures::default();
    for file in files {
        let deleted_rows = deleted(file);
        figures.add(Figures {
            files: 1,
            bytes: file.size(),
            rows: file.rows().unwrap_or_default().saturating_sub(deleted_rows),
            deleted_rows,
        });
    }
    figures
}

fn deleted(file: &DataFile) -> u64 {
    let vector = file.vector();
    vector.map_or(0, |vector| {
        u64::try_from(vector.cardinality).unwrap_or_default()
    })
}

/// True if more of the file's rows are deleted than `percent` of a hundred; where the log does not tell how many rows
/// there are, if any is.
fn is_purged(file: &DataFile, percent: u8) -> bool {
    let rows = file.rows().unwrap_or_default();
    u128::from(deleted(file)) * 100 > u128::from(rows) * u128::from(percent)
}

/// Orders files by the least value of `key`, so that those that are written together have near keys; by their path
/// where that is not known.
fn by_key(a: &DataFile, b: &DataFile, key: Option<&str>) -> Ordering {
    let least = |file: &DataFile| -> Option<ScalarValue> { scalar_value(&file.bounds(key?)?.0) };
    let order = match (least(a), least(b)) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    order.then_with(|| a.path().cmp(&b.path()))
}

/// Files as they come, cut into batches.
struct Batches {
    size: u64,
    limit: u64,
    full: Vec<Vec<DataFile>>,
    open: Vec<DataFile>,
    bytes: u64,
}

impl Batches {
    fn new(size: u64) -> Self {
        Self {
            size,
            limit: BATCH.max(size),
            full: Vec::new(),
            open: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds the files of one partition. They begin a batch of their own unless they fit into the open one, so that a
    /// partition is cut no more often than it must be.
    fn partition(&mut self, files: Vec<DataFile>) {
        let bytes: u64 = files.iter().map(DataFile::size).sum();
        if self.bytes + bytes > self.limit {
            self.close();
        }
        for file in files {
            // What is left over would be a small file again.
            if self.bytes + file.size() > self.limit && self.bytes >= self.size {
                self.close();
            }
            self.bytes += file.size();
            self.open.push(file);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
        }
        self.bytes = 0;
    }

    fn finish(mut self) -> Vec<Vec<DataFile>> {
        self.close();
        self.full
    }
}
