//! The dialect that the SQL parser reads.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, MsSqlDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// How often the parser may begin an expression, for each token: it tries some of them twice.
const TRIES: usize = 64;

/// Words that cannot be names without brackets, so that the parser need not try them as such.
const RESERVED: &[Keyword] = &[
    Keyword::CASE,
    Keyword::CAST,
    Keyword::CONVERT,
    Keyword::EXISTS,
    Keyword::NOT,
    Keyword::TRY_CAST,
    Keyword::TRY_CONVERT,
];

/// T-SQL as the parser's own dialect has it, but read in a time that grows with the text: without named
/// arguments of functions, for which each argument is read twice, and with a bound on all tries.
#[derive(Debug)]
pub(super) struct TransactSql {
    base: MsSqlDialect,
    tries: Cell<usize>,
}

impl TransactSql {
    /// The dialect for a text of so many tokens.
    pub(super) fn for_tokens(count: usize) -> Self {
        Self {
            base: MsSqlDialect {},
            tries: Cell::new(count.saturating_add(1).saturating_mul(TRIES)),
        }
    }
}

impl Dialect for TransactSql {
    fn dialect(&self) -> TypeId {
        self.base.dialect()
    }

    fn parse_prefix(&self, _: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.tries.get().checked_sub(1) {
            Some(left) => {
                self.tries.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        RESERVED.contains(&keyword) || self.base.is_reserved_for_identifier(keyword)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.base.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base.is_identifier_part(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.base.identifier_quote_style(identifier)
    }

    fn convert_type_before_value(&self) -> bool {
        true
    }

    fn supports_dollar_as_money_prefix(&self) -> bool {
        true
    }

    fn supports_eq_alias_assignment(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        false
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        false
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_object_name_double_dot_notation(&self) -> bool {
        true
    }

    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        self.base.is_select_item_alias(explicit, keyword, parser)
    }

    fn is_table_factor_alias(
        &self,
        explicit: bool,
        keyword: &Keyword,
        parser: &mut Parser,
    ) -> bool {
        self.base.is_table_factor_alias(explicit, keyword, parser)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.base.get_next_precedence(parser)
    }
}
