//! `hierarchyid`: paths such as `/1/3/`, and the bits in which they are stored so that their order is that
//! of the tree. The patterns are those of MS-SSCLRT.

/// The least value of a pattern, and its bits: `x` stands for the bits of what the value is more.
const PATTERNS: &[(i64, &str)] = &[
    (0, "01xx"),
    (4, "100xx"),
    (8, "101xxx"),
    (16, "110xx0x1xxx"),
    (80, "1110xxx0xxx0x1xxx"),
    (1104, "11110xxxxx0xxx0x1xxx"),
    (5200, "111110xxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx"),
    (
        4_294_972_496,
        "111111xxxxxxxxxxxxxx0xxxxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx",
    ),
    (-8, "00111xxx"),
    (-72, "0010xx0x1xxx"),
    (-4168, "000110xxxxx0xxx0x1xxx"),
    (-4_294_971_464, "000101xxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx"),
    (
        -281_479_271_682_120,
        "000100xxxxxxxxxxxxxx0xxxxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx",
    ),
];

/// The longest value in bytes.
const LONGEST: usize = 892;

fn free_bits(pattern: &str) -> u32 {
    pattern.bytes().filter(|bit| *bit == b'x').count() as u32
}

/// The bytes of a path of whole numbers; `None` for other texts, among them paths with points.
pub(super) fn bytes(path: &str) -> Option<Vec<u8>> {
    let inner = path.strip_prefix('/')?;
    let mut bits = Vec::new();
    if !inner.is_empty() {
        for label in inner.strip_suffix('/')?.split('/') {
            let value: i64 = label.parse().ok()?;
            let (least, pattern) = PATTERNS.iter().find(|(least, pattern)| {
                (*least..*least + (1 << free_bits(pattern))).contains(&value)
            })?;
            let mut rest = free_bits(pattern);
            for bit in pattern.bytes() {
                bits.push(match bit {
                    b'x' => {
                        rest -= 1;
                        (value - least) >> rest & 1 == 1
                    }
                    fixed => fixed == b'1',
                });
            }
            // The end of a label.
            bits.push(true);
        }
    }
    let packed: Vec<u8> = bits
        .chunks(8)
        .map(|byte| {
            let whole = byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            whole << (8 - byte.len())
        })
        .collect();
    (packed.len() <= LONGEST).then_some(packed)
}

/// The path of bytes; `None` if they are no path of whole numbers.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1))
        .collect();
    let mut rest = bits.as_slice();
    let mut path = String::from("/");
    while rest.iter().any(|bit| *bit) {
        let (least, pattern) = PATTERNS
            .iter()
            .find(|(_, pattern)| matches(pattern, rest))?;
        let taken = rest.get(..pattern.len())?;
        let more = pattern
            .bytes()
            .zip(taken)
            .filter(|(kind, _)| *kind == b'x')
            .fold(0_i64, |value, (_, bit)| value << 1 | i64::from(*bit));
        // A point after a label is not known here.
        if !rest.get(pattern.len()).copied()? {
            return None;
        }
        path.push_str(&format!("{}/", least + more));
        rest = &rest[pattern.len() + 1..];
    }
    Some(path)
}

/// Whether bits begin with a pattern.
fn matches(pattern: &str, bits: &[bool]) -> bool {
    pattern.len() <= bits.len()
        && pattern
            .bytes()
            .zip(bits)
            .all(|(kind, bit)| kind == b'x' || (kind == b'1') == *bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_bytes_that_sql_server_gives_them() {
        assert_eq!(bytes("/").unwrap(), [] as [u8; 0]);
        assert_eq!(bytes("/1/").unwrap(), [0x58]);
        assert_eq!(bytes("/2/").unwrap(), [0x68]);
        assert_eq!(bytes("/1/1/").unwrap(), [0x5a, 0xc0]);
        assert_eq!(bytes("/4/").unwrap(), [0x84]);
        for path in [
            "/",
            "/0/",
            "/1/3/",
            "/7/8/15/16/79/80/1103/1104/",
            "/5200/-1/-8/-9/-4168/",
        ] {
            assert_eq!(text(&bytes(path).unwrap()).unwrap(), path);
        }
        for wrong in ["", "1/", "/1", "/a/", "//", "/1.1/", "/99999999999999999/"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert_eq!(text(&[0xff]), None);
    }
}
