//! From labels, a size and a seed to the indices of a subset in which every class has its share.
//!
//! [`Dataset::stratified_indices`](crate::Dataset::stratified_indices) checks the size and calls
//! it.

use rand::{SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

/// How many of `n` examples each class gets: its exact share rounded down, and one more for the
/// largest remainders.
///
/// Requires `1 <= n <= sum(counts)`. A class never gets more than it has: only a class with a
/// remainder can get one more, and then its share was below its size.
pub(crate) fn quotas(counts: &[usize], n: usize) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    // 128 bits: n * count may exceed 64.
    let share = |count: usize| {
        (n as u128 * count as u128 / total as u128, n as u128 * count as u128 % total as u128)
    };
    let mut quotas: Vec<usize> = counts.iter().map(|&count| share(count).0 as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| (std::cmp::Reverse(share(counts[class]).1), class));
    let left = n - quotas.iter().sum::<usize>();
    for &class in by_remainder.iter().take(left) {
        quotas[class] += 1;
    }
    quotas
}

/// Indices, ascending, of a stratified subset of `n` of the examples with these labels (all below
/// `classes`).
///
/// One generator shuffles the members of class 0, then those of class 1, and so on, whatever `n`
/// is; the first of each are taken.
pub(crate) fn indices(labels: &[u8], classes: usize, n: usize, seed: u64) -> Vec<usize> {
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        members[usize::from(label)].push(index);
    }
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = Vec::with_capacity(n);
    for (class, quota) in members.iter_mut().zip(quotas(&counts, n)) {
        class.shuffle(&mut rng);
        chosen.extend_from_slice(&class[..quota]);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_go_to_the_largest_then_the_lowest_class() {
        assert_eq!(quotas(&[10, 10, 10], 10), [4, 3, 3]);
        assert_eq!(quotas(&[1, 2, 7], 5), [1, 1, 3]);
        assert_eq!(quotas(&[0, 5, 5], 10), [0, 5, 5]);
        assert_eq!(quotas(&[3], 2), [2]);
    }

    #[test]
    fn the_draw_is_pinned() {
        // A change here changes every published result: it needs a new major version.
        let labels: Vec<u8> = (0..40).map(|i| i % 4).collect();
        assert_eq!(indices(&labels, 4, 6, 1), [3, 5, 12, 30, 32, 37]);
        assert_ne!(indices(&labels, 4, 6, 1), indices(&labels, 4, 6, 2));
    }
}
