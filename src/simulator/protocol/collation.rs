//! Collations: how text is compared, and the code page of `char` and `varchar`.
//!
//! Names and their parts are as in
//! <https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support>; the five
//! bytes on the wire are the `COLLATION` rule of MS-TDS.

use std::fmt;

use encoding_rs::Encoding;

/// A collation of Windows or of SQL Server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Collation {
    /// Its place in [`LOCALES`].
    locale: u8,
    /// 0, 90, 100 or 140.
    version: u8,
    /// A sum of the flags below.
    flags: u8,
    /// Of SQL Server's own collations; 0 for those of Windows.
    sort_id: u8,
    /// The code page where it is not the locale's.
    code_page: u16,
}

const IGNORE_CASE: u8 = 0x01;
const IGNORE_ACCENT: u8 = 0x02;
const IGNORE_KANA: u8 = 0x04;
const IGNORE_WIDTH: u8 = 0x08;
const BINARY: u8 = 0x10;
const BINARY2: u8 = 0x20;
const UTF8: u8 = 0x40;
const SUPPLEMENTARY: u8 = 0x80;

/// The code page of UTF-8.
const UTF8_PAGE: u16 = 65001;

/// A locale's designator in names, its LCID, its code page, and the versions that it exists in.
struct Locale {
    name: &'static str,
    lcid: u32,
    code_page: u16,
    versions: &'static [u8],
}

const fn locale(name: &'static str, lcid: u32, code_page: u16, versions: &'static [u8]) -> Locale {
    Locale {
        name,
        lcid,
        code_page,
        versions,
    }
}

#[rustfmt::skip]
const LOCALES: &[Locale] = &[
    locale("Latin1_General", 0x0409, 1252, &[0, 100]),
    locale("Albanian", 0x041c, 1250, &[0, 100]),
    locale("Arabic", 0x0401, 1256, &[0, 100]),
    locale("Chinese_PRC", 0x0804, 936, &[0, 90]),
    locale("Chinese_PRC_Stroke", 0x2_0804, 936, &[0, 90]),
    locale("Chinese_Simplified_Pinyin", 0x0804, 936, &[100]),
    locale("Chinese_Simplified_Stroke_Order", 0x2_0804, 936, &[100]),
    locale("Chinese_Taiwan_Bopomofo", 0x3_0404, 950, &[0, 90]),
    locale("Chinese_Taiwan_Stroke", 0x0404, 950, &[0, 90]),
    locale("Chinese_Traditional_Bopomofo", 0x3_0404, 950, &[100]),
    locale("Chinese_Traditional_Stroke_Count", 0x0404, 950, &[100]),
    locale("Croatian", 0x041a, 1250, &[0, 100]),
    locale("Cyrillic_General", 0x0419, 1251, &[0, 100]),
    locale("Czech", 0x0405, 1250, &[0, 100]),
    locale("Danish_Norwegian", 0x0406, 1252, &[0]),
    locale("Danish_Greenlandic", 0x0406, 1252, &[100]),
    locale("Estonian", 0x0425, 1257, &[0, 100]),
    locale("Finnish_Swedish", 0x040b, 1252, &[0, 100]),
    locale("French", 0x040c, 1252, &[0, 100]),
    locale("German_PhoneBook", 0x1_0407, 1252, &[0, 100]),
    locale("Greek", 0x0408, 1253, &[0, 100]),
    locale("Hebrew", 0x040d, 1255, &[0, 100]),
    locale("Hungarian", 0x040e, 1250, &[0, 100]),
    locale("Icelandic", 0x040f, 1252, &[0, 100]),
    locale("Japanese", 0x0411, 932, &[0, 90]),
    locale("Japanese_Bushu_Kakusu", 0x0411, 932, &[100, 140]),
    locale("Japanese_Unicode", 0x1_0411, 932, &[0]),
    locale("Japanese_XJIS", 0x0411, 932, &[100, 140]),
    locale("Kazakh", 0x043f, 1251, &[90, 100]),
    locale("Korean_Wansung", 0x0412, 949, &[0]),
    locale("Korean", 0x0412, 949, &[90, 100]),
    locale("Latvian", 0x0426, 1257, &[0, 100]),
    locale("Lithuanian", 0x0427, 1257, &[0, 100]),
    locale("Modern_Spanish", 0x0c0a, 1252, &[0, 100]),
    locale("Polish", 0x0415, 1250, &[0, 100]),
    locale("Romanian", 0x0418, 1250, &[0, 100]),
    locale("Slovak", 0x041b, 1250, &[0, 100]),
    locale("Slovenian", 0x0424, 1250, &[0, 100]),
    locale("Thai", 0x041e, 874, &[0, 100]),
    locale("Traditional_Spanish", 0x040a, 1252, &[0, 100]),
    locale("Turkish", 0x041f, 1254, &[0, 100]),
    locale("Ukrainian", 0x0422, 1251, &[0, 100]),
    locale("Vietnamese", 0x042a, 1258, &[0, 100]),
];

