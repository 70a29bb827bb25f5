//! Ticks: the two ends of an axis and its scale come in, positions and labels go out. Called when
//! an axis is fitted to its data.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; only positive values can be shown.
    Log,
}

/// How tick labels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickFormat {
    /// Plain numbers.
    Plain,
    /// Fractions as percentages: 0.5 as 50%.
    Percent,
}

impl Scale {
    /// Where a value is, in units that are drawn evenly; `None` if it cannot be shown.
    pub(crate) fn coordinate(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear => value.is_finite().then_some(value),
            Self::Log => (value.is_finite() && value > 0.0).then(|| value.ln()),
        }
    }
}

impl TickFormat {
    pub(crate) fn factor_and_unit(self) -> (f64, &'static str) {
        match self {
            Self::Plain => (1.0, ""),
            Self::Percent => (100.0, "%"),
        }
    }
}

/// A labelled tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// The ticks of an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ticks {
    pub(crate) major: Vec<Tick>,
    pub(crate) minor: Vec<f64>,
    /// A common power of ten taken out of the labels, to be said in the axis' label.
    pub(crate) exponent: Option<i32>,
}

/// About `target` ticks between `low` and `high`.
pub(crate) fn ticks(low: f64, high: f64, scale: Scale, format: TickFormat, target: usize) -> Ticks {
    match scale {
        Scale::Linear => linear(low, high, format, target),
        Scale::Log => logarithmic(low, high, format, target),
    }
}

