//! Packets of one logical stream of an Ogg file, from any page on, without a codec and without checksums: what is read
//! here was compared with Symphonia's reader when the file's index was made (`seek_index`).
//!
//! The layout is that of RFC 3533, section 6.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

const HEADER_BYTES: usize = 27;
const CONTINUED: u8 = 1;
const MAX_PACKET_BYTES: usize = 1 << 24;

/// A reader that goes from packet to packet.
pub struct OggPackets<R: Read + Seek> {
    source: BufReader<R>,
    serial: u32,
    /// Where the page that is being read, and the one after it, begin.
    page: u64,
    next_page: u64,
    lacing: Vec<u8>,
    next_lace: usize,
    /// Packets that have begun on this page.
    begun_here: u32,
    packet: Vec<u8>,
}

/// A packet, the offset of the page that it begins on, and the number of packets that begin there before it.
pub struct OggPacket<'a> {
    pub data: &'a [u8],
    pub page: u64,
    pub nth: u32,
}

impl<R: Read + Seek> OggPackets<R> {
    /// Begins with the first packet that begins on or after the page at `offset`.
    pub fn new(source: R, serial: u32, offset: u64) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        source.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            source,
            serial,
            page: offset,
            next_page: offset,
            lacing: Vec::new(),
            next_lace: 0,
            begun_here: 0,
            packet: Vec::new(),
        })
    }

    /// The next whole packet; None at the end of the file. InvalidData where no page is.
    pub fn advance(&mut self) -> io::Result<Option<OggPacket<'_>>> {
        self.packet.clear();
        let (mut page, mut nth) = (self.page, 0);
        loop {
            if self.next_lace == self.lacing.len() {
                let partial = !self.packet.is_empty();
                if !self.read_page_header(partial)? {
                    return Ok(None);
                }
                continue;
            }
            if self.packet.is_empty() {
                (page, nth) = (self.page, self.begun_here);
                self.begun_here += 1;
            }
            let lace = self.lacing[self.next_lace];
            self.next_lace += 1;
            let held = self.packet.len();
            if held > MAX_PACKET_BYTES {
                return Err(invalid("a packet of more than 16 MiB"));
            }
            self.packet.resize(held + usize::from(lace), 0);
            self.source.read_exact(&mut self.packet[held..])?;
            if lace < 255 {
                return Ok(Some(OggPacket { data: &self.packet, page, nth }));
            }
        }
    }

    /// Reads headers until one of this stream; false at the end of the file. `partial`: a packet goes on there.
    fn read_page_header(&mut self, partial: bool) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut header = [0u8; HEADER_BYTES];
            self.source.read_exact(&mut header)?;
            if !header.starts_with(b"OggS\0") {
                return Err(invalid("no page where one should be"));
            }
            self.lacing.resize(usize::from(header[26]), 0);
            self.source.read_exact(&mut self.lacing)?;
            let body: u64 = self.lacing.iter().map(|&lace| u64::from(lace)).sum();
            self.page = self.next_page;
            self.next_page += HEADER_BYTES as u64 + self.lacing.len() as u64 + body;
            if header[14..18] != self.serial.to_le_bytes() {
                self.source.seek_relative(body as i64)?;
                continue;
            }
            let continued = header[5] & CONTINUED != 0;
            (self.next_lace, self.begun_here) = (0, 0);
            if partial && !continued {
                return Err(invalid("a packet is cut short"));
            }
            if continued && !partial {
                self.skip_first_packet()?;
            }
            return Ok(true);
        }
    }

    /// Leaves out the end of a packet that began on a page before the first one read.
    fn skip_first_packet(&mut self) -> io::Result<()> {
        let laces = match self.lacing.iter().position(|&lace| lace < 255) {
            Some(last) => last + 1,
            None => self.lacing.len(),
        };
        let bytes: i64 = self.lacing[..laces].iter().map(|&lace| i64::from(lace)).sum();
        self.next_lace = laces;
        self.source.seek_relative(bytes)
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
