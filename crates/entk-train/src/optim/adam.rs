//! [`Adam`]: its step from a gradient, with the mean gradient and mean square that it keeps.
//!
//! For solvers that bring a gradient of their own; [`fit`](crate::fit) uses it for
//! [`Optimizer::Adam`](crate::Optimizer::Adam).

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor, WithDType, bail};
use entk_models::{ModelError, Params};
use serde::{Deserialize, Serialize};

use crate::error::{Result, ensure};

/// The constants of [`Adam`]; the defaults are the usual ones, and the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamConfig {
    /// Share of the mean gradient that a step keeps, in 0 <= beta1 < 1; by default 0.9.
    pub beta1: f64,
    /// Share of the mean squared gradient that a step keeps, in 0 <= beta2 < 1; by default 0.999.
    pub beta2: f64,
    /// Added to the root of the mean square, positive; by default 1e-8.
    pub epsilon: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl AdamConfig {
    pub(crate) fn check(self) -> Result<()> {
        for (field, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            ensure((0.0..1.0).contains(&beta), field, beta, "at least 0 and below 1")?;
        }
        let epsilon = self.epsilon > 0.0 && self.epsilon.is_finite();
        ensure(epsilon, "epsilon", self.epsilon, "positive and finite")
    }
}

/// Adam (Kingma and Ba, 2015): steps along the mean gradient over its root mean square.
///
/// ```text
/// m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2   (both from 0)
/// theta <- theta - rate m / (1 - beta1^t) / ((v / (1 - beta2^t))^(1/2) + epsilon)
/// ```
///
/// at step t, from 1. Two more sets of parameters in memory; a step is four passes over P numbers.
/// Its steps are no linear map of the gradients, so [`DualSgd`](crate::DualSgd) cannot take them.
///
/// ```
/// use candle_core::{DType, Device};
/// use entk_models::{MlpConfig, Model};
/// use entk_train::{Adam, AdamConfig};
///
/// let theta = MlpConfig::default().network()?.init(0, DType::F64, &Device::Cpu)?;
/// let next = Adam::new(AdamConfig::default())?.step(&theta, &theta, 1e-3)?;
/// // The first step has size `rate` wherever the gradient is well above epsilon.
/// let moved = next.sub(&theta)?.norm()?;
/// assert!(moved > 0.99e-3 * (317_300f64).sqrt() && moved < 1.01e-3 * (317_501f64).sqrt());
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    pub(crate) moments: Option<Moments>,
    pub(crate) steps: u32,
}

/// Decaying sums of gradients, m / (1 - beta1), and of their squares, v / (1 - beta2).
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) first: Params,
    pub(crate) second: Params,
}

impl Adam {
    /// An optimiser with moments zero.
    ///
    /// # Errors
    /// [`TrainError::Setting`](crate::TrainError::Setting) for constants out of range.
    pub fn new(config: AdamConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, moments: None, steps: 0 })
    }

    /// The parameters after one step along `gradient` with learning rate `rate`. The statistics of
    /// `params` are kept, and `params` itself is not changed.
    ///
    /// # Errors
    /// [`ModelError::Names`] for a gradient of other names or shapes than `params` or the gradients
    /// before it.
    pub fn step(&mut self, params: &Params, gradient: &Params, rate: f64) -> Result<Params> {
        params.check_same_shape(gradient)?;
        let AdamConfig { beta1, beta2, epsilon } = self.config;
        let rest = match self.moments.take() {
            Some(moments) => moments,
            None => Moments { first: gradient.zeros_like()?, second: gradient.zeros_like()? },
        };
        let first = gradient.add_scaled(beta1, &rest.first)?;
        let second = add_square(&rest.second, beta2, gradient)?;
        self.steps = self.steps.saturating_add(1);
        let unbiased = |beta: f64| (1.0 - beta) / (1.0 - beta.powf(f64::from(self.steps)));
        let direction = Direction { scale: unbiased(beta2), epsilon }.of(&first, &second)?;
        let next = params.add_scaled(-rate * unbiased(beta1), &direction)?;
        self.moments = Some(Moments { first, second });
        Ok(next)
    }
}

/// Whether the tensor lies on the host in f32 or f64, where one plain loop does the step.
fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// The entries of a contiguous tensor.
fn slice<'a, T>(data: &'a [T], layout: &Layout) -> candle_core::Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("the tensors must be contiguous"),
    }
}

/// `beta v + g^2`.
fn add_square(v: &Params, beta: f64, g: &Params) -> std::result::Result<Params, ModelError> {
    v.zip(g, |v, g| {
        Ok(if fused(v) {
            v.contiguous()?.apply_op2_no_bwd(&g.contiguous()?, &AddSquare(beta))?
        } else {
            square_on_device(v, beta, g)?
        })
    })
}

fn square_on_device(v: &Tensor, beta: f64, g: &Tensor) -> candle_core::Result<Tensor> {
    (v * beta)? + g.sqr()?
}

struct AddSquare(f64);

impl CustomOp2 for AddSquare {
    fn name(&self) -> &'static str {
        "add-square"
    }

    fn cpu_fwd(
        &self,
        v: &CpuStorage,
        v_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = match (v, g) {
            (CpuStorage::F32(v), CpuStorage::F32(g)) => {
                CpuStorage::F32(squares(slice(v, v_layout)?, self.0 as f32, slice(g, g_layout)?))
            }
            (CpuStorage::F64(v), CpuStorage::F64(g)) => {
                CpuStorage::F64(squares(slice(v, v_layout)?, self.0, slice(g, g_layout)?))
            }
            _ => bail!("add-square: the two tensors must both be f32 or both f64"),
        };
        Ok((out, v_layout.shape().clone()))
    }
}