fn linear(low: f64, high: f64, format: TickFormat, target: usize) -> Ticks {
    let (factor, unit) = format.factor_and_unit();
    let (low, high) = (low * factor, high * factor);
    let largest = low.abs().max(high.abs());
    let readable = unit == "%" || (1e-2..1e5).contains(&largest);
    let exponent = (!readable).then(|| largest.log10().floor() as i32);
    let shrink = 10_f64.powi(exponent.unwrap_or(0));
    let (low, high) = (low / shrink, high / shrink);
    let (step, decimals) = nice_step((high - low) / target.max(1) as f64);
    let slack = 1e-9 * (high - low);
    let first = ((low - slack) / step).ceil() as i64;
    let last = ((high + slack) / step).floor() as i64;
    let tick = |n: i64| {
        let value = n as f64 * step;
        Tick { value: value * shrink / factor, label: minus(format!("{value:.decimals$}{unit}")) }
    };
    Ticks { major: (first..=last).map(tick).collect(), minor: Vec::new(), exponent }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`, and the decimals it
/// needs.
fn nice_step(step: f64) -> (f64, usize) {
    let exponent = step.log10().floor() as i32;
    let power = 10_f64.powi(exponent);
    let digit = [1.0, 2.0, 2.5, 5.0].into_iter().find(|digit| digit * power >= step * (1.0 - 1e-9));
    let (digit, exponent) = digit.map_or((1.0, exponent + 1), |digit| (digit, exponent));
    let decimals = -exponent + i32::from(digit == 2.5);
    (digit * 10_f64.powi(exponent), decimals.max(0) as usize)
}

/// Powers of ten, with 2 and 5 between them where there is room; unlabelled ticks at the other
/// digits.
fn logarithmic(low: f64, high: f64, format: TickFormat, target: usize) -> Ticks {
    let (factor, unit) = format.factor_and_unit();
    let (low, high) = (low * factor, high * factor);
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |value: &f64| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(value);
    let at = |digits: &[i32], every: i32| -> Vec<(i32, i32)> {
        let pairs =
            (first..=last).flat_map(|power| digits.iter().map(move |&digit| (digit, power)));
        pairs
            .filter(|&(digit, power)| {
                power.rem_euclid(every) == 0 && inside(&value_of(digit, power))
            })
            .collect()
    };
    let every = at(&[1], 1).len().div_ceil(target.max(1)).max(1) as i32;
    let choices = [at(&[1], every), at(&[1, 3], 1), at(&[1, 2, 5], 1)];
    let chosen = choices.iter().find(|choice| choice.len() >= 3);
    let Some(chosen) = chosen.or(choices.last().filter(|choice| choice.len() == 2)) else {
        return linear(low / factor, high / factor, format, target);
    };
    let plain = low >= 9e-4 && high <= 2e4;
    let label = |digit, power| match plain {
        true => format!("{}{unit}", value_of(digit, power)),
        false => format!("{}{unit}", power_label(digit, power)),
    };
    let major = chosen.iter().map(|&(digit, power)| (value_of(digit, power), label(digit, power)));
    let major = major.map(|(value, label)| Tick { value: value / factor, label }).collect();
    let digits: Vec<i32> = (1..=9).collect();
    let minor = if every > 1 { at(&[1], 1) } else { at(&digits, 1) };
    let minor = minor.into_iter().filter(|pair| !chosen.contains(pair));
    let minor = minor.map(|(digit, power)| value_of(digit, power) / factor).collect();
    Ticks { major, minor, exponent: None }
}

/// The number closest to digit x 10^power, so that it prints as such.
fn value_of(digit: i32, power: i32) -> f64 {
    match power {
        0.. => f64::from(digit) * 10_f64.powi(power),
        _ => f64::from(digit) / 10_f64.powi(-power),
    }
}

fn power_label(digit: i32, power: i32) -> String {
    match digit {
        1 => format!("10{}", superscript(power)),
        _ => format!("{digit}×10{}", superscript(power)),
    }
}

/// A whole number in raised digits.
pub(crate) fn superscript(number: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raise = |digit: char| digit.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize]);
    number.to_string().chars().map(raise).collect()
}

/// Writes the minus sign as one, not as a hyphen, and zero without.
fn minus(label: String) -> String {
    match label.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| !('1'..='9').contains(&c)) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, scale: Scale, format: TickFormat, target: usize) -> Vec<String> {
        ticks(low, high, scale, format, target).major.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let plain = |low, high| labels(low, high, Scale::Linear, TickFormat::Plain, 5);
        assert_eq!(plain(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(plain(-0.3, 0.3), ["−0.2", "0.0", "0.2"]);
        assert_eq!(plain(97.0, 103.0), ["98", "100", "102"]);
        assert_eq!(plain(0.0, 12_000.0), ["0", "2500", "5000", "7500", "10000"]);
    }

    #[test]
    fn percent_ticks_stand_at_the_fractions() {
        let found = ticks(0.48, 1.0, Scale::Linear, TickFormat::Percent, 5);
        let labels: Vec<&str> = found.major.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["60%", "80%", "100%"]);
        assert!((found.major[0].value - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_common_power_leaves_short_labels() {
        let found = ticks(0.0, 3.2e7, Scale::Linear, TickFormat::Plain, 4);
        assert_eq!(found.exponent, Some(7));
        assert_eq!(found.major[1].label, "1");
        assert_eq!(found.major[1].value, 1e7);
    }

    #[test]
    fn log_ticks_of_indices_are_the_decades() {
        let found = ticks(1.0, 1000.0, Scale::Log, TickFormat::Plain, 6);
        let labels: Vec<&str> = found.major.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["1", "10", "100", "1000"]);
        assert_eq!(found.minor.len(), 24);
    }

    #[test]
    fn short_log_ranges_get_digits_between() {
        let log = |low, high| labels(low, high, Scale::Log, TickFormat::Plain, 6);
        assert_eq!(log(900.0, 13_000.0), ["1000", "3000", "10000"]);
        assert_eq!(log(10.0, 60.0), ["10", "20", "50"]);
        assert_eq!(log(2.1, 3.9), ["2.5", "3.0", "3.5"]);
        assert_eq!(log(0.005, 0.7), ["0.01", "0.03", "0.1", "0.3"]);
    }

    #[test]
    fn long_log_ranges_skip_decades() {
        let log = |low, high| labels(low, high, Scale::Log, TickFormat::Plain, 5);
        assert_eq!(log(1e-7, 1e3), ["10⁻⁶", "10⁻³", "10⁰", "10³"]);
        assert_eq!(log(1e6, 1e9), ["10⁶", "10⁷", "10⁸", "10⁹"]);
    }
}