const LATIN1: u8 = 0;
const AS: u8 = IGNORE_KANA | IGNORE_WIDTH;
const CI_AS: u8 = AS | IGNORE_CASE;
const CI_AI: u8 = CI_AS | IGNORE_ACCENT;

/// SQL Server's own collations: name, sort id, code page, flags.
#[rustfmt::skip]
const SQL_COLLATIONS: &[(&str, u8, u16, u8)] = &[
    ("SQL_Latin1_General_CP1_CI_AS", 52, 1252, CI_AS),
    ("SQL_Latin1_General_CP1_CS_AS", 51, 1252, AS),
    ("SQL_Latin1_General_CP1_CI_AI", 54, 1252, CI_AI),
    ("SQL_Latin1_General_CP1250_CS_AS", 81, 1250, AS),
    ("SQL_Latin1_General_CP1250_CI_AS", 82, 1250, CI_AS),
    ("SQL_Latin1_General_CP1251_CS_AS", 105, 1251, AS),
    ("SQL_Latin1_General_CP1251_CI_AS", 106, 1251, CI_AS),
    ("SQL_Latin1_General_CP1253_CS_AS", 113, 1253, AS),
    ("SQL_Latin1_General_CP1253_CI_AS", 114, 1253, CI_AS),
    ("SQL_Latin1_General_CP1254_CS_AS", 129, 1254, AS),
    ("SQL_Latin1_General_CP1254_CI_AS", 130, 1254, CI_AS),
    ("SQL_Latin1_General_CP1255_CS_AS", 137, 1255, AS),
    ("SQL_Latin1_General_CP1255_CI_AS", 138, 1255, CI_AS),
    ("SQL_Latin1_General_CP1256_CS_AS", 145, 1256, AS),
    ("SQL_Latin1_General_CP1256_CI_AS", 146, 1256, CI_AS),
    ("SQL_Latin1_General_CP1257_CS_AS", 153, 1257, AS),
    ("SQL_Latin1_General_CP1257_CI_AS", 154, 1257, CI_AS),
];

impl Default for Collation {
    fn default() -> Self {
        Self::SERVER
    }
}

impl Collation {
    /// The server's: `SQL_Latin1_General_CP1_CI_AS`.
    pub const SERVER: Self = Self {
        locale: LATIN1,
        version: 0,
        flags: CI_AS,
        sort_id: 52,
        code_page: 1252,
    };

    /// The collation of a name, in any case; `None` for one that is not known here.
    pub fn named(name: &str) -> Option<Self> {
        let sql = SQL_COLLATIONS
            .iter()
            .find(|c| c.0.eq_ignore_ascii_case(name));
        if let Some((_, sort_id, code_page, flags)) = sql {
            return Some(Self {
                locale: LATIN1,
                version: 0,
                flags: *flags,
                sort_id: *sort_id,
                code_page: *code_page,
            });
        }
        (0..)
            .zip(LOCALES)
            .find_map(|(at, locale)| windows(at, locale, name))
    }

    fn locale(self) -> &'static Locale {
        &LOCALES[usize::from(self.locale)]
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The five bytes that stand for it on the wire.
    pub fn bytes(self) -> [u8; 5] {
        let version = match self.version {
            0 => 0,
            90 => 1,
            100 => 2,
            _ => 3,
        };
        // Supplementary characters are no bit of the wire.
        let flags = u32::from(self.flags & !SUPPLEMENTARY) << 20;
        let word = self.locale().lcid | flags | version << 28;
        let [a, b, c, d] = word.to_le_bytes();
        [a, b, c, d, self.sort_id]
    }

    /// The collation that a client named by its first four bytes and its sort id; the server's own if there
    /// is none such.
    pub(crate) fn of_bytes(bytes: [u8; 5]) -> Self {
        let sql = |(_, sort_id, code_page, flags): &(&str, u8, u16, u8)| {
            (bytes[4] != 0 && *sort_id == bytes[4]).then_some(Self {
                locale: LATIN1,
                version: 0,
                flags: *flags,
                sort_id: *sort_id,
                code_page: *code_page,
            })
        };
        if let Some(found) = SQL_COLLATIONS.iter().find_map(sql) {
            return found;
        }
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let flags = (word >> 20) as u8 & !SUPPLEMENTARY;
        let lcid = word & 0x000f_ffff;
        let found = (0..).zip(LOCALES).find(|(_, locale)| locale.lcid == lcid);
        found.map_or(Self::SERVER, |(at, locale)| Self {
            locale: at,
            version: locale.versions[0],
            flags,
            sort_id: 0,
            code_page: if flags & UTF8 == 0 {
                locale.code_page
            } else {
                UTF8_PAGE
            },
        })
    }

