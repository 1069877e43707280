//! Bits of a byte string, most significant first.

/// Zero bits follow the last byte; whoever reads them sees it by `at`.
pub struct Bits<'a> {
    data: &'a [u8],
    /// The next bit.
    pub at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// The next 57 bits or more, from the top.
    #[inline(always)]
    pub fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.data.get(byte..byte + 8) {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().expect("8 bytes")),
            None => self.peek_end(byte),
        };
        word << (self.at % 8)
    }

    #[cold]
    fn peek_end(&self, byte: usize) -> u64 {
        let mut bytes = [0; 8];
        let left = self.data.get(byte..).unwrap_or_default();
        bytes[..left.len()].copy_from_slice(left);
        u64::from_be_bytes(bytes)
    }

    /// At most 32 bits.
    #[inline(always)]
    pub fn read(&mut self, count: u32) -> u32 {
        let value = (self.peek() >> 32 >> (32 - count)) as u32;
        self.at += count as usize;
        value
    }

    pub fn is_past_end(&self) -> bool {
        self.at > 8 * self.data.len()
    }

    #[inline(always)]
    pub fn flag(&mut self) -> bool {
        self.read(1) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_zeros_after_them() {
        let data: Vec<u8> = (0..23u8).map(|i| i.wrapping_mul(37).wrapping_add(5)).collect();
        let text: String = data.iter().map(|byte| format!("{byte:08b}")).collect::<String>() + &"0".repeat(64);
        let mut bits = Bits::new(&data, 3);
        for count in (0..=32).chain([1; 40]) {
            if bits.at > 8 * data.len() {
                break;
            }
            let (from, expected) = (bits.at, &text[bits.at..][..count as usize]);
            let value = u64::from_str_radix(&format!("0{expected}"), 2).unwrap();
            assert_eq!(u64::from(bits.read(count)), value, "{count} bits from {from}");
        }
        assert!(Bits::new(&data, 1 << 20).read(32) == 0);
    }
}
