//! Arrays that are not what they should be: element types, orders, shapes, files that are none.

use anyhow::Result;

use super::{Case, DONE, FILES, FLAGS, INPUT, Place, number, pixel};

const MLP: &str = "gram --model mlp --no-eigen --inputs";

fn check(place: &Place, file: &str, code: i32, texts: &'static [&'static str]) -> Result<()> {
    let line: &'static str = format!("{MLP} {file}").leak();
    place.check(&[(line, code, texts)])
}

#[test]
fn element_types_are_read_as_they_are_or_refused_with_the_way_out() -> Result<()> {
    let place = Place::new()?;
    let shape = [12, 3, 4, 4];
    place.array("f16.npy", "<f2", &shape, |_| vec![0; 2]);
    place.array("complex.npy", "<c8", &shape, |_| vec![0; 8]);
    place.array("object.npy", "|O", &shape, |_| vec![0; 8]);
    place.array("text.npy", "<U1", &shape, |_| vec![0; 4]);
    place.array("bool.npy", "|b1", &shape, |at| vec![(at % 2) as u8]);
    place.array("bytes.npy", "|u1", &shape, |at| vec![(at % 256) as u8]);
    place.array("short.npy", "<i2", &shape, |at| (at as i16 - 9).to_le_bytes().to_vec());
    place.array("big.npy", ">f4", &shape, |at| number(at).to_be_bytes().to_vec());
    for (file, code, texts) in [
        ("f16.npy", DONE, &["--layout nchw, since none was given"][..]),
        ("complex.npy", INPUT, &["element type \"<c8\"", "astype(numpy.float32)"]),
        ("object.npy", INPUT, &["allow_pickle=True"]),
        ("text.npy", INPUT, &["element type \"<U1\""]),
        ("bool.npy", DONE, &["whole numbers from 0 to 1, taken as they are"]),
        ("bytes.npy", DONE, &["whole numbers from 0 to 255", "divide pixels by 255"]),
        ("short.npy", DONE, &["whole numbers from -9 to 566"]),
        ("big.npy", DONE, &["--layout nchw, since none was given"]),
    ] {
        check(&place, file, code, texts)?;
    }
    Ok(())
}

#[test]
fn byte_order_and_axis_order_of_a_file_change_no_bit() -> Result<()> {
    let place = Place::new()?;
    let shape = [12, 3, 4, 4];
    place.images("x.npy");
    place.array("big.npy", ">f4", &shape, |at| number(at).to_be_bytes().to_vec());
    // Fortran order: the first axis is the fastest.
    place.array_in_order("fortran.npy", ("<f4", "True"), &shape, |at| {
        let (n, rest) = (at % 12, at / 12);
        let (c, rest) = (rest % 3, rest / 3);
        pixel(n * 48 + c * 16 + (rest % 4) * 4 + rest / 4)
    });
    place.array("last.npy", "<f4", &[12, 4, 4, 3], |at| {
        let (pixels, c) = (at / 3, at % 3);
        pixel(pixels / 16 * 48 + c * 16 + pixels % 16)
    });
    let gram = |flags: &str| -> Result<Vec<u8>> {
        let line: &'static str = format!("{MLP} {flags}").leak();
        place.check(&[(line, DONE, &[])])?;
        Ok(std::fs::read(place.path("out/gram.npy"))?)
    };
    let expected = gram("x.npy")?;
    for flags in ["big.npy", "fortran.npy", "last.npy --layout nhwc", "x.npy --micro-batch 5"] {
        assert!(gram(flags)? == expected, "{flags}");
    }
    Ok(())
}

#[test]
fn images_whose_channels_look_last_are_refused_without_a_layout() -> Result<()> {
    let place = Place::new()?;
    place.array("last.npy", "<f4", &[12, 4, 4, 3], pixel);
    place.array("y.npy", "|u1", &[12], |at| vec![(at % 2) as u8]);
    place.images("x.npy");
    place.check(&[
        ("gram --model mlp --inputs last.npy", INPUT, &["last.npy", "--layout nhwc"]),
        ("gram --model resnet18 --width 2 --inputs last.npy", INPUT, &["--layout nhwc"]),
        ("gram --model lenet5 --inputs last.npy", INPUT, &["--layout nhwc"]),
        ("gram --model mlp --inputs x.npy --cross last.npy", INPUT, &["--layout nhwc"]),
        ("train --model mlp --inputs last.npy --labels y.npy", INPUT, &["--layout nhwc"]),
        ("gram --model mlp --no-eigen --inputs last.npy --layout nchw", DONE, &[]),
        (
            "gram --model mlp --no-eigen --inputs x.npy --layout nhwc",
            DONE,
            &["looks like --layout nchw"],
        ),
    ])
}

