//! An answer on its way to the driver.

use std::io;

use tokio::io::ReadBuf;

use super::columns::{Column, Description, Kind, Reading};
use super::measure::{Measure, NBC_ROW, ROW};
use super::{Chunk, Passage, malformed, mark};

/// Of a packet (MS-TDS 2.2.3.1), with its type, status and length in it.
const HEADER_BYTES: usize = 8;
/// The type of packets with answers.
const TABULAR_RESULT: u8 = 0x04;
/// The bit of the status in the last packet of an answer.
const END_OF_MESSAGE: u8 = 0x01;
/// What a packet that is made here carries at most.
const MOST_CARRIED: usize = 32_000;

/// Bytes of a row that does not end; beyond these the driver gets what there is of it.
const MOST_KEPT: usize = 1 << 16;
/// The description of the 4096 columns that a result set may have is smaller.
const MOST_DESCRIPTION: usize = 1 << 23;

const COLUMNS: u8 = 0x81;
/// Comes after all rows, and does not tell how long it is.
const RETURN_VALUE: u8 = 0xAC;
/// `varbinary`, here of one byte.
const BINARY: u8 = 0xA5;

/// What the bytes at hand are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Token,
    /// So many more bytes of a token that goes to the driver as it is.
    Pass(usize),
    Row,
    /// The rest of the answer goes to the driver as it is.
    Rest,
}

/// Rewrites one answer.
#[derive(Debug)]
pub(in super::super) struct Filter {
    /// The result set whose rows are wanted together, as the driver counts.
    wanted: usize,
    passage: Passage,
    /// How many result sets have begun.
    begun: usize,
    /// The description of a result set's columns that is coming in.
    description: Reading,
    /// The columns of the last result set.
    columns: Vec<Column>,
    /// Whether its rows are put together.
    is_together: bool,
    state: State,
    measure: Measure,
    /// Packets as they came, of which the last may not be whole.
    packets: Vec<u8>,
    /// What they carried, from the first byte that has not gone to the driver.
    carried: Vec<u8>,
    /// How many bytes of these have been gone through: of a row whose end has not come.
    measured: usize,
    /// What the next packets for the driver carry.
    payload: Vec<u8>,
    /// Packets for the driver.
    output: Vec<u8>,
    /// How many bytes of these it has taken.
    taken: usize,
    next_id: u8,
    is_over: bool,
}

impl Filter {
    /// For an answer whose `wanted`-th result set, counted from zero, has many rows.
    pub(in super::super) fn new(wanted: usize, passage: Passage) -> Self {
        Self {
            wanted,
            passage,
            begun: 0,
            description: Reading::default(),
            columns: Vec::new(),
            is_together: false,
            state: State::Token,
            measure: Measure::new(),
            packets: Vec::new(),
            carried: Vec::new(),
            measured: 0,
            payload: Vec::new(),
            output: Vec::new(),
            taken: 0,
            next_id: 1,
            is_over: false,
        }
    }

    /// Gives the driver what is there for it; false if there is nothing.
    pub(in super::super) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = &self.output[self.taken..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.output.len() {
            self.output.clear();
            self.taken = 0;
        }
        count > 0
    }

    /// Whether the answer has ended, and the driver has all of it.
    pub(in super::super) fn is_done(&self) -> bool {
        self.is_over && self.output.is_empty()
    }

