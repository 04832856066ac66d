//! Label selectors as Pyroscope and Prometheus write them: `{service_name="shop",zone=~"eu.*",version!="v1"}`, with the name of a profile
//! type in front of it where there is one.

use regex::bytes::{Regex, RegexBuilder};

use crate::http::error::ApiError;

/// Of one selector.
const BYTES_MAX: usize = 16 << 10;

/// Of all selectors of a call.
const MATCHERS_MAX: usize = 64;

/// Of one expression as it is written: hundreds of names side by side fit.
const EXPRESSION_BYTES_MAX: usize = 4 << 10;

/// Of one expression once it is compiled.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Expressions of all selectors of a call.
const EXPRESSIONS_MAX: usize = 16;

/// What must hold of labels: all of it. What has no such label has its value empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    matchers: Vec<Matcher>,
}

/// What must hold of one label.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    /// Which label.
    pub(super) name: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    IsNot(String),
    Like(Regex),
    Unlike(Regex),
}

impl Matcher {
    /// True of a value.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match &self.test {
            Test::Is(wanted) => wanted == value,
            Test::IsNot(unwanted) => unwanted != value,
            Test::Like(expression) => expression.is_match(value.as_bytes()),
            Test::Unlike(expression) => !expression.is_match(value.as_bytes()),
        }
    }

    /// The only value that it accepts.
    pub(super) fn only(&self) -> Option<&str> {
        match &self.test {
            Test::Is(value) => Some(value),
            _ => None,
        }
    }
}

impl Selector {
    /// Reads a selector, and what stands in front of it. Nothing selects everything.
    ///
    /// # Errors
    /// When it is not understood, or beyond a limit: the message says where, or which.
    pub(super) fn parse(text: &str) -> Result<(String, Self), ApiError> {
        if text.len() > BYTES_MAX {
            return Err(refused(format!("a label selector has {} bytes, limit {BYTES_MAX}", text.len())));
        }
        let mut reader = Reader { text, at: 0 };
        reader.blanks();
        let is_type = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-' | '/');
        let before = reader.take(is_type).to_owned();
        reader.blanks();
        let mut selector = Self::default();
        if reader.eat('{') {
            selector.read(&mut reader)?;
            reader.blanks();
        }
        if reader.at < text.len() {
            return Err(reader.unexpected("nothing after the selector"));
        }
        selector.check()?;
        Ok((before, selector))
    }

    /// Reads several, all of which must hold.
    ///
    /// # Errors
    /// As [`Self::parse`], and when there is something in front of one.
    pub(super) fn all(texts: &[String]) -> Result<Self, ApiError> {
        let mut all = Self::default();
        for text in texts {
            let (before, selector) = Self::parse(text)?;
            if !before.is_empty() {
                return Err(refused(format!("label selector {:?} does not begin with {{", shown(text))));
            }
            all.matchers.extend(selector.matchers);
            all.check()?;
        }
        Ok(all)
    }

    /// What must hold of a label.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Matcher> {
        self.matchers.iter().filter(move |matcher| matcher.name == name)
    }

    /// True of a value of a label.
    pub(super) fn accepts(&self, name: &str, value: &str) -> bool {
        self.of(name).all(|matcher| matcher.accepts(value))
    }

    /// Names of labels that something must hold of, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.matchers.iter().map(|matcher| matcher.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn check(&self) -> Result<(), ApiError> {
        let count = self.matchers.len();
        if count > MATCHERS_MAX {
            return Err(refused(format!("label selectors have {count} conditions, limit {MATCHERS_MAX}")));
        }
        let is_expression = |matcher: &&Matcher| matches!(matcher.test, Test::Like(_) | Test::Unlike(_));
        let expressions = self.matchers.iter().filter(is_expression).count();
        if expressions > EXPRESSIONS_MAX {
            return Err(refused(format!("label selectors have {expressions} expressions, limit {EXPRESSIONS_MAX}")));
        }
        Ok(())
    }

    /// Up to and with the closing brace.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), ApiError> {
        loop {
            reader.blanks();
            if reader.eat('}') {
                return Ok(());
            }
            self.matchers.push(reader.matcher()?);
            if self.matchers.len() > MATCHERS_MAX {
                return self.check();
            }
            reader.blanks();
            if !reader.eat(',') && !reader.rest().starts_with('}') {
                return Err(reader.unexpected("a comma or }"));
            }
        }
    }
}

