//! Which published network has these names: unexpected names of parameters go in, its name comes
//! out. Called by the message of parameters that do not fit.

/// A network, ends of names that its parameters have, and one that they have not. The more
/// particular stand first.
type Marks = (&'static str, &'static [&'static str], Option<&'static str>);

const PUBLISHED: [Marks; 15] = [
    ("torchvision's resnet152", &["layer1.0.conv3.weight", "layer3.35.conv1.weight"], None),
    ("torchvision's resnet101", &["layer1.0.conv3.weight", "layer3.22.conv1.weight"], None),
    (
        "torchvision's resnet50",
        &["layer1.0.conv3.weight", "layer3.5.conv1.weight"],
        Some("layer3.6.conv1.weight"),
    ),
    ("a resnet34", &["layer3.5.conv1.weight", "fc.weight"], Some("layer1.0.conv3.weight")),
    ("a resnet18", &["layer4.1.conv2.weight", "fc.weight"], Some("layer4.2.conv2.weight")),
    ("torchvision's mobilenet_v2", &["features.18.0.weight", "classifier.1.weight"], None),
    ("torchvision's convnext", &["features.1.0.layer_scale"], None),
    ("torchvision's vgg", &["features.0.weight", "classifier.6.weight"], None),
    ("timm's vit or deit", &["cls_token", "blocks.0.attn.qkv.weight"], None),
    (
        "torchvision's vit, which is exported to a .pt2 archive",
        &["class_token", "encoder_layer_0.ln_1.weight"],
        None,
    ),
    ("GPT-2 of transformers", &["h.0.attn.c_attn.weight"], None),
    ("BERT of transformers", &["layer.0.attention.self.query.weight"], None),
    ("a Llama of transformers", &["layers.0.self_attn.q_proj.weight"], None),
    ("LeNet5", &["conv2.weight", "fc3.weight"], None),
    ("an MLP", &["fc1.weight", "fc2.weight"], Some("conv1.weight")),
];

/// The published network whose names these are.
pub(crate) fn network(unexpected: &[String]) -> Option<&'static str> {
    let has = |end: &str| unexpected.iter().any(|name| is_end(name, end));
    let fits =
        |(_, ends, absent): &&Marks| ends.iter().all(|end| has(end)) && !absent.is_some_and(has);
    PUBLISHED.iter().find(fits).map(|(name, ..)| *name)
}

/// Whether the last parts of a name are these.
fn is_end(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_parts_are_an_end() {
        assert!(is_end("model.fc.weight", "fc.weight") && is_end("fc.weight", "fc.weight"));
        assert!(!is_end("model.my_fc.weight", "fc.weight"));
    }
}
