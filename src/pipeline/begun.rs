//! How a copy was begun, by which the next run knows what it has left behind.

use datafusion::arrow::datatypes::SchemaRef;
use serde_json::{Value, json};
use uuid::Uuid;

use super::copy::Extent;
use super::flow::Flow;
use super::staged::{Found, chain};
use crate::change::{Commit, Lsn, LsnRange};
use crate::error::Error;
use crate::sink::delta::Staging;
use crate::source::sqlserver::{Asked, CapturedColumn, ErrorKind, TableChunks};

/// The version of the manifest that this program writes and reads.
const FORMAT: u32 = 1;

/// How a copy was begun.
#[derive(Debug, PartialEq)]
pub(super) struct Begun {
    /// What its chunks are known by.
    pub(super) copy: Uuid,
    /// What is copied.
    pub(super) source: Value,
    /// In what [form] its rows are kept.
    pub(super) adopted_by: Value,
    /// Where the target stood: what is left behind by a copy that was committed is of no use any more.
    pub(super) over: Option<Lsn>,
    /// The commit past which rows are read.
    pub(super) start: Lsn,
    /// The newest commit then, by which the source's history is known again.
    pub(super) anchor: Option<Commit>,
}

/// The columns of a table that is to take the files of a copy; NULL if its rows are to be read once.
pub(super) fn form(adopted: Option<&SchemaRef>) -> Value {
    let columns = adopted.map(|table| {
        let columns = table.fields().iter().map(|field| {
            let data_type = field.data_type().to_string();
            json!([field.name(), data_type, field.is_nullable()])
        });
        columns.collect::<Vec<_>>()
    });
    json!(columns)
}

/// What is copied.
pub(super) fn identity(flow: &Flow, chunks: &TableChunks, extent: Extent<'_>) -> Value {
    let columns = chunks.schema();
    let columns = columns.fields().iter();
    let columns = columns.map(|field| {
        let mut captured = flow.table.columns().iter();
        let captured = captured.find(|column| column.name() == field.name());
        json!([field.name(), captured.map(CapturedColumn::type_name)])
    });
    json!({
        "database": flow.key.database,
        "table": [flow.key.schema, flow.key.table],
        "capture_instance": [flow.table.capture_instance(), flow.table.instance_id()],
        "columns": columns.collect::<Vec<_>>(),
        // Another login may see other rows.
        "may_miss": chunks.may_miss(),
        "chunks_by": chunks.key_names(),
        "where": extent.identity(),
    })
}

impl Begun {
    /// Its manifest.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "format": FORMAT,
            "copy": self.copy.to_string(),
            "source": self.source,
            "adopted_by": self.adopted_by,
            "over": self.over.map(|over| over.to_hex()),
            "start": self.start.to_hex(),
            "anchor": self.anchor.as_ref().map(|anchor| json!({
                "lsn": anchor.lsn.to_hex(),
                "end_time_ms": anchor.end_time_ms,
                "tran_id": anchor.tran_id_hex(),
            })),
        })
    }
}

/// What an earlier run has left of the same copy, by what it is known, and the commit that it began at; `None` if there
/// is nothing, or the source does not have all changes since then any more.
pub(super) async fn left_behind(
    flow: &Flow,
    staging: &Staging,
    begun: &Begun,
) -> Result<Option<(Uuid, Lsn, Found)>, Error> {
    let Some(manifest) = staging.manifest().await? else {
        return Ok(None);
    };
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    let expected = begun.to_json();
    let is_same = ["format", "source", "over"]
        .into_iter()
        .all(|part| manifest[part] == expected[part]);
    // Files for a table to take can be read as any others.
    let form = &expected["adopted_by"];
    let is_same = is_same && (form.is_null() || manifest["adopted_by"] == *form);
    let lsn = |value: &Value| value.as_str().and_then(|text| text.parse::<Lsn>().ok());
    let (start, anchor) = (lsn(&manifest["start"]), lsn(&manifest["anchor"]["lsn"]));
    let copy = manifest["copy"].as_str();
    let copy = copy.and_then(|copy| Uuid::parse_str(copy).ok());
    let (true, Some(copy), Some(start), Some(anchor), Some(newest)) =
        (is_same, copy, start, anchor, &begun.anchor)
    else {
        return Ok(None);
    };
    let asked = [Asked {
        table: &flow.table,
        after: anchor,
    }];
    let mut news = flow.database.news(&asked, newest.lsn).await?;
    let news = match news.pop() {
        Some(Ok(news)) => news,
        Some(Err(error)) if error.kind() != ErrorKind::ChangesLost => return Err(error.into()),
        _ => return Ok(None),
    };
    let same_commit = news.anchor.as_ref().is_some_and(|commit| {
        manifest["anchor"]["end_time_ms"] == commit.end_time_ms
            && manifest["anchor"]["tran_id"] == commit.tran_id_hex()
    });
    // A new instance may begin past the newest commit.
    let window = LsnRange::new(start, newest.lsn.max(start)).unwrap_or_default();
    match news.check(&flow.table, window) {
        Err(error) if error.kind() == ErrorKind::ChangesLost => return Ok(None),
        // A server that is behind does not know the anchor either.
        Err(error) if !window.is_empty() => return Err(error.into()),
        _ if !same_commit => return Ok(None),
        _ => {}
    }
    Ok(Some((copy, start, chain(staging.chunks(copy).await?))))
}
