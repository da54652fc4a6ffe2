//! Which of the chunks that lie about make up the beginning of a copy.

use crate::sink::delta::StagedChunk;

/// What there is of a copy.
#[derive(Debug)]
pub(super) struct Found {
    /// Chunks that follow each other, but for the gaps.
    pub(super) staged: Vec<StagedChunk>,
    /// What lacks between them.
    pub(super) gaps: Vec<Gap>,
    /// The number of the chunk past them and where it begins; `None` if nothing is past them.
    pub(super) end: Option<(u32, Option<String>)>,
}

/// A part of the table between two staged chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) number: u32,
    pub(super) after: Option<String>,
    pub(super) upto: String,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            staged: Vec::new(),
            gaps: Vec::new(),
            end: Some((0, None)),
        }
    }
}

/// The chunks that make up a copy from its beginning, of `staged` in the order of their numbers.
///
/// One follows another where it begins as that ends. Past a gap only one of the same run does: its numbers are in the order
/// of the table, while nothing is known of how the ends of two runs lie to each other. All others are left out.
pub(super) fn chain(staged: Vec<StagedChunk>) -> Found {
    let mut found = Found::default();
    for chunk in staged {
        let Some((number, at)) = found.end.clone() else {
            break;
        };
        if chunk.name.number < number {
            continue;
        }
        if chunk.name.after != at {
            let last = found.staged.last();
            let is_past = last.is_none_or(|last| last.name.run == chunk.name.run);
            let (Some(upto), true) = (
                chunk.name.after.clone(),
                is_past && chunk.name.number > number,
            ) else {
                continue;
            };
            found.gaps.push(Gap {
                number,
                after: at,
                upto,
            });
        }
        let next = chunk.name.upto.clone();
        found.end = next.map(|upto| (chunk.name.number + 1, Some(upto)));
        found.staged.push(chunk);
    }
    found
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::sink::delta::ChunkName;

    /// A chunk of a run, by its number and its ends; an empty text is no end.
    fn chunk(run: u128, number: u32, after: &str, upto: &str) -> StagedChunk {
        let end = |text: &str| (!text.is_empty()).then(|| text.to_string());
        StagedChunk::named(ChunkName {
            copy: Uuid::nil(),
            number,
            run: Uuid::from_u128(run),
            after: end(after),
            upto: end(upto),
        })
    }

    fn numbers(found: &Found) -> Vec<u32> {
        let staged = found.staged.iter();
        staged.map(|chunk| chunk.name.number).collect()
    }

    fn gap(number: u32, after: &str, upto: &str) -> Gap {
        Gap {
            number,
            after: (!after.is_empty()).then(|| after.to_string()),
            upto: upto.to_string(),
        }
    }

    #[test]
    fn chunks_follow_each_other_to_where_the_next_begins() {
        let found = chain(vec![chunk(1, 0, "", "a"), chunk(1, 1, "a", "b")]);
        assert_eq!(numbers(&found), [0, 1]);
        assert!(found.gaps.is_empty());
        assert_eq!(found.end, Some((2, Some("b".to_string()))));
        let found = chain(vec![]);
        assert_eq!(found.end, Some((0, None)));
    }

    #[test]
    fn what_lacks_between_chunks_of_one_run_is_a_gap() {
        let staged = vec![
            chunk(1, 1, "a", "b"),
            chunk(1, 4, "d", "e"),
            chunk(1, 5, "e", ""),
        ];
        let found = chain(staged);
        assert_eq!(numbers(&found), [1, 4, 5]);
        assert_eq!(found.gaps, [gap(0, "", "a"), gap(2, "b", "d")]);
        assert_eq!(found.end, None, "the last chunk is there");
    }

    #[test]
    fn a_gap_that_another_run_has_filled_is_none() {
        let staged = vec![
            chunk(1, 0, "", "a"),
            chunk(2, 1, "a", "c"),
            chunk(1, 3, "c", "d"),
        ];
        let found = chain(staged);
        assert_eq!(numbers(&found), [0, 1, 3]);
        assert!(found.gaps.is_empty());
    }

    #[test]
    fn nothing_is_known_of_how_the_ends_of_two_runs_lie_to_each_other() {
        let staged = vec![
            chunk(1, 0, "", "a"),
            chunk(1, 1, "a", "b"),
            chunk(2, 1, "a", "x"),
            chunk(2, 3, "y", "z"),
        ];
        let found = chain(staged);
        assert_eq!(numbers(&found), [0, 1]);
        assert_eq!(found.end, Some((2, Some("b".to_string()))));
    }
}
