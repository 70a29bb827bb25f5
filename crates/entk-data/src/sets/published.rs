//! Which published data set labels belong to: labels come in, its name goes out. Called after files
//! of MNIST's names were read, which Fashion-MNIST has too.

/// Names of data sets, and the BLAKE3 hashes of their labels, a byte each in the published order.
const LABELS: [(&str, &str); 4] = [
    ("fashion-mnist", "32fcc5c992292ad2bdad03c701be466e8fba20b38d37a4f59514aba5d872dc07"),
    ("fashion-mnist", "46effff67f65a1a2ba684568341f9a34c0e0c344fee101842cc811422cf19f16"),
    ("mnist", "1c3275b65d4325f25b12452240d2e92c4b24c10f3337aa3469a3ca9b9cd9b40a"),
    ("mnist", "314201d56c8aef7efd0d344348cc2f155ca4a5e936f7aa26b7c2f7f1658d4071"),
];

/// The data set whose training or test labels these are; none for others, such as a part of one.
pub(super) fn name_of(labels: &[u8]) -> Option<&'static str> {
    let hash = blake3::hash(labels).to_hex();
    LABELS.iter().find(|(_, known)| *known == hash.as_str()).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{DataError, DataSource, load, sets::idx};

    /// Where the Debian package puts the data set.
    const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

    #[test]
    fn the_published_files_are_recognised_and_not_taken_for_another() {
        assert_eq!(name_of(&[0, 1, 2]), None);
        if !Path::new(DEBIAN).is_dir() {
            eprintln!("skipped: the Debian package dataset-fashion-mnist is not installed");
            return;
        }
        for file in ["train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
            let labels = idx::read_labels(Path::new(DEBIAN).join(file), idx::CLASSES);
            assert_eq!(name_of(&labels.expect("labels")), Some("fashion-mnist"));
        }
        let refused = load(DataSource::Mnist, Some(Path::new(DEBIAN)));
        let asked = matches!(refused, Err(DataError::OtherDataset { found: "fashion-mnist", .. }));
        assert!(asked, "{refused:?}");
    }
}
