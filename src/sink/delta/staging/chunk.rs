//! A finished chunk: the files of its rows, and a note beside them that says what they are.

use deltalake::kernel::Add;
use object_store::path::Path;
use serde_json::{Value, json};
use uuid::Uuid;

/// A chunk's place in a copy: which it is, and from where to where it goes, in words of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkName {
    /// The copy that it is a part of.
    pub copy: Uuid,
    /// Chunks are in the order of their numbers.
    pub number: u32,
    /// The run that has written it.
    pub run: Uuid,
    /// Where it begins; `None` at the beginning.
    pub after: Option<String>,
    /// Where it ends; `None` at the end.
    pub upto: Option<String>,
}

/// A chunk that is finished.
#[derive(Debug, Clone)]
pub struct StagedChunk {
    /// Which it is.
    pub name: ChunkName,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes its rows have in memory.
    pub(super) bytes: u64,
    /// Whether a table may take the files.
    pub(super) is_final: bool,
    pub(super) files: Vec<StagedFile>,
}

/// A Parquet file of a chunk's rows.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct StagedFile {
    /// Its name in the flow's folder. No other file has it, in the table's folder neither.
    pub(in super::super) name: String,
    /// Bytes.
    pub(in super::super) size: u64,
    /// Milliseconds since 1970 in UTC.
    modified_ms: i64,
    /// How many rows it has.
    pub(in super::super) rows: u64,
    /// What Delta's log says of the values of a file.
    stats: Option<String>,
}

#[cfg(test)]
impl StagedChunk {
    /// A chunk of which nothing but the name is true.
    pub(crate) fn named(name: ChunkName) -> Self {
        Self {
            name,
            rows: 0,
            bytes: 0,
            is_final: false,
            files: Vec::new(),
        }
    }
}

impl ChunkName {
    /// The name of the chunk's note.
    pub(super) fn note(&self) -> String {
        format!("{:08}-{}.json", self.number, self.run)
    }

    /// Number and run of the chunk whose note has this name.
    pub(super) fn of_note(name: &str) -> Option<(u32, Uuid)> {
        let (number, run) = name.strip_suffix(".json")?.split_once('-')?;
        Some((number.parse().ok()?, Uuid::parse_str(run).ok()?))
    }
}

impl StagedFile {
    /// The file that a writer has added; `None` if it does not say how many rows that has.
    pub(super) fn of(add: Add) -> Option<Self> {
        let stats: Value = serde_json::from_str(add.stats.as_deref()?).ok()?;
        Some(Self {
            rows: stats["numRecords"].as_u64()?,
            size: add.size.unsigned_abs(),
            name: add.path,
            modified_ms: add.modification_time,
            stats: add.stats,
        })
    }

    /// The action that adds the file to a table in whose folder it lies.
    pub(in super::super) fn added(&self) -> Add {
        Add {
            path: self.name.clone(),
            size: self.size.cast_signed(),
            modification_time: self.modified_ms,
            data_change: true,
            stats: self.stats.clone(),
            ..Add::default()
        }
    }

    /// Where it lies.
    pub(super) fn path(&self, folder: &Path) -> Path {
        folder.clone().join(self.name.as_str())
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "size": self.size,
            "modified": self.modified_ms,
            "rows": self.rows,
            "stats": self.stats,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_string);
        Some(Self {
            name: text("name")?,
            size: value["size"].as_u64()?,
            modified_ms: value["modified"].as_i64()?,
            rows: value["rows"].as_u64()?,
            stats: text("stats"),
        })
    }
}

impl StagedChunk {
    pub(super) fn to_note(&self) -> String {
        let files = self.files.iter().map(StagedFile::to_json);
        json!({
            "copy": self.name.copy.to_string(),
            "after": self.name.after,
            "upto": self.name.upto,
            "rows": self.rows,
            "bytes": self.bytes,
            "final": self.is_final,
            "files": files.collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// The chunk of a note; `None` for one that is damaged.
    pub(super) fn from_note((number, run): (u32, Uuid), note: &[u8]) -> Option<Self> {
        let note: Value = serde_json::from_slice(note).ok()?;
        let text = |key: &str| note[key].as_str().map(str::to_string);
        let files = note["files"].as_array()?.iter().map(StagedFile::from_json);
        Some(Self {
            name: ChunkName {
                copy: Uuid::parse_str(note["copy"].as_str()?).ok()?,
                number,
                run,
                after: text("after"),
                upto: text("upto"),
            },
            rows: note["rows"].as_u64()?,
            bytes: note["bytes"].as_u64()?,
            is_final: note["final"].as_bool()?,
            files: files.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_all_of_its_chunk() {
        let name = ChunkName {
            copy: Uuid::from_u128(1),
            number: 7,
            run: Uuid::from_u128(2),
            after: Some("[\"a\"]".to_string()),
            upto: None,
        };
        let file = StagedFile {
            name: "part-0.parquet".to_string(),
            size: 5,
            modified_ms: 6,
            rows: 3,
            stats: Some("{\"numRecords\":3}".to_string()),
        };
        let chunk = StagedChunk {
            rows: 3,
            bytes: 24,
            is_final: true,
            files: vec![file],
            ..StagedChunk::named(name.clone())
        };
        let place = ChunkName::of_note(&name.note());
        assert_eq!(place, Some((7, Uuid::from_u128(2))));
        let note = chunk.to_note();
        let read = StagedChunk::from_note(place.unwrap(), note.as_bytes()).unwrap();
        assert_eq!((read.rows, read.bytes, read.is_final), (3, 24, true));
        assert_eq!((&read.name, &read.files), (&name, &chunk.files));
        for damaged in [&note[..note.len() - 1], "{}", "", "[1]"] {
            let read = StagedChunk::from_note((7, name.run), damaged.as_bytes());
            assert!(read.is_none(), "{damaged}");
        }
        for other in ["copy.json", "x-y.json", "00000007-.json"] {
            assert_eq!(ChunkName::of_note(other), None, "{other}");
        }
    }
}
