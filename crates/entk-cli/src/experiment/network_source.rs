//! Where the networks of a program come from: the flags come in, a network and its parameters go
//! out, built and drawn, or as an archive of PyTorch has them. Called by experiments and by `gram`.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use entk::{
    device::{
        files::{self, FileError},
        memory::ensure,
    },
    models::{Activation, InputKind, Model, Network, ParamKind, Params},
    torch::{Import, Imported, import, verify},
};

use crate::{
    cli::{
        model_flags::{ModelChoice, ModelFlags},
        refused::{ensure_input, refused},
    },
    experiment::head::Head,
    run::{
        Run,
        record::{ArchiveRecord, VerifiedRecord},
        stderr::say,
    },
};

/// Parameters and inputs of less bytes are not refused before a plan.
const PLANNED: u64 = 64 << 20;

/// The networks that the flags ask for. An archive is read once.
#[derive(Debug)]
pub struct NetworkSource {
    flags: ModelFlags,
    archive: Option<Imported>,
    dtype: DType,
    device: Device,
}

impl NetworkSource {
    /// Reads the archive, if the network is one, and notes in the record and on stderr what a user
    /// should know of it.
    ///
    /// # Errors
    /// An archive that cannot be read, is no network or differs from the numbers of --verify, and
    /// patterns that match none of its parameters.
    pub fn open(run: &Run, flags: &ModelFlags, dtype: DType, device: &Device) -> Result<Self> {
        let archive = match &flags.model {
            ModelChoice::BuiltIn(name) => {
                let verify = &flags.verify;
                ensure_input(verify.is_none(), || {
                    format!("--verify is of archives, and --model {name} is none")
                })?;
                let padding = flags.weights.as_ref().and_then(|_| flags.stride_padding());
                if let Some(padding) = padding {
                    run.note(format_args!(
                        "--model {name}: convolutions of stride 2 pad as --padding {padding}, \
                         which no shape of a weight shows"
                    ));
                }
                None
            }
            ModelChoice::Archive(path) => {
                ensure_input(flags.padding.is_none(), || {
                    format!("--padding: {} has its own; leave it out", flags.model)
                })?;
                ensure_input(flags.weights.is_none(), || {
                    let model = &flags.model;
                    format!(
                        "--weights: {model} has parameters of its own; export the module with the \
                         others"
                    )
                })?;
                let (trainable, device) = (flags.trained(), device.clone());
                let config = Import { dtype, device, trainable };
                let imported =
                    import(path, &config).with_context(|| format!("--model {}", path.display()))?;
                let verified =
                    flags.verify.as_deref().map(|file| verified(&imported, file)).transpose()?;
                let record = ArchiveRecord { verified, ..record(path, &imported)? };
                introduce(path, &record);
                run.note_archive(record);
                Some(imported)
            }
        };
        Ok(Self { flags: flags.clone(), archive, dtype, device: device.clone() })
    }

    /// What `--model` names.
    pub fn model(&self) -> &ModelChoice {
        &self.flags.model
    }

    /// The element type of parameters and inputs.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape of one input, where that is given.
    pub fn input_shape(&self) -> Option<&[usize]> {
        self.archive.as_ref().map(|imported| imported.network.input_shape())
    }

    /// Whether inputs are whole numbers, as of tokens.
    pub fn reads_ids(&self) -> bool {
        let of_archive = |imported: &Imported| imported.network.input_kind() == InputKind::Ids;
        match self.flags.model.built_in() {
            Some(name) => name.reads_tokens(),
            None => self.archive.as_ref().is_some_and(of_archive),
        }
    }

    /// The network for inputs of this shape.
    ///
    /// # Errors
    /// Inputs that it cannot take, an activation where it has its own, or patterns that match none
    /// of its parameters.
    pub fn network(&self, input: &[usize], activation: Activation) -> Result<Network> {
        let model = &self.flags.model;
        match (model.built_in(), &self.archive) {
            (Some(name), _) => {
                let of_outputs = |outputs| name.network(input, outputs, &self.flags, activation);
                self.trained(of_outputs(self.outputs(of_outputs)?)?)
            }
            (None, Some(Imported { network, .. })) => {
                ensure_input(activation == Activation::Relu, || {
                    format!("the activation cannot be chosen: --model {model} has its own")
                })?;
                self.ensure_input(input)?;
                self.ensure_width("the archive", network.outputs())?;
                Ok(network.clone())
            }
            (None, None) => Err(refused(format!("--model {model} was not read"))),
        }
    }

