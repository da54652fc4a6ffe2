//! Options of the object store that a table lies in.

use std::collections::HashMap;
use std::fmt;

use url::Url;

use super::SinkError;
use super::location::table_url;
use crate::nearest::nearest;

/// How often a request to a store is sent again at most, and for how long, unless options say otherwise: a store that
/// does not answer is an error within two minutes, whatever asks it.
const RETRIES: [(&str, &str); 2] = [("max_retries", "6"), ("retry_timeout", "60s")];

/// Options of every store, and those of each kind, as people write them most; the object store knows more.
const OF_ALL: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "timeout",
    "proxy_url",
    "max_retries",
    "retry_timeout",
];
const OF_S3: &[&str] = &[
    "access_key_id",
    "secret_access_key",
    "session_token",
    "region",
    "endpoint",
    "endpoint_url",
    "virtual_hosted_style_request",
    "skip_signature",
];
const OF_AZURE: &[&str] = &[
    "account_name",
    "account_key",
    "client_id",
    "client_secret",
    "tenant_id",
    "sas_key",
    "bearer_token",
    "endpoint",
    "use_emulator",
    "use_azure_cli",
];
const OF_GCS: &[&str] = &[
    "service_account",
    "service_account_key",
    "application_credentials",
    "base_url",
    "skip_signature",
];

/// The options of a store by their names, in lower case: those of the object store, such as `region` or `account_key`,
/// with the prefix of their kind (`aws_`, `azure_storage_`, `google_`) or without. What they leave open is looked for in
/// the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions(HashMap<String, String>);

/// Hides the values, of which some are secrets.
impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for StorageOptions {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(options: I) -> Self {
        Self(options.into_iter().collect())
    }
}

impl From<HashMap<String, String>> for StorageOptions {
    fn from(options: HashMap<String, String>) -> Self {
        Self(options)
    }
}

impl StorageOptions {
    /// These, and those of `others` that these do not name.
    #[must_use]
    pub fn over(mut self, others: &Self) -> Self {
        for (name, value) in &others.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// Refuses options that the store at `location` does not know.
    ///
    /// # Errors
    /// `InvalidLocation`; also for options of a local path, which has none.
    pub fn check(&self, location: &str) -> Result<(), SinkError> {
        let url = table_url(location)?;
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort();
        for name in names {
            if !is_known(&url, name) {
                return Err(SinkError::InvalidLocation {
                    location: location.to_string(),
                    reason: reason(&url, name),
                });
            }
        }
        Ok(())
    }

    /// What deltalake takes for the store at `url`.
    pub(super) fn into_map(self, url: &Url) -> HashMap<String, String> {
        let mut options = self.0;
        if url.scheme() != "file" {
            for (name, value) in RETRIES {
                options
                    .entry(name.to_string())
                    .or_insert_with(|| value.to_string());
            }
        }
        options
    }
}

/// The options that belong to a scheme.
fn of_scheme(url: &Url) -> Option<&'static [&'static str]> {
    match url.scheme() {
        "s3" | "s3a" => Some(OF_S3),
        "az" | "adl" | "abfs" | "abfss" | "azure" => Some(OF_AZURE),
        "gs" => Some(OF_GCS),
        _ => None,
    }
}

fn is_known(url: &Url, name: &str) -> bool {
    let Some(own) = of_scheme(url) else {
        return false;
    };
    // Without a look at the version first, which only the newest rename of a file needs.
    if name.contains("unsafe_rename") || name.contains("locking_provider") {
        return false;
    }
    own.contains(&name) || OF_ALL.contains(&name) || object_store_knows(url, name)
}

#[allow(unused_variables, clippy::match_single_binding)]
fn object_store_knows(url: &Url, name: &str) -> bool {
    match url.scheme() {
        #[cfg(feature = "s3")]
        "s3" | "s3a" => name.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok(),
        #[cfg(feature = "azure")]
        "az" | "adl" | "abfs" | "abfss" | "azure" => {
            name.parse::<object_store::azure::AzureConfigKey>().is_ok()
        }
        #[cfg(feature = "gcs")]
        "gs" => name.parse::<object_store::gcp::GoogleConfigKey>().is_ok(),
        _ => false,
    }
}

fn reason(url: &Url, name: &str) -> String {
    let Some(own) = of_scheme(url) else {
        return format!("a local path has no options such as `{name}`; leave OPTIONS out");
    };
    let known = || own.iter().chain(OF_ALL).copied();
    let plain = ["aws_", "azure_storage_", "azure_", "google_"];
    let plain = plain.iter().find_map(|prefix| name.strip_prefix(prefix));
    match nearest(plain.unwrap_or(name), known()) {
        Some(near) => format!("its store has no option `{name}`; did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known().collect();
            format!(
                "its store has no option `{name}`; some are {}",
                known.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(names: &[&str]) -> StorageOptions {
        let options = names
            .iter()
            .map(|name| ((*name).to_string(), "hidden".to_string()));
        options.collect()
    }

    #[test]
    fn a_local_path_has_no_options() {
        let error = options(&["region"]).check("/tmp/lake").unwrap_err();
        assert!(error.to_string().contains("leave OPTIONS out"), "{error}");
        assert!(options(&[]).check("/tmp/lake").is_ok());
    }

    #[cfg(all(feature = "s3", feature = "azure", feature = "gcs"))]
    #[test]
    fn options_are_those_of_their_store() {
        for (location, known, unknown) in [
            (
                "s3://b/t",
                ["aws_region", "secret_access_key", "allow_http"],
                "regoin",
            ),
            (
                "abfss://c@a.dfs.core.windows.net/t",
                ["account_key", "azure_storage_sas_key", "timeout"],
                "acount_key",
            ),
            (
                "gs://b/t",
                [
                    "google_service_account",
                    "service_account_key",
                    "max_retries",
                ],
                "service_acount",
            ),
        ] {
            options(&known).check(location).unwrap();
            let error = options(&[unknown]).check(location).unwrap_err();
            assert!(error.to_string().contains("did you mean"), "{error}");
        }
        let unsafe_option = options(&["aws_s3_allow_unsafe_rename"]);
        assert!(unsafe_option.check("s3://b/t").is_err());
    }

    #[test]
    fn the_nearer_options_stand() {
        let table: StorageOptions = [("a".to_string(), "1".to_string())].into_iter().collect();
        let schema = [("a", "2"), ("b", "3")].map(|(k, v)| (k.to_string(), v.to_string()));
        let both = table.over(&schema.into_iter().collect());
        assert_eq!((both.0["a"].as_str(), both.0["b"].as_str()), ("1", "3"));
        assert!(!format!("{both:?}").contains('3'), "{both:?}");
    }
}
