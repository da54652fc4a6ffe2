//! How large a statement may be before it is parsed and planned.
//!
//! A chain of operators is a tree as deep as the chain is long, and what plans it, or takes it apart, needs stack for
//! each level and time for each pair.

use super::lexer::{Kind, Token};
use crate::simulator::protocol::ServerError;

/// Operators in a row at most, on one level of parentheses.
const OPERATORS: usize = 20_000;
/// Queries that set operators connect, and queries within others, at most.
const QUERIES: usize = 800;
/// Joins at most, and tables of one FROM.
pub(super) const JOINS: usize = 100;
/// Operators that are words.
const WORDS: &[&str] = &["AND", "OR", "LIKE", "BETWEEN", "IN", "IS", "NOT", "COLLATE"];
/// Symbols that are no operators.
const PUNCTUATION: &[&str] = &["(", ")", ",", ".", ";"];

/// Error 8623 for a statement that nothing can plan within bounds.
pub(super) fn check(tokens: &[Token]) -> Result<(), ServerError> {
    let (mut queries, mut joins) = (0, 0);
    // The operators since the last comma, by level of parentheses.
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.kind {
            Kind::Symbol("(") => chains.push(0),
            Kind::Symbol(")") if chains.len() > 1 => {
                chains.pop();
            }
            Kind::Symbol(",") => {
                if let Some(chain) = chains.last_mut() {
                    *chain = 0;
                }
            }
            Kind::Symbol(symbol) if !PUNCTUATION.contains(symbol) => extend(&mut chains)?,
            Kind::Word(_) if token.is_any(WORDS) => extend(&mut chains)?,
            Kind::Word(_) if token.is_any(&["SELECT"]) => queries += 1,
            Kind::Word(_) if token.is_any(&["JOIN"]) => joins += 1,
            _ => {}
        }
    }
    if queries > QUERIES || joins > JOINS {
        return Err(ServerError::no_plan());
    }
    Ok(())
}

fn extend(chains: &mut [usize]) -> Result<(), ServerError> {
    let Some(chain) = chains.last_mut() else {
        return Ok(());
    };
    *chain += 1;
    if *chain > OPERATORS {
        return Err(ServerError::no_plan());
    }
    Ok(())
}