    /// Outputs of a network with a name: as wide as the head of its weights, or as --classes says.
    fn outputs(&self, of_outputs: impl Fn(usize) -> Result<Network>) -> Result<usize> {
        let ModelFlags { weights, classes, .. } = &self.flags;
        let head = match weights {
            Some(path) => Head::find(path, of_outputs)
                .with_context(|| format!("--weights {}", path.display()))?,
            None => None,
        };
        let Some(Head { name, width }) = head else { return Ok(classes.unwrap_or(1)) };
        self.ensure_width(&format!("{name} of the weights"), width)?;
        Ok(width)
    }

    /// Refuses another width than that of --classes.
    fn ensure_width(&self, head: &str, width: usize) -> Result<()> {
        let expected = self.flags.classes.unwrap_or(width);
        ensure_input(width == expected, || {
            format!(
                "--classes {expected}: {head} has {width} outputs; leave --classes out, or give a \
                 network with a head of {expected}"
            )
        })
    }

    /// [`network`](Self::network), which must have the one output of binary tasks.
    ///
    /// # Errors
    /// As [`network`](Self::network), and several outputs.
    pub fn binary_network(&self, input: &[usize], activation: Activation) -> Result<Network> {
        let network = self.network(input, activation)?;
        ensure_input(network.outputs() == 1, || {
            let (model, outputs) = (&self.flags.model, network.outputs());
            let remedy = match (model, &self.flags.weights) {
                (ModelChoice::Archive(_), _) => {
                    "export a wrapper whose forward returns `self.module(x)[:, :1]`, or a \
                     difference of two logits"
                }
                (_, Some(_)) => "give weights with a head of one output",
                (_, None) => "leave --classes out",
            };
            format!(
                "--model {model} has {outputs} outputs, and a binary task needs one logit: {remedy}"
            )
        })?;
        Ok(network)
    }

    /// The network of one logit beside one of --classes outputs, of the same name.
    ///
    /// # Errors
    /// An archive or given weights, which have a head of one width, and as
    /// [`network`](Self::network).
    pub fn drawn_logit(&self, input: &[usize]) -> Result<Network> {
        let ModelFlags { model, weights, .. } = &self.flags;
        match (model.built_in(), weights) {
            (Some(name), None) => {
                self.trained(name.network(input, 1, &self.flags, Activation::Relu)?)
            }
            _ => Err(refused(
                "--classes: the tasks of eigenfunctions need a network of one logit beside it; name \
                 a network that is drawn, without --weights",
            )),
        }
    }

    /// Refuses inputs of another shape than an archive's.
    ///
    /// # Errors
    /// Both shapes.
    pub fn ensure_input(&self, input: &[usize]) -> Result<()> {
        match self.input_shape() {
            Some(expected) if expected != input => {
                let kind = if self.reads_ids() { "whole numbers" } else { "numbers" };
                Err(refused(format!(
                    "--model {} takes inputs of shape {}, {kind}, and these are {}: {}",
                    self.flags.model,
                    batch_of(expected),
                    batch_of(input),
                    remedy(expected, input)
                )))
            }
            _ => Ok(()),
        }
    }

    /// The parameters at which a network starts: those of the archive or of the file of weights, or
    /// drawn.
    ///
    /// # Errors
    /// Weights that do not fit, or parameters that cannot be drawn.
    pub fn start(&self, network: &Network, seed: u64) -> Result<Params> {
        match (&self.archive, &self.flags.weights) {
            (Some(imported), _) => Ok(imported.params.clone()),
            (None, None) => Ok(network.init(seed, self.dtype, &self.device)?),
            (None, Some(path)) => {
                let loaded = Params::load(&network.specs(), path, self.dtype, &self.device);
                let checked = loaded.and_then(|params| {
                    network.check_params(&params)?;
                    Ok(params)
                });
                checked.with_context(|| {
                    let (model, shape) = (&self.flags.model, network.input_shape());
                    format!("--weights {} for {model} on inputs of shape {shape:?}", path.display())
                })
            }
        }
    }

