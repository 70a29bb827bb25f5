//! Archives of PyTorch beside numbers that PyTorch computed: their paths go in, the largest error
//! of the outputs and of one Jacobian-vector product come out, or why an archive is refused.
//! `tools/torch/census.py` runs it.
//!
//! ```text
//! cargo run -p entk-torch --example compare ARCHIVE.pt2 VALUES.safetensors ..
//! ```
#![allow(clippy::print_stdout)]

use entk_torch::{Import, Result, Verified, import, verify};

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    for pair in paths.chunks_exact(2) {
        match compared(&pair[0], &pair[1]) {
            Ok(Verified { outputs, jvp, .. }) => {
                println!("{} outputs {outputs:.1e} jvp {:.1e}", pair[0], jvp.unwrap_or(f64::NAN));
            }
            Err(error) => println!("{} refused {error}", pair[0]),
        }
    }
}

fn compared(archive: &str, values: &str) -> Result<Verified> {
    verify(&import(archive, &Import::default())?, values)
}
