//! Files of data sets and arrays.

use entk::data::{Layout, cifar, idx, npy};

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

/// Images and labels in IDX, plain or compressed.
pub fn idx(data: &[u8]) {
    if let Ok(images) = idx::parse_images(data, "f") {
        let expected = images.count() * images.channels() * images.height() * images.width();
        assert_eq!(images.to_vec().expect("values").len(), expected);
    }
    if let Ok(labels) = idx::parse_labels(data, "f", 10) {
        assert!(labels.iter().all(|label| *label < 10));
    }
}

/// A file of CIFAR-10.
pub fn cifar(data: &[u8]) {
    if let Ok(records) = cifar::parse_batch(data, "f") {
        assert_eq!(records.count() * 3073, data.len());
    }
}
