//! Functions of f32 as straight-line arithmetic: a number goes in, one good to a few units in the
//! last place comes out, and loops over them vectorise. Called through `Real`.

/// Arguments that [`exponential`] saturates at: `2^n` for the nearest n is then a normal number.
const SATURATION: f32 = 87.0;
/// The logarithm of the smallest normal number, and a number whose exponential is infinite.
const UNDERFLOW: f32 = -87.336_54;
const OVERFLOW: f32 = 89.0;
/// 1.5 * 2^23: added to a smaller number it leaves the nearest integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 as a number of few bits, whose small multiples are exact, and the rest.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// A polynomial of x by its coefficients, highest power first. Written out, since loops around
/// another loop vectorise only where that is unrolled early.
macro_rules! polynomial {
    ($x:expr; $first:literal $(, $coefficient:literal)+) => {{
        let sum: f32 = $first;
        $(let sum = sum * $x + $coefficient;)+
        sum
    }};
}

/// (exp(r) - 1) / r by 1/k! for k = 7, ..., 1. The next term of exp(r) is below 6e-9 where
/// |r| <= ln(2)/2.
#[inline(always)]
fn taylor(r: f32) -> f32 {
    polynomial!(
        r;
        1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0
    )
}

/// n and r, where x = n ln 2 + r with n the integer nearest to x / ln 2.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    (n, (x - n * LN_2[0]) - n * LN_2[1])
}

/// exp(r) and n of [`split`].
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    let (n, r) = split(x);
    (taylor(r) * r + 1.0, n)
}

/// 2^n for an integer n from -126 to 127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n + ROUND).to_bits() << 23).wrapping_add(1f32.to_bits()))
}

/// exp(x) = 2^n exp(r), constant beyond +-87.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    // Comparisons with NaN are false: it passes.
    let x = if x > SATURATION { SATURATION } else { x };
    let x = if x < -SATURATION { -SATURATION } else { x };
    let (sum, n) = reduced(x);
    sum * power_of_two(n)
}

/// exp(x) for all x, 2^n being a product of two powers: infinite above 88.7.
#[inline(always)]
pub(super) fn full_exponential(x: f32) -> f32 {
    let clamped = if x > OVERFLOW { OVERFLOW } else { x };
    let clamped = if clamped < UNDERFLOW { UNDERFLOW } else { clamped };
    let (sum, n) = reduced(clamped);
    let half = (0.5 * n + ROUND) - ROUND;
    let value = sum * power_of_two(half) * power_of_two(n - half);
    if x < UNDERFLOW { 0.0 } else { value }
}

/// exp(x) - 1 for x <= 0, as 2^n (exp(r) - 1) + (2^n - 1).
#[inline(always)]
pub(super) fn exponential_minus_one(x: f32) -> f32 {
    let x = if x < -SATURATION { -SATURATION } else { x };
    let (n, r) = split(x);
    let power = power_of_two(n);
    power * (taylor(r) * r) + (power - 1.0)
}

/// ln(1 + x) for x from 0 to 1: 2 artanh(s) with s = x / (2 + x), at most 1/3, by 1 / (2k + 1) for
/// k = 8, ..., 0. The next term is below 4e-10 of the sum.
#[inline(always)]
pub(super) fn logarithm_of_one_plus(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let square = s * s;
    let sum = polynomial!(
        square;
        0.058_823_53, 0.066_666_67, 0.076_923_08, 0.090_909_09, 0.111_111_11, 0.142_857_15, 0.2,
        0.333_333_34, 1.0
    );
    2.0 * s * sum
}

/// Where the density falls below the smallest normal number.
const TAIL: f32 = 13.19;
/// 1 / sqrt(2 pi).
const DENSITY_AT_ZERO: f32 = 0.398_942_3;
/// `(t + 4) exp(t^2 / 2) erfc(t / sqrt(2)) / 2` for t from 0 to 14 as a polynomial in
/// y = (t - 4) / (t + 4), that through the Chebyshev nodes: good to 1.3e-8. Shepherd and
/// Laframboise (1981) do this in double precision.
#[inline(always)]
fn scaled_tail(y: f32) -> f32 {
    polynomial!(
        y;
        -1.201_844_1e-4, 2.012_617_3e-4, 1.572_317_9e-3, -3.526_183_7e-3, -7.529_251e-3,
        6.040_669e-2, -0.186_522_68, 0.387_136_68, -0.607_896_6, 0.755_285_14
    )
}

/// The integral of the standard normal density up to x, from that beyond |x|, and the density.
#[inline(always)]
pub(super) fn normal(x: f32) -> [f32; 2] {
    let t = x.abs();
    let decay = if t > TAIL { 0.0 } else { exponential(-0.5 * t * t) };
    let t = if t > TAIL { TAIL } else { t };
    let inverse = 1.0 / (t + 4.0);
    let y = (t - 4.0) * inverse;
    let beyond = decay * (inverse * scaled_tail(y));
    [if x > 0.0 { 1.0 - beyond } else { beyond }, DENSITY_AT_ZERO * decay]
}
