//! What the paper did: the name of a program and its settings come in; the item of the paper, its
//! claim and the settings that differ, with the reason, go out. Called by `page`.

use serde_json::Value;

/// An item of the paper that a program reproduces, or that goes beyond it.
pub struct Item {
    program: &'static str,
    pub title: &'static str,
    /// What the paper concludes from it, or beyond the paper what it is about.
    pub claim: &'static str,
    /// Settings of the paper, by the name that the record has for them; none beyond the paper.
    settings: &'static [(&'static str, &'static str)],
}

/// A setting in which a run differs from the paper.
#[derive(Debug, PartialEq)]
pub struct Difference {
    pub setting: &'static str,
    pub here: String,
    pub paper: &'static str,
    pub why: &'static str,
}

const IMAGES: (&str, &str) = ("train", "50000");
const IMAGES_OF_DIRECTIONS: (&str, &str) = ("train", "10000");
const TESTS: (&str, &str) = ("test", "10000");
const DATA: (&str, &str) = ("data", "cifar10");
const HUNDRED: (&str, &str) = ("epochs", "100");
const TWO_HUNDRED: (&str, &str) = ("epochs", "200");
const BINARY: (&str, &str) = ("classes", "two groups");

/// The items of the paper, then what goes beyond it.
const ITEMS: [Item; 13] = [
    Item {
        program: "fig02",
        title: "Figure 2 (11 with Adam, 12 on MNIST)",
        claim: "Test accuracy falls with the index of the eigenfunction; on leading eigenfunctions the linearization beats the network, on the classes of CIFAR-10 the network wins.",
        settings: &[BINARY, DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig03",
        title: "Figure 3 (13 for the MLP, 14 for LeNet5)",
        claim: "The higher the index, the longer a network trains and the further its parameters move.",
        settings: &[BINARY, DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig04",
        title: "Figure 4",
        claim: "Accuracy falls along the anisotropy directions, in the order of the predicted alignment, for the network and for its linearization.",
        settings: &[IMAGES_OF_DIRECTIONS, TESTS, HUNDRED],
    },
    Item {
        program: "fig05",
        title: "Figure 5",
        claim: "With little data the linearization is as good as the network; the network's advantage grows with the data.",
        settings: &[BINARY, DATA, IMAGES, TESTS, TWO_HUNDRED, ("seeds", "5")],
    },
    Item {
        program: "fig06",
        title: "Figure 6",
        claim: "The energy of the task in the leading eigenfunctions rises in training.",
        settings: &[BINARY, DATA, IMAGES, TESTS, TWO_HUNDRED, ("index", "500")],
    },
    Item {
        program: "fig07",
        title: "Figure 7 (15 for the MLP, 16 for LeNet5)",
        claim: "Training on one eigenfunction raises the alignment of all, and of that one most.",
        settings: &[DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig08",
        title: "Figure 8",
        claim: "The linearization at trained weights learns an eigenfunction sooner than the one at initialisation, and generalises worse.",
        settings: &[BINARY, DATA, IMAGES, TESTS, HUNDRED, ("index", "400")],
    },
    Item {
        program: "fig09",
        title: "Figure 9",
        claim: "Linearized later in training, models are better on the classes of CIFAR-10 and worse on an eigenfunction.",
        settings: &[DATA, IMAGES, TESTS, HUNDRED, ("index", "400")],
    },
    Item {
        program: "fig10",
        title: "Figure 10",
        claim: "The first anisotropy directions of LeNet5 are smooth; those of ResNet18 are not.",
        settings: &[("width", "64")],
    },
    Item {
        program: "table1",
        title: "Table 1",
        claim: "The share of CIFAR2 in the top 50 eigenfunctions is small at initialisation and large after training.",
        settings: &[BINARY, DATA, ("train", "12000"), TESTS, TWO_HUNDRED, ("top", "50")],
    },
    Item {
        program: "inductive",
        title: "Inductive eigenfunctions",
        claim: "Eigenfunctions of the training images alone, extended to the test images, beside those of both together: shared labels, accuracy on either, and alignment with error bars on images that no eigenfunction has seen.",
        settings: &[],
    },
    Item {
        program: "layer_alignment",
        title: "Alignment by layer",
        claim: "Which layers align with the task that a network is trained on, epoch by epoch.",
        settings: &[],
    },
    Item {
        program: "label_flips",
        title: "Labels in f32 and f64",
        claim: "How many labels of an eigenfunction the precision of the kernel decides, and how many a certificate leaves open.",
        settings: &[],
    },
];

/// The item of a program that draws one.
pub fn item(program: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.program == program)
}

impl Item {
    /// Whether the paper has no such figure.
    pub fn is_beyond(&self) -> bool {
        self.settings.is_empty()
    }

    /// Where `settings`, as a record has them, are not those of the paper.
    pub fn differences(&self, settings: &Value) -> Vec<Difference> {
        let width: &[(&str, &str)] =
            if settings["model"] == "resnet18" { &[("width", "64")] } else { &[] };
        let expected = self.settings.iter().chain(width);
        let differing = expected.filter_map(|&(setting, paper)| {
            let here = text(settings.get(setting)?);
            (here != paper).then(|| Difference { setting, here, paper, why: why(setting) })
        });
        differing.collect()
    }
}

fn why(setting: &str) -> &'static str {
    match setting {
        "data" => "The embedded data set needs no download; other images have another spectrum.",
        "train" => {
            "Time. An eigenfunction of fewer images is known at fewer points, so that accuracies fall at lower indices."
        }
        "test" => {
            "Time. Accuracies have a larger standard error, at most 1/2 over the root of their number."
        }
        "epochs" => "Time. Hard tasks are not learnt to the end.",
        "seeds" => "Time.",
        "index" => {
            "Of fewer images fewer eigenfunctions are learnable; the index is lower in proportion."
        }
        "classes" => "All classes, one output each, in place of the paper's binary task.",
        "width" => "Time and memory. Fewer filters.",
        _ => "",
    }
}

/// A value as the command line has it.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let settings = serde_json::json!({
            "data": "cifar10", "train": 10_000, "test": 10_000, "epochs": 100, "model": "lenet5",
        });
        let differences = item("fig02").expect("a figure").differences(&settings);
        assert_eq!(differences.len(), 1);
        assert_eq!((differences[0].setting, &*differences[0].here), ("train", "10000"));
        assert!(item("gram").is_none());
        let inductive = item("inductive").expect("a figure");
        assert!(inductive.is_beyond() && inductive.differences(&settings).is_empty());
    }

    #[test]
    fn the_width_counts_for_resnet18_only() {
        let differing = |model: &str| {
            let settings = serde_json::json!({ "model": model, "width": 8 });
            item("fig02").expect("a figure").differences(&settings).len()
        };
        assert_eq!((differing("resnet18"), differing("mlp")), (1, 0));
    }
}
