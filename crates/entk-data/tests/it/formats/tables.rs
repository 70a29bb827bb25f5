//! Tables: files with and without names, what is refused with its place, and standardised columns.

use entk_data::{
    DataError, Result as DataResult,
    tables::{
        ColumnStandardizer, ConstantColumns, CsvConfig, HeaderLine, Table, parse_csv, read_csv,
    },
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn parse(text: &str) -> DataResult<Table> {
    parse_csv(text.as_bytes(), "t.csv", &CsvConfig::default())
}

fn refusal(text: &str) -> String {
    parse(text).map_or_else(|error| error.to_string(), |table| format!("{table:?}"))
}

#[test]
fn names_are_detected_and_columns_found_by_name_or_number() -> TestResult {
    let table = parse("x , y,\"the label\"\r\n1, -2.5,0\r\n3,4e2,1\r\n")?;
    assert_eq!(table.names(), ["x", "y", "the label"]);
    assert_eq!((table.rows(), table.values()), (2, [1.0, -2.5, 0.0, 3.0, 400.0, 1.0].as_slice()));
    assert_eq!(table.column("the label")?, table.column("2")?);
    let (inputs, labels) = table.split_off("y")?;
    assert_eq!(
        (inputs.names(), labels),
        (["x", "the label"].map(String::from).as_slice(), vec![-2.5, 400.0])
    );
    assert_eq!(inputs.to_array().to_f64(), [1.0, 0.0, 3.0, 1.0]);
    assert_eq!(inputs.to_array().shape(), [2, 2]);
    assert_eq!(inputs.select(&[1, 1, 0])?.column("x")?, [3.0, 3.0, 1.0]);
    assert!(matches!(inputs.select(&[2]), Err(DataError::Index { index: 2, count: 2 })));
    for column in ["z", "3", "-1"] {
        let error = table.column(column).expect_err("no such column");
        assert!(error.to_string().contains("x, y, the label"), "{error}");
    }
    let bare = parse("1,2\n3,4")?;
    assert_eq!((bare.names(), bare.rows()), (["0", "1"].map(String::from).as_slice(), 2));
    // A mark of UTF-8 before the names is none of their letters.
    assert_eq!(parse("\u{feff}a,b\n1,2\n")?.names(), ["a", "b"]);
    Ok(())
}

#[test]
fn the_line_of_names_and_the_delimiter_can_be_said() -> TestResult {
    let config = |header| CsvConfig { header, delimiter: b';', ..CsvConfig::default() };
    let years = b"1990;1991\n3;4\n";
    let present = parse_csv(years, "t.csv", &config(HeaderLine::Present))?;
    assert_eq!(
        (present.names(), present.rows()),
        (["1990", "1991"].map(String::from).as_slice(), 1)
    );
    assert_eq!(parse_csv(years, "t.csv", &config(HeaderLine::Absent))?.rows(), 2);
    let absent = parse_csv(b"a;b\n1;2", "t.csv", &config(HeaderLine::Absent));
    assert!(matches!(absent, Err(DataError::Cell { line: 1, .. })), "{absent:?}");
    Ok(())
}

#[test]
fn classes_are_numbered_by_their_names() -> TestResult {
    let config = CsvConfig { classes: vec!["kind".into()], ..CsvConfig::default() };
    let text = b"size,kind\n1,setosa\n2,virginica\n3,setosa\n4,a\n";
    let table = parse_csv(text, "iris.csv", &config)?;
    assert_eq!(table.column("kind")?, [1.0, 2.0, 1.0, 0.0]);
    assert_eq!(table.class_names("kind"), ["a", "setosa", "virginica"]);
    assert!(table.class_names("size").is_empty());
    assert_eq!(table.split_off("size")?.0.class_names("kind").len(), 3);
    let unknown = CsvConfig { classes: vec!["species".into()], ..CsvConfig::default() };
    assert!(matches!(parse_csv(text, "iris.csv", &unknown), Err(DataError::Column { .. })));
    let missing = parse_csv(b"size,kind\n1,\n", "iris.csv", &config);
    assert!(matches!(missing, Err(DataError::Cell { line: 2, .. })), "{missing:?}");
    // Without names a column of classes is given by its number.
    let config = CsvConfig { classes: vec!["1".into()], ..CsvConfig::default() };
    let table = parse_csv(b"5,x\n6,w\n", "t.csv", &config)?;
    assert_eq!(table.values(), [5.0, 1.0, 6.0, 0.0]);
    Ok(())
}

#[test]
fn what_is_no_finite_number_is_refused_with_its_place() {
    for (text, expected) in [
        ("a,b\n1,2\n3,\n", "t.csv: line 3, column \"b\": \"\" is no finite number; fill missing"),
        ("a,b\n1,NA\n", "line 2, column \"b\": \"NA\""),
        ("a,b\n1,2\n3,4\n3,nan\n", "line 4, column \"b\""),
        ("a\ninf\n", "\"inf\" is no finite number; recode"),
        ("a\n1e999\n", "\"1e999\""),
        ("1,2\n3,four\n", "line 2, column \"1\": \"four\" is no finite number; recode texts"),
        ("a,b\n1,2\n3\n", "bad CSV file"),
        ("a,b\n1,2,3\n", "bad CSV file"),
        ("a,a\n1,2\n", "two columns are named \"a\""),
        ("", "is empty"),
        ("a,b\n", "rows below the names"),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{expected:?} not in {message}");
    }
    let bytes = parse_csv(b"a\n\xff\n", "t.csv", &CsvConfig::default());
    assert!(matches!(bytes, Err(DataError::Format { .. })), "{bytes:?}");
}

#[test]
fn tables_are_read_from_files() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("t.csv");
    let text: String = (0..5000).map(|row| format!("{row},{}\n", 0.5 * f64::from(row))).collect();
    std::fs::write(&path, text)?;
    let table = read_csv(&path, &CsvConfig::default())?;
    assert_eq!((table.rows(), table.column("1")?[4999]), (5000, 2499.5));
    let absent = read_csv(folder.path().join("absent.csv"), &CsvConfig::default());
    assert!(matches!(absent, Err(DataError::Io { .. })));
    Ok(())
}

