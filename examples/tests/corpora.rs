//! Inputs of the fuzzers' corpora through their parsers: as they are, since what was once found
//! stays found, and with random changes.

#[path = "../../fuzz/src/parsers/mod.rs"]
mod parsers;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};

/// Changed inputs of each target among the tests of every day; `ENTK_FUZZ_RUNS` says another
/// number, `ENTK_FUZZ_TARGETS` which targets, and `ENTK_FUZZ_SEED` where chance begins.
const RUNS: u64 = 2_000;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn corpus(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(corpora().join(name))?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

#[test]
fn corpora_pass() -> io::Result<()> {
    for (name, target) in parsers::TARGETS {
        let inputs = corpus(name)?;
        assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
        inputs.iter().for_each(|input| target(input));
    }
    Ok(())
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// An input with one to four changes: bytes, numbers, digits, parts left out, doubled or taken
    /// from another input.
    fn changed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let to = at + self.below(bytes.len().saturating_sub(at).min(64));
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..to)),
                4 => {
                    let part = bytes[at..to].to_vec();
                    bytes.splice(at..at, part);
                }
                5 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len());
                    let end = from + self.below((other.len() - from).min(64));
                    bytes.splice(at..to, other[from..end].iter().copied());
                }
                6 => {
                    let numbers =
                        [0_u64, 1, 0x7f, 0xff, 0xffff, 1 << 31, 1 << 32, 1 << 62, u64::MAX];
                    let number = numbers[self.below(numbers.len())].to_le_bytes();
                    let width = [1, 2, 4, 8][self.below(4)];
                    for (byte, new) in bytes.iter_mut().skip(at).zip(&number[..width]) {
                        *byte = *new;
                    }
                }
                _ => {
                    let digits = bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
                    let digits: Vec<usize> = digits.map(|(at, _)| at).collect();
                    if let Some(&at) = digits.get(self.below(digits.len())) {
                        let texts =
                            ["0", "-1", "1e9", "65536", "4611686018427387904", "\"", "null"];
                        bytes.splice(at..=at, texts[self.below(texts.len())].bytes());
                    }
                }
            }
        }
        bytes
    }
}

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

#[test]
fn changed_inputs_are_refused_or_read() -> Result<()> {
    let (runs, seed) = (setting("ENTK_FUZZ_RUNS", RUNS)?, setting("ENTK_FUZZ_SEED", 1)?);
    let wanted = std::env::var("ENTK_FUZZ_TARGETS").unwrap_or_default();
    for (name, target) in parsers::TARGETS {
        if !wanted.is_empty() && !wanted.split(',').any(|wanted| wanted == name) {
            continue;
        }
        let (inputs, mut chance, start) = (corpus(name)?, Chance(seed), Instant::now());
        for run in 0..runs {
            let input = chance.changed(&inputs);
            let outcome = std::panic::catch_unwind(|| target(&input));
            if outcome.is_err() {
                let found = std::env::temp_dir().join(format!("entk-{name}-{seed}-{run}"));
                fs::write(&found, &input)?;
                panic!("{name}: run {run} of seed {seed}, kept in {}", found.display());
            }
        }
        println!("{name}: {runs} runs in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Checkpoints as this version writes them, where a corpus has to begin anew.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn checkpoints_are_written() -> io::Result<()> {
    let folder = corpora().join("checkpoint");
    fs::create_dir_all(&folder)?;
    for (epoch, seed) in parsers::train::seeds().iter().enumerate() {
        fs::write(folder.join(format!("epoch-{epoch}")), seed)?;
    }
    Ok(())
}