/// A selector that is being read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.split(|c| !is_part(c)).next().unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is_next = self.rest().starts_with(wanted);
        self.at += if is_next { wanted.len_utf8() } else { 0 };
        is_next
    }

    fn blanks(&mut self) {
        self.take(char::is_whitespace);
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn unexpected(&self, wanted: &str) -> ApiError {
        let found: String = self.rest().chars().take(16).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        refused(format!("label selector, byte {}: {found} where there should be {wanted}", self.at))
    }

    fn matcher(&mut self) -> Result<Matcher, ApiError> {
        let name = if self.rest().starts_with(['"', '\'', '`']) {
            self.quoted()?
        } else {
            self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':')).to_owned()
        };
        if name.is_empty() {
            return Err(self.unexpected("the name of a label"));
        }
        self.blanks();
        let (is_negated, is_expression) = match (self.next(), self.rest().chars().next()) {
            (Some('='), Some('~')) => (false, true),
            (Some('='), _) => (false, false),
            (Some('!'), Some('~')) => (true, true),
            (Some('!'), Some('=')) => (true, false),
            _ => {
                self.at -= usize::from(self.at > 0);
                return Err(self.unexpected("=, !=, =~ or !~"));
            }
        };
        self.at += usize::from(is_negated || is_expression);
        self.blanks();
        let value = self.quoted()?;
        let test = match (is_negated, is_expression) {
            (false, false) => Test::Is(value),
            (true, false) => Test::IsNot(value),
            (false, true) => Test::Like(expression(&value)?),
            (true, true) => Test::Unlike(expression(&value)?),
        };
        Ok(Matcher { name, test })
    }

    fn quoted(&mut self) -> Result<String, ApiError> {
        let Some(quote @ ('"' | '\'' | '`')) = self.next() else {
            self.at = self.at.min(self.text.len());
            return Err(self.unexpected("a text in quotes"));
        };
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                None | Some('\n') if quote != '`' => return Err(self.unexpected("the closing quote")),
                None => return Err(self.unexpected("the closing quote")),
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => self.escape(&mut bytes)?,
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| refused("a text of a label selector is not UTF-8".to_owned()))
    }

    /// What stands after a backslash, as Go has it.
    fn escape(&mut self, into: &mut Vec<u8>) -> Result<(), ApiError> {
        let Some(c) = self.next() else { return Err(self.unexpected("the rest of a text")) };
        let byte = match c {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' | '"' | '\'' => c as u8,
            'x' => self.number(2, 16)? as u8,
            '0'..='7' => {
                self.at -= 1;
                self.number(3, 8)? as u8
            }
            'u' | 'U' => {
                let number = self.number(if c == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(number).ok_or_else(|| self.unexpected("the number of a character"))?;
                into.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(refused(format!("label selector, byte {}: \\{c} is no escape", self.at))),
        };
        into.push(byte);
        Ok(())
    }

    fn number(&mut self, digits: usize, radix: u32) -> Result<u32, ApiError> {
        let number = self.rest().get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let number = number.ok_or_else(|| self.unexpected("a number"))?;
        self.at += digits;
        Ok(number)
    }
}

/// An expression that a whole value must match.
fn expression(text: &str) -> Result<Regex, ApiError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("an expression has {} bytes, limit {EXPRESSION_BYTES_MAX}", text.len());
        return Err(ApiError::invalid(message, "write a shorter one, such as a common beginning"));
    }
    let compile = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
    };
    // By itself first: what closes more brackets than it opens would else mean something here.
    compile(text).and_then(|_| compile(&format!("^(?s:{text})$"))).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        ApiError::invalid(
            format!("expression {:?}: {reason}", shown(text)),
            "expressions are those of the Rust crate regex over bytes, without look-around",
        )
    })
}

