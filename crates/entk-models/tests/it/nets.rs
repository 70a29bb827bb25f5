//! Published networks at their published sizes, adapters, and the NTK parametrisation. That they
//! compute what PyTorch's do is tested beside the reference values.

use candle_core::{DType, Tensor};
use entk_models::{
    BertConfig, Conv2d, ConvNextConfig, Dense, Embedding, Flatten, Gpt2Config, InitialLaw,
    LanguageHead, LlamaConfig, Lora, MlpConfig, MobileNetV2Config, Model, ModelError, Network,
    ParamKind, Params, ResNetBlock, ResNetConfig, Sequential, UNetConfig, VggConfig, VitConfig,
    WideResNetConfig,
};
use entk_testing::{TestResult, normal, published::published, tensor_error, test_device};

/// Products of a few dozen terms in f64, in another order.
const ROUND_OFF: f64 = 1e-14;

fn trainable(network: &Network) -> usize {
    let specs = network.specs();
    let trainable = specs.iter().filter(|spec| spec.kind == ParamKind::Trainable);
    trainable.map(|spec| spec.elem_count()).sum()
}

#[test]
fn defaults_have_the_published_numbers_of_parameters() -> TestResult {
    let wide = ResNetBlock::Bottleneck { base_width: 128 };
    let wide = ResNetConfig { block: wide, ..ResNetConfig::resnet50() };
    let vgg = VggConfig { batch_norm: true, ..VggConfig::default() };
    let deit = VitConfig { distilled: true, ..VitConfig::tiny() };
    for (network, expected) in [
        (ResNetConfig::default().torchvision().network(), 11_689_512),
        (ResNetConfig::resnet34().torchvision().network(), 21_797_672),
        (ResNetConfig::resnet50().torchvision().network(), 25_557_032),
        (wide.torchvision().network(), 68_883_240),
        (WideResNetConfig::default().network(), 36_479_194),
        (VggConfig::default().network(), 138_357_544),
        (vgg.network(), 138_365_992),
        (MobileNetV2Config::default().network(), 3_504_872),
        (ConvNextConfig::default().network(), 28_589_128),
        (UNetConfig::default().network(), 31_037_698),
        (VitConfig::default().network(), 86_567_656),
        (VitConfig::small().network(), 22_050_664),
        (VitConfig::tiny().network(), 5_717_416),
        (deit.network(), 5_910_800),
        (Gpt2Config::default().network(), 124_439_808),
        (BertConfig::default().network(), 109_483_778),
        (LlamaConfig::default().network(), 6_738_415_616),
    ] {
        assert_eq!(trainable(&network?), expected);
    }
    Ok(())
}

#[test]
fn adapters_that_end_in_zero_change_nothing_and_are_half_inactive() -> TestResult {
    let (base, adapted) = (published("gpt2")?, published("gpt2_lora")?);
    let theta = base.init(1, DType::F64, test_device())?;
    let with_adapters = adapted.init(1, DType::F64, test_device())?;
    let ids = Tensor::new(&[[3u32, 1, 4, 1, 5, 9, 2]], test_device())?;
    let (expected, found) = (base.forward(&theta, &ids)?, adapted.forward(&with_adapters, &ids)?);
    assert_eq!(found.to_vec2::<f64>()?, expected.to_vec2::<f64>()?);

    let active = adapted.active_parameters(&with_adapters)?;
    assert_eq!(active.total(), 2 * 2 * (12 + 36));
    assert_eq!(active.count(), 2 * 2 * 36);
    assert!(active.names().iter().all(|name| name.ends_with("lora_B.weight")));
    let noise = Params::standard_normal(&adapted.specs(), 2, DType::F64, test_device())?;
    let moved = with_adapters.add_scaled(1.0, &noise)?;
    assert_eq!(adapted.active_parameters(&moved)?.count(), active.total());
    Ok(())
}

#[test]
fn adapters_are_refused_where_they_do_not_fit() -> TestResult {
    let gpt2 = published("gpt2")?;
    let refused = |lora: Lora| lora.apply(&gpt2).err().ok_or("not refused");
    assert!(matches!(refused(Lora::new(0, 1.0).on("*"))?, ModelError::Zero { .. }));
    let unknown = refused(Lora::new(2, 1.0).on("*.q_proj"))?;
    assert!(matches!(unknown, ModelError::UnknownName { name, .. } if name == "*.q_proj"));
    let odd = refused(Lora::new(2, 1.0).on_part("*.c_attn", "q", 0, 5))?;
    assert!(matches!(odd, ModelError::Shape { .. }));
    Ok(())
}

