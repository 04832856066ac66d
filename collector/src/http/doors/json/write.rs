//! A serialized message as JSON: fields that are not set are left out, 64-bit numbers are strings.

use serde_json::{Map, Number, Value};

use super::{Field, Holds, Shape, base64};
use crate::profile::wire::{Value as Wired, Wire};

/// `None`: the message is not one of this shape.
pub(in crate::http) fn write(message: &[u8], shape: &Shape) -> Option<String> {
    serde_json::to_string(&object(message, shape)?).ok()
}

fn object(message: &[u8], shape: &Shape) -> Option<Value> {
    let mut object = Map::new();
    for field in Wire(message) {
        let (number, value) = field.ok()?;
        let Some(field) = shape.fields.iter().find(|field| u64::from(field.number) == number) else { continue };
        let name = field.name.to_owned();
        if !field.repeated {
            object.insert(name, content(field, value)?);
            continue;
        }
        let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
        match (field.holds, value) {
            (Holds::Int32 | Holds::Int64 | Holds::Enum(_) | Holds::Bool, Wired::Bytes(_)) => {
                let mut numbers = Vec::new();
                value.numbers(|number| numbers.push(number)).ok()?;
                for number in numbers {
                    list.push(content(field, Wired::Number(number))?);
                }
            }
            (Holds::Double | Holds::Fixed64, Wired::Bytes(packed)) => {
                for eight in packed.chunks_exact(8) {
                    list.push(content(field, Wired::Fixed(eight))?);
                }
            }
            _ => list.push(content(field, value)?),
        }
    }
    Some(Value::Object(object))
}

fn content(field: &Field, value: Wired<'_>) -> Option<Value> {
    let eight = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).ok();
    Some(match (field.holds, value) {
        (Holds::Text, Wired::Bytes(text)) => String::from_utf8_lossy(text).into_owned().into(),
        (Holds::Bytes, Wired::Bytes(bytes)) => base64(bytes).into(),
        (Holds::Hex, Wired::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        (Holds::Message(shape), Wired::Bytes(message)) => object(message, shape)?,
        (Holds::Bool, Wired::Number(number)) => (number != 0).into(),
        (Holds::Int32, Wired::Number(number)) => (number as i32).into(),
        (Holds::Int64, Wired::Number(number)) => (number as i64).to_string().into(),
        (Holds::Fixed64, Wired::Fixed(bytes)) => u64::from_le_bytes(eight(bytes)?).to_string().into(),
        (Holds::Double, Wired::Fixed(bytes)) => double(f64::from_le_bytes(eight(bytes)?)),
        (Holds::Enum(names), Wired::Number(number)) => {
            let name = usize::try_from(number).ok().and_then(|number| names.get(number));
            name.map_or_else(|| number.into(), |name| (*name).into())
        }
        _ => return None,
    })
}

/// JSON has no numbers for what is not finite.
fn double(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            let name = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            name.into()
        },
        Value::Number,
    )
}
