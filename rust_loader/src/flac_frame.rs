//! One FLAC frame into its samples (RFC 9639, section 9): for segments, whose frames Symphonia's reader has found and
//! checked. Whole files are decoded by Symphonia, which compares their MD5; tests hold that both give the same.

use crate::bits::Bits;

const PEEKED_BITS: u32 = 57; // of which `Bits::peek` is sure
const MAX_CHANNELS: usize = 8;
const MAX_ORDER: usize = 32;
/// Samples of 25 to 32 bits are left to Symphonia: a float does not hold them.
pub const MAX_BITS: u32 = 24;

/// A frame's samples, and room for them that is used again.
#[derive(Default)]
pub struct FlacFrame {
    channels: Vec<Vec<i32>>,
    bits_per_sample: u32,
}

enum Stereo {
    Apart,
    LeftSide,
    SideRight,
    MiddleSide,
}

impl FlacFrame {
    /// None for what is no frame of so many channels, or is left to Symphonia. `bits_per_sample`: the stream's.
    pub fn decode(&mut self, data: &[u8], num_channels: usize, bits_per_sample: u32) -> Option<()> {
        let mut bits = Bits::new(data, 0);
        if bits.read(15) != 0x7ffc {
            return None; // the sync code and a zero
        }
        bits.read(1); // whether the number is of a frame or a sample
        let (size, rate, assignment, depth) = (bits.read(4), bits.read(4), bits.read(4), bits.read(3));
        bits.read(1);
        bits.at += 8 * bits.peek().leading_ones().saturating_sub(1).min(6) as usize + 8; // its number, like UTF-8
        let num_samples = match size {
            1 => 192,
            2..=5 => 144 << size,
            6 => bits.read(8) as usize + 1,
            7 => bits.read(16) as usize + 1,
            8.. => 1 << size,
            _ => return None,
        };
        bits.at += match rate {
            12 => 8,
            13 | 14 => 16,
            _ => 0,
        };
        bits.at += 8; // CRC
        let (found, stereo) = match assignment {
            0..=7 => (assignment as usize + 1, Stereo::Apart),
            8 => (2, Stereo::LeftSide),
            9 => (2, Stereo::SideRight),
            10 => (2, Stereo::MiddleSide),
            _ => return None,
        };
        self.bits_per_sample = match depth {
            0 => bits_per_sample,
            1 => 8,
            2 => 12,
            4 => 16,
            5 => 20,
            6 => 24,
            _ => return None,
        };
        let fits = found == num_channels && found <= MAX_CHANNELS && (4..=MAX_BITS).contains(&self.bits_per_sample);
        if !fits {
            return None;
        }
        self.channels.resize_with(num_channels, Vec::new);
        for (channel, samples) in self.channels.iter_mut().enumerate() {
            let is_side =
                matches!((&stereo, channel), (Stereo::LeftSide | Stereo::MiddleSide, 1) | (Stereo::SideRight, 0));
            samples.resize(num_samples, 0);
            read_subframe(&mut bits, self.bits_per_sample + u32::from(is_side), samples)?;
            if bits.is_past_end() {
                return None;
            }
        }
        if let [first, second] = &mut self.channels[..] {
            join(&stereo, first, second);
        }
        Some(())
    }

