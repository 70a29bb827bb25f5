//! Too little memory, for every program: a refusal with exit code 65 before it is taken, never a
//! failed allocation. The limit is one on addresses, as `ulimit -v` sets it.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use entk_testing::program;

use super::{INPUT, Place, pixel};

/// Runs a program with so many KiB of addresses.
fn limited(place: &Place, kib: u64, line: &str) -> Result<(Option<i32>, String)> {
    let (name, flags) = line.split_once(' ').context("a program and flags")?;
    let program = program(name)?;
    let command = program.get_args().fold(program.get_program().to_owned(), |mut words, word| {
        words.push(" ");
        words.push(word);
        words
    });
    let script = format!("ulimit -v {kib}; exec {} {flags} --out out", command.display());
    let mut command = Command::new("sh");
    let output = command.current_dir(place.folder.path()).args(["-c", &script]).output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn refused(place: &Place, kib: u64, line: &str) -> Result<()> {
    let (code, said) = limited(place, kib, line)?;
    ensure!(code == Some(INPUT), "{kib} KiB, {line}: {code:?} {said}");
    ensure!(said.contains("ulimit -v"), "{line}: {said}");
    ensure!(!said.contains("allocation"), "{line}: {said}");
    ensure!(!place.path("out/record.json").exists(), "{line}");
    Ok(())
}

/// A square of zeros, as a file that takes no disk.
fn sparse(place: &Place, name: &str, shape: &[usize]) -> Result<()> {
    place.array(name, "<f4", &[0], pixel);
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    let length = bytes.len() + 4 * shape.iter().product::<usize>();
    std::fs::write(place.path(name), bytes)?;
    let file = std::fs::OpenOptions::new().write(true).open(place.path(name))?;
    Ok(file.set_len(length as u64)?)
}

/// Enough for a program to start, and for nothing large.
const TIGHT: u64 = 450_000;

#[test]
fn every_program_refuses_what_its_memory_cannot_hold() -> Result<()> {
    let place = Place::new()?;
    sparse(&place, "k.npy", &[12_000, 12_000])?;
    sparse(&place, "cross.npy", &[100, 12_000])?;
    sparse(&place, "x.npy", &[100, 3, 512, 512])?;
    for line in [
        "gram --model lenet5 --inputs x.npy",
        "gram --model lenet5 --inputs x.npy --dry-run",
        "gram --model resnet18 --width 512 --n 20",
        "eigen --gram k.npy --k 5",
        "predict --gram k.npy --cross cross.npy --labels y.npy --test-labels y.npy",
        "predict --model resnet18 --width 512 --train 20 --test 10",
        "train --model resnet18 --width 512 --train 20 --test 10 --batch 10",
        "train --model mlp --dual --train 6000 --test 1000 --batch 10",
        "fig02 --model mlp --train 6000 --test 1000",
        "fig03 --model resnet18 --width 512 --train 20 --test 10 --batch 10 --indices 1",
        "table1 --model resnet18 --width 512 --train 20 --test 10 --top 5 --initial-only",
    ] {
        refused(&place, TIGHT, line)?;
    }
    Ok(())
}

#[test]
fn a_limit_below_any_program_is_named_too() -> Result<()> {
    let place = Place::new()?;
    for line in ["gram --n 20", "eigen --gram k.npy", "train --train 60", "fig02 --train 200"] {
        refused(&place, 150_000, line)?;
    }
    Ok(())
}

/// The largest resident memory of a program in bytes, looked at until it ends.
fn peak(place: &Place, line: &str) -> Result<u64> {
    let (name, flags) = line.split_once(' ').context("a program and flags")?;
    let mut command = program(name)?;
    command.current_dir(place.folder.path()).args(flags.split(' '));
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let (status, mut peak) = (format!("/proc/{}/status", child.id()), 0);
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(1024 * kib.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    ensure!(child.wait()?.success(), "{line}");
    Ok(peak)
}

#[test]
fn a_dry_run_reads_no_inputs() -> Result<()> {
    let place = Place::new()?;
    sparse(&place, "x.npy", &[2_000, 3, 128, 128])?;
    let peak = peak(&place, "gram --model mlp --inputs x.npy --dry-run")?;
    // The inputs alone take 393 MB; the weights 20 MB, twice while they are drawn, and the sweeps
    // that are timed 64 MiB of values.
    ensure!(peak > 10 << 20 && peak < 200 << 20, "{peak}");
    Ok(())
}

#[test]
fn a_network_too_wide_to_count_is_refused_at_once() -> Result<()> {
    let place = Place::new()?;
    place.array("p28.npy", "<f4", &[5, 1, 28, 28], pixel);
    place.check(&[
        (
            "gram --model resnet18 --width 100000 --inputs p28.npy",
            INPUT,
            &["27240031700001 parameters", "--width"],
        ),
        (
            "gram --model resnet18 --width 4000000000 --inputs p28.npy",
            INPUT,
            &["layer1.0.conv1.weight", "narrower"],
        ),
        (
            "gram --model resnet18 --width 18446744073709551615 --inputs p28.npy",
            INPUT,
            &["too wide"],
        ),
        ("train --model resnet18 --width 100000 --train 200", INPUT, &["27240031700001"]),
        ("fig02 --model resnet18 --width 100000 --train 200", INPUT, &["27240031700001"]),
        ("predict --model resnet18 --width 100000 --train 200", INPUT, &["27240031700001"]),
    ])
}