    /// Refuses parameters and so many bytes of inputs that do not fit the memory, of which `max`
    /// bytes may be used, before either is there.
    ///
    /// # Errors
    /// What they need and what there is.
    pub fn ensure_memory(&self, network: &Network, inputs: u64, max: Option<u64>) -> Result<()> {
        let counts = network.specs().into_iter().map(|spec| spec.elem_count() as u64);
        let parameters = counts.fold(0, u64::saturating_add);
        let bytes = parameters.saturating_mul(self.dtype.size_in_bytes() as u64);
        let needed = bytes.saturating_add(inputs);
        if needed < PLANNED {
            return Ok(()); // a plan says more, and takes no more
        }
        let what = format!("{} with its {parameters} parameters and inputs", self.flags.model);
        let remedy = "use fewer or smaller inputs, or a narrower network (--n, --width)";
        Ok(ensure(&what, needed, max, remedy)?)
    }

    fn trained(&self, network: Network) -> Result<Network> {
        match self.flags.trained() {
            Some(trainable) => {
                network.with_trainable(&trainable).context("--trainable and --frozen")
            }
            None => Ok(network),
        }
    }
}

/// The shape of a batch of inputs, as `(N, 3, 32, 32)`.
fn batch_of(input: &[usize]) -> String {
    let axes: Vec<String> = input.iter().map(|size| format!(", {size}")).collect();
    format!("(N{})", axes.concat())
}

/// What to do about inputs of another shape than an archive's.
fn remedy(expected: &[usize], input: &[usize]) -> &'static str {
    match (expected, input) {
        ([c, h, w], [rows, columns, last]) if (h, w, c) == (rows, columns, last) => {
            "channels come last here, as `--layout nhwc` reads them"
        }
        _ => "bring them to that shape, or export the module with an `x` of theirs",
    }
}

fn record(path: &Path, imported: &Imported) -> Result<ArchiveRecord> {
    let (mut hasher, file) = (blake3::Hasher::new(), files::open(path));
    let hashed = file.and_then(|file| hasher.update_reader(file).map(|_| ()));
    hashed.map_err(FileError::new("read", path))?;
    let specs = imported.network.specs();
    let of_kind = |kind| {
        specs.iter().filter(|spec| spec.kind == kind).map(|spec| spec.elem_count()).sum::<usize>()
    };
    Ok(ArchiveRecord {
        file: path.display().to_string(),
        blake3: hasher.finalize().to_string(),
        torch_version: imported.torch_version.clone(),
        notes: imported.notes.clone(),
        tied: imported.aliases.clone(),
        trained: of_kind(ParamKind::Trainable),
        frozen: of_kind(ParamKind::Frozen),
        verified: None,
    })
}

fn verified(imported: &Imported, file: &Path) -> Result<VerifiedRecord> {
    let shown = file.display().to_string();
    let verified = verify(imported, file).with_context(|| format!("--verify {shown}"))?;
    Ok(VerifiedRecord {
        file: shown,
        examples: verified.examples,
        outputs: verified.outputs,
        jvp: verified.jvp,
    })
}

fn introduce(path: &Path, record: &ArchiveRecord) {
    let shown = path.display();
    let ArchiveRecord { torch_version, trained, frozen, notes, .. } = record;
    say(format_args!(
        "{shown}: torch {torch_version}, {trained} numbers trained, {frozen} frozen; no seed draws \
         them"
    ));
    for note in notes {
        say(format_args!("{shown}: {note}"));
    }
    match &record.verified {
        Some(VerifiedRecord { file, examples, outputs, jvp }) => {
            let jvp = jvp.map_or("no JVP".to_owned(), |jvp| format!("the JVP to {jvp:.1e}"));
            say(format_args!(
                "{shown}: {examples} examples agree with {file}, outputs to {outputs:.1e}, {jvp}"
            ));
        }
        None => say(format_args!("{shown}: nothing was compared with PyTorch; --verify would")),
    }
}