    /// The number of the code page of `char` and `varchar`.
    pub fn code_page(self) -> u16 {
        self.code_page
    }

    /// The code page of `char` and `varchar`.
    pub(crate) fn encoding(self) -> &'static Encoding {
        match self.code_page {
            874 => encoding_rs::WINDOWS_874,
            932 => encoding_rs::SHIFT_JIS,
            936 => encoding_rs::GBK,
            949 => encoding_rs::EUC_KR,
            950 => encoding_rs::BIG5,
            1250 => encoding_rs::WINDOWS_1250,
            1251 => encoding_rs::WINDOWS_1251,
            1253 => encoding_rs::WINDOWS_1253,
            1254 => encoding_rs::WINDOWS_1254,
            1255 => encoding_rs::WINDOWS_1255,
            1256 => encoding_rs::WINDOWS_1256,
            1257 => encoding_rs::WINDOWS_1257,
            1258 => encoding_rs::WINDOWS_1258,
            UTF8_PAGE => encoding_rs::UTF_8,
            _ => encoding_rs::WINDOWS_1252,
        }
    }

    /// The LCID, as `COLLATIONPROPERTY` gives it.
    pub(crate) fn lcid(self) -> u32 {
        self.locale().lcid
    }

    /// Whether two names are one in a database of this collation; accents and widths count.
    pub(crate) fn is_same_name(self, one: &str, other: &str) -> bool {
        one == other || self.ignores_case() && one.to_lowercase() == other.to_lowercase()
    }

    /// Whether upper and lower case are equal.
    pub(crate) fn ignores_case(self) -> bool {
        self.has(IGNORE_CASE)
    }

    /// Whether letters with and without accents are equal.
    pub(crate) fn ignores_accent(self) -> bool {
        self.has(IGNORE_ACCENT)
    }

    /// Whether hiragana and katakana are equal.
    pub(crate) fn ignores_kana(self) -> bool {
        self.has(IGNORE_KANA)
    }

    /// Whether characters of half and full width are equal.
    pub(crate) fn ignores_width(self) -> bool {
        self.has(IGNORE_WIDTH)
    }

    /// Whether code points are compared.
    pub(crate) fn is_binary(self) -> bool {
        self.has(BINARY | BINARY2)
    }

    /// Whether functions count a character beyond the first plane as one, and not as two code units.
    pub(crate) fn has_supplementary(self) -> bool {
        self.has(SUPPLEMENTARY | UTF8)
    }

    /// Whether text of the code page is held in UTF-8.
    pub(crate) fn is_utf8(self) -> bool {
        self.has(UTF8)
    }
}

/// The collation of a locale that `name` spells.
fn windows(at: u8, locale: &Locale, name: &str) -> Option<Collation> {
    let rest = strip(name, locale.name)?;
    let (version, rest) = match ["_90", "_100", "_140"]
        .iter()
        .find_map(|v| Some((*v, strip(rest, v)?)))
    {
        Some((version, rest)) => (version[1..].parse().ok()?, rest),
        None => (0, rest),
    };
    if !locale.versions.contains(&version) {
        return None;
    }
    let flags = flags(rest, version)?;
    Some(Collation {
        locale: at,
        version,
        flags,
        sort_id: 0,
        code_page: if flags & UTF8 == 0 {
            locale.code_page
        } else {
            UTF8_PAGE
        },
    })
}

/// What follows `front`, in any case.
fn strip<'a>(text: &'a str, front: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(front.len())?;
    head.eq_ignore_ascii_case(front).then_some(rest)
}

/// The flags of the end of a name: `_BIN`, `_BIN2`, or `_CI_AS` with what may follow.
fn flags(rest: &str, version: u8) -> Option<u8> {
    let upper = rest.to_ascii_uppercase();
    let utf8 = |rest: &str| match rest {
        "" => Some(0),
        "_UTF8" if version >= 100 => Some(UTF8),
        _ => None,
    };
    if let Some(rest) = upper.strip_prefix("_BIN2") {
        return utf8(rest).map(|utf8| BINARY2 | utf8);
    }
    if upper == "_BIN" {
        return Some(BINARY);
    }
    let (mut flags, mut rest) = match upper.split_at_checked(6)? {
        ("_CI_AI", rest) => (CI_AI, rest),
        ("_CI_AS", rest) => (CI_AS, rest),
        ("_CS_AI", rest) => (AS | IGNORE_ACCENT, rest),
        ("_CS_AS", rest) => (AS, rest),
        _ => return None,
    };
    for (part, bit) in [("_KS", IGNORE_KANA), ("_WS", IGNORE_WIDTH)] {
        if let Some(after) = rest.strip_prefix(part) {
            flags &= !bit;
            rest = after;
        }
    }
    if let Some(after) = rest.strip_prefix("_SC").filter(|_| version >= 90) {
        flags |= SUPPLEMENTARY;
        rest = after;
    }
    // Version 140 has supplementary characters always.
    if version == 140 {
        flags |= SUPPLEMENTARY;
    }
    match utf8(rest)? {
        UTF8 if flags & SUPPLEMENTARY == 0 => None,
        bit => Some(flags | bit),
    }
}

