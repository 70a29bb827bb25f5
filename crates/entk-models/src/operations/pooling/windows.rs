//! Windows of a pooling along each of its axes: window, stride, padding and dilation, or the number
//! of outputs, with an axis's length go in, the entries that every output reads come out.

use crate::error::{ModelError, Result};

/// One number for each of the last `A` axes; a single number stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAxis<T, const A: usize>(pub [T; A]);

impl<T: Copy, const A: usize> From<T> for PerAxis<T, A> {
    fn from(number: T) -> Self {
        Self([number; A])
    }
}

impl<T, const A: usize> From<[T; A]> for PerAxis<T, A> {
    fn from(numbers: [T; A]) -> Self {
        Self(numbers)
    }
}

/// Sliding windows of a pooling over the last `A` axes, with PyTorch's sizes.
///
/// A window of k entries, `dilation` apart, starts every `stride` entries of an axis with `padding`
/// entries added at both ends. On n entries there are
/// `(n + 2 padding - dilation (k - 1) - 1) / stride + 1` windows, rounded down, or up in
/// [ceil mode](PoolWindows::with_ceil_mode), without those that would start in the padding behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolWindows<const A: usize>([Sliding; A]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sliding {
    window: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil: bool,
}

impl<const A: usize> PoolWindows<A> {
    /// Windows of this size that tile the axes: the stride is the window.
    pub fn new(window: impl Into<PerAxis<usize, A>>) -> Self {
        let tiling =
            |window| Sliding { window, stride: window, padding: 0, dilation: 1, ceil: false };
        Self(window.into().0.map(tiling))
    }

    /// Entries between the starts of neighbouring windows.
    #[must_use]
    pub fn with_stride(self, stride: impl Into<PerAxis<usize, A>>) -> Self {
        self.with(stride.into(), |axis, stride| axis.stride = stride)
    }

    /// Entries added at both ends of an axis: at most half a window.
    #[must_use]
    pub fn with_padding(self, padding: impl Into<PerAxis<usize, A>>) -> Self {
        self.with(padding.into(), |axis, padding| axis.padding = padding)
    }

    /// Entries from one of a window to the next.
    #[must_use]
    pub fn with_dilation(self, dilation: impl Into<PerAxis<usize, A>>) -> Self {
        self.with(dilation.into(), |axis, dilation| axis.dilation = dilation)
    }

    /// Windows may end behind the padding, so that no entry is left out for want of a whole one.
    #[must_use]
    pub fn with_ceil_mode(self) -> Self {
        self.with(PerAxis([true; A]), |axis, ceil| axis.ceil = ceil)
    }

    fn with<T: Copy>(mut self, values: PerAxis<T, A>, set: impl Fn(&mut Sliding, T)) -> Self {
        self.0.iter_mut().zip(values.0).for_each(|(axis, value)| set(axis, value));
        self
    }

    pub(crate) fn axes(self) -> [AxisWindows; A] {
        self.0.map(AxisWindows::Sliding)
    }
}

impl<const A: usize, W: Into<PerAxis<usize, A>>> From<W> for PoolWindows<A> {
    fn from(window: W) -> Self {
        Self::new(window)
    }
}

/// The windows along one axis: sliding ones, or so many that window j of J reads the entries from
/// j n / J, rounded down, to (j + 1) n / J, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AxisWindows {
    Sliding(Sliding),
    Adaptive(usize),
}

/// One window: its entries, and how many it would hold with the padding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) entries: Vec<usize>,
    pub(crate) with_padding: usize,
}

impl AxisWindows {
    /// The windows of an axis of so many entries, each of which holds one at least.
    pub(crate) fn on(self, what: &str, entries: usize) -> Result<Vec<Window>> {
        let windows = match self {
            Self::Adaptive(outputs) => adaptive(outputs, entries),
            Self::Sliding(sliding) => sliding.on(what, entries)?,
        };
        if windows.is_empty() || windows.iter().any(|window| window.entries.is_empty()) {
            let expected = "an entry in every window, and a window on every axis";
            return Err(ModelError::shape(what, expected, &[entries]));
        }
        Ok(windows)
    }

    /// The edge of windows that tile an axis of so many entries.
    pub(crate) fn tiling(self, entries: usize) -> Option<usize> {
        match self {
            Self::Sliding(Sliding { window, stride, padding: 0, dilation: 1, .. })
                if window == stride && window > 0 && entries.is_multiple_of(window) =>
            {
                Some(window)
            }
            _ => None,
        }
    }
}

fn adaptive(outputs: usize, entries: usize) -> Vec<Window> {
    let window = |output: usize| {
        let range = output * entries / outputs..((output + 1) * entries).div_ceil(outputs);
        Window { with_padding: range.len(), entries: range.collect() }
    };
    (0..outputs).map(window).collect()
}

impl Sliding {
    fn on(self, what: &str, entries: usize) -> Result<Vec<Window>> {
        let Self { window, stride, padding, dilation, ceil } = self;
        if [window, stride, dilation].contains(&0) {
            return Err(ModelError::zero(format!("{what}: window, stride and dilation")));
        }
        if padding > window / 2 {
            let what = what.to_owned();
            return Err(ModelError::PaddingTooLarge { what, padding, window });
        }
        let extent = dilation.saturating_mul(window - 1).saturating_add(1);
        let padded = padding.saturating_mul(2).saturating_add(entries);
        let rest = if ceil { stride - 1 } else { 0 };
        let Some(room) = padded.saturating_add(rest).checked_sub(extent) else {
            let expected = format!("axes of at least {} entries", extent - rest - 2 * padding);
            return Err(ModelError::shape(what, expected, &[entries]));
        };
        let starts = (0..=room / stride).map(|step| step * stride);
        let window = |start: usize| {
            let end = start.saturating_add(extent);
            let skipped = padding.saturating_sub(start).div_ceil(dilation) * dilation;
            let inside = (start + skipped..end.min(padding + entries)).step_by(dilation);
            Window {
                with_padding: (start..end.min(padded)).step_by(dilation).len(),
                entries: inside.map(|at| at - padding).collect(),
            }
        };
        Ok(starts.filter(|start| !ceil || *start < entries + padding).map(window).collect())
    }
}
