//! What a figure works on: the flags come in, an [`Experiment`] goes out, which is a sample of
//! images with labels, a network and its parameters theta_0. Called by the frame of the figures, by
//! `train` and by `label_flips`.

pub(crate) mod cached_training;
pub(crate) mod directions;
pub(crate) mod figure_program;
pub(crate) mod head;
pub(crate) mod inductive;
pub(crate) mod inputs;
pub(crate) mod kernel;
pub(crate) mod labels;
pub(crate) mod linearization;
pub(crate) mod network_source;
pub(crate) mod target_rule;
pub(crate) mod tasks;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use entk::{
    data::{DATA_VARIABLE, Dataset, Origin, Split, load},
    models::{
        Activation, BertConfig, ConvNextConfig, Gpt2Config, LanguageHead, LeNet5Config,
        LlamaConfig, MlpConfig, MobileNetV2Config, Model, Network, Params, ResNetConfig, VggConfig,
        VitConfig, WideResNetConfig,
    },
    train::{Examples, Targets},
};

use crate::{
    cli::{
        flags::CommonFlags,
        model_flags::ModelFlags,
        names::{ModelName, PaddingName},
        refused::{ensure_input, refused},
    },
    experiment::network_source::NetworkSource,
    run::Run,
};

impl ModelName {
    /// The network for inputs of this shape, with so many outputs. Of the flags, width and padding
    /// are read, which the paper's ResNets have.
    ///
    /// # Errors
    /// An input that the network cannot take, or an activation or padding where the network has its
    /// own.
    pub fn network(
        self,
        input: &[usize],
        outputs: usize,
        flags: &ModelFlags,
        activation: Activation,
    ) -> Result<Network> {
        let network = match input {
            [tokens] if self.reads_tokens() => self.of_tokens(*tokens, outputs),
            [channels, height, width] if !self.reads_tokens() => {
                self.of_images([*channels, *height, *width], outputs, flags, activation)
            }
            _ => {
                let expected = if self.reads_tokens() { "(N, tokens)" } else { "(N, C, H, W)" };
                let found: Vec<String> = input.iter().map(|size| format!(", {size}")).collect();
                return Err(refused(format!(
                    "--model {self}: expected inputs {expected}, found (N{}); reshape the array",
                    found.concat()
                )));
            }
        };
        ensure_input(activation == Activation::Relu || self.has_activation(), || {
            format!("--activation: --model {self} has an activation of its own")
        })?;
        let is_paper = matches!(self, Self::ResNet18 | Self::ResNet34);
        ensure_input(is_paper || flags.padding.is_none(), || {
            format!("--padding: --model {self} has none to choose; leave it out")
        })?;
        network.with_context(|| format!("--model {self} on inputs of shape {input:?}"))
    }

    /// Whether the activation can be chosen.
    fn has_activation(self) -> bool {
        use ModelName::{LeNet5, Mlp, ResNet18, ResNet34};
        matches!(self, Mlp | LeNet5 | ResNet18 | ResNet34)
    }

    fn of_images(
        self,
        input: [usize; 3],
        outputs: usize,
        flags: &ModelFlags,
        activation: Activation,
    ) -> entk::models::Result<Network> {
        let (width, padding) = (flags.width, flags.padding.unwrap_or(PaddingName::Same).into());
        let paper = |config| {
            ResNetConfig { input, outputs, width, activation, padding, ..config }.network()
        };
        let torch = |config: ResNetConfig| {
            ResNetConfig { input, outputs, ..config.torchvision() }.network()
        };
        let vit =
            |distilled| VitConfig { input, outputs, distilled, ..VitConfig::tiny() }.network();
        match self {
            Self::LeNet5 => {
                LeNet5Config { input, outputs, activation, ..Default::default() }.network()
            }
            Self::ResNet18 => paper(ResNetConfig::default()),
            Self::ResNet34 => paper(ResNetConfig::resnet34()),
            Self::TorchResNet18 => torch(ResNetConfig::default()),
            Self::TorchResNet34 => torch(ResNetConfig::resnet34()),
            Self::TorchResNet50 => torch(ResNetConfig::resnet50()),
            Self::WideResnet => WideResNetConfig { input, outputs, ..Default::default() }.network(),
            Self::Vgg => VggConfig { input, outputs, ..Default::default() }.network(),
            Self::MobileNetV2 => {
                MobileNetV2Config { input, outputs, ..Default::default() }.network()
            }
            Self::ConvnextTiny => ConvNextConfig { input, outputs, ..Default::default() }.network(),
            Self::VitTiny => vit(false),
            Self::DeitTiny => vit(true),
            _ => MlpConfig { input, outputs, activation, ..Default::default() }.network(),
        }
    }

