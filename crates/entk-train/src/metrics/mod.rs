//! What is reported of a model: quality of its logits in `quality`, with calibration apart; logits
//! over a data set in `evaluate`; how far its parameters have moved in `distance`.

pub(crate) mod calibration;
pub(crate) mod distance;
pub(crate) mod evaluate;
pub(crate) mod quality;
