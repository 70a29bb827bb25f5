//! A plan as data: its numbers go out by name, for records of runs and other programs.

use serde::{Serialize, Serializer};

use crate::{
    factors::form::LayerPlan,
    plan::{Buffer, Plan, Target, order::Order},
};

/// What a plan says, under the names of its methods.
#[derive(Serialize)]
struct PlanRecord<'p> {
    examples: usize,
    n: usize,
    target: Target,
    layers: &'p [LayerPlan],
    order: Order,
    buffers: Vec<Buffer>,
    peak: u64,
    disk: u64,
    sweep_operations: f64,
    operations: f64,
    sweep_s: f64,
    contraction_s: f64,
}

/// Every number of the plan under the name of its method; sizes are in bytes. A plan is computed
/// from a kernel and a machine, and not read back.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use entk_gram::{Assembly, GramConfig, plan::Target};
/// # use entk_models::{MlpConfig, Model};
/// # let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// # let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// # let x = Tensor::ones((3, 1, 4, 4), DType::F64, &Device::Cpu)?;
/// # let config = GramConfig::default();
/// let plan = Assembly::new(&network, &theta, &x, &config)?.plan(Target::Memory)?;
/// let json = serde_json::to_value(&plan).expect("numbers");
/// assert_eq!((&json["examples"], &json["disk"]), (&3.into(), &0.into()));
/// assert_eq!(json["peak"], plan.peak());
/// # Ok::<(), entk_gram::GramError>(())
/// ```
impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = PlanRecord {
            examples: self.examples(),
            n: self.n(),
            target: self.target(),
            layers: self.layers(),
            order: self.order(),
            buffers: self.buffers(),
            peak: self.peak(),
            disk: self.disk(),
            sweep_operations: self.sweep_operations(),
            operations: self.operations(),
            sweep_s: self.sweep_s(),
            contraction_s: self.contraction_s(),
        };
        record.serialize(serializer)
    }
}
