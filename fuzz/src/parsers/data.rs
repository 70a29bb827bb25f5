//! Files of data sets, arrays and tables.

use std::path::{Path, PathBuf};

use entk::data::{
    Cifar100Labels, DataError, Layout,
    arrays::{self, ArrayRows},
    cifar, idx,
    npy::{self, Array},
    svhn,
    tables::{self, ColumnStandardizer, ConstantColumns, CsvConfig, HeaderLine, TableColumns},
};

use crate::parsers::inputs::with_file;

/// A `.npy` file.
pub fn npy(data: &[u8]) {
    let Ok(array) = npy::parse(data, "f") else { return };
    let count: usize = array.shape().iter().product();
    assert!(count <= data.len());
    assert_eq!(array.to_f64().len(), count);
    let is_finite = array.check_finite().is_ok();
    assert_eq!(is_finite, array.to_f64().iter().all(|value| value.is_finite()));
    let _ = array.to_tensor();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        if let Ok(images) = array.to_images(layout) {
            assert!(is_finite && images.to_vec().expect("values").len() == count);
        }
    }
    if let Ok(labels) = array.to_labels(10) {
        assert!(labels.len() == count && labels.iter().all(|label| *label < 10));
    }
}

/// Images and labels in IDX, plain or compressed, or a MATLAB file of SVHN.
pub fn idx(data: &[u8]) {
    if data.starts_with(b"MATLAB") {
        if let Ok(images) = with_file(data, |path| svhn::read_file(path)) {
            assert!(images.labels().iter().all(|label| *label < 10));
            assert_eq!(images.images().image_shape(), (3, 32, 32));
        }
        return;
    }
    if let Ok(images) = idx::parse_images(data, "f") {
        let expected = images.count() * images.channels() * images.height() * images.width();
        assert_eq!(images.to_vec().expect("values").len(), expected);
    }
    if let Ok(labels) = idx::parse_labels(data, "f", 10) {
        assert!(labels.iter().all(|label| *label < 10));
    }
}

/// Arrays in a file of any format: the only one, or some by their names.
pub fn arrays(data: &[u8]) {
    with_file(data, |path| {
        let mut paths = vec![path.to_owned()];
        if let Err(DataError::ArrayName { names, .. }) = arrays::describe(path) {
            let named = |name| PathBuf::from(format!("{}:{name}", path.display()));
            paths.extend(names.split(", ").take(8).map(named));
        }
        paths.iter().for_each(|path| array(path));
    });
}

/// One array: what is said of it before it is read, and its parts.
fn array(path: &Path) {
    let bits = |array: &Array| array.to_f64().into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let header = arrays::describe(path);
    let rows = ArrayRows::open(path);
    let Ok(array) = arrays::read(path) else { return };
    let header = header.expect("a header");
    let count: usize = array.shape().iter().product();
    assert_eq!((header.shape.as_slice(), bits(&array).len()), (array.shape(), count));
    let row = count / array.shape().first().copied().unwrap_or(1);
    let leading = arrays::read_leading(path, 1).expect("the first row");
    assert_eq!(bits(&leading), bits(&array)[..row]);
    if let Ok(rows) = rows {
        let first = rows.rows(0..1).expect("the first row");
        assert_eq!(bits(&first), bits(&leading));
    }
}

/// A CSV file; the first byte says how it is read.
pub fn table(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let headers = [HeaderLine::Detect, HeaderLine::Present, HeaderLine::Absent];
    let config = CsvConfig {
        header: headers[usize::from(mode % 3)],
        columns: match mode & 48 {
            16 => TableColumns::Only(vec!["0".into()]),
            32 => TableColumns::Without(vec!["0".into()]),
            _ => TableColumns::All,
        },
        delimiter: if mode & 4 == 0 { b',' } else { b';' },
        classes: if mode & 8 == 0 { Vec::new() } else { vec!["0".into()] },
    };
    let Ok(table) = tables::parse_csv(rest, "f", &config) else { return };
    assert_eq!(table.values().len(), table.rows() * table.names().len());
    assert!(table.values().iter().all(|value| value.is_finite()));
    let standardizer = ColumnStandardizer::fit(&table, ConstantColumns::Zero);
    if let Ok(scaled) = standardizer.and_then(|standardizer| standardizer.apply(&table)) {
        assert_eq!(scaled.rows(), table.rows());
    }
}

/// A file of CIFAR-10 or CIFAR-100.
pub fn cifar(data: &[u8]) {
    for labels in [Cifar100Labels::Fine, Cifar100Labels::Coarse] {
        if let Ok(records) = cifar::parse_batch_100(data, "f", labels) {
            assert_eq!(records.count() * 3074, data.len());
        }
    }
    if let Ok(records) = cifar::parse_batch(data, "f") {
        assert_eq!(records.count() * 3073, data.len());
    }
}
