//! What an operation is: values of some inputs go in, a value and what its derivatives need come
//! out. Written once for every kind of step of a network, yours among them; called by
//! [`Graph`](crate::Graph) and by the sweeps over it.

use std::{any::Any, fmt::Debug, ops::Range, sync::Arc};

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::entrywise::add,
};

/// Where batch norms take their mean and variance from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormMode {
    /// The stored running statistics: examples do not interact.
    Frozen,
    /// The statistics of the batch at hand, as in training.
    Batch,
}

/// For every input of an operation that asked for it a cotangent and its tangent.
pub type MixedCotangents = Vec<Option<(Tensor, Tensor)>>;

/// One differentiable operation on values.
///
/// Four functions are required: [`output_shape`](Operation::output_shape),
/// [`forward`](Operation::forward), [`jvp`](Operation::jvp) and [`vjp`](Operation::vjp). One that
/// is to have anisotropy directions says its [`mixed_vjp`](Operation::mixed_vjp) too; the others
/// have defaults that cost speed at most.
///
/// Every tensor has a leading axis of examples, which never interact; shapes that are asked for or
/// promised leave it out. Tensors may be strided. A parameter is an input like any other, and its
/// cotangent, example by example, is all that a kernel needs to know of it.
///
/// An operation of one input is also a [`Layer`](crate::Layer).
pub trait Operation: Debug + Send + Sync + 'static {
    /// What the derivatives need of a forward pass. A clone of a tensor is cheap.
    type Cache: Send + Sync + 'static;

    /// Shape of one example's result for the shapes of one example's inputs.
    ///
    /// # Errors
    /// Inputs that the operation cannot take.
    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>>;

    /// The result for a batch, and what the derivatives need.
    ///
    /// # Errors
    /// Those of the device.
    fn forward(&self, inputs: &[&Tensor], mode: NormMode) -> Result<(Tensor, Self::Cache)>;

    /// Forward-mode derivative: the tangent of the result for tangents of the inputs, `None` for
    /// an exactly zero one; at least one is not.
    ///
    /// # Errors
    /// Those of the device.
    fn jvp(&self, cache: &Self::Cache, tangents: &[Option<&Tensor>]) -> Result<Tensor>;

    /// Reverse-mode derivative: for the cotangent `dy` of the result the cotangent of every input
    /// that is `wanted`, example by example; `None` for the others.
    ///
    /// # Errors
    /// Those of the device.
    fn vjp(&self, cache: &Self::Cache, dy: &Tensor, wanted: &[bool])
    -> Result<Vec<Option<Tensor>>>;

    /// How [`vjp`](Operation::vjp) moves when the inputs move along `tangents` and `dy` along
    /// `ddy`: for every wanted input its cotangent and the tangent of that.
    /// [`linear_mixed_vjp`](crate::linear_mixed_vjp) is the rule of an operation that is linear in
    /// all its inputs together.
    ///
    /// # Errors
    /// By default, that there is no rule.
    fn mixed_vjp(
        &self,
        _cache: &Self::Cache,
        _tangents: &[Option<&Tensor>],
        _dy: &Tensor,
        _ddy: &Tensor,
        _wanted: &[bool],
    ) -> Result<MixedCotangents> {
        Err(ModelError::NoMixedDerivative { layer: format!("{self:?}"), note: "" })
    }

    /// Operations of the matrix products of one example's result, two a multiply-add.
    fn operations(&self, _inputs: &[&[usize]]) -> f64 {
        0.0
    }

    /// Whether an input may come with a leading axis of 1 beside others of N, as what depends on
    /// parameters alone does. Elsewhere it is expanded, without a copy, before it is handed over.
    fn takes_shared(&self, _input: usize) -> bool {
        false
    }

    /// Whether an input has to follow from parameters alone, and so always comes with a leading
    /// axis of 1: the [`structured`](Operation::structured) ones by default.
    fn needs_shared(&self, input: usize) -> bool {
        self.structured().contains(&input)
    }

    /// For each input whether the result does not depend on it, exactly, given which inputs are
    /// parameters that are exactly zero: a zero weight blocks what it multiplies. What lies below
    /// a blocked input alone has gradient zero and is left out of kernels.
    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        vec![false; zero.len()]
    }

    /// The inputs whose gradients come from [`factor`](Operation::factor), a weight and maybe its
    /// bias: none by default.
    fn structured(&self) -> Range<usize> {
        0..0
    }

    /// The gradients of the [`structured`](Operation::structured) inputs as a factor of sums of
    /// products, which is shorter than their rows. `names` are those of all inputs.
    ///
    /// # Errors
    /// Those of the device.
    fn factor(
        &self,
        _cache: &Self::Cache,
        _names: &[&str],
        _dy: &Tensor,
    ) -> Result<Option<Factor>> {
        Ok(None)
    }

    /// The part of the derivative of [`factor`](Operation::factor) along tangents of the inputs in
    /// which `dy` stays: for `d (x) a` the factor `d (x) a'`, without a bias. `None` where zero.
    ///
    /// # Errors
    /// Those of the device.
    fn moved_factor(
        &self,
        _cache: &Self::Cache,
        _names: &[&str],
        _tangents: &[Option<&Tensor>],
        _dy: &Tensor,
    ) -> Result<Option<Factor>> {
        Ok(None)
    }

    /// What a forward pass in [`NormMode::Batch`] makes of inputs that are running statistics: the
    /// number of the input and its new value.
    ///
    /// # Errors
    /// Those of the device.
    fn new_statistics(&self, _cache: &Self::Cache) -> Result<Vec<(usize, Tensor)>> {
        Ok(Vec::new())
    }

    /// Whether it is an operation of this crate whose derivatives tests check; others are checked
    /// before a kernel is made of them.
    #[doc(hidden)]
    fn is_ours(&self) -> bool {
        let name = std::any::type_name::<Self>();
        let of_crate = module_path!().split("::").next();
        name.split("::").next() == of_crate || name == std::any::type_name::<Activation>()
    }
}

