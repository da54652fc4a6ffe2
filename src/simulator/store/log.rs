//! The transaction log's positions.

/// The virtual log file in which every database begins.
const FIRST_FILE: u32 = 0x2a;
/// Slots of a block that are used before the next block begins.
const SLOTS: u16 = 0xff;
/// Blocks are counted in sectors of 512 bytes.
const BLOCK: u32 = 8;
/// Sectors of a virtual log file.
const SECTORS: u32 = 0x0010_0000;

/// Where the next log record goes. Every position is given out once, in increasing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    file: u32,
    block: u32,
    slot: u16,
}

impl LogPosition {
    /// The first position of a new database's log.
    pub(crate) fn first() -> Self {
        Self {
            file: FIRST_FILE,
            block: BLOCK * 2,
            slot: 1,
        }
    }

    /// The LSN of the next record.
    pub(crate) fn record(&mut self) -> [u8; 10] {
        let lsn = self.lsn();
        if self.slot == SLOTS {
            self.next_block();
        } else {
            self.slot += 1;
        }
        lsn
    }

    /// The LSN of a commit record; the log is flushed with it, so that the next record begins a block.
    pub(crate) fn commit(&mut self) -> [u8; 10] {
        let lsn = self.lsn();
        self.next_block();
        lsn
    }

    fn next_block(&mut self) {
        self.slot = 1;
        self.block += BLOCK;
        if self.block >= SECTORS {
            self.block = BLOCK * 2;
            self.file += 1;
        }
    }

    fn lsn(self) -> [u8; 10] {
        let mut lsn = [0; 10];
        lsn[..4].copy_from_slice(&self.file.to_be_bytes());
        lsn[4..8].copy_from_slice(&self.block.to_be_bytes());
        lsn[8..].copy_from_slice(&self.slot.to_be_bytes());
        lsn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_only_rise() {
        let mut log = LogPosition::first();
        let mut last = [0; 10];
        for n in 0..100_000 {
            let lsn = if n % 7 == 0 {
                log.commit()
            } else {
                log.record()
            };
            assert!(lsn > last);
            last = lsn;
        }
    }
}
