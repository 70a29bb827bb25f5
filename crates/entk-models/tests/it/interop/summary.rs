//! Networks as tables.

use entk_models::{
    Activation, Dense, Graph, LeNet5Config, MatMul, Model, Reshape, Result, Trainable,
};
use entk_testing::networks::named;

#[test]
fn a_network_prints_as_a_short_table() -> Result<()> {
    let config = LeNet5Config { activation: Activation::Tanh, ..LeNet5Config::default() };
    let network = config.network()?.with_trainable(&Trainable::only(["fc*"]))?;
    let text = network.summary().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "input [3, 32, 32]");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[2])[..3], ["1", "Convolve", "input"], "{text}");
    assert!(lines[2].ends_with("conv1.weight conv1.bias"), "{text}");
    assert_eq!(words(lines[3])[..3], ["2", "Tanh", "1"], "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{text}");
    let last = lines[lines.len() - 1];
    let expected = "133249 numbers are trained, 2872 are frozen; ";
    assert!(last.starts_with(expected), "{text}");
    Ok(())
}

#[test]
fn numbers_are_those_of_the_network() -> Result<()> {
    let network = named("resnet relu")?;
    let summary = network.summary();
    let specs = network.specs();
    let counted: usize = summary.nodes.iter().map(|node| node.count).sum();
    assert_eq!(counted, specs.iter().map(|spec| spec.elem_count()).sum::<usize>());
    assert_eq!(counted, summary.trainable + summary.frozen + summary.statistics);
    let operations: f64 = summary.nodes.iter().map(|node| node.operations).sum();
    assert_eq!(operations, network.operations());
    for (at, node) in summary.nodes.iter().enumerate() {
        assert!(!node.reads.is_empty() && node.reads.iter().all(|read| *read <= at), "{at}");
    }
    assert_eq!(summary.nodes.last().map(|node| node.shape.as_slice()), Some([1].as_slice()));
    Ok(())
}

/// Two operations for each multiply-add of dense layers, convolutions and attention, in branches
/// and shortcuts alike.
#[test]
fn operations_are_those_of_all_products() -> Result<()> {
    let resnet = [
        9 * 2 * 3 * 64,     // the stem, on 8 x 8 pixels
        2 * 9 * 3 * 3 * 64, // the first block
        9 * 3 * 6 * 16,     // the second, on 4 x 4
        9 * 6 * 6 * 16,
        3 * 6 * 16, // its shortcut
        6,
    ];
    let attention = [
        5 * 6 * 18,          // queries, keys and values of five tokens
        2 * 5 * 5 * (3 + 3), // two heads, of causal ones too all pairs
        5 * 6 * 6,           // their projection
        5 * (6 * 8 + 8 * 6), // dense layers
        30 * 2,
    ];
    let grouped = [
        2 * 12 * 42, // on 7 x 6 pixels
        9 * 12 * 12, // one channel each, on 4 x 3
        12 * 8 * 12,
        3 * 4 * 12 * 12, // four channels of three taps for twelve filters
        12 * 2,
    ];
    let mlp = [12 * 9, 9 * 7, 7];
    let networks: [(&str, &[usize]); 4] = [
        ("mlp relu", &mlp),
        ("resnet relu", &resnet),
        ("attention", &attention),
        ("grouped convolutions", &grouped),
    ];
    let mut graph = Graph::new();
    let x = graph.input(&[4, 3]);
    let scores = graph.apply(MatMul::transposed(), &[x, x])?;
    let products = graph.apply(MatMul::new(), &[scores, x])?;
    let flat = graph.apply(Reshape::new(&[12]), &[products])?;
    let output = graph.add(&Dense::new("head", 12, 1), flat)?;
    let operations = graph.network(output)?.operations();
    assert_eq!(operations, f64::from(2 * (4 * 3 * 4 + 4 * 4 * 3 + 12)));
    for (name, products) in networks {
        let expected = 2 * products.iter().sum::<usize>();
        assert_eq!(named(name)?.operations(), expected as f64, "{name}");
    }
    Ok(())
}