    fn of_tokens(self, tokens: usize, outputs: usize) -> entk::models::Result<Network> {
        let head = LanguageHead::Labels(outputs);
        match self {
            Self::Bert => BertConfig { tokens, outputs, ..Default::default() }.network(),
            Self::Llama => LlamaConfig { tokens, head, ..Default::default() }.network(),
            _ => Gpt2Config { tokens, head, ..Default::default() }.network(),
        }
    }
}

/// The sample, network and start of one run.
#[derive(Debug)]
pub struct Experiment {
    /// Training images first, then test images, (N, C, H, W), standardised with the statistics of
    /// the full training set.
    pub images: Tensor,
    /// How many of them are training images.
    pub train: usize,
    /// With one output the paper's binary labels (CIFAR2 on CIFAR-10), 1 for the first half
    /// of the classes; else
    /// the classes.
    pub labels: Vec<u8>,
    /// The network.
    pub network: Network,
    /// Its parameters at initialisation, f32.
    pub theta0: Params,
    /// With --classes the same images with their classes, and a network with an output for each:
    /// what the class task is then.
    pub of_classes: Option<Box<Experiment>>,
}

/// A whole data set, standardised with the statistics of its training images.
#[derive(Debug)]
pub struct DataPool {
    split: Split,
    origin: String,
    networks: NetworkSource,
    device: Device,
}

impl DataPool {
    /// Loads the data set that the flags name, and the archive if the network is one, for
    /// experiments on their device.
    ///
    /// # Errors
    /// Data or an archive that cannot be read, or a device that is absent.
    pub fn load(run: &Run, flags: &CommonFlags) -> Result<Self> {
        let device = flags.device.open()?;
        let networks = NetworkSource::open(run, &flags.network, DType::F32, &device)?;
        let source = flags.data.source();
        let loaded = load(source, flags.data_root.as_deref())?;
        let is_asked = std::env::var_os(DATA_VARIABLE).is_some_and(|folder| !folder.is_empty());
        let why = match loaded.origin {
            Origin::Embedded if is_asked => ", since ENTK_DATA has no files of it",
            _ => "",
        };
        run.note(format_args!("images of {source}: {}{why}", loaded.origin));
        let (split, _) = loaded.split.standardized()?;
        Ok(Self { split, origin: loaded.origin.to_string(), networks, device })
    }

    /// The networks that the flags ask for.
    pub fn networks(&self) -> &NetworkSource {
        &self.networks
    }

    /// Where the images come from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The sample that the flags ask for, stratified on the classes, and a network at its
    /// start. With the same seed the smaller of two samples is a part of the larger.
    ///
    /// # Errors
    /// More images asked for than there are.
    pub fn experiment(&self, flags: &CommonFlags) -> Result<Experiment> {
        let network = self.networks.binary_network(&self.input(), Activation::Relu)?;
        self.experiment_with(flags, network)
    }

