//! Sizes of a launch as kernels read them.

use crate::launch::MOST_SIZES;

/// A size with the constants of division by it: `n / value = (n magic / 2^32 + n) / 2^shift`,
/// both divisions rounded down, for n below 2^31 (Granlund and Montgomery, 1994). As the kernels'
/// prelude declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Divisor {
    pub(crate) value: u32,
    pub(crate) magic: u32,
    pub(crate) shift: u32,
}

impl Divisor {
    /// For a size that [`Launch::check`](crate::launch::Launch) let pass; kernels never divide by
    /// 0.
    pub(crate) fn new(value: usize) -> Self {
        let value = u32::try_from(value).unwrap_or(0);
        if value == 0 {
            return Self::default();
        }
        let shift = value.next_power_of_two().trailing_zeros();
        let above = (1u64 << shift) - u64::from(value);
        let magic = ((above << 32) / u64::from(value) + 1) as u32;
        Self { value, magic, shift }
    }
}

/// All sizes of a launch, as the kernels' prelude declares them.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct LaunchSizes(pub(crate) [Divisor; MOST_SIZES]);

impl LaunchSizes {
    pub(crate) fn of(sizes: &[usize]) -> Self {
        let mut all = [Divisor::default(); MOST_SIZES];
        all.iter_mut().zip(sizes).for_each(|(to, size)| *to = Divisor::new(*size));
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::MOST_ENTRIES;

    #[test]
    fn division_by_multiplication_is_exact() {
        let quotient = |n: u32, size: Divisor| {
            let high = (u64::from(n) * u64::from(size.magic)) >> 32;
            (high as u32 + n) >> size.shift
        };
        let divisors = (1..2_000).chain([65_535, 65_536, 65_537, (1 << 30) + 1, MOST_ENTRIES]);
        for divisor in divisors {
            let size = Divisor::new(divisor);
            let d = u64::from(size.value);
            // Where a quotient steps: early, in the middle and at the end of the range.
            for multiple in [0, 1, 2, 1_000, (1 << 30) / d, ((1 << 31) - 1) / d] {
                for n in [(multiple * d).saturating_sub(1), multiple * d, multiple * d + 1] {
                    if n < 1 << 31 {
                        assert_eq!(u64::from(quotient(n as u32, size)), n / d, "{n} / {d}");
                    }
                }
            }
        }
    }
}
