//! From the logits of one example and its class to the softmax cross-entropy and its slopes, with
//! smoothed labels and class weights.
//!
//! [`Objective`](crate::Objective) sums them over examples.

/// One example: C logits and a label.
pub(super) struct Softmax<'a> {
    pub(super) row: &'a [f64],
    pub(super) label: usize,
    /// The share of the label that is spread over all classes.
    pub(super) smoothing: f64,
    /// Of the classes; empty for 1 each.
    pub(super) weights: &'a [f64],
}

impl Softmax<'_> {
    /// `sum_c w_c q_c (log sum_k exp(z_k) - z_c)`.
    pub(super) fn value(&self) -> f64 {
        let (at, largest) = first_maximum(self.row);
        let others = self.row.iter().enumerate().filter(|(c, _)| *c != at);
        let log_sum = others.map(|(_, z)| (z - largest).exp()).sum::<f64>().ln_1p();
        let of_class = |c: usize| log_sum + (largest - self.row[c]);
        if self.smoothing == 0.0 {
            return self.weight(self.label) * of_class(self.label);
        }
        (0..self.row.len()).map(|c| self.share(c) * of_class(c)).sum()
    }

    /// Appends the derivatives in the logits over `total`: `p_k sum_c w_c q_c - w_k q_k`. For the
    /// label, where q is near 1, that is `p_k sum_{c != k} w_c q_c - w_k q_k sum_{c != k} p_c`:
    /// without cancellation.
    pub(super) fn add_slopes(&self, total: f64, slopes: &mut Vec<f64>) {
        let (_, largest) = first_maximum(self.row);
        let begin = slopes.len();
        slopes.extend(self.row.iter().map(|z| (z - largest).exp()));
        let p = &mut slopes[begin..];
        let rest = sum_without(p, self.label);
        let sum = rest + p[self.label];
        let others: f64 = match self.smoothing {
            0.0 => 0.0,
            _ => (0..p.len()).filter(|&c| c != self.label).map(|c| self.share(c)).sum(),
        };
        let own = self.share(self.label);
        for (k, p) in p.iter_mut().enumerate() {
            let slope = if k == self.label {
                (*p * others - own * rest) / sum
            } else {
                *p / sum * (others + own) - self.share(k)
            };
            *p = slope / total;
        }
    }

    /// w_c q_c.
    fn share(&self, class: usize) -> f64 {
        let own = if class == self.label { 1.0 - self.smoothing } else { 0.0 };
        self.weight(class) * (own + self.smoothing / self.row.len() as f64)
    }

    fn weight(&self, class: usize) -> f64 {
        self.weights.get(class).copied().unwrap_or(1.0)
    }
}

/// The softmax of one example: C probabilities.
pub(crate) fn probabilities(row: &[f64]) -> Vec<f64> {
    let (_, largest) = first_maximum(row);
    let exponentials: Vec<f64> = row.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// The first of the largest entries, with its index.
pub(crate) fn first_maximum(row: &[f64]) -> (usize, f64) {
    let larger = |best: (usize, f64), (index, &z): (usize, &f64)| {
        if z > best.1 { (index, z) } else { best }
    };
    row.iter().enumerate().fold((0, f64::NEG_INFINITY), larger)
}

fn sum_without(numbers: &[f64], at: usize) -> f64 {
    numbers[..at].iter().sum::<f64>() + numbers[at + 1..].iter().sum::<f64>()
}
