//! Changes that a flow has missed, and what is to be done about it.

use std::fmt;
use std::str::FromStr;

use super::Lsn;

/// What a flow does where changes that it needs are lost, or the history that it left was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// It stops.
    #[default]
    Fail,
    /// It copies the table again and takes out of the target what the source no longer has, in one commit.
    Resnapshot,
    /// It goes on with what the source still has; what was lost stays unknown.
    Continue,
}

impl OnGap {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Resnapshot, Self::Continue];
}

impl fmt::Display for OnGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Resnapshot => "resnapshot",
            Self::Continue => "continue",
        })
    }
}

/// No policy has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPolicy;

impl FromStr for OnGap {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_named = |policy: &Self| policy.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(is_named).ok_or(UnknownPolicy)
    }
}

/// A gap that a commit has gone over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// How.
    pub policy: OnGap,
    /// The last commit before it that the target holds.
    pub after: Lsn,
    /// From where on changes are there again; for a new copy, where that begins.
    pub upto: Lsn,
    /// Why there is one.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for policy in OnGap::ALL {
            assert_eq!(policy.to_string().to_uppercase().parse(), Ok(policy));
        }
        assert_eq!("none".parse::<OnGap>(), Err(UnknownPolicy));
    }
}
