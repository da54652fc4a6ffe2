//! Files of a copy that become the table's.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use deltalake::operations::write::writer::DeltaWriter;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, Error, ObjectStore as _, ObjectStoreExt as _, Result};
use tokio::io::AsyncWriteExt as _;

use super::super::SinkError;
use super::{StagedFile, Staging};

/// How many files are given at once where the store does it, and where their bytes come through here.
const COPIES_AT_ONCE: usize = 8;
const STREAMS_AT_ONCE: usize = 2;

/// The schemes of stores whose answer to a copy means that it is made. Azure's may be given before.
const COPYING: [&str; 4] = ["s3://", "s3a://", "gs://", "memory://"];

/// Files whose rows a new table has as they are, and which it takes; clones share them.
#[derive(Debug, Clone)]
pub struct Adopted {
    staging: Arc<Staging>,
    files: Arc<[StagedFile]>,
}

/// How a file gets into the table's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Link,
    Copy,
    Stream,
}

impl Adopted {
    pub(super) fn new(staging: Staging, files: Vec<StagedFile>) -> Self {
        Self {
            staging: Arc::new(staging),
            files: files.into(),
        }
    }

    /// How many rows they have.
    pub(in super::super) fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// A writer of the table's other rows, whose columns are `schema`.
    pub(in super::super) fn writer(&self, schema: &SchemaRef) -> DeltaWriter {
        let config = self.staging.writer_config(schema, Vec::new());
        DeltaWriter::new(Arc::clone(&self.staging.store), config)
    }

    /// Has each file lie in the table's folder too, under the same name; the actions that add them.
    ///
    /// # Errors
    /// `Storage` if the store cannot be read or written.
    pub(in super::super) async fn give(&self) -> std::result::Result<Vec<Add>, SinkError> {
        let way = self.way();
        let given: Vec<_> = self
            .files
            .iter()
            .map(|file| self.one(file, way).boxed())
            .collect();
        let at_once = match way {
            Way::Link | Way::Copy => COPIES_AT_ONCE,
            Way::Stream => STREAMS_AT_ONCE,
        };
        let given = stream::iter(given).buffer_unordered(at_once);
        let given = given.try_collect::<()>().await;
        given.map_err(|error| self.staging.failed("write", error))?;
        Ok(self.files.iter().map(StagedFile::added).collect())
    }

    fn way(&self) -> Way {
        let copies = |scheme: &&str| self.staging.location.starts_with(*scheme);
        match (&self.staging.directory, COPYING.iter().any(copies)) {
            (Some(_), _) => Way::Link,
            (None, true) => Way::Copy,
            (None, false) => Way::Stream,
        }
    }

    async fn one(&self, file: &StagedFile, way: Way) -> Result<()> {
        let Staging { store, folder, .. } = self.staging.as_ref();
        let (from, to) = (file.path(folder), Path::from(file.name.as_str()));
        match way {
            Way::Link => {
                let options = CopyOptions::new().with_mode(CopyMode::Create);
                match store.copy_opts(&from, &to, options).await {
                    // By an earlier try.
                    Ok(()) | Err(Error::AlreadyExists { .. }) => Ok(()),
                    // Not every disk has links.
                    Err(Error::Generic { .. }) => self.stream(&from, to).await,
                    Err(error) => Err(error),
                }
            }
            Way::Copy => store.copy(&from, &to).await,
            Way::Stream => self.stream(&from, to).await,
        }
    }

    async fn stream(&self, from: &Path, to: Path) -> Result<()> {
        let store = &self.staging.store;
        let mut bytes = store.get(from).await?.into_stream();
        let copy = BufWriter::new(Arc::clone(store), to);
        let mut copy = copy.with_max_concurrency(STREAMS_AT_ONCE);
        let copied = async {
            while let Some(part) = bytes.try_next().await? {
                copy.put(part).await?;
            }
            Ok(())
        };
        if let Err(error) = copied.await {
            // What was sent so far would stay in some stores.
            let _ = copy.abort().await;
            return Err(error);
        }
        let ended = copy.shutdown().await;
        ended.map_err(|source| Error::Generic {
            store: "copy",
            source: source.into(),
        })
    }
}
