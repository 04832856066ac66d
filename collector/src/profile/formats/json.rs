//! JSON, read where it lies: a cursor that goes through a text once, and can be put down and taken up again. Nothing is built of it, and
//! nothing calls itself, so what a hostile text can cost is what reading it costs, however deep it nests.

use std::borrow::Cow;

use crate::profile::import::{ImportError, Place};

/// No number stood there.
pub(super) const NONE: u32 = u32::MAX;

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
    /// Just behind the opening bracket of what has members.
    is_fresh: bool,
    /// What the text is taken for, for errors.
    format: &'static str,
}

/// An outcome that says what is wrong where.
type Read<T> = Result<T, ImportError>;

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str, format: &'static str) -> Self {
        Self { text, at: 0, is_fresh: false, format }
    }

    /// Says what is wrong here.
    pub(super) fn broken(&self, problem: impl Into<String>) -> ImportError {
        ImportError::Broken {
            format: self.format,
            place: Place::Byte(self.at),
            problem: problem.into(),
            advice: "the file is damaged, cut short, or of a version that is not known: take it or copy it again",
        }
    }

    /// Where this is, for [`Self::back_to`].
    pub(super) fn at(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    /// The same text at a value that was passed before.
    pub(super) fn back_to(&self, at: u32) -> Self {
        Self { at: at as usize, is_fresh: false, ..*self }
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn is_next(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Enters an object; `false` where there is none, but something else that was passed over.
    pub(super) fn object(&mut self) -> Read<bool> {
        self.enter(b'{')
    }

    /// Enters an array; `false` where there is none.
    pub(super) fn array(&mut self) -> Read<bool> {
        self.enter(b'[')
    }

    fn enter(&mut self, bracket: u8) -> Read<bool> {
        if !self.is_next(bracket) {
            self.skip()?;
            return Ok(false);
        }
        self.is_fresh = true;
        Ok(true)
    }

    /// Goes to the next member of what was entered; `false`: behind its end.
    fn next(&mut self, end: u8) -> Read<bool> {
        let is_first = std::mem::take(&mut self.is_fresh);
        if self.is_next(end) {
            return Ok(false);
        }
        if is_first || self.is_next(b',') {
            Ok(true)
        } else {
            Err(self.broken("what goes on here does not belong to it"))
        }
    }

    /// The name of an object's next member, whose value is next; `None`: behind the object.
    pub(super) fn key(&mut self) -> Read<Option<Cow<'a, str>>> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.broken("a name is missing"));
        }
        let key = self.string()?;
        if self.is_next(b':') { Ok(Some(key)) } else { Err(self.broken("a colon is missing")) }
    }

    /// Goes to an array's next value; `false`: behind the array.
    pub(super) fn item(&mut self) -> Read<bool> {
        self.next(b']')
    }

    /// Passes over a value, whatever it holds.
    pub(super) fn skip(&mut self) -> Read<()> {
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or_else(|| self.broken("it ends too early"))? {
                b'"' => drop(self.raw()?),
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                }
                b'}' | b']' if depth > 0 => {
                    self.at += 1;
                    depth -= 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => drop(self.token()?),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// A string with its quotes, as it is written.
    fn raw(&mut self) -> Read<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + 1;
        loop {
            match bytes.get(at) {
                None => return Err(self.broken("a string does not end")),
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        Ok(self.text.get(start..=at).unwrap_or_default())
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        let raw = self.raw()?;
        let inner = raw.get(1..raw.len() - 1).unwrap_or_default();
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        // Half a character, as JavaScript can have it, is left as it is written.
        Ok(serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned))
    }

    /// A number or a word.
    fn token(&mut self) -> Read<&'a str> {
        self.peek();
        let start = self.at;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        while self.text.as_bytes().get(self.at).is_some_and(is_part) {
            self.at += 1;
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        if token.is_empty() { Err(self.broken("a value is missing")) } else { Ok(token) }
    }

    /// A number; `None` for anything else, which is passed over.
    pub(super) fn number(&mut self) -> Read<Option<f64>> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let token = self.token()?;
                token.parse().map(Some).map_err(|_| self.broken(format!("{token:?} is no number")))
            }
            _ => self.skip().map(|()| None),
        }
    }

    /// A text, or a number as it is written; `None` for anything else, which is passed over.
    pub(super) fn text(&mut self) -> Read<Option<Cow<'a, str>>> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(self.token()?))),
            _ => self.skip().map(|()| None),
        }
    }

    /// A whole number that says where something else stands; [`NONE`] where there is none or it is -1.
    pub(super) fn index(&mut self) -> Read<u32> {
        match self.number()? {
            None => Ok(NONE),
            Some(-1.0) => Ok(NONE),
            Some(number) if number >= 0.0 && number < f64::from(NONE) && number.fract() == 0.0 => Ok(number as u32),
            Some(number) => Err(self.broken(format!("{number} is no position in a list"))),
        }
    }

    /// Passes over an object, and says where the values of some of its members are; none where they are missing or null.
    pub(super) fn fields<const N: usize>(&mut self, names: [&str; N]) -> Read<[Option<Self>; N]> {
        let mut found = [None; N];
        self.find(names, &mut found)?;
        Ok(found)
    }

    fn find<const N: usize>(&mut self, names: [&str; N], found: &mut [Option<Self>; N]) -> Read<()> {
        if !self.object()? {
            return Ok(());
        }
        while let Some(key) = self.key()? {
            let is_null = self.peek() == Some(b'n');
            if let Some((_, field)) = names.iter().zip(found.iter_mut()).find(|(name, _)| **name == key) {
                *field = (!is_null).then_some(*self);
            }
            self.skip()?;
        }
        Ok(())
    }

    /// The same of a text that may be broken further on: what was found before.
    pub(super) fn fields_so_far<const N: usize>(&mut self, names: [&str; N]) -> [Option<Self>; N] {
        let mut found = [None; N];
        let _ = self.find(names, &mut found);
        found
    }

    /// Where each value of an array is.
    pub(super) fn positions(mut self) -> Read<Vec<u32>> {
        let mut positions = Vec::new();
        if self.array()? {
            while self.item()? {
                self.peek();
                positions.push(self.at());
                self.skip()?;
            }
        }
        Ok(positions)
    }

    /// All numbers of an array that say where something else stands.
    pub(super) fn indexes(mut self) -> Read<Vec<u32>> {
        let mut indexes = Vec::new();
        if self.array()? {
            while self.item()? {
                indexes.push(self.index()?);
            }
        }
        Ok(indexes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::new(text, "a test")
    }

    #[test]
    fn members_are_found_in_any_order_and_whatever_is_between_them() {
        let text = r#" { "a" : [1, {"b":"]}"}, "\"{"] , "b":null,"c":-1.5e3, "d\u0065":"x\n\ud83d\ude00" } "#;
        let mut all = json(text);
        let [c, a, de, b, none] = all.fields(["c", "a", "de", "b", "none"]).unwrap();
        assert_eq!(c.unwrap().number().unwrap(), Some(-1500.0));
        assert_eq!(de.unwrap().text().unwrap().unwrap(), "x\n😀");
        assert!(b.is_none() && none.is_none());
        let positions = a.unwrap().positions().unwrap();
        assert_eq!(positions.len(), 3);
        assert_eq!(all.back_to(positions[2]).text().unwrap().unwrap(), "\"{");
        assert_eq!(json("[0, 7, null, -1]").indexes().unwrap(), [0, 7, NONE, NONE]);
        assert_eq!(json("[]").indexes().unwrap(), [] as [u32; 0]);
        assert_eq!(json(r#""\ud800""#).text().unwrap().unwrap(), r"\ud800", "half a character");
    }

    #[test]
    fn what_is_no_json_is_refused_by_its_place() {
        for (text, problem) in [
            ("{\"a\":1", "byte 6: what goes on here"),
            ("{\"a\" 1}", "byte 5: a colon is missing"),
            ("{1:2}", "byte 1: a name is missing"),
            ("{\"a", "a string does not end"),
            ("{\"a\":[[[", "byte 8: it ends too early"),
            ("", "it ends too early"),
            ("{\"a\":}", "a value is missing"),
        ] {
            let error = json(text).fields(["a"]).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        assert!(json("[1 2]").indexes().is_err());
        assert!(json("[1.5]").indexes().is_err());
        assert!(json("[1,]").indexes().is_err());
        assert!(json("1-2").number().is_err());
    }

    #[test]
    fn however_deep_it_nests() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(json(&deep).fields(["a"]).unwrap()[0].is_some());
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde(text in r#"[\[\]{}":,\\0-9a-b \-.u]{0,40}"#) {
            if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&text) {
                let [a] = json(&text).fields(["a"]).unwrap();
                prop_assert_eq!(a.is_some(), object.get("a").is_some_and(|value| !value.is_null()));
            }
            let _ = json(&text).skip();
            let _ = json(&text).indexes();
            let _ = json(&text).positions();
        }
    }
}
