//! The server's logins.

use sha2::{Digest, Sha256};

use crate::simulator::protocol::ServerError;

/// A login that `CREATE LOGIN` made.
#[derive(Debug, Clone)]
struct Account {
    name: String,
    /// A hash over the name and the password.
    secret: [u8; 32],
    enabled: bool,
    sysadmin: bool,
    database: Option<String>,
}

/// The logins that were made, beside the one that the server was started with.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    accounts: Vec<Account>,
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

    /// Whether a login may do everything: one that was not made, or a member of `sysadmin`.
    pub(crate) fn is_sysadmin(&self, name: &str) -> bool {
        self.find(name).is_none_or(|account| account.sysadmin)
    }

    /// The database that a login gets unless it names another.
    pub(crate) fn database(&self, name: &str) -> Option<String> {
        self.find(name)?.database.clone()
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
    ) -> Result<(), ServerError> {
        if self.has(name) {
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

    /// `DROP LOGIN`.
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