/// [`Operation::mixed_vjp`] of an operation that is linear in all its inputs together, or locally
/// so, as a maximum is: its reverse-mode derivative does not move.
///
/// # Errors
/// As [`Operation::vjp`].
pub fn linear_mixed_vjp<O: Operation>(
    operation: &O,
    cache: &O::Cache,
    dy: &Tensor,
    ddy: &Tensor,
    wanted: &[bool],
) -> Result<MixedCotangents> {
    Ok(pairs(operation.vjp(cache, dy, wanted)?, operation.vjp(cache, ddy, wanted)?))
}

/// Each cotangent with its tangent.
pub(crate) fn pairs(
    fixed: Vec<Option<Tensor>>,
    moved: impl IntoIterator<Item = Option<Tensor>>,
) -> MixedCotangents {
    fixed.into_iter().zip(moved).map(|(fixed, moved)| fixed.zip(moved)).collect()
}

/// The tangent of an operation's one input.
///
/// # Errors
/// [`ModelError::Cache`] where none is given.
pub fn only_tangent<'t>(tangents: &[Option<&'t Tensor>]) -> Result<&'t Tensor> {
    tangents.iter().flatten().next().copied().ok_or(ModelError::Cache { what: "tangent" })
}

/// A result of an operation from elsewhere, whose error names it.
pub(crate) fn in_operation<T>(operation: &dyn ErasedOperation, result: Result<T>) -> Result<T> {
    result.map_err(|source| match source {
        ModelError::Tensor(source) if !operation.is_ours() => {
            ModelError::InOperation { operation: format!("{operation:?}"), source }
        }
        other => other,
    })
}

/// Sum of two optional tangents or cotangents.
pub(crate) fn add_tangents(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some(add(&a, &b)?),
        (a, b) => a.or(b),
    })
}

/// What the forward pass of one operation kept.
pub(crate) type AnyCache = Arc<dyn Any + Send + Sync>;

/// An [`Operation`] whose cache has no type.
pub(crate) trait ErasedOperation: Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    /// Whether it is an operation of this crate, whose tests check it, or an activation.
    fn is_ours(&self) -> bool;
    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>>;
    fn forward(&self, inputs: &[&Tensor], mode: NormMode) -> Result<(Tensor, AnyCache)>;
    fn jvp(&self, cache: &AnyCache, tangents: &[Option<&Tensor>]) -> Result<Tensor>;
    fn vjp(&self, cache: &AnyCache, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>>;
    fn mixed_vjp(
        &self,
        cache: &AnyCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents>;
    fn operations(&self, inputs: &[&[usize]]) -> f64;
    fn takes_shared(&self, input: usize) -> bool;
    fn needs_shared(&self, input: usize) -> bool;
    fn blocks(&self, zero: &[bool]) -> Vec<bool>;
    fn structured(&self) -> Range<usize>;
    fn factor(&self, cache: &AnyCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>>;
    fn moved_factor(
        &self,
        cache: &AnyCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>>;
    fn new_statistics(&self, cache: &AnyCache) -> Result<Vec<(usize, Tensor)>>;
}

impl<O: Operation> ErasedOperation for O {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_ours(&self) -> bool {
        Operation::is_ours(self)
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Operation::output_shape(self, inputs)
    }

    fn forward(&self, inputs: &[&Tensor], mode: NormMode) -> Result<(Tensor, AnyCache)> {
        let (result, cache) = Operation::forward(self, inputs, mode)?;
        Ok((result, Arc::new(cache)))
    }

    fn jvp(&self, cache: &AnyCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        Operation::jvp(self, typed::<O>(cache)?, tangents)
    }

    fn vjp(&self, cache: &AnyCache, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Operation::vjp(self, typed::<O>(cache)?, dy, wanted)
    }

    fn mixed_vjp(
        &self,
        cache: &AnyCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        Operation::mixed_vjp(self, typed::<O>(cache)?, tangents, dy, ddy, wanted)
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        Operation::operations(self, inputs)
    }

    fn takes_shared(&self, input: usize) -> bool {
        Operation::takes_shared(self, input) || Operation::needs_shared(self, input)
    }

    fn needs_shared(&self, input: usize) -> bool {
        Operation::needs_shared(self, input)
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        Operation::blocks(self, zero)
    }

    fn structured(&self) -> Range<usize> {
        Operation::structured(self)
    }

    fn factor(&self, cache: &AnyCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        Operation::factor(self, typed::<O>(cache)?, names, dy)
    }

    fn moved_factor(
        &self,
        cache: &AnyCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>> {
        Operation::moved_factor(self, typed::<O>(cache)?, names, tangents, dy)
    }

    fn new_statistics(&self, cache: &AnyCache) -> Result<Vec<(usize, Tensor)>> {
        Operation::new_statistics(self, typed::<O>(cache)?)
    }
}

fn typed<O: Operation>(cache: &AnyCache) -> Result<&O::Cache> {
    cache.downcast_ref().ok_or(ModelError::Cache { what: "cache of its own type" })
}
