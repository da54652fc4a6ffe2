//! Log sequence numbers and ranges of them.

use std::fmt;
use std::str::FromStr;

/// A SQL Server log sequence number: 80 bits in unsigned big-endian order.
///
/// The bytes are the virtual log file (4), the log block (4) and the slot (2), as in
/// [`sys.fn_cdc_get_max_lsn`](https://learn.microsoft.com/sql/relational-databases/system-functions/sys-fn-cdc-get-max-lsn-transact-sql).
/// `Display` prints `vlf:block:slot` in fixed-width hex, so text order is commit order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn([u8; 10]);

impl Lsn {
    /// The all-zero LSN, which SQL Server returns for "no such instance" and "no permission".
    pub const ZERO: Lsn = Lsn([0; 10]);
    /// The largest LSN that fits 80 bits.
    pub const MAX: Lsn = Lsn([0xff; 10]);

    /// An LSN from its ten bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 10]) -> Self {
        Lsn(bytes)
    }

    /// An LSN from a `binary(10)` value; `None` unless it is exactly ten bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Lsn)
    }

    /// The ten bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }

    /// Twenty lower-case hex digits: the form of `_commit_version`.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The next LSN; [`Lsn::MAX`] has none.
    pub fn increment(&self) -> Option<Self> {
        self.as_u128().checked_add(1).and_then(Self::from_u128)
    }

    /// The previous LSN; [`Lsn::ZERO`] has none.
    pub fn decrement(&self) -> Option<Self> {
        self.as_u128().checked_sub(1).and_then(Self::from_u128)
    }

    /// The LSN as two signed integers that fit Delta's `txn.version`: the first eight bytes (their
    /// bits, so it may be negative) and the last two.
    pub fn to_halves(&self) -> (i64, i64) {
        let [a, b, c, d, e, f, g, h, i, j] = self.0;
        (
            i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            i64::from(u16::from_be_bytes([i, j])),
        )
    }

    /// The inverse of [`Lsn::to_halves`]; `None` if the low half is not a 16-bit value.
    pub fn from_halves(high: i64, low: i64) -> Option<Self> {
        let low = u16::try_from(low).ok()?;
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        Some(Lsn(bytes))
    }

    fn as_u128(&self) -> u128 {
        let mut wide = [0; 16];
        wide[6..].copy_from_slice(&self.0);
        u128::from_be_bytes(wide)
    }

    fn from_u128(value: u128) -> Option<Self> {
        let wide = value.to_be_bytes();
        let (carry, bytes) = wide.split_at(6);
        if carry.iter().any(|byte| *byte != 0) {
            return None;
        }
        Self::from_slice(bytes)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        write!(f, "{}:{}:{}", &hex[..8], &hex[8..16], &hex[16..])
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({self})")
    }
}

/// A text that is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an LSN: write 20 hex digits, 0x and 20 hex digits, or vlf:block:slot")]
pub struct ParseLsnError {
    /// The text as given.
    pub text: String,
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// Reads `0x` and 20 hex digits, 20 hex digits, or `vlf:block:slot` (8, 8 and 4 digits at most,
    /// padded on the left).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseLsnError {
            text: text.to_string(),
        };
        let digits = match text.split(':').collect::<Vec<_>>().as_slice() {
            [vlf, block, slot]
                if (1..=8).contains(&vlf.len())
                    && (1..=8).contains(&block.len())
                    && (1..=4).contains(&slot.len()) =>
            {
                format!("{vlf:0>8}{block:0>8}{slot:0>4}")
            }
            [plain] => plain
                .strip_prefix("0x")
                .or_else(|| plain.strip_prefix("0X"))
                .unwrap_or(plain)
                .to_string(),
            _ => return Err(error()),
        };
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&digits, 16)
            .ok()
            .and_then(Self::from_u128)
            .ok_or_else(error)
    }
}

/// The window `(after, upto]` of commit LSNs.
///
/// SQL Server's own functions take inclusive bounds; [`LsnRange::inclusive_bounds`] is the one place
/// that knows. The default is the empty window at [`Lsn::ZERO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LsnRange {
    after: Lsn,
    upto: Lsn,
}

impl LsnRange {
    /// The window `(after, upto]`; `None` if `upto` lies before `after`.
    pub fn new(after: Lsn, upto: Lsn) -> Option<Self> {
        (after <= upto).then_some(Self { after, upto })
    }

    /// The exclusive lower end.
    pub fn after(&self) -> Lsn {
        self.after
    }

    /// The inclusive upper end.
    pub fn upto(&self) -> Lsn {
        self.upto
    }

    /// True when no LSN lies in the window.
    pub fn is_empty(&self) -> bool {
        self.after == self.upto
    }

    /// The window as the inclusive pair that `cdc.fn_cdc_get_all_changes_…` takes; `None` when empty.
    pub fn inclusive_bounds(&self) -> Option<(Lsn, Lsn)> {
        let first = self.after.increment()?;
        (first <= self.upto).then_some((first, self.upto))
    }
}

impl fmt::Display for LsnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_fixed_width_and_parses_back() {
        let lsn: Lsn = "0x0000002a000001680003".parse().unwrap();
        assert_eq!(lsn.to_string(), "0000002a:00000168:0003");
        assert_eq!(lsn.to_string().parse::<Lsn>().unwrap(), lsn);
        assert_eq!(lsn.to_hex().parse::<Lsn>().unwrap(), lsn);
        assert_eq!("2a:168:3".parse::<Lsn>().unwrap(), lsn);
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "0x",
            "zz",
            "1:2",
            "1:2:3:4",
            "0x0000002a00000168000300",
            "+a:1:1",
        ] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn order_is_unsigned_and_halves_round_trip() {
        let low = Lsn::from_bytes([0x7f, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]);
        let high = Lsn::from_bytes([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(low < high);
        for lsn in [low, high, Lsn::ZERO, Lsn::MAX] {
            let (a, b) = lsn.to_halves();
            assert_eq!(Lsn::from_halves(a, b), Some(lsn));
        }
        assert_eq!(Lsn::from_halves(0, -1), None);
        assert_eq!(Lsn::from_halves(0, 65_536), None);
    }

    #[test]
    fn increment_carries_over_all_bytes() {
        let lsn = Lsn::from_bytes([0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]);
        let next = Lsn::from_bytes([0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(lsn.increment(), Some(next));
        assert_eq!(next.decrement(), Some(lsn));
        assert_eq!(Lsn::MAX.increment(), None);
        assert_eq!(Lsn::ZERO.decrement(), None);
    }

    #[test]
    fn ranges_exclude_their_lower_end() {
        let a: Lsn = "1:0:0".parse().unwrap();
        let b: Lsn = "1:0:2".parse().unwrap();
        let range = LsnRange::new(a, b).unwrap();
        assert_eq!(
            range.inclusive_bounds(),
            Some(("1:0:1".parse().unwrap(), b))
        );
        assert_eq!(LsnRange::new(b, a), None);
        let empty = LsnRange::new(a, a).unwrap();
        assert!(empty.is_empty());
        assert_eq!(empty.inclusive_bounds(), None);
    }
}
