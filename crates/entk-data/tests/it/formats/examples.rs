//! Files of a user's own as inputs and labels: arrays, and columns of CSV; what a build without the
//! features refuses. Folders and Parquet are in tests/heavy_formats.

use std::path::PathBuf;

use entk_data::{
    DataError,
    examples::{ExampleKind, describe_inputs, ensure_apart, read_inputs, read_labels},
    npy,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(name: &str, text: &str) -> std::io::Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        std::fs::write(folder.path(name), text)?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A table with a column of texts, one of whole numbers and one with a gap.
const TABLE: &str = "size,kind,age,note\n1.5,setosa,3,\n-2,virginica,4,x\n0.5,setosa,5,y\n";

#[test]
fn columns_are_chosen_by_name_and_the_others_may_hold_anything() -> TestResult {
    let folder = Folder::with("t.csv", TABLE)?;
    let inputs = |name: &str| read_inputs(folder.path(name), usize::MAX);
    let both = inputs("t.csv:-kind,note")?;
    assert_eq!((both.shape(), both.to_f64()), ([3, 2].as_slice(), vec![1.5, 3., -2., 4., 0.5, 5.]));
    assert_eq!(inputs("t.csv:age,size")?.to_f64(), [3., 1.5, 4., -2., 5., 0.5]);
    assert_eq!(inputs("t.csv:2,0")?.to_f64(), inputs("t.csv:age,size")?.to_f64());
    let first = read_inputs(folder.path("t.csv:-kind,note"), 2)?;
    assert_eq!((first.shape(), first.to_f64()), ([2, 2].as_slice(), both.to_f64()[..4].to_vec()));
    let header = describe_inputs(folder.path("t.csv:-kind,note"))?;
    assert_eq!((header.shape, header.is_whole, header.bytes), (vec![3, 2], false, 48));
    // Whole numbers are integers, which tokens and classes have to be.
    assert!(describe_inputs(folder.path("t.csv:age"))?.is_whole);
    assert_eq!(inputs("t.csv:age")?.data(), &npy::Data::I64(vec![3, 4, 5]));

    for (name, expected) in [
        ("t.csv", "line 2, column \"kind\": \"setosa\""),
        ("t.csv:-kind", "line 2, column \"note\": \"\""),
        ("t.csv:-kind,weight", "column weight was expected, found: size, kind, age, note"),
        ("t.csv:age,age", "two columns are named \"age\""),
        ("t.csv:-size,kind,age,note", "(columns) is empty"),
    ] {
        let message = inputs(name).map_or_else(|error| error.to_string(), |x| format!("{x:?}"));
        assert!(message.contains(expected), "{name}: {expected:?} not in {message}");
    }
    Ok(())
}

#[test]
fn a_file_without_names_has_columns_by_number() -> TestResult {
    let folder = Folder::with("t.csv", "5,x,1\n6,w,0\n")?;
    for name in ["t.csv:-1", "t.csv:0,2"] {
        assert_eq!(read_inputs(folder.path(name), 9)?.to_f64(), [5., 1., 6., 0.], "{name}");
    }
    let labels = read_labels(folder.path("t.csv:1"))?;
    assert_eq!((labels.array.to_f64(), labels.classes.len()), (vec![1.0, 0.0], 2));
    std::fs::write(folder.path("u.csv"), "size,kind\n5,x\n6,w\n")?;
    assert_eq!(read_labels(folder.path("u.csv:1"))?.array.to_f64(), [1.0, 0.0]);
    Ok(())
}

#[test]
fn labels_are_a_column_whose_texts_are_classes() -> TestResult {
    let folder = Folder::with("t.csv", TABLE)?;
    let labels = |name: &str| read_labels(folder.path(name));
    let kind = labels("t.csv:kind")?;
    assert_eq!((kind.array.shape(), kind.array.to_f64()), ([3].as_slice(), vec![0., 1., 0.]));
    assert_eq!(kind.classes, ["setosa", "virginica"]);
    let age = labels("t.csv:age")?;
    assert_eq!((age.array.to_f64(), age.classes.is_empty()), (vec![3., 4., 5.], true));
    assert_eq!(labels("t.csv:age,size")?.array.shape(), [3, 2]);
    let message = |name: &str| labels(name).map_or_else(|e| e.to_string(), |y| format!("{y:?}"));
    let gap = message("t.csv:note");
    assert!(gap.contains("line 2, column \"note\": \"\""), "{gap}");
    std::fs::write(folder.path("u.csv"), "a,b\n1,2\n3,x\n")?;
    let whole = message("u.csv:a,b");
    assert!(whole.contains("line 3, column \"b\": \"x\""), "{whole}");
    // A text among numbers is a mistake, not a class.
    let typo = message("u.csv:b");
    assert!(typo.contains("line 3, column \"b\": \"x\""), "{typo}");
    std::fs::write(folder.path("v.csv"), "a,b\n1,2\n3,4\n")?;
    let unnamed = message("v.csv");
    assert!(unnamed.contains("give FILE:COLUMN, of: a, b"), "{unnamed}");
    std::fs::write(folder.path("w.csv"), "y\n1\n0\n")?;
    assert_eq!(labels("w.csv")?.array.shape(), [2]);
    Ok(())
}

#[test]
fn labels_among_the_inputs_are_refused() -> TestResult {
    let folder = Folder::with("t.csv", TABLE)?;
    std::fs::write(folder.path("u.csv"), TABLE)?;
    for (inputs, labels, shared) in [
        ("t.csv", "t.csv:kind", Some("give FILE:-kind")),
        ("t.csv:-note", "t.csv:age,note", Some("give FILE:-age for")),
        ("t.csv:size,age", "t.csv:age", Some("give FILE:-age")),
        ("t.csv:-kind", "t.csv:kind", None),
        ("t.csv:size", "t.csv:age", None),
        ("t.csv", "u.csv:kind", None),
    ] {
        let found = ensure_apart(folder.path(inputs), folder.path(labels));
        let found = found.err().map(|error| error.to_string());
        match (shared, found) {
            (Some(shared), Some(found)) => assert!(found.contains(shared), "{found}"),
            (None, None) => {}
            found => panic!("{inputs}, {labels}: {found:?}"),
        }
    }
    Ok(())
}

#[test]
fn arrays_are_read_as_ever() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    npy::write(&path, &[3, 2], &[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0])?;
    assert_eq!(ExampleKind::of(&path), ExampleKind::Array);
    assert_eq!(describe_inputs(&path)?.shape, [3, 2]);
    assert_eq!(read_inputs(&path, 1)?.to_f64(), [0.0, 1.0]);
    assert_eq!(read_labels(&path)?.array.shape(), [3, 2]);
    assert!(ensure_apart(&path, &path).is_ok());
    let absent = read_inputs(folder.path().join("absent.csv"), 1);
    assert!(matches!(absent, Err(DataError::Io { .. })), "{absent:?}");
    Ok(())
}

#[cfg(not(any(feature = "images", feature = "parquet")))]
#[test]
fn what_was_left_out_of_the_build_is_named_with_its_feature() -> TestResult {
    let folder = Folder::with("t.parquet", "PAR1")?;
    std::fs::create_dir(folder.path("cat"))?;
    for (name, feature) in [("t.parquet", "parquet"), (".", "images")] {
        let path = folder.path(name);
        let errors =
            [describe_inputs(&path).err(), read_inputs(&path, 1).err(), read_labels(&path).err()];
        for error in errors {
            let message = error.ok_or("an error")?.to_string();
            assert!(message.contains(&format!("--features {feature}")), "{message}");
        }
    }
    Ok(())
}
