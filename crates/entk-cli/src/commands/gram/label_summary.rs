//! What a kernel says about labels: the kernel, its eigenpairs and targets come in, alignments and
//! energies of all targets and of each class go out. Called by the main of `gram`.

use std::collections::BTreeMap;

use anyhow::Result;
use entk::{
    gram::Outputs,
    linearize::Jacobian,
    spectral::{Eigenpairs, SymmetricOperator, energy_concentration},
};
use entk_cli::{KernelChoice, LabelTargets, TargetRule};
use serde::Serialize;

/// What the kernel says about the targets y of the labels.
#[derive(Serialize)]
pub struct LabelSummary {
    /// The rule from labels to targets.
    pub targets: TargetRule,
    /// The rule in words.
    pub rule: String,
    /// Labels +1, of one column of signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<usize>,
    /// Labels -1, of one column of signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<usize>,
    /// Number K of leading eigenvectors of the energies.
    pub top: Option<usize>,
    /// Of all columns: the full kernel takes them as one vector of N C entries, another kernel K
    /// as K (x) I_C would.
    #[serde(flatten)]
    pub all: Shares,
    /// Column by column, alone; for the full kernel at the output of its own, 0 at the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassShares>,
    /// The alignment parameter by parameter, y^T K_l y / N^2. Not of several columns on a trace of
    /// several outputs, which would take C^2 sweeps.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, f64>,
}

/// One column of several.
#[derive(Serialize)]
pub struct ClassShares {
    /// The class or output, from 0.
    pub class: usize,
    /// Examples of the class; none of real targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Of this column.
    #[serde(flatten)]
    pub shares: Shares,
}

/// Alignment and energy of a target.
#[derive(Serialize)]
pub struct Shares {
    /// y^T K y / N^2, the paper's text.
    pub alignment: f64,
    /// y^T K y / ||y||^2, the paper's figures; none of a target that is 0.
    pub rayleigh_alignment: Option<f64>,
    /// ||Phi y|| / ||y||, the paper's Table 1.
    pub energy_ratio: Option<f64>,
    /// ||Phi y||^2 / ||y||^2.
    pub energy_squared: Option<f64>,
}

/// y^T K y, ||y||^2 and, where there are eigenvectors, ||Phi y||^2.
#[derive(Clone, Copy)]
struct Forms {
    quadratic: f64,
    square: f64,
    captured: Option<f64>,
}

impl Forms {
    fn of(y: &[f64], image: &[f64], pairs: Option<(&Eigenpairs, usize)>) -> Result<Self> {
        let dot = |x: &[f64]| y.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        let square = dot(y);
        let captured = |(pairs, top)| match square {
            0.0 => Ok::<_, anyhow::Error>(0.0),
            _ => Ok(energy_concentration(pairs, y, top)?.squared * square),
        };
        Ok(Self { quadratic: dot(image), square, captured: pairs.map(captured).transpose()? })
    }

    fn sum(forms: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| forms.iter().map(value).sum();
        let captured = forms.iter().map(|form| form.captured).sum();
        Self { quadratic: of(|form| form.quadratic), square: of(|form| form.square), captured }
    }

    fn shares(self, n: usize) -> Shares {
        let of_norm = |value: f64| (self.square > 0.0).then(|| value / self.square);
        let squared = self.captured.and_then(of_norm);
        Shares {
            alignment: self.quadratic / (n * n) as f64,
            rayleigh_alignment: of_norm(self.quadratic),
            energy_ratio: squared.map(f64::sqrt),
            energy_squared: squared,
        }
    }
}

impl LabelSummary {
    /// Measures targets by a kernel of the kind of `choice`, and by its `top` leading eigenpairs,
    /// if there are any. One product with the kernel, and the sweeps of the layers.
    pub fn new(
        choice: &KernelChoice,
        kernel: &dyn SymmetricOperator,
        jacobian: &Jacobian<'_>,
        pairs: Option<(&Eigenpairs, usize)>,
        targets: &LabelTargets,
    ) -> Result<Self> {
        let (columns, n) = (targets.columns, targets.values.len() / targets.columns);
        let is_full = choice.rows_per_example() > 1;
        let mut vectors: Vec<Vec<f64>> = (0..columns)
            .map(|c| if is_full { targets.alone(c) } else { targets.column(c) })
            .collect();
        if is_full {
            vectors.push(targets.values.clone());
        }
        let stack = vectors.concat();
        let mut images = vec![0.0; stack.len()];
        kernel.apply(&stack, &mut images)?;
        let mut forms = (vectors.iter().zip(images.chunks_exact(kernel.n())))
            .map(|(y, image)| Forms::of(y, image, pairs))
            .collect::<Result<Vec<_>>>()?;
        let whole = if is_full { forms.pop() } else { None };
        let all = whole.unwrap_or_else(|| Forms::sum(&forms));
        let count = |sign: f64| {
            let signs = targets.values.iter().filter(|y| **y * sign > 0.0).count();
            (columns == 1 && targets.rule != TargetRule::Values).then_some(signs)
        };
        Ok(Self {
            targets: targets.rule,
            rule: targets.rule.formula(),
            positive: count(1.0),
            negative: count(-1.0),
            top: pairs.map(|(_, top)| top),
            all: all.shares(n),
            classes: if columns > 1 { class_shares(targets, &forms, n) } else { Vec::new() },
            layers: layer_alignments(choice, jacobian, targets)?,
        })
    }
}

fn class_shares(targets: &LabelTargets, forms: &[Forms], n: usize) -> Vec<ClassShares> {
    let examples = |class| {
        let members = targets.column(class).iter().filter(|y| **y > 0.0).count();
        (targets.rule != TargetRule::Values).then_some(members)
    };
    let of_class = |(class, form): (usize, &Forms)| ClassShares {
        class,
        examples: examples(class),
        shares: form.shares(n),
    };
    forms.iter().enumerate().map(of_class).collect()
}

/// y^T K_l y / N^2 of each parameter l, summed over the columns of the targets: sums of squared
/// gradients of u . f, for cotangents u at all outputs.
fn layer_alignments(
    choice: &KernelChoice,
    jacobian: &Jacobian<'_>,
    targets: &LabelTargets,
) -> Result<BTreeMap<String, f64>> {
    let mut layers = BTreeMap::new();
    for cotangent in cotangents(choice, targets) {
        for (name, alignment) in jacobian.layer_alignments(&cotangent)? {
            *layers.entry(name).or_default() += alignment;
        }
    }
    Ok(layers)
}

fn cotangents(choice: &KernelChoice, targets: &LabelTargets) -> Vec<Vec<f64>> {
    if choice.rows_per_example() > 1 {
        return vec![targets.values.clone()];
    }
    let classes = choice.classes;
    let unit = |output: usize| (0..classes).map(|c| f64::from(u8::from(c == output))).collect();
    let weights: Vec<Vec<f64>> = match choice.outputs.kernel() {
        Outputs::SumOfLogits => vec![vec![1.0; classes]],
        Outputs::One(output) => vec![unit(output)],
        _ if targets.columns > 1 && classes > 1 => Vec::new(),
        _ => (0..classes).map(unit).collect(),
    };
    let of_column = |column: Vec<f64>| {
        let at_outputs = |weights: &Vec<f64>| {
            column.iter().flat_map(|y| weights.iter().map(move |weight| weight * y)).collect()
        };
        weights.iter().map(at_outputs).collect::<Vec<Vec<f64>>>()
    };
    (0..targets.columns).flat_map(|c| of_column(targets.column(c))).collect()
}
