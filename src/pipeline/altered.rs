//! A source whose columns or types are others than when its flow was bound.
//!
//! Values are read as what they were when the flow was bound: a text that is longer now would be cut, and a column that is
//! gone would be NULL, without a word. So a flow is bound anew before it reads changes that may be of other columns, and a
//! copy is committed only where the table has not been altered since.

use std::sync::Arc;

use super::bind::Pipeline;
use super::flow::Flow;
use super::look::Work;
use super::run::RunOptions;
use crate::change::Commit;
use crate::error::Error;

/// How often a table is altered while a flow looks at it before the flow fails.
const MOST_TIMES: u32 = 3;

impl Pipeline {
    /// `work`, or what there is to do by the source's table as it is now; `flow` is bound to that.
    ///
    /// # Errors
    /// `Altered` if it is altered time and again; `Invalid` if what it has now does not fit the target.
    pub(super) async fn as_it_is(
        &self,
        flow: &mut Arc<Flow>,
        mut work: Work,
        ceiling: Option<&Commit>,
        options: RunOptions,
    ) -> Result<Work, Error> {
        let mut times = 0;
        while work.is_altered {
            times += 1;
            if times > MOST_TIMES {
                return Err(altered(flow));
            }
            *flow = Arc::new(self.bind_again(flow).await?);
            work = self.work(flow, None, ceiling, options).await?;
        }
        Ok(work)
    }
}

/// Refuses rows that were read as others than the source's table has by now.
pub(super) async fn check_columns(flow: &Flow) -> Result<(), Error> {
    let (database, table) = (&flow.database, &flow.table);
    match database.has_columns_of(table).await? {
        true => Ok(()),
        false => Err(altered(flow)),
    }
}

fn altered(flow: &Flow) -> Error {
    Error::Altered {
        flow: flow.name.clone(),
        table: format!("{}.{}", flow.key.schema, flow.key.table),
    }
}
