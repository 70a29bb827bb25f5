//! Numbers on the command line: text comes in, sizes and seeds go out, with a message that says
//! which numbers there are. Used by the flags of all programs.

use clap::Arg;
use entk::spectral::EigshConfig;

/// A whole number of at least 1.
///
/// # Errors
/// Anything else.
pub fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(size) => Ok(size),
        Err(_) => Err(format!("expected a whole number from 1 to {}", usize::MAX)),
    }
}

/// A seed.
///
/// # Errors
/// A number below 0, above 2^64 - 1, or none.
pub fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// A number of seeds.
///
/// # Errors
/// As [`parse_seed`], and 0.
pub fn parse_seeds(text: &str) -> Result<u64, String> {
    match parse_seed(text)? {
        0 => Err(format!("expected a whole number from 1 to {}", u64::MAX)),
        seeds => Ok(seeds),
    }
}

/// A number above 0.
///
/// # Errors
/// Zero, a number below it, infinity, NaN, or no number.
pub fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

/// Parses the largest residual of eigenpairs, as a fraction of the largest eigenvalue: the range
/// that solvers take.
///
/// # Errors
/// Anything else.
pub fn parse_tolerance(text: &str) -> Result<f64, String> {
    let is_taken = |tolerance: &f64| {
        EigshConfig { tolerance: *tolerance, ..EigshConfig::default() }.check().is_ok()
    };
    text.parse().ok().filter(is_taken).ok_or_else(|| "expected a number from 1e-13 to 0.1".into())
}

/// A number of bytes with an optional unit of 1000 or 1024.
///
/// # Errors
/// Another unit, or no number above 0.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("expected a number of bytes, kB, MB, GB, KiB, MiB or GiB".into()),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 => Ok((number * unit) as u64),
        _ => Err("expected a number above 0 before the unit".into()),
    }
}

/// Lets `-1` be the value of a flag, so that its own message refuses it.
pub fn takes_negative(arg: Arg) -> Arg {
    let takes_values = arg.get_action().takes_values();
    if takes_values { arg.allow_negative_numbers(true) } else { arg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_those_of_the_solvers() {
        assert_eq!((parse_tolerance("1e-13"), parse_tolerance("0.1")), (Ok(1e-13), Ok(0.1)));
        for text in ["1e-14", "0.11", "0", "-1e-3", "NaN", "x"] {
            assert!(parse_tolerance(text).is_err_and(|e| e.contains("1e-13 to 0.1")), "{text}");
        }
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!((parse_bytes("6GiB"), parse_bytes("1.5 kB")), (Ok(6 << 30), Ok(1500)));
        assert_eq!(parse_bytes("7"), Ok(7));
        for text in ["0", "GiB", "-1GB", "1 GX", "NaN"] {
            assert!(parse_bytes(text).is_err_and(|e| e.contains("expected a number")), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_or_seed_is_refused_with_what_is() {
        assert_eq!((parse_size("3"), parse_seed("18446744073709551615")), (Ok(3), Ok(u64::MAX)));
        for text in ["", "-1", "1.5", "1e3", "18446744073709551616"] {
            assert!(parse_size(text).is_err_and(|e| e.contains("whole number from 1")), "{text}");
            assert!(parse_seed(text).is_err_and(|e| e.contains("whole number from 0")), "{text}");
        }
        assert!(parse_size("0").is_err_and(|e| e.contains("at least 1")));
        assert!(parse_seeds("0").is_err_and(|e| e.contains("from 1")));
        assert_eq!(parse_positive("1e-3"), Ok(1e-3));
        for text in ["0", "-1", "nan", "inf", "x"] {
            assert!(parse_positive(text).is_err(), "{text}");
        }
    }
}
