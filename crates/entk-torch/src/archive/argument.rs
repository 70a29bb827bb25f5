//! An argument of an operation in a program: JSON goes in, one of the kinds comes out; a kind that
//! is not known is kept by its name, so that its operation can be named in the refusal.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

/// A value by its name in the graph.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

/// A number that is known, or the name of one that is not.
#[derive(Debug, Clone, Deserialize)]
pub(crate) enum Size {
    #[serde(rename = "as_int")]
    Known(i64),
    #[serde(rename = "as_name")]
    Of(String),
    #[serde(rename = "as_expr")]
    Free(serde::de::IgnoredAny),
}

/// An argument or a result of an operation.
#[derive(Debug, Clone)]
pub(crate) enum Argument {
    None,
    Tensor(String),
    Tensors(Vec<String>),
    /// Tensors of which some are left out.
    OptionalTensors(Vec<Option<String>>),
    Int(i64),
    Ints(Vec<i64>),
    /// A number known only when the batch is.
    Size(Size),
    Sizes(Vec<Size>),
    Float(f64),
    Floats(Vec<f64>),
    Bool(bool),
    Text(String),
    /// A code of an element type.
    ElementType(u64),
    /// A device, layout or memory format: nothing that a value depends on.
    Placement,
    /// A kind that this reader does not know.
    Unknown(String),
}

/// A number that JSON has no literal for is a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Float {
    Number(f64),
    Text(String),
}

impl Float {
    fn number<E: Error>(self) -> Result<f64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => match text.as_str() {
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                "NaN" => Ok(f64::NAN),
                _ => Err(E::custom(format!("{text:?} is no number"))),
            },
        }
    }
}

/// A tensor or none, as in lists of indices.
#[derive(Deserialize)]
enum Optional {
    #[serde(rename = "as_tensor")]
    Tensor(Named),
    #[serde(rename = "as_none")]
    None(IgnoredAny),
}

impl Optional {
    fn name(self) -> Option<String> {
        match self {
            Self::Tensor(named) => Some(named.name),
            Self::None(_) => None,
        }
    }
}

struct ArgumentVisitor;

impl<'de> Visitor<'de> for ArgumentVisitor {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of one key that begins with as_")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Argument, A::Error> {
        let Some(kind) = map.next_key::<String>()? else {
            return Err(A::Error::custom("an argument without a kind"));
        };
        let argument = value_of_kind(&kind, &mut map)?;
        match map.next_key::<String>()? {
            None => Ok(argument),
            Some(other) => Err(A::Error::custom(format!("an argument of kinds {kind}, {other}"))),
        }
    }
}

fn value_of_kind<'de, A: MapAccess<'de>>(kind: &str, map: &mut A) -> Result<Argument, A::Error> {
    let names = |list: Vec<Named>| list.into_iter().map(|named| named.name).collect();
    Ok(match kind {
        "as_tensor" => Argument::Tensor(map.next_value::<Named>()?.name),
        "as_tensors" => Argument::Tensors(names(map.next_value()?)),
        "as_optional_tensor" => {
            let tensor = map.next_value::<Optional>()?.name();
            tensor.map_or(Argument::None, Argument::Tensor)
        }
        "as_optional_tensors" => {
            let list = map.next_value::<Vec<Optional>>()?;
            Argument::OptionalTensors(list.into_iter().map(Optional::name).collect())
        }
        "as_int" => Argument::Int(map.next_value()?),
        "as_ints" => Argument::Ints(map.next_value()?),
        "as_sym_int" | "as_sym_bool" | "as_sym_float" => Argument::Size(map.next_value()?),
        "as_sym_ints" => Argument::Sizes(map.next_value()?),
        "as_float" => Argument::Float(map.next_value::<Float>()?.number()?),
        "as_floats" => {
            let list = map.next_value::<Vec<Float>>()?;
            Argument::Floats(list.into_iter().map(Float::number).collect::<Result<_, _>>()?)
        }
        "as_bool" => Argument::Bool(map.next_value()?),
        "as_string" => Argument::Text(map.next_value()?),
        "as_scalar_type" => Argument::ElementType(map.next_value()?),
        "as_none" => map.next_value::<IgnoredAny>().map(|_| Argument::None)?,
        "as_device" | "as_layout" | "as_memory_format" => {
            map.next_value::<IgnoredAny>().map(|_| Argument::Placement)?
        }
        other => map.next_value::<IgnoredAny>().map(|_| Argument::Unknown(other.to_owned()))?,
    })
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ArgumentVisitor)
    }
}
