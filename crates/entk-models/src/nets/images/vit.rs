//! Vision transformers as a configuration: sizes go in, a network comes out.

use entk_device::{Activation, Function};

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::{Conv2d, Dense, LayerNorm, Residual, Sequential},
    loops::padding::Padding,
    network::Network,
    operations::{
        attention::Attend,
        entrywise::Add,
        shape::{Concat, FlattenAxes, Permute, Reshape, Select},
    },
    params::{
        init::{InitialLaw, Initializer},
        spec::ParamSpec,
    },
};

/// Added to the variances of layer norms.
const EPS: f64 = 1e-6;
const LAW: InitialLaw = InitialLaw::Normal { std: 0.02 };

/// The vision transformer of Dosovitskiy et al. (2021): patches as tokens, a class token, blocks of
/// attention and a perceptron behind layer norms, a dense layer on the class token. DeiT (Touvron
/// et al., 2021) has a second token with a head of its own, and gives the mean of both. The default
/// is ViT-B/16 with 86,567,656 parameters.
///
/// Names are those of timm's `VisionTransformer` and `VisionTransformerDistilled`, which most
/// published weights are for: `patch_embed.proj`, `cls_token`, `pos_embed`, `blocks.0.norm1`,
/// `blocks.0.attn.qkv`, ..., `norm`, `head`; `dist_token` and `head_dist` in DeiT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct VitConfig {
    /// Input shape (C, H, W); H and W are multiples of the patch.
    pub input: [usize; 3],
    /// Side of a patch.
    pub patch: usize,
    /// Width of a token's state, D.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Hidden width of the perceptrons.
    pub hidden: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Whether there is a distillation token, as in DeiT.
    pub distilled: bool,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            input: [3, 224, 224],
            patch: 16,
            width: 768,
            layers: 12,
            heads: 12,
            hidden: 3072,
            outputs: 1000,
            distilled: false,
        }
    }
}

impl VitConfig {
    /// ViT-Ti/16 with 5,717,416 parameters; `distilled` makes it DeiT-Ti.
    pub fn tiny() -> Self {
        Self { width: 192, heads: 3, hidden: 768, ..Self::default() }
    }

    /// ViT-S/16 with 22,050,664 parameters; `distilled` makes it DeiT-S.
    pub fn small() -> Self {
        Self { width: 384, heads: 6, hidden: 1536, ..Self::default() }
    }

    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, sides that are no multiples of the patch, or a width that the heads do not
    /// divide.
    pub fn network(&self) -> Result<Network> {
        let Self { input, patch, width, layers, heads, hidden, outputs, .. } = *self;
        if input.contains(&0) || [patch, width, layers, heads, hidden, outputs].contains(&0) {
            return Err(ModelError::zero("vit sizes"));
        }
        if input[1..].iter().any(|side| !side.is_multiple_of(patch)) {
            let expected = format!("(C, H, W) of multiples of {patch}");
            return Err(ModelError::shape("vit input", expected, &input));
        }
        let mut graph = Graph::new();
        let mut x = self.tokens(&mut graph)?;
        for layer in 0..layers {
            x = self.block(&mut graph, x, &format!("blocks.{layer}"))?;
        }
        let x = graph.add(&LayerNorm::new("norm", &[width]).with_eps(EPS), x)?;
        let mut output = self.head(&mut graph, x, "head", 0)?;
        if self.distilled {
            let other = self.head(&mut graph, x, "head_dist", 1)?;
            output = graph.apply(Add, &[output, other])?;
            output = graph.apply(Function::scale(0.5), &[output])?;
        }
        graph.network(output)
    }

    /// The patches behind the tokens of their own, with positions: (T, D).
    fn tokens(&self, graph: &mut Graph) -> Result<Value> {
        let Self { input, patch, width, .. } = *self;
        let x = graph.input(&input);
        let patches = Conv2d::new("patch_embed.proj", input[0], width, patch)
            .with_stride(patch)
            .with_padding(Padding::Valid)
            .with_law(InitialLaw::Torch);
        let patches = Sequential::new()
            .then(patches)
            .then(FlattenAxes::new(1..3))
            .then(Permute::new(&[1, 0]));
        let patches = graph.add(&patches, x)?;
        let mut tokens = vec![self.parameter(graph, "cls_token", 1, 1e-6)?];
        if self.distilled {
            tokens.push(self.parameter(graph, "dist_token", 1, 0.02)?);
        }
        tokens.push(patches);
        let x = graph.apply(Concat::new(0), &tokens)?;
        let count = graph.shape(x)?[0];
        let positions = self.parameter(graph, "pos_embed", count, 0.02)?;
        graph.apply(Add, &[x, positions])
    }

    /// A parameter (1, tokens, D) as (tokens, D).
    fn parameter(&self, graph: &mut Graph, name: &str, tokens: usize, std: f64) -> Result<Value> {
        let init = Initializer::ScaledNormal { std };
        let spec = ParamSpec::trainable(name, &[1, tokens, self.width], init);
        let value = graph.parameter(spec)?;
        graph.apply(Reshape::new(&[tokens, self.width]), &[value])
    }

    fn head(&self, graph: &mut Graph, x: Value, name: &str, token: usize) -> Result<Value> {
        let state = graph.apply(Select::new(0, token), &[x])?;
        graph.add(&Dense::new(name, self.width, self.outputs).with_law(LAW), state)
    }

    fn block(&self, graph: &mut Graph, x: Value, name: &str) -> Result<Value> {
        let (width, hidden) = (self.width, self.hidden);
        let part = |part: &str| format!("{name}.{part}");
        let norm = |name: &str| LayerNorm::new(&part(name), &[width]).with_eps(EPS);
        let dense =
            |name: &str, inputs, outputs| Dense::new(&part(name), inputs, outputs).with_law(LAW);
        let attention = Sequential::new()
            .then(norm("norm1"))
            .then(dense("attn.qkv", width, 3 * width))
            .then(Attend::new().packed(self.heads))
            .then(dense("attn.proj", width, width));
        let perceptron = Sequential::new()
            .then(norm("norm2"))
            .then(dense("mlp.fc1", width, hidden))
            .then(Activation::GeluErf)
            .then(dense("mlp.fc2", hidden, width));
        let x = graph.add(&Residual::new(attention), x)?;
        graph.add(&Residual::new(perceptron), x)
    }
}
