//! Random numbers that are a pure function of what they are for: Philox4x64-10 (Salmon et al., SC'11), the generator of
//! `numpy.random.Philox`, keyed by (seed, stream). A counter is (epoch, index, draw, domain); domain 0 is for draws.

/// Counter domains: the last word of every counter.
const DRAWS: u64 = 0;
/// Which corpus fills which slot of a block of a mix.
pub const SLOTS: u64 = 1;
/// Plus a number: the order of the tracks of that population.
pub const ORDER: u64 = 2;

/// Rounds of the Feistel network; Black and Rogaway use 3, numbers of few bits need more.
const ROUNDS: u64 = 8;

pub fn philox(key: [u64; 2], counter: [u64; 4]) -> [u64; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
    const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];
    let (mut k, mut c) = (key, counter);
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        let (a, b) = (wide(MULTIPLIERS[0], c[0]), wide(MULTIPLIERS[1], c[2]));
        c = [b.1 ^ c[1] ^ k[0], b.0, a.1 ^ c[3] ^ k[1], a.0];
    }
    c
}

/// Uniform in [0, 1) from the upper 53 bits.
pub fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform integer in [0, n) by multiply-shift; the bias is below n / 2^64.
pub fn below(word: u64, n: u64) -> u64 {
    wide(word, n).1
}

/// The block (epoch, index, 0, 0): what is drawn for one sample.
pub fn sample_block(key: [u64; 2], epoch: u64, index: u64) -> [u64; 4] {
    philox(key, [epoch, index, 0, DRAWS])
}

/// First words of the blocks (epoch, index, draw, 0) as numbers in [0, 1).
pub fn uniform(seed: u64, stream: u64, epoch: u64, indexes: &[i64], draw: u64) -> Vec<f64> {
    indexes.iter().map(|&index| unit(philox([seed, stream], [epoch, index as u64, draw, DRAWS])[0])).collect()
}

/// Where the epoch's permutation of 0..n puts `index` (below n), in O(1).
///
/// An alternating Feistel network over the cells of an a x b grid, a = ceil(sqrt(n)), b = ceil(n / a), walked along its
/// cycle until it is back among the first n (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
/// Round r moves one coordinate by a random number keyed with the other: word 0 of block (epoch, other, r, domain).
pub fn permute(key: [u64; 2], domain: u64, epoch: u64, index: u64, n: u64) -> u64 {
    assert!(index < n);
    let root = n.isqrt();
    let a = if root * root < n { root + 1 } else { root };
    let b = n.div_ceil(a);
    let mut cell = index;
    loop {
        let (mut row, mut column) = (cell / b, cell % b);
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                row = (row + below(philox(key, [epoch, column, round, domain])[0], a)) % a;
            } else {
                column = (column + below(philox(key, [epoch, row, round, domain])[0], b)) % b;
            }
        }
        cell = row * b + column;
        if cell < n {
            return cell;
        }
    }
}

/// (low, high) halves of the 128-bit product.
fn wide(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    (product as u64, (product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // Random123's kat_vectors, philox4x64 10 rounds.
        assert_eq!(
            philox([0, 0], [0; 4]),
            [0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b]
        );
        assert_eq!(
            philox([u64::MAX; 2], [u64::MAX; 4]),
            [0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0]
        );
    }

    #[test]
    fn permutations_reach_every_place_once() {
        for n in (1..60).chain([99, 100, 101, 1000, 1025]) {
            let mut places: Vec<u64> = (0..n).map(|index| permute([3, 1], ORDER, 9, index, n)).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..n), "{n}");
        }
    }
}
