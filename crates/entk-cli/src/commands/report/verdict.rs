//! What a run shows of the paper's claim: its tables come in; the parts of the claim, each with
//! numbers and whether it holds, go out. Called by `page`.

use std::fmt;

use entk_cli::Summary;

use super::{
    curve::{Curve, curve, percent, plain, values},
    finished::ResultTable,
};

/// Rank correlation from which on a curve rises or falls.
const TREND: f64 = 0.5;
/// Predicted alignments this close, relatively, are equal: most of an MLP's are.
const ROUND_OFF: f64 = 1e-6;
/// Accuracies this close are as good as each other.
const CLOSE: f64 = 0.02;
/// The eigenfunctions that lead, the constant one left out.
const LEADING: std::ops::RangeInclusive<f64> = 2.0..=100.0;

/// A part of a claim.
#[derive(Debug, PartialEq)]
pub struct ClaimPart {
    pub claim: &'static str,
    /// The numbers, each a median with the extremes of several seeds.
    pub found: String,
    pub holds: bool,
}

/// What the parts say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    InPart,
    No,
    NotShown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::InPart => "holds in part",
            Self::No => "does not hold",
            Self::NotShown => "not shown",
        })
    }
}

/// What a run says of a claim.
pub struct Judgement {
    /// The parts that its tables show.
    pub parts: Vec<ClaimPart>,
    /// How many more there are, such as those of a network that was not trained.
    pub unseen: usize,
}

impl Judgement {
    /// Of no part at all nothing is shown, and what is shown in part holds in part.
    pub fn verdict(&self) -> Verdict {
        let count = self.parts.len();
        match self.parts.iter().filter(|part| part.holds).count() {
            _ if count == 0 => Verdict::NotShown,
            0 => Verdict::No,
            held if held == count + self.unseen => Verdict::Holds,
            _ => Verdict::InPart,
        }
    }
}

/// What the tables of a run show of the claim; nothing of a program without numbers to compare.
pub fn judge(program: &str, run: &[ResultTable]) -> Judgement {
    let parts = match program {
        "fig02" => fig02(run),
        "fig03" => fig03(run),
        "fig04" => ["network", "linearization"].map(|model| fig04(run, model)).into(),
        "fig05" => fig05(run),
        "fig06" => fig06(run),
        "fig07" => fig07(run),
        "fig08" => fig08(run),
        "fig09" => fig09(run),
        "table1" => table1(run),
        _ => Vec::new(),
    };
    let all = parts.len();
    let parts: Vec<ClaimPart> = parts.into_iter().flatten().collect();
    Judgement { unseen: all - parts.len(), parts }
}

fn fig02(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let of = |model| curve(run, "tasks.csv", ["index", "test_accuracy"], &[("model", model)]);
    let (network, linear) = (of("network"), of("linearization"));
    let falls = |curve: &Curve, claim| trend(&curve.above(0.0), claim, -1.0, percent);
    let leads = || {
        let shared = linear.differences(&network);
        let leading: Vec<f64> =
            shared.into_iter().filter(|(at, _)| LEADING.contains(at)).map(|(_, d)| d).collect();
        let ahead = leading.iter().filter(|difference| **difference > 0.0).count();
        let mean = leading.iter().sum::<f64>() / leading.len() as f64;
        let count = leading.len();
        (count > 0).then(|| ClaimPart {
            claim: "the linearization beats the network on leading eigenfunctions (2 to 100)",
            found: format!("ahead on {ahead} of {count}, by {:.1} points on average", 100.0 * mean),
            holds: 2 * ahead > count && mean > 0.0,
        })
    };
    let class = || {
        let (a, b) = (network.at(0.0)?, linear.at(0.0)?);
        let found = format!("network {}, linearization {}", percent(&a), percent(&b));
        let claim = "the network beats the linearization on the classes";
        Some(ClaimPart { claim, found, holds: a.median > b.median })
    };
    vec![
        falls(&network, "the network's accuracy falls with the index"),
        falls(&linear, "the linearization's accuracy falls with the index"),
        leads(),
        class(),
    ]
}

fn fig03(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let rises = |column, claim| {
        trend(&curve(run, "tasks.csv", ["index", column], &[]).above(0.0), claim, 1.0, plain)
    };
    vec![
        rises("convergence_epoch", "training takes longer with the index"),
        rises("distance", "parameters move further with the index"),
    ]
}

/// A curve that rises, or with a sign of -1 falls.
fn trend(
    curve: &Curve,
    claim: &'static str,
    sign: f64,
    show: fn(&Summary) -> String,
) -> Option<ClaimPart> {
    let correlation = curve.rank_correlation()?;
    let found = format!("{}; rank correlation {correlation:.2}", curve.ends(show)?);
    Some(ClaimPart { claim, found, holds: sign * correlation >= TREND })
}

