//! The kernels compiled by the host's C compiler and run entry by entry, under its checks of
//! addresses and undefined behaviour: how their index arithmetic is verified without a GPU.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::launch::{Launch, MOST_INPUTS, sizes::LaunchSizes, sources::Source};

/// Reads a launch, runs its kernel for every entry on memory full of NaN, writes the output.
const MAIN: &str = include_str!("host_main.c");

/// Element types of kernels: f32 and f64.
pub trait HostEntry: Copy {
    /// Whether it is f64.
    const DOUBLE: bool;
    /// Appends its bytes.
    fn write(self, bytes: &mut Vec<u8>);
    /// Reads all from bytes.
    fn read_all(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! host_entry {
    ($type:ty, $double:expr) => {
        impl HostEntry for $type {
            const DOUBLE: bool = $double;
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_ne_bytes());
            }
            fn read_all(bytes: &[u8]) -> Vec<Self> {
                let one = |chunk: &[u8]| {
                    let mut array = [0; size_of::<$type>()];
                    array.copy_from_slice(chunk);
                    Self::from_ne_bytes(array)
                };
                bytes.chunks_exact(size_of::<$type>()).map(one).collect()
            }
        }
    };
}
host_entry!(f32, false);
host_entry!(f64, true);

/// A C compiler that stands in for a GPU in tests.
#[derive(Debug)]
pub struct HostCompiler {
    folder: tempfile::TempDir,
    programs: Mutex<HashMap<(Source, bool), PathBuf>>,
}

impl HostCompiler {
    /// The system's `cc`; none where there is none.
    pub fn find() -> Option<Self> {
        let found = Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success());
        let folder = found.then(|| tempfile::tempdir().ok()).flatten()?;
        Some(Self { folder, programs: Mutex::default() })
    }

    /// The output of a launch.
    ///
    /// # Errors
    /// A source that does not compile without warnings, inputs of other lengths, an address outside
    /// an input or the output, and undefined arithmetic.
    pub fn run<T: HostEntry>(&self, launch: &Launch, inputs: &[&[T]]) -> io::Result<Vec<T>> {
        let lengths: Vec<_> = inputs.iter().map(|input| input.len()).collect();
        launch.check(&lengths).map_err(io::Error::other)?;
        let program = self.program(launch.source(), T::DOUBLE)?;
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let (from, to) = (folder.path().join("in"), folder.path().join("out"));
        fs::write(&from, encode(launch, inputs))?;
        output(Command::new(program).arg(launch.name()).args([&from, &to]))?;
        Ok(T::read_all(&fs::read(&to)?))
    }

    fn program(&self, source: Source, double: bool) -> io::Result<PathBuf> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&(source, double)) {
            return Ok(program.clone());
        }
        let program = self.folder.path().join(format!("{}{}", source.name(), u8::from(double)));
        compile(&program, &text(source, double))?;
        programs.insert((source, double), program.clone());
        Ok(program)
    }
}

/// The kernels, a table of their names, and the main function.
fn text(source: Source, double: bool) -> String {
    let mut text = source.text(double);
    text.push_str("\n#define KERNELS");
    for name in source.kernels() {
        let _ = write!(text, " {{\"{name}\", {name}}},");
    }
    text + "\n" + MAIN
}

fn compile(program: &Path, text: &str) -> io::Result<()> {
    let file = program.with_extension("c");
    fs::write(&file, text)?;
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-O1", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]);
    cc.args(["-Wno-unused-parameter", "-Wno-unused-function", "-Wno-sign-compare"]);
    cc.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    output(cc.arg("-o").arg(program).arg(&file).arg("-lm"))
}

fn output(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}\n{said}", output.status)))
}

/// As the main function reads it.
fn encode<T: HostEntry>(launch: &Launch, inputs: &[&[T]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = |n: u32| bytes.extend(n.to_ne_bytes());
    number(launch.output() as u32);
    for size in LaunchSizes::of(launch.sizes()).0 {
        [size.value, size.magic, size.shift].into_iter().for_each(&mut number);
    }
    for at in 0..MOST_INPUTS {
        number(inputs.get(at).map_or(0, |input| input.len()) as u32);
    }
    inputs.iter().flat_map(|input| input.iter()).for_each(|entry| entry.write(&mut bytes));
    bytes
}
