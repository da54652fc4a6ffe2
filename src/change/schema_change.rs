//! What a flow does where its source has other columns than its target.

use std::fmt;
use std::str::FromStr;

use super::UnknownPolicy;

/// What a flow whose target took its columns from it does where the source's are others now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnSchemaChange {
    /// It stops.
    #[default]
    Fail,
    /// New columns stay out of the target; those that the source has lost are NULL in rows that change.
    Ignore,
    /// New columns come to the target, and the table is copied again so that all rows have them, or the rows are that have
    /// changed since; those that the source has lost are NULL in rows that change.
    Add,
    /// As [`OnSchemaChange::Add`], and columns whose types have become wider become so in the target.
    Evolve,
}

impl OnSchemaChange {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Fail, Self::Ignore, Self::Add, Self::Evolve];

    /// Whether new columns come to the target.
    pub fn adds(self) -> bool {
        matches!(self, Self::Add | Self::Evolve)
    }
}

impl fmt::Display for OnSchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Ignore => "ignore",
            Self::Add => "add",
            Self::Evolve => "evolve",
        })
    }
}

impl FromStr for OnSchemaChange {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_named = |policy: &Self| policy.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(is_named).ok_or(UnknownPolicy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for policy in OnSchemaChange::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            assert_eq!(policy.to_string().to_uppercase().parse(), Ok(policy));
        }
        assert_eq!("adds".parse::<OnSchemaChange>(), Err(UnknownPolicy));
    }
}