fn fig04(run: &[ResultTable], model: &'static str) -> Option<ClaimPart> {
    let curve = curve(run, "directions.csv", ["predicted_alignment", model], &[]);
    let curve = curve.with_equal_places(ROUND_OFF);
    let correlation = curve.rank_correlation()?;
    let claim = match model {
        "network" => "the network's accuracy follows the predicted alignment",
        _ => "the linearization's accuracy follows the predicted alignment",
    };
    let found = format!("rank correlation {correlation:.2}");
    Some(ClaimPart { claim, found, holds: correlation >= TREND })
}

fn fig05(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let of = |model| curve(run, "sizes.csv", ["train", "test_accuracy"], &[("model", model)]);
    let leads = of("network").differences(&of("linearization"));
    let (Some((few, first)), Some((many, last))) = (leads.first(), leads.last()) else {
        return Vec::new();
    };
    let points =
        |lead: &f64, images: &f64| format!("{:+.1} points at {images} images", 100.0 * lead);
    vec![
        Some(ClaimPart {
            claim: "with little data the linearization is as good as the network",
            found: format!("the network leads by {}", points(first, few)),
            holds: *first <= CLOSE,
        }),
        Some(ClaimPart {
            claim: "the network's advantage grows with the data",
            found: format!("from {} to {}", points(first, few), points(last, many)),
            holds: last > first,
        }),
    ]
}

fn fig06(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let rises = |index: &str| {
        let energy = curve(run, "epochs.csv", ["epoch", "energy"], &[("index", index)]);
        let claim = match index {
            "0" => "the energy of the classes rises in training",
            _ => "the energy of an eigenfunction rises in training",
        };
        risen(&energy, claim, 1.0, "epoch")
    };
    values(run, "epochs.csv", "index").iter().map(|index| rises(index)).collect()
}

/// The last value against the first, times the sign.
fn risen(curve: &Curve, claim: &'static str, sign: f64, unit: &str) -> Option<ClaimPart> {
    let (from, to) = (curve.0.first()?, curve.0.last()?);
    let found =
        format!("{} at {unit} {}, {} at {unit} {}", percent(&from.1), from.0, percent(&to.1), to.0);
    Some(ClaimPart { claim, found, holds: sign * (to.1.median - from.1.median) > 0.0 })
}

fn fig07(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let of = |column| curve(run, "trainings.csv", ["trained", column], &[]);
    let (own, median) = (of("growth"), of("median_growth"));
    if own.0.is_empty() || median.0.is_empty() {
        return Vec::new();
    }
    let least = median.0.iter().map(|(_, growth)| growth.median).fold(f64::INFINITY, f64::min);
    let ratios: Vec<f64> = (own.0.iter())
        .filter_map(|(at, growth)| Some(growth.median / median.at(*at)?.median))
        .collect();
    let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.1}")).collect();
    vec![
        Some(ClaimPart {
            claim: "training raises the alignment of all eigenfunctions",
            found: format!("by a median factor of {least:.1} at least"),
            holds: least > 1.0,
        }),
        Some(ClaimPart {
            claim: "it raises that of the one trained on most",
            found: format!("by {} times the median", shown.join(", ")),
            holds: ratios.iter().all(|ratio| *ratio > 1.0),
        }),
    ]
}

fn fig08(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let last = |model, column| {
        let only = [("model", model)];
        curve(run, "epochs.csv", ["epoch", column], &only).0.last().map(|(_, value)| *value)
    };
    let (initial, trained) =
        ("linearization at initialisation", "linearization at trained weights");
    let compare = |claim, column, show: fn(&Summary) -> String| {
        let (a, b) = (last(initial, column)?, last(trained, column)?);
        let found = format!("{} at trained weights, {} at initialisation", show(&b), show(&a));
        Some(ClaimPart { claim, found, holds: b.median < a.median })
    };
    vec![
        compare("at trained weights the training loss falls further", "train_loss", plain),
        compare("at trained weights the linearization generalises worse", "test_accuracy", percent),
    ]
}

fn fig09(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let of = |index: &str| {
        let accuracy =
            curve(run, "linearizations.csv", ["epoch", "test_accuracy"], &[("index", index)]);
        match index {
            "0" => risen(&accuracy, "linearized later, it is better on the classes", 1.0, "epoch"),
            _ => {
                risen(&accuracy, "linearized later, it is worse on an eigenfunction", -1.0, "epoch")
            }
        }
    };
    values(run, "linearizations.csv", "index").iter().map(|index| of(index)).collect()
}

