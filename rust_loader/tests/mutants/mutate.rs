//! Damage that is a pure function of (seed file, number): what disks, downloads and other people's writers do.

use _rust_loader::sampler::{below, philox};

/// Values that lengths and counts break at.
const EDGES: [u64; 10] = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

pub struct Random {
    key: [u64; 2],
    count: u64,
}

impl Random {
    pub fn new(group: u64, number: u64) -> Self {
        Self { key: [group, number], count: 0 }
    }

    /// Uniform in 0..n; 0 for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.count += 1;
        below(philox(self.key, [self.count, 0, 0, 0])[0], n.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// One to four wounds. Half of the mutants are hurt in their first 600 bytes, where the headers are; `other` is a file
/// of another kind, for splices.
pub fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    let window = if random.below(2) == 0 { 600 } else { usize::MAX };
    for _ in 0..1 + random.below(4) {
        let len = data.len();
        let at = random.below(len.min(window));
        let end = (at + 1 + random.below(64)).min(len);
        match random.below(11) {
            0 | 1 => flip_bits(&mut data, window, random),
            2 => data.truncate(at),
            3 => {
                let junk: Vec<u8> = (0..1 + random.below(64)).map(|_| random.byte()).collect();
                data.splice(at..at, junk);
            }
            4 => drop(data.drain(at..end)),
            5 => {
                let to = random.below(len);
                let block: Vec<u8> = data[at..end].to_vec();
                data.splice(to..to, block);
            }
            6 => {
                let to = random.below(len.saturating_sub(end - at));
                data.copy_within(at..end, to);
            }
            7 | 8 => edit_number(&mut data, at, random),
            9 => {
                data.truncate(at);
                data.extend(&other[random.below(other.len())..]);
            }
            _ => data[at..end].fill([0, 0xff, 0x80][random.below(3)]),
        }
        if data.is_empty() {
            break;
        }
    }
    data
}

fn flip_bits(data: &mut [u8], window: usize, random: &mut Random) {
    for _ in 0..1 + random.below(16) {
        let at = random.below(data.len().min(window));
        data[at] ^= 1 << random.below(8);
    }
}

/// Overwrites 1, 2, 3, 4 or 8 bytes by an edge value, a small change of what was there, or the file's own length.
fn edit_number(data: &mut [u8], at: usize, random: &mut Random) {
    let width = [1, 2, 3, 4, 8][random.below(5)].min(data.len() - at);
    let field = &mut data[at..at + width];
    let mut bytes = [0; 8];
    bytes[8 - width..].copy_from_slice(field);
    let old = u64::from_be_bytes(bytes);
    let new = match random.below(4) {
        0 | 1 => EDGES[random.below(EDGES.len())],
        2 => old.wrapping_add([1, u64::MAX, 7, 256][random.below(4)]),
        _ => old.wrapping_mul(2),
    };
    let new = new.to_be_bytes();
    field.copy_from_slice(&new[8 - width..]);
    if random.below(2) == 0 {
        field.reverse(); // little-endian
    }
}
