//! Answers as a server writes them.

/// The tokens of an answer.
#[derive(Default)]
pub(super) struct Answer {
    bytes: Vec<u8>,
}

/// The bytes of TYPE_INFO, and how long a value is told to be.
#[derive(Debug, Clone)]
pub(super) struct Type {
    pub(super) info: Vec<u8>,
    pub(super) prefix: Prefix,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Prefix {
    None,
    Byte,
    Short,
    /// Chunks of that size.
    Chunks(usize),
    Pointer,
}

pub(super) const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];

impl Type {
    pub(super) fn new(info: &[u8], prefix: Prefix) -> Self {
        Self {
            info: info.to_vec(),
            prefix,
        }
    }

    /// A character or binary type of that token and length.
    pub(super) fn varying(token: u8, length: u16, chunk: usize) -> Self {
        let mut info = vec![token];
        info.extend(length.to_le_bytes());
        if !matches!(token, 0xA5 | 0xAD) {
            info.extend(COLLATION);
        }
        let prefix = match length {
            0xFFFF => Prefix::Chunks(chunk),
            _ => Prefix::Short,
        };
        Self { info, prefix }
    }

    /// `image` or `ntext` of the table `dbo.t`.
    pub(super) fn pointed(token: u8) -> Self {
        let mut info = vec![token];
        info.extend(i32::MAX.to_le_bytes());
        if token != 0x22 {
            info.extend(COLLATION);
        }
        info.push(2);
        for part in ["dbo", "t"] {
            info.extend((part.len() as u16).to_le_bytes());
            info.extend(part.encode_utf16().flat_map(u16::to_le_bytes));
        }
        Self {
            info,
            prefix: Prefix::Pointer,
        }
    }

    fn put(&self, bytes: &mut Vec<u8>, value: Option<&[u8]>) {
        match (self.prefix, value) {
            (Prefix::None, value) => bytes.extend(value.unwrap()),
            (Prefix::Byte | Prefix::Pointer, None) => bytes.push(0),
            (Prefix::Short, None) => bytes.extend([0xFF; 2]),
            (Prefix::Chunks(_), None) => bytes.extend([0xFF; 8]),
            (Prefix::Byte, Some(value)) => {
                bytes.push(value.len() as u8);
                bytes.extend(value);
            }
            (Prefix::Short, Some(value)) => {
                bytes.extend((value.len() as u16).to_le_bytes());
                bytes.extend(value);
            }
            (Prefix::Chunks(size), Some(value)) => {
                bytes.extend(0xFFFF_FFFF_FFFF_FFFE_u64.to_le_bytes());
                for chunk in value.chunks(size) {
                    bytes.extend((chunk.len() as u32).to_le_bytes());
                    bytes.extend(chunk);
                }
                bytes.extend([0; 4]);
            }
            (Prefix::Pointer, Some(value)) => {
                bytes.push(16);
                bytes.extend([0xAB; 16 + 8]);
                bytes.extend((value.len() as u32).to_le_bytes());
                bytes.extend(value);
            }
        }
    }
}

impl Answer {
    pub(super) fn columns(mut self, types: &[Type]) -> Self {
        self.bytes.push(0x81);
        self.bytes.extend((types.len() as u16).to_le_bytes());
        for (index, column) in types.iter().enumerate() {
            self.bytes.extend([0; 4]);
            self.bytes.extend([1, 0]);
            self.bytes.extend(&column.info);
            let name = format!("c{index}");
            self.bytes.push(name.len() as u8);
            self.bytes
                .extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        }
        self
    }

    pub(super) fn row(mut self, types: &[Type], values: &[Option<Vec<u8>>]) -> Self {
        self.bytes.push(0xD1);
        for (column, value) in types.iter().zip(values) {
            column.put(&mut self.bytes, value.as_deref());
        }
        self
    }

    /// A row that tells first which values are NULL.
    pub(super) fn compressed_row(mut self, types: &[Type], values: &[Option<Vec<u8>>]) -> Self {
        let mut nulls = vec![0_u8; types.len().div_ceil(8)];
        for (index, value) in values.iter().enumerate() {
            nulls[index / 8] |= u8::from(value.is_none()) << (index % 8);
        }
        self.bytes.push(0xD2);
        self.bytes.extend(nulls);
        for (column, value) in types.iter().zip(values) {
            if let Some(value) = value {
                column.put(&mut self.bytes, Some(value));
            }
        }
        self
    }

    pub(super) fn token(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    pub(super) fn order(self) -> Self {
        self.token(&[0xA9, 2, 0, 1, 0])
    }

    /// An informational message.
    pub(super) fn info(self) -> Self {
        self.message(0xAB, 5701, 0)
    }

    /// An error.
    pub(super) fn error(self) -> Self {
        self.message(0xAA, 1205, 13)
    }

    fn message(self, kind: u8, number: i32, class: u8) -> Self {
        let mut token = number.to_le_bytes().to_vec();
        token.extend([1, class]);
        token.extend(2_u16.to_le_bytes());
        token.extend("hi".encode_utf16().flat_map(u16::to_le_bytes));
        token.extend([0, 0]);
        token.extend(1_u32.to_le_bytes());
        let mut bytes = vec![kind];
        bytes.extend((token.len() as u16).to_le_bytes());
        bytes.extend(token);
        self.token(&bytes)
    }

    /// The end of a statement.
    pub(super) fn done(self, token: u8, more: bool) -> Self {
        let mut bytes = [0; 13];
        (bytes[0], bytes[1]) = (token, u8::from(more));
        self.token(&bytes)
    }

    /// The tokens alone.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes, in packets of so many bytes of them.
    pub(super) fn packets(self, most: usize) -> Vec<u8> {
        packets(&self.bytes, most)
    }
}

pub(super) fn packets(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut parts = bytes.chunks(most).peekable();
    while let Some(part) = parts.next() {
        let [high, low] = (part.len() as u16 + 8).to_be_bytes();
        let status = u8::from(parts.peek().is_none());
        all.extend([0x04, status, high, low, 0, 0, 1, 0]);
        all.extend(part);
    }
    all
}