impl fmt::Display for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sql = |c: &&(&str, u8, u16, u8)| self.sort_id != 0 && c.1 == self.sort_id;
        if let Some((name, ..)) = SQL_COLLATIONS.iter().find(sql) {
            return f.write_str(name);
        }
        f.write_str(self.locale().name)?;
        if self.version > 0 {
            write!(f, "_{}", self.version)?;
        }
        if self.has(BINARY) {
            return f.write_str("_BIN");
        }
        if self.has(BINARY2) {
            f.write_str("_BIN2")?;
        } else {
            f.write_str(if self.ignores_case() { "_CI" } else { "_CS" })?;
            f.write_str(if self.ignores_accent() { "_AI" } else { "_AS" })?;
            f.write_str(if self.ignores_kana() { "" } else { "_KS" })?;
            f.write_str(if self.ignores_width() { "" } else { "_WS" })?;
            if self.has(SUPPLEMENTARY) && self.version < 140 {
                f.write_str("_SC")?;
            }
        }
        f.write_str(if self.is_utf8() { "_UTF8" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for name in [
            "SQL_Latin1_General_CP1_CI_AS",
            "SQL_Latin1_General_CP1251_CS_AS",
            "Latin1_General_CI_AS",
            "Latin1_General_CS_AI_KS_WS",
            "Latin1_General_BIN",
            "Latin1_General_100_BIN2_UTF8",
            "Latin1_General_100_CI_AS_SC_UTF8",
            "Japanese_CI_AS",
            "Japanese_XJIS_140_CS_AS_KS",
            "Chinese_PRC_Stroke_90_CI_AS",
            "Cyrillic_General_CI_AS",
            "Greek_100_BIN2",
        ] {
            let lower = name.to_lowercase();
            assert_eq!(Collation::named(&lower).unwrap().to_string(), name);
        }
        for name in [
            "",
            "Latin1_General",
            "Latin1_General_140_CI_AS",
            "Latin1_General_CI_AS_UTF8",
            "Latin1_General_CI_AS_x",
            "Klingon_CI_AS",
        ] {
            assert_eq!(Collation::named(name), None, "{name}");
        }
    }

    #[test]
    fn the_wire_has_locale_flags_version_and_sort_id() {
        let bytes = |name| Collation::named(name).unwrap().bytes();
        assert_eq!(
            bytes("SQL_Latin1_General_CP1_CI_AS"),
            [0x09, 0x04, 0xd0, 0x00, 0x34]
        );
        assert_eq!(
            bytes("Latin1_General_CI_AS"),
            [0x09, 0x04, 0xd0, 0x00, 0x00]
        );
        assert_eq!(bytes("Latin1_General_BIN"), [0x09, 0x04, 0x00, 0x01, 0x00]);
        assert_eq!(bytes("Latin1_General_BIN2"), [0x09, 0x04, 0x00, 0x02, 0x00]);
        assert_eq!(bytes("Japanese_CI_AS"), [0x11, 0x04, 0xd0, 0x00, 0x00]);
        assert_eq!(
            bytes("Latin1_General_100_CI_AS_SC_UTF8"),
            [0x09, 0x04, 0xd0, 0x24, 0x00]
        );
        assert_eq!(
            bytes("Chinese_Taiwan_Bopomofo_90_CS_AS"),
            [0x04, 0x04, 0xc3, 0x10, 0x00]
        );
    }

    #[test]
    fn bytes_of_a_client_name_a_code_page() {
        let page = |bytes| Collation::of_bytes(bytes).code_page();
        assert_eq!(page([0x09, 0x04, 0xd0, 0x00, 0x34]), 1252);
        assert_eq!(page([0x09, 0x04, 0xd0, 0x00, 0x6a]), 1251);
        assert_eq!(page([0x11, 0x04, 0xd0, 0x00, 0x00]), 932);
        assert_eq!(page([0x09, 0x04, 0xd0, 0x04, 0x00]), 65001);
        assert_eq!(page([0xff; 5]), 1252);
        assert_eq!(page([0; 5]), 1252);
    }
}
