//! Rows split into phases and merged again: entries a fixed step apart go in, each phase comes out
//! as a contiguous row, which loops over windows and resampled outputs run through as vectors.

/// Entries of one phase of a row of `length`.
pub(crate) fn phase(length: usize, step: usize) -> usize {
    length.div_ceil(step)
}

/// Where the entry of this number of a row of `length` is among phases.
#[inline(always)]
pub(crate) fn place(entry: usize, length: usize, step: usize) -> usize {
    entry % step * phase(length, step) + entry / step
}

/// Fills `phases`, one after another, with the entries of `row` from 0, 1, ... on, `step` apart.
#[inline(always)]
pub(crate) fn split<T: Copy>(row: &[T], step: usize, phases: &mut [T]) {
    let phase = phase(row.len(), step);
    if step == 2 {
        let (even, odd) = phases.split_at_mut(phase);
        let (pairs, rest) = row.as_chunks::<2>();
        for ((even, odd), pair) in even.iter_mut().zip(odd).zip(pairs) {
            [*even, *odd] = *pair;
        }
        if let ([last], Some(even)) = (rest, even.last_mut()) {
            *even = *last;
        }
        return;
    }
    for (first, phase) in phases.chunks_exact_mut(phase).enumerate() {
        let entries = row.iter().skip(first).step_by(step);
        phase.iter_mut().zip(entries).for_each(|(to, from)| *to = *from);
    }
}

/// Fills `row` from its phases: the inverse of [`split`].
#[inline(always)]
pub(crate) fn merge<T: Copy>(phases: &[T], step: usize, row: &mut [T]) {
    let phase = phase(row.len(), step);
    if step == 2 {
        let (even, odd) = phases.split_at(phase);
        let (pairs, rest) = row.as_chunks_mut::<2>();
        for (pair, (even, odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
            *pair = [*even, *odd];
        }
        if let ([last], Some(even)) = (rest, even.last()) {
            *last = *even;
        }
        return;
    }
    for (first, phase) in phases.chunks_exact(phase).enumerate() {
        let entries = row.iter_mut().skip(first).step_by(step);
        entries.zip(phase).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_split_and_merged() {
        for (length, step) in [(1, 1), (7, 2), (8, 2), (1, 2), (10, 3), (2, 5), (12, 4)] {
            let row: Vec<usize> = (100..100 + length).collect();
            let mut phases = vec![0; phase(length, step) * step];
            split(&row, step, &mut phases);
            for (entry, number) in row.iter().enumerate() {
                assert_eq!(phases[place(entry, length, step)], *number, "{length} {step}");
            }
            let mut merged = vec![0; length];
            merge(&phases, step, &mut merged);
            assert_eq!(merged, row);
        }
    }
}