#[test]
fn columns_are_standardised_each_on_its_own() -> TestResult {
    let train = parse("a,b\n1,100\n3,300\n5,200\n")?;
    let standardizer = ColumnStandardizer::fit(&train, ConstantColumns::Refuse)?;
    assert_eq!(standardizer.mean(), [3.0, 200.0]);
    let deviation = (8.0_f64 / 3.0).sqrt();
    assert!((standardizer.std()[0] - deviation).abs() < 1e-15);
    assert!((standardizer.std()[1] - 50.0 * deviation).abs() < 1e-12);
    let test = standardizer.apply(&parse("a,b\n4,200\n")?)?;
    assert!((test.values()[0] - 1.0 / deviation).abs() < 1e-15 && test.values()[1] == 0.0);
    let others = standardizer.apply(&parse("b,a\n4,200\n")?);
    assert!(matches!(others, Err(DataError::Column { .. })));
    Ok(())
}

#[test]
fn constant_columns_are_refused_or_become_0() -> TestResult {
    // A tenth a million times over does not sum to what it should.
    let text: String = (0..20_000).map(|row| format!("0.1,{row}\n")).collect();
    let train = parse(&text)?;
    let error = ColumnStandardizer::fit(&train, ConstantColumns::Refuse).expect_err("constant");
    assert!(error.to_string().contains("column \"0\" is 0.1 in every row"), "{error}");
    let standardizer = ColumnStandardizer::fit(&train, ConstantColumns::Zero)?;
    assert_eq!(standardizer.constant().collect::<Vec<_>>(), ["0"]);
    let scaled = standardizer.apply(&train)?;
    assert!(scaled.column("0")?.iter().all(|value| *value == 0.0));
    let sum: f64 = scaled.column("1")?.iter().map(|value| value * value).sum();
    assert!((sum / 20_000.0 - 1.0).abs() < 1e-9, "{sum}");
    let huge = ColumnStandardizer::fit(&parse("1e200\n-1e200\n")?, ConstantColumns::Refuse);
    assert!(matches!(huge, Err(DataError::NonFinite { .. })), "{huge:?}");
    Ok(())
}