    pub fn num_samples(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Samples from `from` on of a channel, as floats of full scale 1.
    pub fn copy_to(&self, channel: usize, from: usize, out: &mut [f32]) {
        let scale = 1.0 / (1u32 << (self.bits_per_sample - 1)) as f32;
        for (out, &sample) in out.iter_mut().zip(&self.channels[channel][from..]) {
            *out = sample as f32 * scale;
        }
    }
}

fn join(stereo: &Stereo, first: &mut [i32], second: &mut [i32]) {
    let pairs = first.iter_mut().zip(second);
    match stereo {
        Stereo::Apart => {}
        Stereo::LeftSide => pairs.for_each(|(left, side)| *side = left.wrapping_sub(*side)),
        Stereo::SideRight => pairs.for_each(|(side, right)| *side = side.wrapping_add(*right)),
        Stereo::MiddleSide => pairs.for_each(|(middle, side)| {
            let doubled = middle.wrapping_shl(1) | (*side & 1);
            (*middle, *side) = (doubled.wrapping_add(*side) >> 1, doubled.wrapping_sub(*side) >> 1);
        }),
    }
}

fn read_subframe(bits: &mut Bits<'_>, mut width: u32, samples: &mut [i32]) -> Option<()> {
    if bits.flag() {
        return None;
    }
    let kind = bits.read(6) as usize;
    let mut wasted = 0;
    if bits.flag() {
        wasted = (bits.peek() | 1).leading_zeros() + 1;
        bits.at += wasted as usize;
    }
    width = width.checked_sub(wasted).filter(|&width| width > 0)?;
    match kind {
        0 => samples.fill(read_signed(bits, width)),
        1 => samples.iter_mut().for_each(|sample| *sample = read_signed(bits, width)),
        8..=12 => {
            // 9.2.5: differences of the order's degree
            const FIXED: [&[i32]; 5] = [&[], &[1], &[2, -1], &[3, -3, 1], &[4, -6, 4, -1]];
            read_predicted(bits, width, FIXED[kind - 8], None, samples)?;
        }
        32.. => read_predicted(bits, width, &[], Some(kind - 31), samples)?,
        _ => return None,
    }
    if wasted > 0 {
        samples.iter_mut().for_each(|sample| *sample <<= wasted);
    }
    Some(())
}

fn read_signed(bits: &mut Bits<'_>, width: u32) -> i32 {
    ((bits.read(width) << (32 - width)) as i32) >> (32 - width)
}

/// Samples by linear prediction: the first ones as they are, then their weights if those are in the stream, then what
/// was left over.
fn read_predicted(
    bits: &mut Bits<'_>,
    width: u32,
    fixed: &[i32],
    order: Option<usize>,
    samples: &mut [i32],
) -> Option<()> {
    let order_or_fixed = order.unwrap_or(fixed.len());
    let first = samples.get_mut(..order_or_fixed)?;
    first.iter_mut().for_each(|sample| *sample = read_signed(bits, width));
    let mut weights = [0i32; MAX_ORDER];
    let mut shift = 0;
    match order {
        None => weights[..fixed.len()].copy_from_slice(fixed),
        Some(order) => {
            let precision = bits.read(4) + 1;
            shift = u32::try_from(read_signed(bits, 5)).ok()?;
            if precision == 16 {
                return None;
            }
            weights[..order].iter_mut().for_each(|weight| *weight = read_signed(bits, precision));
        }
    }
    read_residual(bits, order_or_fixed, samples)?;
    macro_rules! restore_by_order {
        ($($order:literal)*) => {
            match order_or_fixed {
                0 => {}
                $($order => restore::<$order>(&weights, shift, samples),)*
                order => restore_any(&weights[..order], shift, samples),
            }
        };
    }
    restore_by_order!(1 2 3 4 5 6 7 8 9 10 11 12);
    Some(())
}

/// `weights[0]` is that of the sample just before.
fn restore<const ORDER: usize>(weights: &[i32; MAX_ORDER], shift: u32, samples: &mut [i32]) {
    let weights: [i64; ORDER] = std::array::from_fn(|i| weights[i].into());
    let mut last: [i64; ORDER] = std::array::from_fn(|i| samples[ORDER - 1 - i].into());
    for sample in &mut samples[ORDER..] {
        let mut sum = 0i64;
        for i in 0..ORDER {
            sum = sum.wrapping_add(weights[i].wrapping_mul(last[i]));
        }
        *sample = sample.wrapping_add((sum >> shift) as i32);
        last.copy_within(..ORDER - 1, 1);
        last[0] = (*sample).into();
    }
}

fn restore_any(weights: &[i32], shift: u32, samples: &mut [i32]) {
    for at in weights.len()..samples.len() {
        let before = samples[at - weights.len()..at].iter().rev();
        let sum = weights
            .iter()
            .zip(before)
            .fold(0i64, |sum, (&weight, &x)| sum.wrapping_add(i64::from(weight).wrapping_mul(x.into())));
        samples[at] = samples[at].wrapping_add((sum >> shift) as i32);
    }
}

/// What prediction left over, into `samples[order..]`: Rice codes by partitions (9.2.7).
fn read_residual(bits: &mut Bits<'_>, order: usize, samples: &mut [i32]) -> Option<()> {
    let parameter_bits = match bits.read(2) {
        0 => 4,
        1 => 5,
        _ => return None,
    };
    let partitions = bits.read(4);
    let each = samples.len() >> partitions;
    if each << partitions != samples.len() || each < order {
        return None;
    }
    for partition in 0..1usize << partitions {
        let from = if partition == 0 { order } else { partition * each };
        let samples = &mut samples[from..(partition + 1) * each];
        let parameter = bits.read(parameter_bits);
        if parameter == (1 << parameter_bits) - 1 {
            let width = bits.read(5);
            let read = |bits: &mut Bits<'_>| if width == 0 { 0 } else { read_signed(bits, width) };
            samples.iter_mut().for_each(|sample| *sample = read(bits));
        } else {
            read_rice(bits, parameter, samples)?;
        }
    }
    Some(())
}

/// Two codes in one look where they fit: the look, not the arithmetic, is what a code waits for.
fn read_rice(bits: &mut Bits<'_>, parameter: u32, samples: &mut [i32]) -> Option<()> {
    let mut pairs = samples.chunks_exact_mut(2);
    for pair in &mut pairs {
        let word = bits.peek();
        let zeros = word.leading_zeros();
        let first = zeros + 1 + parameter;
        if first > PEEKED_BITS {
            pair[0] = read_one_rice(bits, parameter)?;
            pair[1] = read_one_rice(bits, parameter)?;
            continue;
        }
        let (folded, rest) = split_rice(word, zeros, parameter);
        pair[0] = unfold(folded);
        let zeros = rest.leading_zeros();
        let both = first + zeros + 1 + parameter;
        if both <= PEEKED_BITS {
            pair[1] = unfold(split_rice(rest, zeros, parameter).0);
            bits.at += both as usize;
        } else {
            bits.at += first as usize;
            pair[1] = read_one_rice(bits, parameter)?;
        }
    }
    for sample in pairs.into_remainder() {
        *sample = read_one_rice(bits, parameter)?;
    }
    Some(())
}

fn read_one_rice(bits: &mut Bits<'_>, parameter: u32) -> Option<i32> {
    let word = bits.peek();
    let zeros = word.leading_zeros();
    if zeros + 1 + parameter > PEEKED_BITS {
        return read_long_rice(bits, parameter).map(unfold);
    }
    bits.at += (zeros + 1 + parameter) as usize;
    Some(unfold(split_rice(word, zeros, parameter).0))
}

/// The code at the head of `word`, which begins with so many zeros, and what follows it. The code has fewer than 64 bits.
#[inline(always)]
fn split_rice(word: u64, zeros: u32, parameter: u32) -> (u32, u64) {
    let low = word << (zeros + 1);
    (zeros << parameter | (low >> 1 >> (63 - parameter)) as u32, low << parameter)
}

fn unfold(folded: u32) -> i32 {
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}

#[cold]
fn read_long_rice(bits: &mut Bits<'_>, parameter: u32) -> Option<u32> {
    let mut quotient = 0u32;
    while !bits.flag() {
        quotient += 1;
        if u64::from(quotient) >> (32 - parameter) != 0 || bits.is_past_end() {
            return None;
        }
    }
    Some(quotient.checked_shl(parameter)? | bits.read(parameter))
}