    /// The experiment whose labels are the classes, and whose network has an output for each.
    ///
    /// # Errors
    /// As [`experiment`](Self::experiment), and a network with another number of outputs than there
    /// are classes.
    pub fn class_experiment(&self, flags: &CommonFlags) -> Result<Experiment> {
        let (network, classes) = (self.network()?, self.split.train.classes());
        ensure_input(network.outputs() == classes, || {
            let outputs = network.outputs();
            format!(
                "{} has {classes} classes, and the network {outputs} outputs; give --classes \
                 {classes}",
                self.split.train.name()
            )
        })?;
        self.experiment_with(flags, network)
    }

    /// The network of the flags for these images.
    ///
    /// # Errors
    /// Images that it cannot take.
    pub fn network(&self) -> Result<Network> {
        self.networks.network(&self.input(), Activation::Relu)
    }

    fn input(&self) -> [usize; 3] {
        let (channels, height, width) = self.split.train.images().image_shape();
        [channels, height, width]
    }

    fn experiment_with(&self, flags: &CommonFlags, network: Network) -> Result<Experiment> {
        let train = subset(&self.split.train, "--train", flags.train, flags.seed)?;
        let test = subset(&self.split.test, "--test", flags.test, flags.seed)?;
        let sample = train.concat(&test)?;
        let is_binary = network.outputs() == 1;
        Ok(Experiment {
            images: sample.images().tensor().to_device(&self.device)?,
            train: train.count(),
            labels: if is_binary { sample.binary_labels() } else { sample.labels().to_vec() },
            theta0: self.networks.start(&network, flags.seed)?,
            network,
            of_classes: None,
        })
    }

    /// The experiment of one logit, and with --classes that of all classes beside it.
    ///
    /// # Errors
    /// As [`experiment`](Self::experiment) and [`class_experiment`](Self::class_experiment).
    pub fn experiment_beside_classes(&self, flags: &CommonFlags) -> Result<Experiment> {
        if flags.network.classes.is_none() {
            return self.experiment(flags);
        }
        let network = self.networks.drawn_logit(&self.input())?;
        let of_classes = Some(Box::new(self.class_experiment(flags)?));
        Ok(Experiment { of_classes, ..self.experiment_with(flags, network)? })
    }
}

impl Experiment {
    /// This experiment with images and parameters converted to another element type.
    ///
    /// # Errors
    /// A conversion that candle lacks.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self {
            images: self.images.to_dtype(dtype)?,
            theta0: self.theta0.to_dtype(dtype)?,
            train: self.train,
            labels: self.labels.clone(),
            network: self.network.clone(),
            of_classes: match &self.of_classes {
                Some(experiment) => Some(Box::new(experiment.to_dtype(dtype)?)),
                None => None,
            },
        })
    }

    /// Labels as targets of the network: 0 and 1 with one output, else classes.
    ///
    /// # Errors
    /// Another label.
    pub fn targets(&self, labels: &[u8]) -> Result<Targets> {
        Ok(match self.network.outputs() {
            1 => Targets::binary(labels.to_vec())?,
            classes => Targets::classes(labels.iter().copied().map(u32::from).collect(), classes)?,
        })
    }

    /// Training and test examples of a task on the whole sample.
    ///
    /// # Errors
    /// Labels that are no [`targets`](Self::targets), one for each image.
    pub fn examples(&self, labels: &[u8]) -> Result<(Examples, Examples)> {
        let (n, train) = (self.images.dim(0)?, self.train);
        ensure_input(labels.len() == n, || format!("{} labels for {n} images", labels.len()))?;
        let part = |from: usize, to: usize| -> Result<Examples> {
            let images = self.images.narrow(0, from, to - from)?;
            Ok(Examples::new(images, self.targets(&labels[from..to])?)?)
        };
        Ok((part(0, train)?, part(train, n)?))
    }
}

fn subset(data: &Dataset, flag: &str, n: usize, seed: u64) -> Result<Dataset> {
    ensure_input(n <= data.count(), || {
        format!(
            "{flag} {n}: {} has {} images; lower it or give a larger set with --data-root",
            data.name(),
            data.count()
        )
    })?;
    Ok(data.stratified_subset(n, seed)?)
}