#[test]
fn shapes_that_are_no_images_are_refused_with_an_example() -> Result<()> {
    let place = Place::new()?;
    place.array("flat.npy", "<f4", &[12, 48], pixel);
    place.array("grey.npy", "<f4", &[12, 4, 4], pixel);
    place.array("five.npy", "<f4", &[12, 1, 3, 4, 4], pixel);
    place.array("number.npy", "<f4", &[], pixel);
    place.array("none.npy", "<f4", &[0, 3, 4, 4], pixel);
    place.array("odd.npy", "<f4", &[5, 1, 6, 6], pixel);
    place.array("tiny.npy", "<f4", &[5, 1, 2, 2], pixel);
    place.check(&[
        ("gram --model mlp --inputs flat.npy", INPUT, &["[12, 48]", "x.reshape(-1, 1, 1, 48)"]),
        ("gram --model mlp --inputs grey.npy", INPUT, &["[12, 4, 4]", "x[:, None]"]),
        ("gram --model mlp --inputs five.npy", INPUT, &["[12, 1, 3, 4, 4]"]),
        ("gram --model mlp --inputs number.npy", INPUT, &["found shape []"]),
        ("gram --model mlp --inputs none.npy", INPUT, &["is empty"]),
        ("gram --model lenet5 --inputs odd.npy", INPUT, &["multiples of 4", "[1, 6, 6]"]),
        ("gram --model lenet5 --inputs tiny.npy", INPUT, &["multiples of 4", "[1, 2, 2]"]),
        ("gram --model gpt2 --inputs flat.npy", INPUT, &["whole numbers as tokens"]),
    ])
}

#[test]
fn files_that_are_no_arrays_are_refused_by_what_they_are() -> Result<()> {
    let place = Place::new()?;
    place.images("x.npy");
    let whole = std::fs::read(place.path("x.npy"))?;
    std::fs::write(place.path("cut.npy"), &whole[..whole.len() - 10])?;
    std::fs::write(place.path("long.npy"), [&whole[..], b"more"].concat())?;
    std::fs::write(place.path("empty.npy"), "")?;
    std::fs::write(place.path("words.npy"), "these are words")?;
    std::fs::write(place.path("zip.npz"), b"PK\x03\x04 and the rest of an archive")?;
    for (file, code, texts) in [
        ("cut.npy", INPUT, &["cut off"][..]),
        ("long.npy", INPUT, &["more follow"]),
        ("empty.npy", INPUT, &["too short"]),
        ("words.npy", INPUT, &["bad .npy header"]),
        ("zip.npz", INPUT, &["zip archive", ".npz"]),
        ("absent.npy", FILES, &["absent.npy", "No such file"]),
        (".", INPUT, &["--features images"]),
        ("/dev/null", INPUT, &["a pipe or a device", "save it to a file first"]),
    ] {
        check(&place, file, code, texts)?;
    }
    Ok(())
}

#[test]
fn overflow_of_f32_is_named_and_f64_takes_it() -> Result<()> {
    let place = Place::new()?;
    place.array("huge.npy", "<f8", &[4, 3, 4, 4], |at| {
        (1e25 * f64::from(number(at))).to_le_bytes().to_vec()
    });
    place.array("beyond.npy", "<f8", &[4, 3, 4, 4], |_| 1e300_f64.to_le_bytes().to_vec());
    place.array("nan.npy", "<f4", &[4, 3, 4, 4], |at| {
        (if at == 7 { f32::NAN } else { 1.0 }).to_le_bytes().to_vec()
    });
    place.check(&[
        ("gram --model mlp --no-eigen --inputs nan.npy", INPUT, &["NaN at flat index 7"]),
        ("gram --model mlp --no-eigen --inputs beyond.npy", INPUT, &["--dtype f64"]),
        ("gram --model mlp --no-eigen --inputs huge.npy --dtype f64", DONE, &[]),
    ])?;
    // The kernel is found to be too large when its first results are under way.
    let output = place.run("gram --model mlp --no-eigen --inputs huge.npy")?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INPUT), "{said}");
    assert!(said.contains("take f64 in place of f32") && !said.contains("look for NaN"), "{said}");
    Ok(())
}

