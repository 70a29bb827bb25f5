//! The operations, one file each, by kind.

pub(crate) mod attention;
pub(crate) mod axes;
pub(crate) mod closure;
pub(crate) mod entrywise;
pub(crate) mod examples;
pub(crate) mod linear;
pub(crate) mod linear_map;
pub(crate) mod norm;
pub(crate) mod pooling;
pub(crate) mod reduce;
pub(crate) mod shape;