fn table1(run: &[ResultTable]) -> Vec<Option<ClaimPart>> {
    let of =
        |column| curve(run, "table1.csv", ["constant", column], &[]).0.first().map(|(_, x)| *x);
    let initial = of("initial_energy").map(|energy| ClaimPart {
        claim: "before training the share in the top eigenfunctions is small",
        found: percent(&energy),
        holds: energy.median < 0.5,
    });
    let grows = || {
        let (from, to) = (of("initial_energy")?, of("final_energy")?);
        Some(ClaimPart {
            claim: "training makes it large",
            found: format!("{} before, {} after", percent(&from), percent(&to)),
            holds: to.median > 0.5 && to.median > from.median,
        })
    };
    vec![initial, grows()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &str, file: &str, table: &str) -> Judgement {
        let line = |line: &str| line.split(',').map(str::to_owned).collect();
        let lines = table.split("; ").map(line).collect();
        let tables = vec![ResultTable { file: file.to_owned(), lines }];
        judge(program, &tables)
    }

    fn held(judgement: &Judgement) -> Vec<bool> {
        judgement.parts.iter().map(|part| part.holds).collect()
    }

    #[test]
    fn figure_2_has_four_parts() {
        let table = "index,seed,model,test_accuracy; 1,0,network,0.98; 2,0,network,0.9; \
                     50,0,network,0.7; 0,0,network,0.68; 0,1,network,0.70; \
                     1,0,linearization,0.97; 2,0,linearization,0.95; 50,0,linearization,0.9; \
                     0,0,linearization,0.6";
        let judged = of("fig02", "tasks.csv", table);
        assert_eq!(held(&judged), [true; 4]);
        let found = |part: usize| &*judged.parts[part].found;
        assert_eq!(found(2), "ahead on 2 of 2, by 12.5 points on average");
        assert_eq!(found(3), "network 69.0 % (68.0 to 70.0), linearization 60.0 %");
        assert_eq!(judged.verdict(), Verdict::Holds);
        let other = table.replace("0,0,linearization,0.6", "0,0,linearization,0.7");
        let judged = of("fig02", "tasks.csv", &other);
        assert_eq!((held(&judged)[3], judged.verdict()), (false, Verdict::InPart));
        // Without networks nothing is said of them, and the claim is not shown as a whole.
        let linear = "index,model,test_accuracy; 1,linearization,0.97; 2,linearization,0.95; \
                      50,linearization,0.9";
        let judged = of("fig02", "tasks.csv", linear);
        assert_eq!((held(&judged), judged.unseen), (vec![true], 3));
        assert_eq!(judged.verdict(), Verdict::InPart);
    }

    /// Program, file, table, and whether each part of the claim holds.
    type Case = (&'static str, &'static str, &'static str, &'static [bool]);

    const CASES: [Case; 12] = [
        (
            "fig03",
            "tasks.csv",
            "index,convergence_epoch,distance; 0,9,9; 1,1,5; 2,2,4; 5,3,3",
            &[true, false],
        ),
        (
            "fig04",
            "directions.csv",
            "index,predicted_alignment,network,linearization; 1,5e-3,1,1; 2,3e-3,0.9,0.8; \
             3,1e-3,0.5,0.9",
            &[true, true],
        ),
        // But for round-off four alignments are one.
        (
            "fig04",
            "directions.csv",
            "index,predicted_alignment,network,linearization; 1,4e-3,1,0.2; 2,1.0000000001e-3,0.5,0.5; \
             3,1.00000000009e-3,0.6,0.6; 4,1.00000000008e-3,0.7,0.7; 5,1e-3,0.8,0.8",
            &[true, false],
        ),
        (
            "fig05",
            "sizes.csv",
            "model,train,test_accuracy; network,100,0.6; network,900,0.8; \
             linearization,100,0.61; linearization,900,0.7",
            &[true, true],
        ),
        (
            "fig06",
            "epochs.csv",
            "index,epoch,energy; 0,0,0.2; 0,9,0.8; 20,0,0.3; 20,9,0.1",
            &[true, false],
        ),
        (
            "fig07",
            "trainings.csv",
            "trained,growth,median_growth; 20,300,40; 100,20,30",
            &[true, false],
        ),
        (
            "fig08",
            "epochs.csv",
            "model,epoch,train_loss,test_accuracy; linearization at initialisation,9,0.2,0.9; \
             linearization at trained weights,9,0.1,0.7",
            &[true, true],
        ),
        (
            "fig09",
            "linearizations.csv",
            "index,epoch,test_accuracy; 20,0,0.9; 20,9,0.7; 0,0,0.8; 0,9,0.9",
            &[true, true],
        ),
        (
            "table1",
            "table1.csv",
            "seed,initial_energy,final_energy; 0,0.26,0.7; 1,0.27,0.6",
            &[true, true],
        ),
        ("table1", "table1.csv", "seed,initial_energy,final_energy; 0,0.26,", &[true]),
        ("fig10", "directions.csv", "index; 1", &[]),
        ("fig03", "other.csv", "index; 1", &[]),
    ];

    #[test]
    fn each_figure_is_judged_by_its_own_numbers() {
        for (program, file, table, expected) in CASES {
            let judged = of(program, file, table);
            assert_eq!(held(&judged), expected, "{program}: {:?}", judged.parts);
        }
        assert_eq!(of("fig10", "directions.csv", "index; 1").verdict(), Verdict::NotShown);
    }
}
