//! What a function of one number is to a loop of the host: a type of its own with value and two
//! derivatives, so that a loop over it is compiled for it alone, and vectorises. The tables of
//! activations and of other functions are written in the macro here.

use crate::loops::real::Real;

/// A function of one number as a type.
pub(crate) trait Pointwise: Copy + Send + Sync {
    /// The value at x.
    fn value<T: Real>(self, x: T) -> T;
    /// The first derivative at x; at a corner that of PyTorch.
    fn derivative<T: Real>(self, x: T) -> T;
    /// The second derivative at x; 0 where there is none.
    fn curvature<T: Real>(self, x: T) -> T;
}

/// Declares functions as types: `Name(parameters) |x| { value; derivative; curvature }`, three
/// expressions of the element type `T`. Parameters are f64 and seen as `T`.
macro_rules! pointwise {
    ($($(#[$doc:meta])* $name:ident $(($($p:ident: $f64:ty),+))? |$x:ident| {
        $value:expr; $derivative:expr; $curvature:expr
    })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name $(($(pub(crate) $f64),+))?;

        impl $crate::loops::entrywise::pointwise::Pointwise for $name {
            #[inline(always)]
            fn value<T: Real>(self, $x: T) -> T {
                $(let Self($($p),+) = self; $(let $p = T::from_f64($p);)+ let _ = ($($p),+);)?
                $value
            }
            #[inline(always)]
            fn derivative<T: Real>(self, $x: T) -> T {
                $(let Self($($p),+) = self; $(let $p = T::from_f64($p);)+ let _ = ($($p),+);)?
                let _ = $x;
                $derivative
            }
            #[inline(always)]
            fn curvature<T: Real>(self, $x: T) -> T {
                $(let Self($($p),+) = self; $(let $p = T::from_f64($p);)+ let _ = ($($p),+);)?
                let _ = $x;
                $curvature
            }
        }
    )+};
}
pub(crate) use pointwise;

/// A constant of the element type.
#[inline(always)]
pub(crate) fn c<T: Real>(x: f64) -> T {
    T::from_f64(x)
}

/// x s for a factor s that vanishes faster than x grows: 0 at an infinite x too.
#[inline(always)]
pub(crate) fn damped<T: Real>(x: T, s: T) -> T {
    if s == T::zero() { T::zero() } else { x * s }
}

/// |x|.
#[inline(always)]
pub(crate) fn magnitude<T: Real>(x: T) -> T {
    if x < T::zero() { -x } else { x }
}
