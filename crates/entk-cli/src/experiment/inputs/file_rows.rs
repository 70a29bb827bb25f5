//! Examples that are read some at a time from a file of a user's own: a path comes in, a source
//! whose errors name the file goes out, with a note where numbers look like pixels that were not
//! scaled. Called by the reader of inputs.

use std::{io, ops::Range, path::Path};

use anyhow::Result;
use candle_core::{Error, Tensor};
use entk::{
    data::{arrays::ArrayRows, npy::Data},
    device::InputSource,
};

use crate::{cli::names::LayoutName, run::Run};

/// Examples that are looked at for a note.
const LOOKED_AT: usize = 64;

/// The rows of a file as networks take them.
pub struct FileRows {
    rows: ArrayRows,
    channels_last: bool,
}

impl FileRows {
    /// Opens a file whose axes are in this order.
    ///
    /// # Errors
    /// As [`ArrayRows::open`].
    pub fn open(path: &Path, layout: Option<LayoutName>) -> Result<Self> {
        let channels_last = layout == Some(LayoutName::Nhwc);
        Ok(Self { rows: ArrayRows::open(path)?, channels_last })
    }

    /// Notes where the first examples look like pixels from 0 to 255.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn note_whole(&self, run: &Run, path: &Path) -> Result<()> {
        let n = self.examples();
        let (_, data) = self.rows.rows(0..n.min(LOOKED_AT))?.into_parts();
        let first =
            if n > LOOKED_AT { format!(", first {LOOKED_AT} inputs") } else { String::new() };
        note_whole(run, &format!("{}{first}", path.display()), &data);
        Ok(())
    }
}

impl InputSource for FileRows {
    fn examples(&self) -> usize {
        self.rows.shape()[0]
    }

    fn read(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        let rows = self.rows.rows(range).and_then(|rows| {
            rows.check_finite()?;
            rows.to_tensor()
        });
        let rows = rows.map_err(|error| Error::wrap(io::Error::other(error)))?;
        if self.channels_last && rows.rank() == 4 {
            return rows.permute((0, 3, 1, 2))?.contiguous();
        }
        Ok(rows)
    }
}

/// Notes whole numbers of a network that takes any, of integers or of floats up to 255: pixels
/// from 0 to 255 are rarely meant. `what` names the numbers.
pub fn note_whole(run: &Run, what: &str, data: &Data) {
    let Some((least, most)) = (match data {
        Data::I64(numbers) => whole(numbers.iter().map(|x| *x as f64)),
        Data::F64(numbers) => whole(numbers.iter().copied()).filter(are_pixels),
        Data::F32(numbers) => whole(numbers.iter().map(|x| f64::from(*x))).filter(are_pixels),
        _ => None,
    }) else {
        return;
    };
    let advice = match (least, most) {
        (least, _) if least < 0.0 => "; scale them if they are pixels",
        (_, most) if most > 1.0 => "; divide pixels by 255",
        _ => "",
    };
    run.note(format_args!(
        "{what}: whole numbers from {least} to {most}, taken as they are{advice}"
    ));
}

/// The least and the largest number where all are whole.
fn whole(mut numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.try_fold((0.0_f64, 0.0_f64), |(least, most), x| {
        (x.fract() == 0.0).then(|| (least.min(x), most.max(x)))
    })
}

fn are_pixels((least, most): &(f64, f64)) -> bool {
    *least >= 0.0 && *most > 1.0 && *most <= 255.0
}
