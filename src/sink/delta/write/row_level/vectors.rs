//! Deletion vectors: the row numbers of a data file that are gone.

use datafusion::error::{DataFusionError, Result};
use delta_kernel::actions::deletion_vector::DeletionVectorDescriptor as Stored;
use delta_kernel::actions::deletion_vector_writer::{
    DeletionVector, StreamingDeletionVectorWriter,
};
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use deltalake::logstore::LogStoreRef;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use roaring::RoaringTreemap;
use url::Url;
use uuid::Uuid;

/// Reads a deletion vector of the table.
pub(super) async fn read_vector(
    log_store: &LogStoreRef,
    descriptor: DeletionVectorDescriptor,
) -> Result<RoaringTreemap> {
    let descriptor = Stored::try_from(descriptor).map_err(failed)?;
    let engine = log_store.engine(None);
    let root = log_store.root_url().clone();
    // The kernel waits for the storage on the thread that asks.
    let read =
        tokio::task::spawn_blocking(move || descriptor.read(engine.storage_handler(), &root));
    read.await
        .map_err(|error| DataFusionError::External(Box::new(error)))?
        .map_err(failed)
}

/// The file of a deletion vector, below the table's `root`; `None` where it is no file of its own, or lies elsewhere.
pub(in super::super::super) fn vector_path(
    root: &Url,
    descriptor: DeletionVectorDescriptor,
) -> Result<Option<Path>> {
    let descriptor = Stored::try_from(descriptor).map_err(failed)?;
    let Some(file) = descriptor.absolute_path(root).map_err(failed)? else {
        return Ok(None);
    };
    match root.make_relative(&file) {
        Some(relative) if !relative.starts_with("../") => Path::from_url_path(relative)
            .map(Some)
            .map_err(|error| DataFusionError::External(Box::new(error))),
        _ => Ok(None),
    }
}

/// Writes `vectors` into one new file of the table; their descriptors, in the same order.
pub(super) async fn write_vectors(
    log_store: &LogStoreRef,
    vectors: Vec<RoaringTreemap>,
) -> Result<Vec<DeletionVectorDescriptor>> {
    if vectors.is_empty() {
        return Ok(Vec::new());
    }
    let name = Uuid::new_v4();
    let mut bytes = Vec::new();
    let mut writer = StreamingDeletionVectorWriter::new(&mut bytes);
    let mut descriptors = Vec::with_capacity(vectors.len());
    for vector in vectors {
        let written = writer.write_deletion_vector(Rows(vector)).map_err(failed)?;
        descriptors.push(DeletionVectorDescriptor {
            storage_type: StorageType::UuidRelativePath,
            path_or_inline_dv: z85::encode(name.as_bytes()),
            offset: Some(written.offset),
            size_in_bytes: written.size_in_bytes,
            cardinality: written.cardinality,
        });
    }
    writer.finalize().map_err(failed)?;
    let path = Path::from(format!("deletion_vector_{name}.bin"));
    log_store
        .object_store(None)
        .put(&path, bytes.into())
        .await
        .map_err(|error| DataFusionError::ObjectStore(Box::new(error)))?;
    Ok(descriptors)
}

/// A vector as the kernel writes it.
struct Rows(RoaringTreemap);

impl DeletionVector for Rows {
    type IndexIterator = roaring::treemap::IntoIter;

    fn into_iter(self) -> Self::IndexIterator {
        self.0.into_iter()
    }

    fn cardinality(&self) -> u64 {
        self.0.len()
    }
}

fn failed(error: delta_kernel::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
