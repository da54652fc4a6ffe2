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

    /// The same by the names that the store at `location` has for them.
    ///
    /// # Errors
    /// `InvalidLocation` for an option that the store does not know, and for one that is given by two of its names; also
    /// for any option of a local path.
    pub fn at(self, location: &str) -> Result<Self, SinkError> {
        let url = table_url(location)?;
        let refused = |reason| SinkError::InvalidLocation {
            location: location.to_string(),
            reason,
        };
        let mut given: Vec<(String, String)> = self.0.into_iter().collect();
        given.sort();
        let mut options = HashMap::new();
        for (name, value) in given {
            let Some(known) = known_name(&url, &name) else {
                return Err(refused(reason(&url, &name)));
            };
            if options.insert(known, value).is_some() {
                let reason = format!("its option `{name}` is given by another name too");
                return Err(refused(reason));
            }
        }
        Ok(Self(options))
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

/// The one name of an option; `None` if the store has no such option.
fn known_name(url: &Url, name: &str) -> Option<String> {
    let own = of_scheme(url)?;
    // Without a look at the version first, which only the newest rename of a file needs.
    if name.contains("unsafe_rename") || name.contains("locking_provider") {
        return None;
    }
    let listed = own.contains(&name) || OF_ALL.contains(&name);
    stores_name(url, name).or_else(|| listed.then(|| name.to_string()))
}

#[allow(unused_variables, clippy::match_single_binding)]
fn stores_name(url: &Url, name: &str) -> Option<String> {
    match url.scheme() {
        #[cfg(feature = "s3")]
        "s3" | "s3a" => parsed::<object_store::aws::AmazonS3ConfigKey>(name),
        #[cfg(feature = "azure")]
        "az" | "adl" | "abfs" | "abfss" | "azure" => {
            parsed::<object_store::azure::AzureConfigKey>(name)
        }
        #[cfg(feature = "gcs")]
        "gs" => parsed::<object_store::gcp::GoogleConfigKey>(name),
        _ => None,
    }
}

#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
fn parsed<K: std::str::FromStr + AsRef<str>>(name: &str) -> Option<String> {
    let key: K = name.parse().ok()?;
    Some(key.as_ref().to_string())
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
        let error = options(&["region"]).at("/tmp/lake").unwrap_err();
        assert!(error.to_string().contains("leave OPTIONS out"), "{error}");
        assert!(options(&[]).at("/tmp/lake").is_ok());
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
            options(&known).at(location).unwrap();
            let error = options(&[unknown]).at(location).unwrap_err();
            assert!(error.to_string().contains("did you mean"), "{error}");
        }
        let unsafe_option = options(&["aws_s3_allow_unsafe_rename"]);
        assert!(unsafe_option.at("s3://b/t").is_err());
    }

    #[cfg(all(feature = "s3", feature = "azure", feature = "gcs"))]
    #[test]
    fn an_option_has_one_value_by_whatever_name() {
        for (location, names) in [
            ("s3://b/t", ["region", "aws_region"]),
            ("s3://b/t", ["endpoint_url", "aws_endpoint"]),
            ("az://c/t", ["account_key", "azure_storage_account_key"]),
            ("gs://b/t", ["service_account", "google_service_account"]),
        ] {
            let error = options(&names).at(location).unwrap_err();
            assert!(error.to_string().contains("another name"), "{error}");
            let [table, schema] = names.map(|name| options(&[name]).at(location).unwrap());
            assert_eq!(table, schema);
            assert_eq!(table.clone().over(&schema).0.len(), 1);
        }
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
