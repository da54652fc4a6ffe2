//! An object store in memory that stops before a commit, so that something can happen or fail there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, Once};

use async_trait::async_trait;
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig, default_logstore,
    logstore_factories, object_store_factories,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

const SCHEME: &str = "stopping://";

/// What happens instead of, or before, a commit.
pub(super) enum Stop {
    /// This happens first.
    Run(BoxFuture<'static, ()>),
    /// The storage refuses it.
    Refuse,
    /// The storage takes it, and answers with an error.
    Forget,
}

/// A store whose commits can be stopped.
pub(super) struct Stopping {
    memory: InMemory,
    stops: Mutex<Vec<Stop>>,
}

static STORES: LazyLock<Mutex<HashMap<String, Arc<Stopping>>>> = LazyLock::new(Mutex::default);
static FACTORIES: Once = Once::new();

impl Stopping {
    /// A new, empty store.
    pub(super) fn new() -> (Arc<Self>, String) {
        FACTORIES.call_once(|| {
            let scheme = Url::parse(SCHEME).unwrap();
            object_store_factories().insert(scheme.clone(), Arc::new(Factory));
            logstore_factories().insert(scheme, Arc::new(Factory));
        });
        let name = uuid::Uuid::new_v4().to_string();
        let store = Arc::new(Self {
            memory: InMemory::new(),
            stops: Mutex::default(),
        });
        STORES
            .lock()
            .unwrap()
            .insert(name.clone(), Arc::clone(&store));
        (store, format!("{SCHEME}{name}/customers"))
    }

    /// Stops the next commit. Several stops are for several commits, the last one first.
    pub(super) fn stop(&self, stop: Stop) {
        self.stops.lock().unwrap().push(stop);
    }

    /// Takes the stops away, for commits that are not meant.
    pub(super) fn take(&self) -> Vec<Stop> {
        std::mem::take(&mut self.stops.lock().unwrap())
    }

    /// Puts them back.
    pub(super) fn put_back(&self, stops: Vec<Stop>) {
        *self.stops.lock().unwrap() = stops;
    }

    /// How many stops no commit has come to.
    pub(super) fn left(&self) -> usize {
        self.stops.lock().unwrap().len()
    }

    /// The paths of all files with this ending.
    pub(super) async fn files(&self, ending: &str) -> Vec<String> {
        use futures::TryStreamExt;
        let files: Vec<ObjectMeta> = self.memory.list(None).try_collect().await.unwrap();
        let paths = files.iter().map(|file| file.location.to_string());
        paths.filter(|path| path.ends_with(ending)).collect()
    }

    async fn stopped(&self, location: &Path) -> Option<Error> {
        let is_commit =
            location.as_ref().contains("_delta_log/") && location.extension() == Some("json");
        if !is_commit {
            return None;
        }
        let stop = self.stops.lock().unwrap().pop();
        match stop? {
            Stop::Run(happens) => {
                happens.await;
                None
            }
            Stop::Refuse => Some(refused("the storage refuses it")),
            Stop::Forget => Some(refused(FORGOTTEN)),
        }
    }
}

const FORGOTTEN: &str = "the answer is lost";

fn refused(why: &str) -> Error {
    Error::Generic {
        store: "stopping",
        source: why.into(),
    }
}

struct Factory;

impl ObjectStoreFactory for Factory {
    fn parse_url_opts(
        &self,
        url: &Url,
        _config: &StorageConfig,
    ) -> DeltaResult<(ObjectStoreRef, Path)> {
        let stores = STORES.lock().unwrap();
        let store = Arc::clone(&stores[url.host_str().unwrap()]);
        Ok((
            Arc::new(Handle(store)),
            Path::from_url_path(url.path()).unwrap(),
        ))
    }
}

impl LogStoreFactory for Factory {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(
            prefixed_store,
            root_store,
            location,
            options,
        ))
    }
}

struct Handle(Arc<Stopping>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopping store")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopping store")
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match self.0.stopped(location).await {
            None => self.0.memory.put_opts(location, payload, opts).await,
            Some(error) => {
                if error.to_string().contains(FORGOTTEN) {
                    self.0.memory.put_opts(location, payload, opts).await?;
                }
                Err(error)
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.memory.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.memory.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.memory.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.0.stopped(to).await {
            None => self.0.memory.copy_opts(from, to, options).await,
            Some(error) => Err(error),
        }
    }
}
