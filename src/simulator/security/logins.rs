//! The server's logins.

use sha2::{Digest, Sha256};

use crate::simulator::protocol::{Language, ServerError};

/// A login that `CREATE LOGIN` made.
#[derive(Debug, Clone)]
struct Account {
    name: String,
    /// A hash over the name and the password.
    secret: [u8; 32],
    enabled: bool,
    sysadmin: bool,
    database: Option<String>,
    language: Language,
}

/// The login that every server has; a script runs as it.
pub(crate) const SYSTEM_ADMINISTRATOR: &str = "sa";

/// The server's own logins, and those that were made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    accounts: Vec<Account>,
    /// The login that the server was started with.
    own: Option<String>,
}

fn secret(name: &str, password: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(name.to_lowercase());
    hash.update([0]);
    hash.update(password);
    hash.finalize().into()
}

impl Logins {
    fn find(&self, name: &str) -> Option<&Account> {
        let lower = name.to_lowercase();
        let mut accounts = self.accounts.iter();
        accounts.find(|account| account.name.to_lowercase() == lower)
    }

    fn find_mut(&mut self, name: &str) -> Result<&mut Account, ServerError> {
        let lower = name.to_lowercase();
        let mut accounts = self.accounts.iter_mut();
        accounts
            .find(|account| account.name.to_lowercase() == lower)
            .ok_or_else(|| no_login(name))
    }

    /// The names, in the order of their making.
    pub(crate) fn names(&self) -> Vec<String> {
        let accounts = self.accounts.iter();
        accounts.map(|account| account.name.clone()).collect()
    }

    /// Whether a login was made by `CREATE LOGIN`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Names the login that the server was started with.
    pub(crate) fn set_own(&mut self, name: &str) {
        self.own = Some(name.to_owned());
    }

    /// Whether a login is the server's own.
    fn is_own(&self, name: &str) -> bool {
        let own = self.own.as_deref().into_iter();
        let name = name.to_lowercase();
        own.chain([SYSTEM_ADMINISTRATOR])
            .any(|own| own.to_lowercase() == name)
    }

    /// Whether there is such a login.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.is_own(name) || self.has(name)
    }

    /// Whether a login may do everything: the server's own, or a member of `sysadmin`.
    pub(crate) fn is_sysadmin(&self, name: &str) -> bool {
        self.is_own(name) || self.find(name).is_some_and(|account| account.sysadmin)
    }

    /// The database that a login gets unless it names another.
    pub(crate) fn database(&self, name: &str) -> Option<String> {
        self.find(name)?.database.clone()
    }

    /// A login's own language.
    pub(crate) fn language(&self, name: &str) -> Language {
        self.find(name)
            .map_or(Language::default(), |account| account.language)
    }

    /// Whether a login was made, is enabled, and has this password.
    pub(crate) fn admits(&self, name: &str, password: &str) -> bool {
        self.find(name).is_some_and(|account| {
            account.enabled && account.secret == secret(&account.name, password)
        })
    }

    /// `CREATE LOGIN`.
    pub(crate) fn create(
        &mut self,
        name: &str,
        password: &str,
        database: Option<String>,
        language: Language,
    ) -> Result<(), ServerError> {
        if self.is_known(name) {
            return Err(ServerError::new(
                15025,
                format!("The server principal '{name}' already exists."),
            ));
        }
        self.accounts.push(Account {
            name: name.to_owned(),
            secret: secret(name, password),
            enabled: true,
            sysadmin: false,
            database,
            language,
        });
        Ok(())
    }

    /// `ALTER LOGIN … WITH PASSWORD`.
    pub(crate) fn set_password(&mut self, name: &str, password: &str) -> Result<(), ServerError> {
        let account = self.find_mut(name)?;
        account.secret = secret(&account.name, password);
        Ok(())
    }

    /// `ALTER LOGIN … ENABLE` or `DISABLE`.
    pub(crate) fn enable(&mut self, name: &str, enabled: bool) -> Result<(), ServerError> {
        self.find_mut(name)?.enabled = enabled;
        Ok(())
    }

    /// `ALTER SERVER ROLE sysadmin`.
    pub(crate) fn set_sysadmin(&mut self, name: &str, member: bool) -> Result<(), ServerError> {
        self.find_mut(name)?.sysadmin = member;
        Ok(())
    }

    /// `DROP LOGIN`. Sessions of the login that are open may do nothing from then on.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), ServerError> {
        self.find_mut(name)?;
        let lower = name.to_lowercase();
        self.accounts
            .retain(|account| account.name.to_lowercase() != lower);
        Ok(())
    }
}

fn no_login(name: &str) -> ServerError {
    ServerError::new(
        15151,
        format!(
            "Cannot alter the login '{name}', because it does not exist or you do not have permission."
        ),
    )
}
