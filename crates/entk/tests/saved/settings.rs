//! Settings go through JSON unchanged: what is left out is the default, what is unknown is refused.
#![cfg(feature = "serde")]

use std::fmt::Debug;

use entk::{
    gram::{CpuConfig, Outputs},
    models::{
        BertConfig, ConvNextConfig, Gpt2Config, LeNet5Config, LlamaConfig, LstmConfig, MlpConfig,
        MobileNetV2Config, ResNetBlock, ResNetConfig, UNetConfig, VggConfig, VitConfig,
        WideResNetConfig,
    },
    predict::{CgConfig, CholeskyConfig},
    spectral::{EigshConfig, StatisticsConfig},
};
use entk_testing::TestResult;
use serde_json::{from_str, from_value, json, to_value};

fn goes_through<T>() -> TestResult
where
    T: Default + Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    let default = T::default();
    assert_eq!(from_value::<T>(to_value(&default)?)?, default);
    assert_eq!(from_str::<T>("{}")?, default);
    let error = from_str::<T>(r#"{"no_such_setting": 1}"#).expect_err("an unknown setting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    Ok(())
}

#[test]
fn settings_of_networks_go_through_json() -> TestResult {
    goes_through::<MlpConfig>()?;
    goes_through::<LeNet5Config>()?;
    goes_through::<ResNetConfig>()?;
    goes_through::<WideResNetConfig>()?;
    goes_through::<VggConfig>()?;
    goes_through::<MobileNetV2Config>()?;
    goes_through::<ConvNextConfig>()?;
    goes_through::<UNetConfig>()?;
    goes_through::<VitConfig>()?;
    goes_through::<Gpt2Config>()?;
    goes_through::<BertConfig>()?;
    goes_through::<LlamaConfig>()?;
    goes_through::<LstmConfig>()
}

#[test]
fn settings_of_solvers_go_through_json() -> TestResult {
    goes_through::<CpuConfig>()?;
    goes_through::<EigshConfig>()?;
    goes_through::<StatisticsConfig>()?;
    goes_through::<CgConfig>()?;
    goes_through::<CholeskyConfig>()
}

#[test]
fn what_is_given_replaces_the_default() -> TestResult {
    let config: ResNetConfig = from_value(json!({
        "block": { "Bottleneck": { "base_width": 64 } }, "outputs": 10
    }))?;
    assert_eq!((config.block, config.outputs), (ResNetBlock::Bottleneck { base_width: 64 }, 10));
    assert_eq!(from_value::<Outputs>(json!({ "One": 3 }))?, Outputs::One(3));
    Ok(())
}