#[test]
fn a_head_on_chosen_tokens_is_the_same_part_of_the_whole() -> TestResult {
    let config = Gpt2Config {
        tokens: 4,
        vocabulary: 11,
        positions: 5,
        width: 6,
        layers: 1,
        heads: 2,
        head: LanguageHead::Vocabulary,
    };
    let chosen = Gpt2Config { head: LanguageHead::Tokens(vec![7, 2, 7]), ..config.clone() };
    let (all, some) = (config.network()?, chosen.network()?);
    let theta = all.init(3, DType::F64, test_device())?;
    let ids = Tensor::new(&[[3u32, 10, 0, 3], [7, 7, 2, 1]], test_device())?;
    let all = all.forward(&theta, &ids)?.to_vec2::<f64>()?;
    for (some, all) in some.forward(&theta, &ids)?.to_vec2::<f64>()?.iter().zip(all) {
        assert_eq!(some, &[all[7], all[2], all[7]]);
    }
    let outside = Gpt2Config { head: LanguageHead::Tokens(vec![11]), ..config };
    assert!(matches!(outside.network(), Err(ModelError::IdTooLarge { id: 11, rows: 11 })));
    Ok(())
}

/// The NTK parametrisation is the standard one at weights times 1.5 / sqrt(width) and biases times
/// a tenth.
#[test]
fn the_ntk_parametrisation_scales_weights_and_biases() -> TestResult {
    let config = MlpConfig { input: [1, 2, 8], hidden: vec![9, 4], ..MlpConfig::default() };
    let law = InitialLaw::Ntk { weight: 1.5, bias: 0.1 };
    let (plain, scaled) = (config.network()?, MlpConfig { law, ..config }.network()?);
    let theta = scaled.init(5, DType::F64, test_device())?;
    let standard = (theta.iter())
        .map(|(name, tensor)| {
            let scale = match tensor.dims() {
                [_, width] => 1.5 / (*width as f64).sqrt(),
                _ => 0.1,
            };
            Ok((name.to_owned(), (tensor * scale)?))
        })
        .collect::<TestResult<_>>()?;
    let x = normal(&[3, 1, 2, 8], 6)?;
    let expected = plain.forward(&Params::new(standard, Vec::new())?, &x)?;
    let error = tensor_error(&scaled.forward(&theta, &x)?, &expected)?;
    assert!(error <= ROUND_OFF, "{error:e}");
    Ok(())
}

#[test]
fn sizes_of_zero_are_refused_by_every_layer_with_its_name() {
    let refused = |input: &[usize], layers: Sequential| {
        let error = Network::new(input, layers).map(|_| ()).expect_err("a size of 0");
        assert!(matches!(error, ModelError::Zero { .. }), "{error}");
        error.to_string()
    };
    let flat = || Sequential::new().then(Flatten);
    assert!(refused(&[1, 2, 2], flat().then(Dense::new("a", 4, 0))).starts_with("a.weight"));
    assert!(refused(&[1, 2, 2], flat().then(Dense::new("a", 0, 1))).starts_with("a.weight"));
    let conv = |channels, filters, kernel| {
        Sequential::new().then(Conv2d::new("c", channels, filters, kernel)).then(Flatten)
    };
    for layers in [conv(0, 1, 3), conv(1, 0, 3), conv(1, 1, 0)] {
        assert!(refused(&[1, 2, 2], layers).starts_with("c.weight"));
    }
    refused(&[1, 0, 2], flat());
    assert!(refused(&[2], Sequential::new().then(Embedding::new("e", 0, 3))).starts_with("e."));
}

#[test]
fn parameters_beyond_counting_and_beyond_memory_are_refused_before_they_are_drawn() {
    let wide = |width| Sequential::new().then(Dense::new("a", 4, width));
    let beyond = Network::new(&[4], wide(usize::MAX / 2)).map(|_| ());
    assert!(matches!(beyond, Err(ModelError::TooLarge { name, .. }) if name == "a.weight"));
    let inputs = Network::new(&[1 << 40, 1 << 40], Sequential::new().then(Flatten)).map(|_| ());
    assert!(matches!(&inputs, Err(ModelError::TooLarge { name, .. }) if name.contains("inputs")));
    let mlp = MlpConfig { input: [1, 1 << 40, 1 << 40], ..MlpConfig::default() }.network();
    assert!(matches!(mlp, Err(ModelError::TooLarge { .. })));
    let network = Network::new(&[4], wide(1 << 44)).expect("a network of shapes");
    let drawn = network.init(0, DType::F32, test_device());
    assert!(matches!(drawn, Err(ModelError::NoMemory(_))), "{drawn:?}");
}