#[test]
fn labels_that_do_not_fit_are_refused_with_the_expression_that_helps() -> Result<()> {
    let place = Place::new()?;
    place.images("x.npy");
    let class = |at: usize| vec![(at % 2) as u8];
    place.array("column.npy", "|u1", &[12, 1], class);
    place.array("row.npy", "|u1", &[1, 12], class);
    place.array("turned.npy", "<f8", &[3, 12], |at| (at as f64 + 0.5).to_le_bytes().to_vec());
    place.array("short.npy", "|u1", &[11], class);
    place.array("one.npy", "|u1", &[12], |_| vec![1]);
    place.array("mixed.npy", "|i1", &[12], |at| vec![((at % 3) as i8 - 1) as u8]);
    place.array("bool.npy", "|b1", &[12], class);
    let of = |labels: &str| -> &'static str {
        format!("gram --model mlp --no-eigen --inputs x.npy --labels {labels}").leak()
    };
    let cases: [Case; 7] = [
        (of("column.npy"), DONE, &["--targets signs"]),
        (of("row.npy"), INPUT, &["found shape [1, 12]", "y.reshape(-1)"]),
        (of("turned.npy"), INPUT, &["found shape [3, 12]", "y.T"]),
        (of("short.npy"), INPUT, &["each of the 12 inputs", "[11]"]),
        (of("one.npy"), DONE, &["all of one class"]),
        (of("mixed.npy"), INPUT, &["mixed.npy", "found -1 at index 0"]),
        (of("bool.npy"), DONE, &["--targets signs"]),
    ];
    place.check(&cases)
}

#[test]
fn grams_of_others_are_read_in_any_order_and_refused_by_name() -> Result<()> {
    let place = Place::new()?;
    let entry = |at: usize, sign: f64| {
        let (i, j) = (at / 4, at % 4);
        let value = sign * if i == j { 4.0 + i as f64 } else { 0.5 };
        value.to_le_bytes().to_vec()
    };
    place.array("k.npy", "<f8", &[4, 4], |at| entry(at, 1.0));
    place.array_in_order("fortran.npy", ("<f8", "True"), &[4, 4], |at| entry(at, 1.0));
    place.array("whole.npy", "<i8", &[4, 4], |at| {
        vec![(at / 5 * 5 == at) as u8, 0, 0, 0, 0, 0, 0, 0]
    });
    place.array("half.npy", "<f2", &[4, 4], |_| vec![0; 2]);
    place.array("wide.npy", "<f8", &[3, 4], |at| entry(at, 1.0));
    place.array("negative.npy", "<f8", &[4, 4], |at| entry(at, -1.0));
    place.array("labels.npy", "|u1", &[4], |at| vec![(at % 2) as u8]);
    place.check(&[
        ("eigen --k 2 --gram k.npy", DONE, &[]),
        ("eigen --k 2 --gram fortran.npy", DONE, &[]),
        ("eigen --k 2 --gram whole.npy", INPUT, &["whole.npy", "astype"]),
        ("eigen --k 2 --gram half.npy", DONE, &["no eigenvalue is positive"]),
        ("eigen --k 2 --gram wide.npy", INPUT, &["wide.npy", "square", "[3, 4]"]),
        ("eigen --k 5 --gram k.npy", INPUT, &["--k 5", "has 4 rows"]),
        ("eigen --k 4 --gram negative.npy", DONE, &["entry (0, 0) is -4", "no kernel"]),
        ("eigen --k 2 --gram absent.npy", FILES, &["absent.npy"]),
        ("eigen --k 2 --gram .", INPUT, &["not a finished store"]),
        ("eigen --k 2 --gram k.npy --tolerance 1", FLAGS, &["tolerance", "from 1e-13 to 0.1"]),
        (
            "predict --gram wide.npy --cross k.npy --labels labels.npy --test-labels labels.npy",
            INPUT,
            &["wide.npy", "square"],
        ),
        (
            "predict --gram k.npy --cross labels.npy --labels labels.npy --test-labels labels.npy",
            INPUT,
            &["--cross", "each of the 4 rows"],
        ),
        (
            "predict --gram k.npy --cross k.npy --labels labels.npy --test-labels absent.npy",
            FILES,
            &["absent.npy"],
        ),
    ])
}
