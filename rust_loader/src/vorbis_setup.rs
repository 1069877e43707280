//! How large the codebooks of a Vorbis stream are, before a decoder makes them: Symphonia bounds each (16 MiB), but not
//! their number, so that a header of some kilobytes could ask for 4 GiB. (Vorbis I specification, section 3.2.1:
//! https://xiph.org/vorbis/doc/Vorbis_I_spec.html)

use crate::error::{Error, Result};

/// Entries, and values of their vectors, of all codebooks together: at most 64 MiB. libvorbis makes about 2^17.
const MAX_VALUES: u64 = 1 << 20;

/// Bytes of the identification header (Vorbis I, section 4.2.2).
const IDENTIFICATION: usize = 30;

/// Fails when the setup header in a decoder's extra data asks for more than any encoder does. What is damaged is left to
/// the decoder to say.
pub fn check(name: &str, extra_data: &[u8]) -> Result<()> {
    // The identification header has room for the mark of a setup header.
    let rest = if extra_data.starts_with(b"\x01vorbis") { extra_data.get(IDENTIFICATION..) } else { Some(extra_data) };
    let rest = rest.unwrap_or_default();
    let setup = rest.windows(7).position(|bytes| bytes == b"\x05vorbis");
    let values = setup.and_then(|at| num_values(&rest[at + 7..]));
    match values.filter(|&values| values > MAX_VALUES) {
        Some(values) => {
            Err(Error::limit(name, format!("codebooks of {values} values or more; at most {MAX_VALUES} are read")))
        }
        None => Ok(()),
    }
}

/// Of all codebooks, or of the first ones, if those are more than enough; None for what is no list of codebooks.
fn num_values(codebooks: &[u8]) -> Option<u64> {
    let mut bits = Bits { data: codebooks, at: 0 };
    let mut total = 0;
    for _ in 0..=bits.read(8)? {
        if bits.read(24)? != 0x56_4342 {
            return None;
        }
        let (dimensions, entries) = (bits.read(16)?, bits.read(24)?);
        skip_lengths(&mut bits, entries)?;
        let lookup = bits.read(4)?;
        let vectors = u64::from(entries) * u64::from(dimensions);
        total += u64::from(entries) + if lookup == 0 { 0 } else { vectors };
        if total > MAX_VALUES {
            break;
        }
        if lookup != 0 {
            bits.skip(64)?;
            let value_bits = u64::from(bits.read(4)? + 1);
            bits.skip(1)?;
            let values = if lookup == 1 { largest_root(entries, dimensions) } else { vectors };
            bits.skip(values * value_bits)?;
        }
    }
    Some(total)
}

fn skip_lengths(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let (ordered, mut entry) = (bits.read(1)? == 1, 0);
    if ordered {
        bits.skip(5)?;
        while entry < entries {
            entry += bits.read(u32::BITS - (entries - entry).leading_zeros())?;
        }
        return Some(());
    }
    if bits.read(1)? == 0 {
        return bits.skip(5 * u64::from(entries));
    }
    for _ in 0..entries {
        if bits.read(1)? == 1 {
            bits.skip(5)?;
        }
    }
    Some(())
}

/// The largest number whose `dimensions`-th power is at most `entries`.
fn largest_root(entries: u32, dimensions: u32) -> u64 {
    let fits = |root: u64| root.checked_pow(dimensions).is_some_and(|power| power <= u64::from(entries));
    let mut root = 0;
    while dimensions > 0 && fits(root + 1) {
        root += 1;
    }
    root
}

