//! Flags out of range, in every program: refused before data are read and before a folder changes.

use anyhow::Result;

use super::{DONE, FLAGS, INPUT, Place, pixel};

#[test]
fn numbers_out_of_range_are_refused_with_the_range() -> Result<()> {
    Place::new()?.check(&[
        ("gram --n 0", FLAGS, &["at least 1"]),
        ("gram --n -1", FLAGS, &["'--n <N>'", "whole number from 1"]),
        ("gram --seed -1", FLAGS, &["'--seed <N>'", "from 0 to 18446744073709551615"]),
        ("gram --seed=-1", FLAGS, &["from 0 to 18446744073709551615"]),
        ("gram --seed 18446744073709551616", FLAGS, &["from 0 to 18446744073709551615"]),
        ("gram --micro-batch 0", FLAGS, &["at least 1"]),
        ("gram --n 20 --top 21", INPUT, &["--top 21", "rows of the kernel, 20"]),
        ("gram --n 6001", INPUT, &["--n 6001", "6000 training images"]),
        ("eigen --gram k.npy --k 0", FLAGS, &["at least 1"]),
        ("eigen --gram k.npy --max-minutes 0", FLAGS, &["above 0"]),
        ("eigen --gram k.npy --block 0", FLAGS, &["at least 1"]),
        ("train --learning-rate 0", FLAGS, &["'--learning-rate <RATE>'", "above 0"]),
        ("train --learning-rate nan", FLAGS, &["above 0"]),
        ("train --optimizer adam --adam-rate 0", FLAGS, &["'--adam-rate <RATE>'", "above 0"]),
        ("train --index 0", FLAGS, &["at least 1"]),
        ("train --train 60 --test 20 --batch 61", INPUT, &["--batch 61", "60 training examples"]),
        (
            "train --train 60 --test 20 --batch 16 --task eigenfunction --index 81",
            INPUT,
            &["--index 81", "there are 80 eigenfunctions"],
        ),
        ("train --train 9000 --batch 16", INPUT, &["--train 9000", "6000 images"]),
        ("predict --ridge 0", FLAGS, &["above 0"]),
        ("predict --times -1", FLAGS, &["from 0, or inf"]),
        ("predict --train 9000", INPUT, &["--train 9000", "6000 images"]),
        ("verify --max-n 0", FLAGS, &["at least 1"]),
        ("gram --n 20 --store --out s3://bucket/gram", INPUT, &["s3://bucket/gram", "a folder"]),
        ("report --results absent", super::FILES, &["absent", "--results"]),
    ])
}

#[test]
fn figures_refuse_what_their_samples_do_not_have_before_they_read_it() -> Result<()> {
    Place::new()?.check(&[
        ("fig02 --train 60 --test 20 --batch 61", INPUT, &["--batch 61", "60 training examples"]),
        ("fig02 --train 60 --test 20 --batch 16 --indices 1,81", INPUT, &["index 81"]),
        ("fig02 --indices 0", FLAGS, &["in the index list \"0\"", "counting starts at 1"]),
        ("fig02 --indices 1,,2", FLAGS, &["expected a number like 5"]),
        (
            "fig02 --train 60 --test 20 --batch 16 --seeds 3 --seed 18446744073709551615",
            INPUT,
            &["--seeds 3", "the last seed is 18446744073709551615"],
        ),
        ("fig02 --seeds 0", FLAGS, &["from 1"]),
        ("fig03 --train 60 --batch 61", INPUT, &["--batch 61"]),
        ("fig04 --train 60 --batch 61", INPUT, &["--batch 61"]),
        ("fig04 --train 60 --batch 16 --indices 1025", INPUT, &["1024 directions"]),
        ("fig05 --train 60 --batch 61", INPUT, &["--batch 61"]),
        ("fig05 --train 60 --batch 16 --sizes 8,32", INPUT, &["there are 8 training examples"]),
        ("fig06 --train 60 --test 20 --index 81", INPUT, &["--index 81"]),
        ("fig06 --train 60 --test 20 --index 5 --top 61", INPUT, &["--top 61"]),
        ("fig07 --train 60 --test 20 --batch 16 --trained 81", INPUT, &["index 81"]),
        ("fig08 --train 60 --test 20 --index 81", INPUT, &["--index 81"]),
        ("fig09 --train 60 --test 20 --index 5 --batch 61", INPUT, &["--batch 61"]),
        ("fig10 --count 1025", INPUT, &["1024 directions"]),
        ("fig10 --model mlp,lenet5 --width 8", FLAGS, &["--width is of --model resnet18"]),
        ("fig10 --train 60", FLAGS, &["'--train'"]),
        ("table1 --train 60 --test 20 --top 61", INPUT, &["--top 61"]),
        ("table1 --train 60 --energy-images 61", INPUT, &["--energy-images 61"]),
        ("inductive --train 60 --test 20 --batch 16 --indices 61", INPUT, &["index 61"]),
        ("label_flips --train 60 --test 20 --indices 80", INPUT, &["79 eigenfunctions"]),
        ("layer_alignment --train 60 --test 20 --index 81", INPUT, &["--index 81"]),
    ])
}

#[test]
fn the_largest_seed_is_one_like_others() -> Result<()> {
    let place = Place::new()?;
    place.array("x.npy", "<f4", &[5, 1, 4, 4], pixel);
    place.check(&[
        ("gram --model mlp --no-eigen --inputs x.npy --seed 18446744073709551615", DONE, &[]),
        (
            "train --model mlp --task nad --train 20 --test 10 --batch 10 --epochs 1 \
             --seed 18446744073709551615",
            DONE,
            &[],
        ),
    ])
}

#[test]
fn a_run_that_diverges_leaves_no_checkpoint_in_the_way_of_its_own_advice() -> Result<()> {
    let place = Place::new()?;
    let train = "train --model mlp --train 100 --test 50 --batch 20 --epochs 2 --learning-rate";
    let output = place.run(&format!("{train} 1e30"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("diverged") && said.contains("1e29"), "{said}");
    assert!(place.run(&format!("{train} 0.01"))?.status.success());
    Ok(())
}

#[test]
fn a_checkpoint_of_other_settings_says_which() -> Result<()> {
    let place = Place::new()?;
    let train = "train --model mlp --train 100 --test 50 --batch 20 --epochs 400";
    // Killed once its first checkpoint is there.
    let words: Vec<&str> = train.split(' ').skip(1).chain(["--out", "out"]).collect();
    let mut child = entk_testing::program("train")?
        .current_dir(place.folder.path())
        .args(words)
        .stderr(std::process::Stdio::null())
        .spawn()?;
    while !place.path("out/checkpoint/checkpoint.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    let output = place.run(&format!("{train} --learning-rate 0.01"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INPUT), "{said}");
    assert!(said.contains("learning_rate: 0.05 -> 0.01"), "{said}");
    std::fs::write(place.path("out/checkpoint/checkpoint.json"), "{")?;
    let output = place.run(train)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INPUT), "{said}");
    assert!(said.contains("remove its folder to start anew"), "{said}");
    Ok(())
}
