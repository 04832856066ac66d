//! proto3's JSON (<https://protobuf.dev/programming-guides/json/>), as the message that it stands for and back: so each message is read in
//! one way, however it was written. A [`Shape`] says which fields of a message there are.
//!
//! Nothing is built in memory but the message itself, which is no larger than its JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::http::error::ApiError;

mod write;

pub(in crate::http) use write::write;

/// The fields of a message.
#[derive(Debug)]
pub(in crate::http) struct Shape {
    /// In the order of their numbers.
    pub(in crate::http) fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(in crate::http) struct Field {
    /// Its number on the wire.
    pub(in crate::http) number: u32,
    /// As JSON has it: `lowerCamelCase`.
    pub(in crate::http) name: &'static str,
    /// What it holds.
    pub(in crate::http) holds: Holds,
    /// Whether there may be several.
    pub(in crate::http) repeated: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Holds {
    /// Text.
    Text,
    /// Bytes, which JSON has as base64.
    Bytes,
    /// Bytes that JSON has as hexadecimal digits: ids, in OpenTelemetry's JSON.
    Hex,
    /// `bool`.
    Bool,
    /// `int32`, `uint32`: JSON has them as numbers.
    Int32,
    /// `int64`, `uint64`: JSON has them as strings.
    Int64,
    /// `fixed64`, which JSON has as a string.
    Fixed64,
    /// `double`.
    Double,
    /// One of these names, by number; JSON may have either.
    Enum(&'static [&'static str]),
    /// Another message.
    Message(&'static Shape),
}

impl Shape {
    /// A message without fields.
    pub(in crate::http) const EMPTY: Self = Self { fields: &[] };
}

/// A field that is there once.
pub(in crate::http) const fn one(number: u32, name: &'static str, holds: Holds) -> Field {
    Field { number, name, holds, repeated: false }
}

/// A field that may be there several times.
pub(in crate::http) const fn many(number: u32, name: &'static str, holds: Holds) -> Field {
    Field { number, name, holds, repeated: true }
}

/// The message that a JSON text stands for, serialized. Fields that are not in its shape are passed over, as protobuf does it.
///
/// # Errors
/// When it is no JSON, or a field holds something else than it should: the message says where.
pub(in crate::http) fn read(text: &[u8], shape: &Shape) -> Result<Vec<u8>, ApiError> {
    let mut message = Vec::with_capacity(text.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Message { shape, out: &mut message }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|error| {
        ApiError::invalid(format!("the body is not understood: {error}"), "send the message in protobuf's JSON")
    })?;
    Ok(message)
}

/// Reads an object, and appends it as a message.
struct Message<'a> {
    shape: &'a Shape,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.shape.fields.iter().find(|field| is_called(field.name, &name)) {
                Some(field) => map.next_value_seed(Content { field, out: self.out, packed: false })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Both `lowerCamelCase` and the name as it stands in the `.proto` file are taken.
fn is_called(camel: &str, given: &str) -> bool {
    let mut given = given.chars();
    let matches = camel.chars().all(|c| match given.next() {
        Some(found) if found == c => true,
        Some('_') if c.is_ascii_uppercase() => given.next() == Some(c.to_ascii_lowercase()),
        _ => false,
    });
    matches && given.next().is_none()
}

/// Reads what a field holds, once or several times, and appends it.
struct Content<'a> {
    field: &'a Field,
    out: &'a mut Vec<u8>,
    /// In a list of numbers, which has one key for all of them.
    packed: bool,
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Content<'_> {
    fn key(&mut self, wire_type: u64) {
        if self.packed {
            return;
        }
        varint(self.out, u64::from(self.field.number) << 3 | wire_type);
    }

    fn bytes(mut self, bytes: &[u8]) {
        self.key(2);
        varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn number<E: Error>(mut self, number: i128) -> Result<(), E> {
        let (least, most) = match self.field.holds {
            Holds::Int32 => (i128::from(i32::MIN), i128::from(u32::MAX)),
            Holds::Int64 => (i128::from(i64::MIN), i128::from(u64::MAX)),
            Holds::Fixed64 => (0, i128::from(u64::MAX)),
            Holds::Double => return self.double(number as f64),
            Holds::Enum(_) => (0, i128::from(i32::MAX)),
            _ => return Err(self.mismatch("a number")),
        };
        if !(least..=most).contains(&number) {
            return Err(E::custom(format_args!("{} is {number}, which does not fit", self.field.name)));
        }
        // Negative numbers are written as the 64-bit ones they are.
        let bits = number as u64;
        if matches!(self.field.holds, Holds::Fixed64) {
            self.key(1);
            self.out.extend_from_slice(&bits.to_le_bytes());
        } else {
            self.key(0);
            varint(self.out, bits);
        }
        Ok(())
    }

    fn double<E: Error>(mut self, number: f64) -> Result<(), E> {
        match self.field.holds {
            Holds::Double => {
                self.key(1);
                self.out.extend_from_slice(&number.to_le_bytes());
                Ok(())
            }
            // As JavaScript writes whole numbers now and then.
            Holds::Int32 | Holds::Int64 | Holds::Fixed64 if number.fract() == 0.0 && number.abs() < 9e15 => {
                self.number(number as i128)
            }
            _ => Err(self.mismatch("a number with a fraction")),
        }
    }

    fn mismatch<E: Error>(&self, found: &str) -> E {
        E::custom(format_args!("{} cannot be {found}", self.field.name))
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for {}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        if !matches!(self.field.holds, Holds::Bool) {
            return Err(self.mismatch("true or false"));
        }
        self.key(0);
        self.out.push(u8::from(value));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.double(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.holds {
            Holds::Text => {
                self.bytes(text.as_bytes());
                Ok(())
            }
            Holds::Bytes => {
                let plain = text.trim_end_matches('=');
                let decoded = STANDARD_NO_PAD.decode(plain).or_else(|_| URL_SAFE_NO_PAD.decode(plain));
                let decoded = decoded.map_err(|_| self.mismatch("text that is no base64"))?;
                self.bytes(&decoded);
                Ok(())
            }
            Holds::Hex => {
                let decoded = hex(text).ok_or_else(|| self.mismatch("text that is not hexadecimal"))?;
                self.bytes(&decoded);
                Ok(())
            }
            Holds::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => self.number(number as i128),
                None => Err(self.mismatch(&format!("{:?}", text.chars().take(64).collect::<String>()))),
            },
            Holds::Int32 | Holds::Int64 | Holds::Fixed64 => match text.parse::<i128>() {
                Ok(number) => self.number(number),
                Err(_) => Err(self.mismatch("text that is no number")),
            },
            Holds::Double => match text.parse::<f64>() {
                Ok(number) => self.double(number),
                Err(_) => Err(self.mismatch("text that is no number")),
            },
            Holds::Bool | Holds::Message(_) => Err(self.mismatch("text")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.repeated {
            return Err(self.mismatch("a list"));
        }
        let single = Field { repeated: false, ..*self.field };
        if matches!(self.field.holds, Holds::Text | Holds::Bytes | Holds::Hex | Holds::Message(_)) {
            while list.next_element_seed(Content { field: &single, out: self.out, packed: false })?.is_some() {}
            return Ok(());
        }
        let mut numbers = Vec::new();
        while list.next_element_seed(Content { field: &single, out: &mut numbers, packed: true })?.is_some() {}
        self.bytes(&numbers);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Holds::Message(shape) = self.field.holds else { return Err(self.mismatch("an object")) };
        let mut message = Vec::new();
        Message { shape, out: &mut message }.visit_map(map)?;
        self.bytes(&message);
        Ok(())
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| (*byte as char).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
