//! Ranks as threads: `exchanges` what they say to each other, `bits` that their number changes no
//! bit of a solve, `endings` errors, stops, limits and restarts. `problems` has the operators, in
//! one list.

mod bits;
mod endings;
mod exchanges;
mod problems;