fn refused(message: String) -> ApiError {
    ApiError::invalid(message, "write it as {service_name=\"shop\",zone=~\"eu.*\"}")
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str, labels: &[(&str, &str)]) -> bool {
        let (_, selector) = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let value = |name: &str| labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        selector.names().iter().all(|name| selector.accepts(name, value(name)))
    }

    #[test]
    fn selectors_select_as_prometheus_has_it() {
        let labels = [("service_name", "shop"), ("zone", "eu-1"), ("http.route", "/a"), ("quote", "a\"b\n")];
        for text in [
            "",
            "{}",
            "{ }",
            r#"{service_name="shop"}"#,
            r#"{ service_name = "shop" , }"#,
            r#"{service_name='shop',zone=~"eu.*"}"#,
            r#"{zone=~"us|eu-\\d"}"#,
            r#"{zone=~`us|eu-\d`}"#,
            r#"{zone!="eu-2",zone!~"us.*"}"#,
            r#"{region="",region!~".+",region=~".*"}"#,
            r#"{http.route="/a"}"#,
            r#"{"http.route"="/a"}"#,
            r#"{quote="a\"b\n"}"#,
            r#"{quote="\x61\u0022\142\U0000000a"}"#,
            r#"{quote=~"a.b."}"#,
        ] {
            assert!(accepts(text, &labels), "{text}");
        }
        for text in [
            r#"{service_name="sho"}"#,
            r#"{zone=~"eu"}"#,
            r#"{zone!~"eu.*"}"#,
            r#"{zone!="eu-1"}"#,
            r#"{region=~".+"}"#,
            r#"{region!=""}"#,
            r#"{zone=~"eu.*",zone!="eu-1"}"#,
        ] {
            assert!(!accepts(text, &labels), "{text}");
        }
        let (before, selector) = Selector::parse(r#"process_cpu:cpu:nanoseconds:cpu:nanoseconds{a="b"}"#).unwrap();
        assert_eq!((before.as_str(), selector.names()), ("process_cpu:cpu:nanoseconds:cpu:nanoseconds", vec!["a"]));
        assert_eq!(Selector::parse("cpu").unwrap().0, "cpu");
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_place() {
        for text in [
            "{",
            "}",
            "cpu}",
            "c$u{}",
            "{a}",
            "{a=}",
            "{a=b}",
            r#"{a="b}"#,
            r#"{a="b" c="d"}"#,
            r#"{a=="b"}"#,
            r#"{a!"b"}"#,
            r#"{a~"b"}"#,
            r#"{="b"}"#,
            r#"{,}"#,
            r#"{a="b"}x"#,
            r#"{a="\q"}"#,
            r#"{a="\x9"}"#,
            r#"{a="\xff"}"#,
            r#"{a="\ud800"}"#,
            "{a=\"b\nc\"}",
            "{ä=\"b\"}",
            r#"{a=~"("}"#,
            r#"{a=~"b)|(c"}"#,
            r#"{a=~"(?=b)"}"#,
            "{a=\"\\",
            "{a=\"é\\",
            "{a!",
            "{a",
        ] {
            let error = Selector::parse(text).expect_err(text);
            assert!(!error.hint().is_empty(), "{text}: {error}");
        }
        assert!(Selector::all(&["cpu{}".to_owned()]).is_err());
    }

    #[test]
    fn what_is_too_much_is_refused_by_its_limit() {
        let many = |count: usize, one: &str| format!("{{{}}}", vec![one; count].join(","));
        for (text, says) in [
            (format!("{{a=\"{}\"}}", "x".repeat(20_000)), "limit 16384"),
            (many(65, r#"a="b""#), "limit 64"),
            (many(17, r#"a=~"b""#), "limit 16"),
            (format!("{{a=~\"{}\"}}", "x".repeat(5_000)), "limit 4096"),
            (r#"{a=~"(((a{99}){99}){99}){99}"}"#.to_owned(), "size"),
        ] {
            let error = Selector::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let each = many(33, r#"a="b""#);
        assert!(Selector::all(&[each.clone(), each]).unwrap_err().to_string().contains("limit 64"));
    }
}
