//! Flags of programs and the small languages in them.

#[allow(dead_code)] // only parsed
#[path = "../../../crates/entk-cli/src/commands/gram/flags.rs"]
mod gram_flags;

use clap::Parser;
use entk::gram::store::{Grid, Part};
use entk_cli::IndexList;
use gram_flags::Flags;

/// A byte that says which, then the text: an index list, a part, the numbers of a Slurm array
/// separated by commas, or all flags of `gram`, one a line.
pub fn flags(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match mode % 4 {
        0 => index_list(text),
        1 => part(text),
        2 => slurm(text),
        _ => {
            let _ = Flags::try_parse_from(std::iter::once("gram").chain(text.split('\n')));
        }
    }
}

fn index_list(text: &str) {
    let Ok(list) = text.parse::<IndexList>() else { return };
    let indices = list.as_slice();
    assert!(indices.first().is_some_and(|first| *first > 0));
    assert!(indices.windows(2).all(|pair| pair[0] < pair[1]));
    if indices.len() < 1000 {
        assert_eq!(list.to_string().parse::<IndexList>().expect("its own text"), list);
    }
    let _ = list.check_at_most(10, "x");
}

fn part(text: &str) {
    let Ok(part) = text.parse::<Part>() else { return };
    assert_eq!(part.to_string().parse::<Part>().expect("its own text"), part);
    let _ = part.share(Grid::new(100, 10));
}

fn slurm(text: &str) {
    if let [id, first, count] = text.split(',').collect::<Vec<_>>()[..] {
        let _ = Part::of_task(id, first, count);
    }
}
