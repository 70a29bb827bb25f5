//! Axes: what one measures and how its values are spread, as a figure declares it; and for some
//! data its range and ticks, from which panels are drawn.

use anyhow::{Result, ensure};

use super::ticks::{Scale, TickFormat, Ticks, superscript, ticks};

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// From the lowest to the highest value shown; from the data if `None`.
    pub range: Option<(f64, f64)>,
    /// How tick labels are written.
    pub format: TickFormat,
}

impl Axis {
    /// A linear axis that covers the data.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, range: None, format: TickFormat::Plain }
    }

    /// A logarithmic axis that covers the data.
    pub fn log(label: impl Into<String>) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// Fixes the range; what lies outside is cut off.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// Writes fractions as percentages.
    pub fn percent(self) -> Self {
        Self { format: TickFormat::Percent, ..self }
    }

    /// Chooses range and ticks for some data, with about `target` ticks.
    pub(crate) fn fit(
        &self,
        values: impl Iterator<Item = f64>,
        target: usize,
    ) -> Result<FittedAxis> {
        let name = &self.label;
        let (low, high) = match self.range {
            Some(range) => range,
            None => self.cover(values)?,
        };
        ensure!(
            low < high && low.is_finite() && high.is_finite(),
            "axis {name:?} has the empty range {low} to {high}"
        );
        ensure!(
            self.scale == Scale::Linear || low > 0.0,
            "log axis {name:?} cannot start at {low}; use more than 0"
        );
        let ticks = ticks(low, high, self.scale, self.format, target);
        let label = match ticks.exponent {
            Some(exponent) => format!("{name} (×10{})", superscript(exponent)),
            None => name.clone(),
        };
        Ok(FittedAxis { scale: self.scale, low, high, ticks, label })
    }

    /// The range of the data with some room around it, which does not reach from positive data
    /// below zero.
    fn cover(&self, values: impl Iterator<Item = f64>) -> Result<(f64, f64)> {
        const ROOM: f64 = 0.04;
        let shown = values.filter(|&value| self.scale.coordinate(value).is_some());
        let (low, high) = shown
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        ensure!(low <= high, "axis {:?} has no value to show", self.label);
        Ok(match self.scale {
            Scale::Log if low == high => (low / 2.0, high * 2.0),
            Scale::Log => {
                let room = (high / low).powf(ROOM);
                (low / room, high * room)
            }
            Scale::Linear => {
                let room =
                    if low == high { 0.1 * low.abs().max(1e-3) } else { ROOM * (high - low) };
                let bottom = if low > 0.0 { (low - room).max(0.0) } else { low - room };
                (bottom, high + room)
            }
        })
    }
}

/// An axis with its range and ticks.
#[derive(Clone, Debug)]
pub(crate) struct FittedAxis {
    pub(crate) scale: Scale,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Ticks,
    pub(crate) label: String,
}

impl FittedAxis {
    /// Where `value` is between the ends, 0 to 1 and beyond; `None` if it cannot be shown at all.
    pub(crate) fn fraction(&self, value: f64) -> Option<f64> {
        let [low, high, at] =
            [self.low, self.high, value].map(|value| self.scale.coordinate(value));
        let (low, high) = (low?, high?);
        Some((at? - low) / (high - low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_axis_ignores_what_it_cannot_show() -> Result<()> {
        let axis = Axis::log("index").fit([0.0, 1.0, 100.0, f64::NAN, -3.0].into_iter(), 5)?;
        assert!(axis.low > 0.5 && axis.low < 1.0 && axis.high > 100.0);
        assert_eq!(axis.fraction(0.0), None);
        assert!(axis.fraction(10.0).is_some_and(|fraction| (fraction - 0.5).abs() < 1e-12));
        Ok(())
    }

    #[test]
    fn room_does_not_cross_zero() -> Result<()> {
        assert_eq!(Axis::linear("loss").fit([0.01, 1.0].into_iter(), 5)?.low, 0.0);
        assert!(Axis::linear("loss").fit([-0.01, 1.0].into_iter(), 5)?.low < -0.01);
        Ok(())
    }

    #[test]
    fn a_single_value_gets_a_range() -> Result<()> {
        for axis in [Axis::linear("x"), Axis::log("x")] {
            let fitted = axis.fit([5.0].into_iter(), 5)?;
            assert!(fitted.low < 5.0 && fitted.high > 5.0 && !fitted.ticks.major.is_empty());
        }
        Ok(())
    }

    #[test]
    fn impossible_ranges_are_refused_by_name() {
        let message =
            |axis: Axis| axis.fit([].into_iter(), 5).map(|_| ()).map_err(|error| error.to_string());
        let empty = Err("axis \"x\" has the empty range 2 to 1".to_owned());
        assert_eq!(message(Axis::linear("x").range(2.0, 1.0)), empty);
        assert!(
            message(Axis::log("x").range(0.0, 1.0))
                .is_err_and(|text| text.contains("log axis \"x\""))
        );
        assert!(message(Axis::linear("x")).is_err_and(|text| text.contains("no value to show")));
    }

    #[test]
    fn a_common_power_is_said_in_the_label() -> Result<()> {
        assert_eq!(
            Axis::linear("alignment").fit([0.0, 2e6].into_iter(), 5)?.label,
            "alignment (×10⁶)"
        );
        Ok(())
    }
}
