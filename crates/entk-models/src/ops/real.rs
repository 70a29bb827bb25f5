use candle_core::WithDType;
use faer::traits::RealField;

/// The element types of the CPU kernels: f32 and f64.
pub trait Real: WithDType + RealField + Copy {
    /// The exponential.
    fn exp(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            fn tanh(self) -> Self {
                <$t>::tanh(self)
            }
        }
    };
}

real!(f32);
real!(f64);
