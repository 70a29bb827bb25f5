//! What the paper did: the name of a program and its settings come in; the item of the paper, its
//! claim and the settings that differ, with the reason, go out. Called by `page`.

use serde_json::Value;

/// An item of the paper that a program reproduces, or that goes beyond it.
pub struct Item {
    program: &'static str,
    title: &'static str,
    /// Settings by which the paper has it under another title: name, value, title.
    variants: &'static [(&'static str, &'static str, &'static str)],
    /// What the paper concludes from it, or beyond the paper what it is about.
    pub claim: &'static str,
    /// Settings of the paper, by the name that the record has for them, several with commas; none
    /// beyond the paper.
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

const MODEL: (&str, &str) = ("model", "mlp, lenet5, resnet18");
const SGD: (&str, &str) = ("optimizer", "sgd");
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
        title: "Figure 2",
        variants: &[("optimizer", "adam", "Figure 11"), ("data", "mnist", "Figure 12")],
        claim: "Test accuracy falls with the index of the eigenfunction; on leading eigenfunctions the linearization beats the network, on the classes of CIFAR-10 the network wins.",
        settings: &[MODEL, SGD, BINARY, DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig03",
        title: "Figure 3",
        variants: &[("model", "mlp", "Figure 13"), ("model", "lenet5", "Figure 14")],
        claim: "The higher the index, the longer a network trains and the further its parameters move.",
        settings: &[MODEL, SGD, BINARY, DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig04",
        title: "Figure 4",
        variants: &[],
        claim: "Accuracy falls along the anisotropy directions, in the order of the predicted alignment, for the network and for its linearization.",
        settings: &[MODEL, SGD, IMAGES_OF_DIRECTIONS, TESTS, HUNDRED],
    },
    Item {
        program: "fig05",
        title: "Figure 5",
        variants: &[],
        claim: "With little data the linearization is as good as the network; the network's advantage grows with the data.",
        settings: &[MODEL, SGD, BINARY, DATA, IMAGES, TESTS, TWO_HUNDRED, ("seeds", "5")],
    },
    Item {
        program: "fig06",
        title: "Figure 6",
        variants: &[],
        claim: "The energy of the task in the leading eigenfunctions rises in training.",
        settings: &[MODEL, SGD, BINARY, DATA, IMAGES, TESTS, TWO_HUNDRED, ("index", "500")],
    },
    Item {
        program: "fig07",
        title: "Figure 7",
        variants: &[("model", "mlp", "Figure 15"), ("model", "lenet5", "Figure 16")],
        claim: "Training on one eigenfunction raises the alignment of all, and of that one most.",
        settings: &[MODEL, SGD, DATA, IMAGES, TESTS, HUNDRED],
    },
    Item {
        program: "fig08",
        title: "Figure 8",
        variants: &[],
        claim: "The linearization at trained weights learns an eigenfunction sooner than the one at initialisation, and generalises worse.",
        settings: &[MODEL, SGD, BINARY, DATA, IMAGES, TESTS, HUNDRED, ("index", "400")],
    },
    Item {
        program: "fig09",
        title: "Figure 9",
        variants: &[],
        claim: "Linearized later in training, models are better on the classes of CIFAR-10 and worse on an eigenfunction.",
        settings: &[MODEL, SGD, DATA, IMAGES, TESTS, HUNDRED, ("index", "400")],
    },
    Item {
        program: "fig10",
        title: "Figure 10",
        variants: &[],
        claim: "The first anisotropy directions of LeNet5 are smooth; those of ResNet18 are not.",
        settings: &[("width", "64")],
    },
    Item {
        program: "table1",
        title: "Table 1",
        variants: &[],
        claim: "The share of CIFAR2 in the top 50 eigenfunctions is small at initialisation and large after training.",
        settings: &[
            MODEL,
            SGD,
            BINARY,
            DATA,
            ("train", "12000"),
            TESTS,
            TWO_HUNDRED,
            ("top", "50"),
        ],
    },
    Item {
        program: "inductive",
        title: "Inductive eigenfunctions",
        variants: &[],
        claim: "Eigenfunctions of the training images alone, extended to the test images, beside those of both together: shared labels, accuracy on either, and alignment with error bars on images that no eigenfunction has seen.",
        settings: &[],
    },
    Item {
        program: "layer_alignment",
        title: "Alignment by layer",
        variants: &[],
        claim: "Which layers align with the task that a network is trained on, epoch by epoch.",
        settings: &[],
    },
    Item {
        program: "label_flips",
        title: "Labels in f32 and f64",
        variants: &[],
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

    /// The title that the paper has for it at these settings.
    pub fn title(&self, settings: &Value) -> &'static str {
        self.variant(settings).map_or(self.title, |(_, _, title)| title)
    }

    /// Where `settings`, as a record has them, are not those of the paper.
    pub fn differences(&self, settings: &Value) -> Vec<Difference> {
        let width: &[(&str, &str)] =
            if settings["model"] == "resnet18" { &[("width", "64")] } else { &[] };
        let of_variant = self.variant(settings).map(|(setting, ..)| *setting);
        let expected = self.settings.iter().chain(width);
        let expected = expected.filter(|(setting, _)| Some(*setting) != of_variant);
        let differing = expected.filter_map(|&(setting, paper)| {
            let here = text(settings.get(setting)?);
            let why = why(setting, &here);
            let is_same = paper.split(", ").any(|one| one == here);
            (!is_same).then_some(Difference { setting, here, paper, why })
        });
        differing.collect()
    }

    fn variant(&self, settings: &Value) -> Option<&(&'static str, &'static str, &'static str)> {
        self.variants.iter().find(|(setting, value, _)| settings[setting] == *value)
    }
}

fn why(setting: &str, here: &str) -> &'static str {
    match setting {
        "model" => "Beyond the paper: another network.",
        "optimizer" => "Another rule of the steps.",
        "data" if here == "fashion-mnist" => {
            "The embedded data set needs no download; other images have another spectrum."
        }
        "data" => "Other images have another spectrum.",
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
    fn the_paper_has_some_settings_under_another_title() {
        let of = |program: &str, [model, data, optimizer]: [&str; 3]| {
            let item = item(program).expect("a figure");
            let settings =
                serde_json::json!({ "model": model, "data": data, "optimizer": optimizer });
            let differing = item.differences(&settings);
            (item.title(&settings), differing.iter().map(|d| d.setting).collect::<Vec<_>>())
        };
        assert_eq!(of("fig02", ["mlp", "cifar10", "sgd"]), ("Figure 2", vec![]));
        assert_eq!(of("fig02", ["mlp", "cifar10", "adam"]), ("Figure 11", vec![]));
        assert_eq!(of("fig02", ["mlp", "mnist", "sgd"]), ("Figure 12", vec![]));
        assert_eq!(of("fig02", ["lenet5", "mnist", "adam"]), ("Figure 11", vec!["data"]));
        assert_eq!(of("fig03", ["mlp", "mnist", "sgd"]), ("Figure 13", vec!["data"]));
        assert_eq!(of("fig07", ["vit-tiny", "cifar10", "adam"]).0, "Figure 7");
        assert_eq!(of("fig07", ["vit-tiny", "cifar10", "adam"]).1, ["model", "optimizer"]);
    }

    #[test]
    fn only_the_embedded_images_need_no_download() {
        let settings = serde_json::json!({ "data": "svhn" });
        let differences = item("fig03").expect("a figure").differences(&settings);
        assert_eq!(differences[0].why, "Other images have another spectrum.");
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
