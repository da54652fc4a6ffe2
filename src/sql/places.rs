//! Where statements name columns outside of expressions.

use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, ExcludeSelectItem, Ident, JoinConstraint, JoinOperator, MergeAction,
    ObjectName, ObjectNamePart, WildcardAdditionalOptions,
};

/// The columns that a WHEN clause writes.
pub(super) fn action_columns(action: &mut MergeAction) -> Vec<&mut ObjectName> {
    match action {
        MergeAction::Update(update) => update
            .assignments
            .iter_mut()
            .filter_map(|assignment| assigned(&mut assignment.target))
            .collect(),
        MergeAction::Insert(insert) => insert.columns.iter_mut().collect(),
        MergeAction::Delete { .. } => Vec::new(),
    }
}

/// The column that an assignment sets.
pub(super) fn assigned(target: &mut AssignmentTarget) -> Option<&mut ObjectName> {
    match target {
        AssignmentTarget::ColumnName(name) => Some(name),
        AssignmentTarget::Tuple(_) => None,
    }
}

/// The columns of a join's USING.
pub(super) fn using_columns(operator: &mut JoinOperator) -> &mut [ObjectName] {
    match operator {
        JoinOperator::Join(JoinConstraint::Using(names))
        | JoinOperator::Inner(JoinConstraint::Using(names))
        | JoinOperator::Left(JoinConstraint::Using(names))
        | JoinOperator::LeftOuter(JoinConstraint::Using(names))
        | JoinOperator::Right(JoinConstraint::Using(names))
        | JoinOperator::RightOuter(JoinConstraint::Using(names))
        | JoinOperator::FullOuter(JoinConstraint::Using(names))
        | JoinOperator::LeftSemi(JoinConstraint::Using(names))
        | JoinOperator::LeftAnti(JoinConstraint::Using(names)) => names,
        _ => &mut [],
    }
}

/// The columns that a star leaves out.
pub(super) fn excluded_columns(options: &mut WildcardAdditionalOptions) -> Vec<&mut Ident> {
    let mut columns = Vec::new();
    if let Some(except) = &mut options.opt_except {
        columns.push(&mut except.first_element);
        columns.extend(&mut except.additional_elements);
    }
    let names = match &mut options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_mut(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_mut_slice(),
        None => &mut [],
    };
    for name in names {
        if let [ObjectNamePart::Identifier(column)] = name.0.as_mut_slice() {
            columns.push(column);
        }
    }
    columns
}