fn squares<T: WithDType>(v: &[T], beta: T, g: &[T]) -> Vec<T> {
    v.iter().zip(g).map(|(&v, &g)| beta * v + g * g).collect()
}

/// `m / ((scale v)^(1/2) + epsilon)`; on the host computed in f64 whatever is stored.
struct Direction {
    scale: f64,
    epsilon: f64,
}

impl Direction {
    fn of(&self, m: &Params, v: &Params) -> std::result::Result<Params, ModelError> {
        m.zip(v, |m, v| {
            Ok(if fused(m) {
                m.contiguous()?.apply_op2_no_bwd(&v.contiguous()?, self)?
            } else {
                self.on_device(m, v)?
            })
        })
    }

    /// Computed in the type of the tensors, since GPUs are slow in f64.
    fn on_device(&self, m: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        m / ((v * self.scale)?.sqrt()? + self.epsilon)?
    }

    fn all<T: WithDType>(&self, m: &[T], v: &[T]) -> Vec<T> {
        let one = |(m, v): (&T, &T)| {
            T::from_f64(m.to_f64() / ((self.scale * v.to_f64()).sqrt() + self.epsilon))
        };
        m.iter().zip(v).map(one).collect()
    }
}

impl CustomOp2 for Direction {
    fn name(&self) -> &'static str {
        "adam-direction"
    }

    fn cpu_fwd(
        &self,
        m: &CpuStorage,
        m_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = match (m, v) {
            (CpuStorage::F32(m), CpuStorage::F32(v)) => {
                CpuStorage::F32(self.all(slice(m, m_layout)?, slice(v, v_layout)?))
            }
            (CpuStorage::F64(m), CpuStorage::F64(v)) => {
                CpuStorage::F64(self.all(slice(m, m_layout)?, slice(v, v_layout)?))
            }
            _ => bail!("adam-direction: the two tensors must both be f32 or both f64"),
        };
        Ok((out, m_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn named(values: &[f64], dtype: DType) -> Result<Params> {
        let x = Tensor::new(values, &Device::Cpu)?.to_dtype(dtype)?;
        Ok(Params::new(vec![("w".into(), x)], vec![])?)
    }

    /// Betas of 1/2 and 3/4, an epsilon of 1 and gradients 2 and 1 along one number, from 8 at a
    /// rate of 2: the sums that are kept are 2, 2 and 4, 4, so that the mean gradient is 2, then
    /// 4/3, and the mean square 4, then 16/7.
    #[test]
    fn two_steps_are_those_of_a_pencil() -> Result<()> {
        let config = AdamConfig { beta1: 0.5, beta2: 0.75, epsilon: 1.0 };
        let after_one = 8.0 - 4.0 / 3.0;
        let after_two = after_one - 8.0 / 3.0 / ((16.0_f64 / 7.0).sqrt() + 1.0);
        let number = |x: &Params| -> Result<f64> {
            Ok(x.get("w")?.to_dtype(DType::F64)?.to_vec1::<f64>()?[0])
        };
        for (dtype, round_off) in [(DType::F64, f64::EPSILON), (DType::F32, 1.2e-7)] {
            let mut adam = Adam::new(config)?;
            let mut theta = named(&[8.0], dtype)?;
            for (gradient, expected) in [(2.0, after_one), (1.0, after_two)] {
                theta = adam.step(&theta, &named(&[gradient], dtype)?, 2.0)?;
                let found = number(&theta)?;
                assert!((found - expected).abs() <= 16.0 * round_off, "{dtype:?}: {found}");
            }
            let Some(Moments { first, second }) = &adam.moments else { panic!("no moments") };
            assert_eq!((number(first)?, number(second)?, adam.steps), (2.0, 4.0, 2));
        }
        Ok(())
    }

    /// What a device does, by hand: 3/4 4 + 2^2, and 6 / ((1/4 16)^(1/2) + 1).
    #[test]
    fn operations_on_tensors_are_those_of_a_pencil() -> Result<()> {
        let x = |value: f64| Tensor::new(&[value], &Device::Cpu);
        let square = square_on_device(&x(4.0)?, 0.75, &x(2.0)?)?;
        assert_eq!(square.to_vec1::<f64>()?, [7.0]);
        let direction = Direction { scale: 0.25, epsilon: 1.0 }.on_device(&x(6.0)?, &x(16.0)?)?;
        assert_eq!(direction.to_vec1::<f64>()?, [2.0]);
        Ok(())
    }

    #[test]
    fn tensor_operations_take_the_steps_of_the_loops() -> Result<()> {
        let ramp =
            |scale: f64, offset: f64| (Tensor::arange(0f64, 30.0, &Device::Cpu)? * scale)? + offset;
        let (v, g) = (ramp(0.01, 0.0)?, ramp(-0.07, 1.0)?);
        let named = |x: &Tensor| Params::new(vec![("w".into(), x.clone())], vec![]);
        let direction = Direction { scale: 1.3, epsilon: 1e-8 };
        let loops =
            [add_square(&named(&v)?, 0.9, &named(&g)?)?, direction.of(&named(&g)?, &named(&v)?)?];
        let tensors = [square_on_device(&v, 0.9, &g), direction.on_device(&g, &v)];
        for (a, b) in loops.iter().zip(tensors) {
            let (a, b) = (a.get("w")?.to_vec1::<f64>()?, b?.to_vec1::<f64>()?);
            for (a, b) in a.iter().zip(b) {
                // Four roundings each.
                assert!((a - b).abs() <= 4.0 * f64::EPSILON * a.abs(), "{a} {b}");
            }
        }
        Ok(())
    }
}
