//! The nearest of the words that were possible.

/// No name that was meant is longer, in characters.
const LONGEST: usize = 128;

/// The candidate most like `word`, without regard to case, if one is near enough to have been meant: at most
/// one edit (insert, delete, replace, swap of neighbours) for every three characters of `word`.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = |text: &str| -> String { text.to_lowercase().chars().take(LONGEST).collect() };
    let word = folded(word);
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["SELECT", "CREATE", "MERGE", "password", "port"];
        assert_eq!(nearest("SELCT", words), Some("SELECT"));
        assert_eq!(nearest("craete", words), Some("CREATE"));
        assert_eq!(nearest("pasword", words), Some("password"));
        assert_eq!(nearest("zzz", words), None);
        assert_eq!(nearest("", words), None);
    }
}
