//! Four floats side by side. Every lane holds what one float would: no sum goes across lanes, no product is fused.

use std::ops::{Add, Mul, Sub};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128, _mm_add_ps, _mm_mul_ps, _mm_sub_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};

#[cfg(target_arch = "x86_64")]
type Held = __m128;
#[cfg(not(target_arch = "x86_64"))]
type Held = [f32; 4];

#[derive(Clone, Copy)]
pub struct Lanes(Held);

impl Lanes {
    pub const COUNT: usize = 4;

    #[inline(always)]
    pub fn new(values: [f32; 4]) -> Self {
        Self(bytemuck::cast(values))
    }

    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self::new([value; 4])
    }

    /// The first four of `values`.
    #[inline(always)]
    pub fn load(values: &[f32]) -> Self {
        Self::new([values[0], values[1], values[2], values[3]])
    }

    #[inline(always)]
    pub fn to_array(self) -> [f32; 4] {
        bytemuck::cast(self.0)
    }

    /// Lane i of the j-th result is lane j of the i-th input.
    #[inline(always)]
    pub fn transpose(rows: [Self; 4]) -> [Self; 4] {
        let [a, b, c, d] = rows;
        let (ac_low, bd_low, ac_high, bd_high) = (a.zip_low(c), b.zip_low(d), a.zip_high(c), b.zip_high(d));
        [ac_low.zip_low(bd_low), ac_low.zip_high(bd_low), ac_high.zip_low(bd_high), ac_high.zip_high(bd_high)]
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! intrinsic {
    ($name:ident($($argument:expr),*)) => {
        // SAFETY: SSE, which the intrinsic needs, is part of every x86-64.
        unsafe { $name($($argument),*) }
    };
}

#[cfg(target_arch = "x86_64")]
impl Lanes {
    #[inline(always)]
    fn zip_low(self, other: Self) -> Self {
        Self(intrinsic!(_mm_unpacklo_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn zip_high(self, other: Self) -> Self {
        Self(intrinsic!(_mm_unpackhi_ps(self.0, other.0)))
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Lanes {
    #[inline(always)]
    fn zip_low(self, other: Self) -> Self {
        Self([self.0[0], other.0[0], self.0[1], other.0[1]])
    }

    #[inline(always)]
    fn zip_high(self, other: Self) -> Self {
        Self([self.0[2], other.0[2], self.0[3], other.0[3]])
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for Lanes {
            type Output = Self;

            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(intrinsic!($intrinsic(self.0, other.0)))
            }

            #[cfg(not(target_arch = "x86_64"))]
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane].$method(other.0[lane])))
            }
        }
    };
}

operator!(Add, add, _mm_add_ps);
operator!(Sub, sub, _mm_sub_ps);
operator!(Mul, mul, _mm_mul_ps);

impl Mul<f32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: f32) -> Self {
        self * Self::splat(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_is_a_float() {
        let (a, b) = ([1.5, -0.1, 1e-40, 3e38], [0.3, 7.0, -2.5, 1e30]);
        let (x, y) = (Lanes::new(a), Lanes::load(&b));
        let by_floats = |op: fn(f32, f32) -> f32| std::array::from_fn(|lane| op(a[lane], b[lane]));
        assert_eq!((x + y).to_array(), by_floats(|a, b| a + b));
        assert_eq!((x - y).to_array(), by_floats(|a, b| a - b));
        assert_eq!((x * y).to_array(), by_floats(|a, b| a * b));
        assert_eq!((x * 0.7).to_array(), a.map(|a| a * 0.7));
    }

    #[test]
    fn transposed_rows_are_columns() {
        let rows: [[f32; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| (4 * i + j) as f32));
        let columns = Lanes::transpose(rows.map(Lanes::new)).map(Lanes::to_array);
        assert_eq!(columns, std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j])));
    }
}