/// Bits of a byte string, least significant first.
struct Bits<'a> {
    data: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    /// At most 32 bits; None past the end.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            let byte = *self.data.get(usize::try_from(self.at / 8).ok()?)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at += count;
        (self.at <= 8 * self.data.len() as u64).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode, probe};
    use crate::stream::Source;

    #[derive(Default)]
    struct Written {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Written {
        fn put(&mut self, value: u64, count: usize) {
            for bit in 0..count {
                if self.at.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                *self.bytes.last_mut().unwrap() |=
                    ((value.checked_shr(bit as u32).unwrap_or(0) & 1) as u8) << (self.at % 8);
                self.at += 1;
            }
        }
    }

    /// A setup header whose codebooks are as large as Symphonia allows, in 22 bytes each: 2^17 codes of 17 bits.
    fn greedy(num_codebooks: u64, dimensions: u64) -> Vec<u8> {
        let mut setup = Written::default();
        setup.put(num_codebooks - 1, 8);
        for _ in 0..num_codebooks {
            setup.put(0x56_4342, 24);
            setup.put(dimensions, 16);
            setup.put(1 << 17, 24);
            setup.put(1, 1);
            setup.put(16, 5);
            setup.put(1 << 17, 18);
            setup.put(1, 4);
            setup.put(0, 64);
            setup.put(0, 4 + 1);
            setup.put(0, largest_root(1 << 17, dimensions as u32) as usize);
        }
        // one of each: time, floor (of type 1), residue, mapping, mode; then the framing bit
        for (value, count) in [(0, 22), (0, 6), (1, 16), (0, 11), (0, 112), (0, 50), (0, 47), (1, 1)] {
            setup.put(value, count);
        }
        [b"\x05vorbis", &setup.bytes[..]].concat()
    }

    #[test]
    fn codebooks_are_counted() {
        let counted = |setup: Vec<u8>| num_values(&setup[7..]);
        assert_eq!(counted(greedy(1, 1)), Some(2 << 17));
        assert_eq!(counted(greedy(3, 2)), Some(3 * (3 << 17)));
        assert!(check("x.ogg", &greedy(2, 2)).is_ok());
        assert!(counted(greedy(256, 16)).unwrap() > MAX_VALUES);
        let error = check("x.ogg", &greedy(256, 16)).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }) && error.to_string().starts_with("x.ogg: codebooks of "));
        for cut in 0..greedy(2, 2).len() {
            assert!(check("x.ogg", &greedy(2, 2)[..cut]).is_ok());
        }
        assert_eq!((largest_root(0, 2), largest_root(8, 3), largest_root(26, 3), largest_root(27, 3)), (0, 2, 2, 3));
        assert_eq!(largest_root(5, 0), 0);
    }

    #[test]
    fn real_ones_are_far_below_the_limit() {
        let file = include_bytes!("../tests/seeds/vorbis.ogg");
        let at = file.windows(7).position(|bytes| bytes == b"\x05vorbis").unwrap();
        let values = num_values(&file[at + 7..]).unwrap();
        assert!((1000..MAX_VALUES / 8).contains(&values), "{values}");
    }

    /// The header of a real file with another setup: refused before anything is made for it.
    #[test]
    fn a_file_of_greedy_codebooks_is_refused() {
        let file = include_bytes!("../tests/seeds/vorbis.ogg");
        let at = file.windows(7).position(|bytes| bytes == b"\x01vorbis").unwrap();
        let ident = file[at..at + IDENTIFICATION].to_vec();
        assert_refused(&ident);
        let disguised = [&ident[..16], b"\x05vorbis", &ident[23..]].concat(); // where the bit rates stand
        assert_refused(&disguised);
    }

    fn assert_refused(ident: &[u8]) {
        let setup = greedy(256, 16);
        let packets = [ident.to_vec(), b"\x03vorbis\0\0\0\0\0\0\0\0\x01".to_vec()];
        let (mut file, mut number) = (Vec::new(), 0u32);
        for packet in packets.iter().chain([&setup, &vec![0; 9]]) {
            let mut lacing: Vec<u8> = vec![255; packet.len() / 255];
            lacing.push((packet.len() % 255) as u8);
            let mut page = [b"OggS\0".as_slice(), &[if number == 0 { 2 } else { 0 }], &[0; 8]].concat();
            page.extend(7u32.to_le_bytes());
            page.extend(number.to_le_bytes());
            page.extend([0; 4]);
            page.push(lacing.len() as u8);
            page.extend(lacing);
            page.extend(packet);
            let checksum = page.iter().fold(0u32, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
                    crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
                })
            });
            page[22..26].copy_from_slice(&checksum.to_le_bytes());
            file.extend(page);
            number += 1;
        }
        let source = Source::Bytes { name: "greedy.ogg", data: &file };
        for error in [probe(source, &|| Ok(())).err(), decode(source, &|| Ok(())).err()] {
            let message = error.unwrap().to_string();
            assert!(message.starts_with("greedy.ogg: codebooks of "), "{message}");
        }
    }
}