    /// Takes bytes of the connection.
    ///
    /// # Errors
    /// Bytes that are no answer.
    pub(in super::super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut packets = std::mem::take(&mut self.packets);
        packets.extend_from_slice(bytes);
        let mut at = 0;
        while !self.is_over
            && let Some(header) = packets[at..].first_chunk::<HEADER_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if header[0] != TABULAR_RESULT || length < HEADER_BYTES {
                return Err(malformed("a packet has another type or length"));
            }
            let Some(packet) = packets[at..].get(HEADER_BYTES..length) else {
                break;
            };
            let is_last = header[1] & END_OF_MESSAGE != 0;
            self.carried.extend_from_slice(packet);
            self.packet(is_last)?;
            at += length;
        }
        if self.is_over {
            // Whatever it is, the driver judges.
            self.output.extend_from_slice(&packets[at..]);
        } else {
            packets.drain(..at);
            self.packets = packets;
        }
        Ok(())
    }

    /// Goes on after a packet has come.
    fn packet(&mut self, is_last: bool) -> io::Result<()> {
        let mut carried = std::mem::take(&mut self.carried);
        carried.drain(..self.tokens(&carried)?);
        if is_last && !(carried.is_empty() && matches!(self.state, State::Token | State::Rest)) {
            return Err(malformed("it ends within a token"));
        }
        self.carried = carried;
        self.is_over = is_last;
        self.send(is_last);
        Ok(())
    }

    /// Goes through the bytes at hand: how many of them have gone to the driver.
    fn tokens(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Rows that are put together and have not gone yet begin at `kept`; the last whole one ends at `whole`.
        let (mut kept, mut whole, mut at) = (0, 0, self.measured);
        while let rest = &bytes[at..]
            && let Some(token) = rest.first()
        {
            match self.state {
                State::Row => {
                    let (used, ends) = self.measure.advance(&self.columns, rest)?;
                    at += used;
                    if !self.is_together {
                        self.payload.extend_from_slice(&rest[..used]);
                        kept = at;
                    }
                    if !ends {
                        break;
                    }
                    whole = at;
                    self.state = State::Token;
                    continue;
                }
                State::Token if self.begun > 0 && matches!(*token, ROW | NBC_ROW) => {
                    self.measure.restart();
                    self.state = State::Row;
                    continue;
                }
                State::Token => {
                    self.put_together(bytes, &mut kept, whole);
                    let Some(used) = self.token(rest)? else {
                        break;
                    };
                    at += used;
                }
                State::Pass(left) => {
                    let used = left.min(rest.len());
                    self.payload.extend_from_slice(&rest[..used]);
                    at += used;
                    self.state = match left - used {
                        0 => State::Token,
                        left => State::Pass(left),
                    };
                }
                State::Rest => {
                    self.payload.extend_from_slice(rest);
                    at = bytes.len();
                }
            }
            kept = at;
        }
        self.put_together(bytes, &mut kept, whole);
        if self.is_together && at - kept >= MOST_KEPT {
            self.chunk(Chunk::Part, &bytes[kept..at]);
            kept = at;
        }
        self.measured = at - kept;
        Ok(kept)
    }

    /// Gives the driver the whole rows that are kept for it.
    fn put_together(&mut self, bytes: &[u8], kept: &mut usize, whole: usize) {
        if self.is_together && whole > *kept {
            self.chunk(Chunk::Whole, &bytes[*kept..whole]);
            *kept = whole;
        }
    }

    /// Begins a token that is no row (MS-TDS 2.2.4): how many bytes of it are done with, or `None` where it is not known yet
    /// how many it has.
    fn token(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.state = match bytes[0] {
            COLUMNS => return self.describe(bytes),
            // DONE, DONEPROC and DONEINPROC.
            0xFD..=0xFF => State::Pass(13),
            // RETURNSTATUS.
            0x79 => State::Pass(5),
            // TABNAME, COLINFO, ORDER, ERROR, INFO, LOGINACK, ENVCHANGE and SSPI tell how long they are.
            0xA4 | 0xA5 | 0xA9 | 0xAA | 0xAB | 0xAD | 0xE3 | 0xED => {
                let Some(length) = bytes[1..].first_chunk() else {
                    return Ok(None);
                };
                State::Pass(3 + usize::from(u16::from_le_bytes(*length)))
            }
            // So do SESSIONSTATE and FEDAUTHINFO, in four bytes.
            0xE4 | 0xEE => {
                let Some(length) = bytes[1..].first_chunk() else {
                    return Ok(None);
                };
                State::Pass(5 + u32::from_le_bytes(*length) as usize)
            }
            // The driver could not read rows after it, of whose columns it does not know.
            token if self.is_together && token != RETURN_VALUE => {
                return Err(malformed("a token of another kind is among rows"));
            }
            _ => State::Rest,
        };
        Ok(Some(0))
    }

    fn describe(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let (columns, length) = match self.description.read(&bytes[1..]) {
            Description::Columns(columns, length) => (columns, 1 + length),
            Description::Unfinished if bytes.len() > MOST_DESCRIPTION => {
                return Err(malformed("the columns do not end"));
            }
            Description::Unfinished => return Ok(None),
            Description::Unknown => {
                self.state = State::Rest;
                return Ok(Some(0));
            }
        };
        self.is_together = self.begun == self.wanted
            && !columns.is_empty()
            && columns.iter().all(|column| column.kind != Kind::Other);
        self.begun += 1;
        self.description = Reading::default();
        self.columns = columns;
        if !self.is_together {
            self.state = State::Pass(length);
            return Ok(Some(0));
        }
        self.column_of_words();
        self.chunk(Chunk::Columns, &bytes[1..length]);
        Ok(Some(length))
    }

    /// Puts the description of one column for words, under a name that no other has.
    fn column_of_words(&mut self) {
        let name = mark();
        self.payload.push(COLUMNS);
        self.payload.extend_from_slice(&1_u16.to_le_bytes());
        // The user's type and the flags.
        self.payload.extend_from_slice(&[0; 6]);
        self.payload.push(BINARY);
        self.payload.extend_from_slice(&1_u16.to_le_bytes());
        self.payload.push(name.len() as u8);
        for unit in name.encode_utf16() {
            self.payload.extend_from_slice(&unit.to_le_bytes());
        }
    }

    /// Puts bytes into the passage, and a row with the word for them.
    fn chunk(&mut self, chunk: Chunk, bytes: &[u8]) {
        self.passage.put(bytes);
        self.payload.push(ROW);
        self.payload.extend_from_slice(&1_u16.to_le_bytes());
        self.payload.push(chunk as u8);
    }

    /// Makes packets of what is there for the driver.
    fn send(&mut self, is_last: bool) {
        let mut parts = self.payload.chunks(MOST_CARRIED).peekable();
        if parts.peek().is_none() && !is_last {
            return;
        }
        loop {
            let part = parts.next().unwrap_or_default();
            let ends = is_last && parts.peek().is_none();
            let length = (HEADER_BYTES + part.len()) as u16;
            let [high, low] = length.to_be_bytes();
            let status = if ends { END_OF_MESSAGE } else { 0 };
            let header = [TABULAR_RESULT, status, high, low, 0, 0, self.next_id, 0];
            self.output.extend_from_slice(&header);
            self.output.extend_from_slice(part);
            self.next_id = self.next_id.wrapping_add(1);
            if parts.peek().is_none() {
                break;
            }
        }
        self.payload.clear();
    }
}
