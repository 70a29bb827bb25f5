//! Parquet files, written here by the crate `parquet`, plain and compressed, and damaged ones.

use std::sync::Arc;

use entk_data::{
    DataError, Result as DataResult,
    examples::{ensure_apart, read_inputs, read_labels},
    tables::{
        ColumnStandardizer, ConstantColumns, ParquetConfig, Table, TableColumns, parse_parquet,
        read_parquet,
    },
};
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
    },
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;
type Bytes = Result<Vec<u8>, Box<dyn std::error::Error>>;
type Rows<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A file of one schema; `fill` writes its columns.
fn file(
    schema: &str,
    compression: Compression,
    fill: impl FnOnce(&mut Rows<'_>) -> TestResult,
) -> Bytes {
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(&format!("message t {{ {schema} }}"))?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut rows = writer.next_row_group()?;
    fill(&mut rows)?;
    rows.close()?;
    Ok(writer.into_inner()?)
}

fn column<T: DataType>(rows: &mut Rows<'_>, values: &[T::T], levels: Option<&[i16]>) -> TestResult {
    let mut column = rows.next_column()?.ok_or("no such column")?;
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}

/// TableColumns x of doubles, which may be missing, n of whole numbers, b of truth values and s of
/// texts.
fn mixed(compression: Compression, x: &[Option<f64>], s: &[&str]) -> Bytes {
    let schema = "OPTIONAL DOUBLE x; REQUIRED INT64 n; REQUIRED BOOLEAN b; \
                  REQUIRED BYTE_ARRAY s (UTF8);";
    file(schema, compression, |rows| {
        let levels: Vec<i16> = x.iter().map(|x| i16::from(x.is_some())).collect();
        let values: Vec<f64> = x.iter().flatten().copied().collect();
        column::<DoubleType>(rows, &values, Some(&levels))?;
        let numbers: Vec<i64> = (0..x.len() as i64).map(|n| n - 1).collect();
        column::<Int64Type>(rows, &numbers, None)?;
        let truths: Vec<bool> = (0..x.len()).map(|n| n % 2 == 0).collect();
        column::<BoolType>(rows, &truths, None)?;
        let texts: Vec<ByteArray> = s.iter().map(|text| (*text).into()).collect();
        column::<ByteArrayType>(rows, &texts, None)
    })
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn without(columns: &[&str]) -> ParquetConfig {
    ParquetConfig { columns: TableColumns::Without(names(columns)), ..ParquetConfig::default() }
}

fn parse(bytes: Vec<u8>, config: &ParquetConfig) -> DataResult<Table> {
    parse_parquet(bytes, "t.parquet", config)
}

fn refusal(bytes: Vec<u8>, config: &ParquetConfig) -> String {
    parse(bytes, config).map_or_else(|error| error.to_string(), |table| format!("{table:?}"))
}

#[test]
fn columns_of_numbers_are_read_under_every_compression() -> TestResult {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
        let bytes = mixed(compression, &[Some(0.5), Some(-2.0)], &["u", "v"])?;
        let table = parse(bytes.clone(), &without(&["s"]))?;
        assert_eq!(table.names(), ["x", "n", "b"]);
        assert_eq!(table.values(), [0.5, -1.0, 1.0, -2.0, 0.0, 0.0]);
        let scaled = ColumnStandardizer::fit(&table, ConstantColumns::Refuse)?.apply(&table)?;
        assert_eq!(scaled.values(), [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("t.parquet");
        std::fs::write(&path, bytes)?;
        assert_eq!(read_parquet(&path, &without(&["s"]))?.column("n")?, [-1.0, 0.0]);
        let absent = read_parquet(folder.path().join("u"), &without(&["s"]));
        assert!(matches!(absent, Err(DataError::Io { .. })));
    }
    Ok(())
}

#[test]
fn columns_come_in_the_order_asked_for_and_texts_as_classes() -> TestResult {
    let bytes = mixed(Compression::SNAPPY, &[Some(0.5), None, Some(4.0)], &["v", "u", "v"])?;
    let config = ParquetConfig {
        columns: TableColumns::Only(names(&["s", "2", "n"])),
        classes: names(&["s"]),
    };
    let table = parse(bytes.clone(), &config)?;
    assert_eq!(table.names(), ["s", "b", "n"]);
    assert_eq!(table.values(), [1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(table.class_names("s"), ["u", "v"]);
    let absent = without(&["y"]);
    let message = refusal(bytes.clone(), &absent);
    assert!(message.contains("column y was expected, found: x, n, b, s"), "{message}");
    let all = ParquetConfig { columns: TableColumns::Only(Vec::new()), ..ParquetConfig::default() };
    assert!(matches!(parse(bytes, &all), Err(DataError::Empty { .. })));
    Ok(())
}

#[test]
fn small_integers_and_floats_keep_their_values() -> TestResult {
    let schema = "REQUIRED INT32 a (INTEGER(8,true)); REQUIRED INT32 b (INTEGER(32,false)); \
                  REQUIRED FLOAT c;";
    let bytes = file(schema, Compression::UNCOMPRESSED, |rows| {
        column::<Int32Type>(rows, &[-128, 127], None)?;
        column::<Int32Type>(rows, &[-1, 7], None)?;
        column::<FloatType>(rows, &[0.25, f32::MAX], None)
    })?;
    let table = parse(bytes, &ParquetConfig::default())?;
    let expected = [-128.0, 4_294_967_295.0, 0.25, 127.0, 7.0, f64::from(f32::MAX)];
    assert_eq!(table.values(), expected);
    Ok(())
}

#[test]
fn missing_values_and_texts_are_refused_with_their_place() -> TestResult {
    for (value, found) in [(None, "null"), (Some(f64::NAN), "NaN"), (Some(f64::INFINITY), "inf")] {
        let bytes = mixed(Compression::SNAPPY, &[Some(1.0), value], &["u", "v"])?;
        let message = refusal(bytes, &without(&["s"]));
        assert!(message.contains("line 2, column \"x\"") && message.contains(found), "{message}");
    }
    let text = refusal(
        mixed(Compression::SNAPPY, &[Some(1.0)], &["u"])?,
        &ParquetConfig { columns: TableColumns::Only(names(&["s"])), ..ParquetConfig::default() },
    );
    assert!(text.contains("line 1, column \"s\"") && text.contains("recode texts"), "{text}");
    let empty = parse(mixed(Compression::SNAPPY, &[], &[])?, &without(&["s"]));
    assert!(matches!(empty, Err(DataError::Empty { .. })), "{empty:?}");
    let nested = "REQUIRED GROUP g { REQUIRED DOUBLE x; REQUIRED DOUBLE y; }";
    let bytes = file(nested, Compression::UNCOMPRESSED, |rows| {
        column::<DoubleType>(rows, &[1.0], None)?;
        column::<DoubleType>(rows, &[2.0], None)
    })?;
    let message = refusal(bytes, &ParquetConfig::default());
    assert!(message.contains("column \"g\"") && message.contains("finite numbers"), "{message}");
    let twice = file("REQUIRED DOUBLE x; REQUIRED DOUBLE x;", Compression::SNAPPY, |rows| {
        column::<DoubleType>(rows, &[1.0], None)?;
        column::<DoubleType>(rows, &[2.0], None)
    })?;
    let message = refusal(twice, &ParquetConfig::default());
    assert!(message.contains("two columns are named \"x\""), "{message}");
    Ok(())
}

#[test]
fn a_file_is_inputs_and_labels_of_programs() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, mixed(Compression::SNAPPY, &[Some(0.5), Some(3.0)], &["v", "u"])?)?;
    let of = |name: &str| format!("{}:{name}", path.display());
    let inputs = read_inputs(of("-s,b"), usize::MAX)?;
    assert_eq!((inputs.shape(), inputs.to_f64()), ([2, 2].as_slice(), vec![0.5, -1.0, 3.0, 0.0]));
    assert_eq!(read_inputs(of("n,x"), 1)?.to_f64(), [-1.0, 0.5]);
    let labels = read_labels(of("s"))?;
    assert_eq!((labels.array.shape(), labels.array.to_f64()), ([2].as_slice(), vec![1.0, 0.0]));
    assert_eq!(labels.classes, ["u", "v"]);
    assert!(ensure_apart(of("-s"), of("s")).is_ok());
    assert!(matches!(ensure_apart(&path, of("s")), Err(DataError::LabelsAmongInputs { .. })));
    Ok(())
}

#[test]
fn damaged_files_are_refused() -> TestResult {
    let whole = mixed(Compression::SNAPPY, &[Some(0.5); 50], &["u"; 50])?;
    for length in 0..whole.len() {
        let cut = parse(whole[..length].to_vec(), &without(&["s"]));
        assert!(matches!(cut, Err(DataError::Format { .. })), "{length}: {cut:?}");
    }
    // Whatever byte is changed, there is a table or an error.
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        if let Ok(table) = parse(changed, &without(&["s"])) {
            assert!(table.values().iter().all(|value| value.is_finite()));
        }
    }
    Ok(())
}
