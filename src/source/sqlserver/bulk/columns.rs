//! The columns of a result set, out of COLMETADATA (MS-TDS 2.2.7.4) and its TYPE_INFO (2.2.5.6).

/// Beyond what a result set may have.
const NO_COLUMNS: u16 = 0xFFFF;

/// How a value's bytes are told apart from those of the next (MS-TDS 2.2.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Fixed(u8),
    /// A length of one byte; zero is NULL.
    Byte,
    /// A length of two bytes; 0xFFFF is NULL.
    Short,
    /// Chunks with a length of four bytes each, the last one empty, after a length of eight; of which all bits are NULL.
    Chunks,
    /// A pointer with a length of one byte, which is NULL where that is zero, a time stamp, a length of four bytes.
    Pointer,
}

/// What a value's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the declared number of bytes.
    Integer(u8),
    Bit,
    /// Of the declared number of bytes.
    Float(u8),
    /// `datetime`, or `smalldatetime` where it has four bytes.
    DateTime,
    /// With the scale.
    Decimal(u8),
    Guid,
    Date,
    /// With the scale, as the two below.
    Time(u8),
    DateTime2(u8),
    DateTimeOffset(u8),
    /// UTF-16.
    Text,
    Binary,
    /// What the driver has to read: money and text of code pages.
    Other,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) length: Length,
    pub(super) kind: Kind,
}

/// What the bytes of COLMETADATA tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Description {
    /// The columns, and how many bytes described them.
    Columns(Vec<Column>, usize),
    /// More bytes are needed.
    Unfinished,
    /// A column whose values cannot be told apart.
    Unknown,
}

impl Description {
    /// Reads what follows the token's byte.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Reading::default().read(bytes)
    }
}

/// COLMETADATA that is being read while its bytes come in.
#[derive(Debug, Default)]
pub(super) struct Reading {
    columns: Vec<Column>,
    /// How many columns are to come, once that is known.
    left: Option<u16>,
    /// Where the next of them begins.
    at: usize,
}

impl Reading {
    /// Reads what follows the token's byte. What did not suffice has to come again, with more; columns that were whole are
    /// not read again.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Description {
        let mut reader = Reader { bytes, at: self.at };
        match self.go_on(&mut reader) {
            Ok(()) => Description::Columns(std::mem::take(&mut self.columns), self.at),
            Err(Stop::Unfinished) => Description::Unfinished,
            Err(Stop::Unknown) => Description::Unknown,
        }
    }

    fn go_on(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let mut left = match self.left {
            Some(left) => left,
            None => match reader.short()? {
                // Without columns there are no rows.
                NO_COLUMNS => 0,
                count => count,
            },
        };
        loop {
            (self.left, self.at) = (Some(left), reader.at);
            if left == 0 {
                return Ok(());
            }
            // The user's type and the flags.
            reader.skip(6)?;
            let column = column(reader)?;
            let name = reader.byte()?;
            reader.skip(usize::from(name) * 2)?;
            self.columns.push(column);
            left -= 1;
        }
    }
}

enum Stop {
    Unfinished,
    Unknown,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), Stop> {
        self.at += bytes;
        if self.at > self.bytes.len() {
            return Err(Stop::Unfinished);
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = self.bytes.get(self.at).ok_or(Stop::Unfinished)?;
        self.at += 1;
        Ok(*byte)
    }

    fn short(&mut self) -> Result<u16, Stop> {
        Ok(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }
}

fn column(reader: &mut Reader<'_>) -> Result<Column, Stop> {
    let token = reader.byte()?;
    let fixed = |bytes, kind| Column {
        length: Length::Fixed(bytes),
        kind,
    };
    let of_a_byte = |kind| Column {
        length: Length::Byte,
        kind,
    };
    Ok(match token {
        0x30 => fixed(1, Kind::Integer(1)),
        0x32 => fixed(1, Kind::Bit),
        0x34 => fixed(2, Kind::Integer(2)),
        0x38 => fixed(4, Kind::Integer(4)),
        0x3A => fixed(4, Kind::DateTime),
        0x3B => fixed(4, Kind::Float(4)),
        0x3C => fixed(8, Kind::Other),
        0x3D => fixed(8, Kind::DateTime),
        0x3E => fixed(8, Kind::Float(8)),
        0x7A => fixed(4, Kind::Other),
        0x7F => fixed(8, Kind::Integer(8)),
        0x24 => of_a_byte(sized(reader, |_| Kind::Guid)?),
        0x26 => of_a_byte(sized(reader, Kind::Integer)?),
        0x68 => of_a_byte(sized(reader, |_| Kind::Bit)?),
        0x6A | 0x6C => of_a_byte(decimal(reader)?),
        0x6D => of_a_byte(sized(reader, Kind::Float)?),
        0x6E => of_a_byte(sized(reader, |_| Kind::Other)?),
        0x6F => of_a_byte(sized(reader, |_| Kind::DateTime)?),
        0x28 => of_a_byte(Kind::Date),
        0x29 => of_a_byte(sized(reader, Kind::Time)?),
        0x2A => of_a_byte(sized(reader, Kind::DateTime2)?),
        0x2B => of_a_byte(sized(reader, Kind::DateTimeOffset)?),
        0xA5 | 0xAD => varying(reader, Kind::Binary, false)?,
        0xA7 | 0xAF => varying(reader, Kind::Other, true)?,
        0xE7 | 0xEF => varying(reader, Kind::Text, true)?,
        0x22 => pointed(reader, Kind::Binary, false)?,
        0x23 => pointed(reader, Kind::Other, true)?,
        0x63 => pointed(reader, Kind::Text, true)?,
        _ => return Err(Stop::Unknown),
    })
}

/// A type whose size, or scale, is the next byte.
fn sized(reader: &mut Reader<'_>, kind: impl FnOnce(u8) -> Kind) -> Result<Kind, Stop> {
    Ok(kind(reader.byte()?))
}

fn decimal(reader: &mut Reader<'_>) -> Result<Kind, Stop> {
    let (_size, precision, scale) = (reader.byte()?, reader.byte()?, reader.byte()?);
    // The driver has an error for it.
    if precision > 38 || scale > precision {
        return Err(Stop::Unknown);
    }
    Ok(Kind::Decimal(scale))
}

const COLLATION_BYTES: usize = 5;

fn varying(reader: &mut Reader<'_>, kind: Kind, has_collation: bool) -> Result<Column, Stop> {
    let length = match reader.short()? {
        0xFFFF => Length::Chunks,
        _ => Length::Short,
    };
    if has_collation {
        reader.skip(COLLATION_BYTES)?;
    }
    Ok(Column { length, kind })
}

/// The old large types, which tell the table that they are of.
fn pointed(reader: &mut Reader<'_>, kind: Kind, has_collation: bool) -> Result<Column, Stop> {
    reader.skip(4)?;
    if has_collation {
        reader.skip(COLLATION_BYTES)?;
    }
    for _ in 0..reader.byte()? {
        let part = reader.short()?;
        reader.skip(usize::from(part) * 2)?;
    }
    Ok(Column {
        length: Length::Pointer,
        kind,
    })
}
