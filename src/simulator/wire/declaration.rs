//! The declaration of a parameterised statement, such as `@P1 int, @P2 decimal(10, 2)`.

/// The names declared, in order, each with its `@`.
pub(super) fn names(declaration: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (index, character) in declaration.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                names.extend(name(&declaration[start..index]));
                start = index + 1;
            }
            _ => {}
        }
    }
    names.extend(name(&declaration[start..]));
    names
}

fn name(parameter: &str) -> Option<&str> {
    let parameter = parameter.trim();
    let end = parameter
        .find(char::is_whitespace)
        .unwrap_or(parameter.len());
    Some(&parameter[..end]).filter(|name| name.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_a_type_do_not_count() {
        let declared = "@P1 nvarchar(4000),@P2 decimal(10, 2) ,\n @id INT OUTPUT";
        assert_eq!(names(declared), ["@P1", "@P2", "@id"]);
        assert!(names("").is_empty());
        assert!(names("),(,,@").contains(&"@") || names(",").is_empty());
    }
}
