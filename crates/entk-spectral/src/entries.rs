//! How kernel entries are stored: f32 or f64, chosen at run time. Kernels keep their buffers in a
//! `Storage` and lend them as [`Entries`]; loops over entries are written once for both types, by
//! `with_entries!`.

/// The floating-point type of stored kernel entries.
///
/// Sums over entries are accumulated in f64 whichever it is.
///
/// ```
/// use entk_spectral::EntryType;
/// assert_eq!(EntryType::F32.epsilon(), f64::from(f32::EPSILON));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EntryType {
    /// 32-bit entries, 24 significant bits.
    F32,
    /// 64-bit entries, 53 significant bits.
    F64,
}

impl EntryType {
    /// Spacing of the numbers just above 1: 2^-23 for f32, 2^-52 for f64.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON),
            Self::F64 => f64::EPSILON,
        }
    }

    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes of an entry.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F64 => size_of::<f64>(),
        }
    }
}

/// A borrowed run of kernel entries in their stored type: one row ([`Gram::row`](crate::Gram::row))
/// or all of them, row by row ([`Gram::entries`](crate::Gram::entries)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entries<'a> {
    /// Entries stored in f32.
    F32(&'a [f32]),
    /// Entries stored in f64.
    F64(&'a [f64]),
}

impl Entries<'_> {
    /// Number of entries.
    pub fn len(self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F64(x) => x.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Entry `at`, widened.
    ///
    /// # Panics
    /// As indexing a slice does.
    pub fn get(self, at: usize) -> f64 {
        match self {
            Self::F32(x) => f64::from(x[at]),
            Self::F64(x) => x[at],
        }
    }

    /// A copy in f64; exact, since every f32 is an f64.
    pub fn to_f64_vec(self) -> Vec<f64> {
        match self {
            Self::F32(x) => x.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(x) => x.to_vec(),
        }
    }
}

/// The two stored types, seen from generic inner loops.
pub(crate) trait Scalar: Copy + Send + Sync {
    fn widen(self) -> f64;
}

impl Scalar for f32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    fn widen(self) -> f64 {
        self
    }
}

/// Owned entries.
#[derive(Clone, PartialEq)]
pub(crate) enum Storage {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Storage {
    pub(crate) fn view(&self) -> Entries<'_> {
        match self {
            Self::F32(x) => Entries::F32(x),
            Self::F64(x) => Entries::F64(x),
        }
    }
}

/// Evaluates one generic expression on the slice behind an [`Entries`].
macro_rules! with_entries {
    ($entries:expr, $slice:ident => $body:expr) => {
        match $entries {
            $crate::entries::Entries::F32($slice) => $body,
            $crate::entries::Entries::F64($slice) => $body,
        }
    };
}
pub(crate) use with_entries;
