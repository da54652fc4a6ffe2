//! Data files as a table whose rows know where they lie.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TableProviderFilterPushDown, TableType, Volatility,
};
use datafusion::parquet::arrow::RowNumber;
use datafusion::parquet::file::metadata::PageIndexPolicy;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};
use roaring::RoaringTreemap;

use super::files::{DataFile, READ_AHEAD};
use super::pages::access_plan;
use super::pruning::SourceKeys;

/// Bytes of footers that a scan keeps between planning and reading; those that do not fit are read twice.
const FOOTERS: usize = 16 << 20;

/// Column of a row's file: its number among the files of the scan.
pub(super) const FILE: &str = "__cdcql_file";
/// Column of a row's number in its file, from zero.
pub(super) const ROW: &str = "__cdcql_row";

/// The rows of some data files, deleted ones among them, with [`FILE`] and [`ROW`].
///
/// A file's number is its place in the list of all candidates, so that several scans agree on it.
#[derive(Debug)]
pub(super) struct FileTable {
    store: ObjectStoreUrl,
    files: Vec<(i32, DataFile)>,
    schema: TableSchema,
    keys: Option<Arc<SourceKeys>>,
}

impl FileTable {
    /// The rows of `files`, each with its number, of a table of `columns` whose partition columns are `partition`.
    pub(super) fn new(
        store: ObjectStoreUrl,
        files: Vec<(i32, DataFile)>,
        columns: &Schema,
        partition: &[String],
    ) -> Self {
        let is_partition = |field: &Arc<Field>| partition.contains(field.name());
        let stored = columns.fields().iter().filter(|field| !is_partition(field));
        let mut constants: Vec<_> = partition
            .iter()
            .filter_map(|column| columns.fields().find(column))
            .map(|(_, field)| Arc::clone(field))
            .collect();
        constants.push(Arc::new(Field::new(FILE, DataType::Int32, false)));
        let row = Field::new(ROW, DataType::Int64, true).with_extension_type(RowNumber);
        let schema = TableSchema::builder(Arc::new(Schema::new(
            stored.map(nullable).collect::<Vec<_>>(),
        )))
        .with_table_partition_cols(constants)
        .with_virtual_columns(vec![Arc::new(row)])
        .build();
        Self {
            store,
            files,
            schema,
            keys: None,
        }
    }

    /// The same without the parts of the files that can have none of `keys`.
    pub(super) fn with_keys(mut self, keys: Option<Arc<SourceKeys>>) -> Self {
        self.keys = keys;
        self
    }

    /// The files to scan, each with the parts of it that matter; their footers go to `footers`.
    async fn scanned_files(
        &self,
        store: &dyn ObjectStore,
        footers: &Arc<FileMetadataCache>,
    ) -> Result<Vec<PartitionedFile>> {
        let files = self.files.iter();
        let files = files.map(|(number, file)| self.partitioned_file(*number, file));
        let files: Vec<PartitionedFile> = files.collect();
        let Some(keys) = &self.keys else {
            return Ok(files);
        };
        stream::iter(files)
            .map(async |file| {
                let metadata = DFParquetMetadata::new(store, &file.object_meta)
                    .with_file_metadata_cache(Some(Arc::clone(footers)))
                    .with_page_index_policy(Some(PageIndexPolicy::Optional))
                    .fetch_metadata()
                    .await?;
                Ok(match access_plan(keys, &metadata)? {
                    Some(plan) => file.with_extension(plan),
                    None => file,
                })
            })
            .buffered(READ_AHEAD)
            .try_collect()
            .await
    }

    fn partitioned_file(&self, number: i32, file: &DataFile) -> PartitionedFile {
        let mut scanned = PartitionedFile::from(ObjectMeta {
            location: file.path(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.size(),
            e_tag: None,
            version: None,
        });
        scanned.partition_values = file.partition.clone();
        scanned
            .partition_values
            .push(ScalarValue::Int32(Some(number)));
        scanned
    }
}

/// A file that was written before a column was added has NULLs there, whatever the column allows today.
fn nullable(field: &Arc<Field>) -> Arc<Field> {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let stored = self.schema.file_schema();
        let support = filters.iter().map(|filter| {
            let columns = filter.column_refs();
            match columns
                .iter()
                .all(|column| stored.index_of(&column.name).is_ok())
            {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            }
        });
        Ok(support.collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut options = session.table_options().parquet.clone();
        let allowed = &session.config_options().execution.parquet;
        options.global.pruning &= allowed.pruning;
        options.global.enable_page_index &= allowed.enable_page_index;
        options.global.bloom_filter_on_read &= allowed.bloom_filter_on_read;
        // Values are decoded for the rows alone that the keys, which are read first, let through.
        options.global.pushdown_filters = true;
        let mut source =
            ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
        if let Some(predicate) = conjunction(filters.to_vec()) {
            let columns = DFSchema::try_from(self.schema())?;
            source = source.with_predicate(session.create_physical_expr(predicate, &columns)?);
        }
        let store = session.runtime_env().object_store(&self.store)?;
        let footers: Arc<FileMetadataCache> = Arc::new(DefaultCache::new(FOOTERS));
        let files = self.scanned_files(&store, &footers).await?;
        let readers = CachedParquetFileReaderFactory::new(store, footers);
        let source = source.with_parquet_file_reader_factory(Arc::new(readers));
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_group(FileGroup::new(files))
            .with_projection_indices(projection.cloned())?
            .build();
        let scan = DataSourceExec::from_data_source(config);
        let partitions = session.config().target_partitions();
        let parted = scan.repartitioned(partitions, session.config_options())?;
        Ok(parted.unwrap_or(scan))
    }
}

/// `is_live(file, row)`: false for rows that a deletion vector takes out.
#[derive(Debug)]
pub(super) struct IsLive {
    deleted: Arc<HashMap<i32, RoaringTreemap>>,
    signature: Signature,
}

impl IsLive {
    /// The function over the deleted rows of the files, by the files' numbers.
    pub(super) fn function(deleted: Arc<HashMap<i32, RoaringTreemap>>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self {
            deleted,
            // It must be asked where it stands, and not within the scan, which knows no such function.
            signature: Signature::exact(
                vec![DataType::Int32, DataType::Int64],
                Volatility::Volatile,
            ),
        })
    }
}

impl PartialEq for IsLive {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.deleted, &other.deleted)
    }
}

impl Eq for IsLive {}

impl Hash for IsLive {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.deleted).hash(state);
    }
}

impl ScalarUDFImpl for IsLive {
    fn name(&self) -> &str {
        "is_live"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [files, rows] = columns.as_slice() else {
            return exec_err!("is_live takes a file and a row");
        };
        let files = files.as_primitive::<Int32Type>();
        let rows = rows.as_primitive::<Int64Type>();
        let live = files.values().iter().zip(rows.values()).map(|(file, row)| {
            let deleted = self.deleted.get(file);
            !deleted.is_some_and(|deleted| deleted.contains(row.cast_unsigned()))
        });
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from_iter(
            live.map(Some),
        ))))
    }
}
