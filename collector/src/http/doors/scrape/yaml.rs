//! YAML as operators write it, as a tree that knows its lines, and read strictly: what nobody asked for is refused by name.

use std::fmt;

use saphyr_parser::{Event, Parser, ScanError, Span};

/// Beyond this it is no configuration.
pub(super) const BYTES_MAX: usize = 4 << 20;

const DEPTH_MAX: usize = 16;
const NODES_MAX: usize = 200_000;

/// Names of one mapping: each is compared with all.
const NAMES_MAX: usize = 1_000;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// From 1; 0: of the file as a whole.
    pub line: usize,
    /// What is wrong, and what may stand there.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl Problem {
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A value, and the line that it begins in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The one document of a file.
    ///
    /// # Errors
    /// When it is no YAML, too large, or uses what is of no use here: anchors, several documents.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        if text.len() > BYTES_MAX {
            return Err(Problem::at(0, format!("the file has {} bytes, limit {BYTES_MAX}", text.len())));
        }
        let mut reader = Reader { events: Parser::new_from_str(text), nodes: 0 };
        loop {
            match reader.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, line) => return Ok(Self { line, what: What::Map(Vec::new()) }),
                (event, line) => {
                    let node = reader.node(event, line, 0)?;
                    loop {
                        match reader.next()? {
                            (Event::DocumentEnd, _) => {}
                            (Event::StreamEnd, _) => return Ok(node),
                            (_, line) => return Err(Problem::at(line, "the file holds more than one document")),
                        }
                    }
                }
            }
        }
    }

    /// A text, a number, or a word.
    pub(super) fn text(self, of: &str) -> Result<String, Problem> {
        match self.what {
            What::Text(text) => Ok(text),
            _ => Err(Problem::at(self.line, format!("{of} is a text"))),
        }
    }

    /// What is parsed from a text.
    pub(super) fn parsed<T>(self, of: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Problem> {
        let line = self.line;
        let text = self.text(of)?;
        parse(&text).map_err(|why| {
            let shown: String = text.chars().take(64).collect();
            Problem::at(line, format!("{of} is {shown:?}: {why}"))
        })
    }

    /// Yes or no.
    pub(super) fn flag(self, of: &str) -> Result<bool, Problem> {
        self.parsed(of, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("write true or false".to_owned()),
        })
    }

    /// Entries; none where nothing stands behind the key.
    pub(super) fn list(self, of: &str) -> Result<Vec<Self>, Problem> {
        match self.what {
            What::List(list) => Ok(list),
            What::Text(text) if is_nothing(&text) => Ok(Vec::new()),
            _ => Err(Problem::at(self.line, format!("{of} is a list"))),
        }
    }

    /// Texts by name.
    pub(super) fn texts_by_name(self, of: &str) -> Result<Vec<(String, String)>, Problem> {
        let Self { line, what } = self;
        match what {
            What::Map(pairs) => pairs.into_iter().map(|(name, node)| node.text(of).map(|text| (name, text))).collect(),
            What::Text(text) if is_nothing(&text) => Ok(Vec::new()),
            _ => Err(Problem::at(line, format!("{of} are names with a text each"))),
        }
    }

    /// Fields by name, of which each is taken once.
    pub(super) fn fields(self, of: &'static str) -> Result<Fields, Problem> {
        let Self { line, what } = self;
        match what {
            What::Map(pairs) => Ok(Fields { of, line, pairs, known: Vec::new() }),
            What::Text(text) if is_nothing(&text) => Ok(Fields { of, line, pairs: Vec::new(), known: Vec::new() }),
            _ => Err(Problem::at(line, format!("{of} has fields, such as key: value"))),
        }
    }
}

fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "~" | "null")
}

/// The fields of one mapping.
#[derive(Debug)]
pub(super) struct Fields {
    of: &'static str,
    pub(super) line: usize,
    pairs: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a field.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// Takes a field that must be there.
    pub(super) fn require(&mut self, name: &'static str) -> Result<Node, Problem> {
        let line = self.line;
        self.take(name).ok_or_else(|| Problem::at(line, format!("{} needs {name}", self.of)))
    }

    /// Ends the reading: what was not taken is refused.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((name, node)) = self.pairs.iter().min_by_key(|(_, node)| node.line) else { return Ok(()) };
        let shown: String = name.chars().take(64).collect();
        let known = self.known.join(", ");
        Err(Problem::at(node.line, format!("{} has no {shown:?} here; there are: {known}", self.of)))
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Problem> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, line(&span))),
            Some(Err(error)) => Err(scan(&error)),
            None => Err(Problem::at(0, "the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(Problem::at(line, format!("more than {DEPTH_MAX} levels or {NODES_MAX} values")));
        }
        let what = match event {
            Event::Scalar(text, ..) => What::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break What::List(list),
                        (event, line) => list.push(self.node(event, line, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut pairs: Vec<(String, Node)> = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    let name = match event {
                        Event::MappingEnd => break What::Map(pairs),
                        Event::Scalar(name, ..) => name.into_owned(),
                        _ => return Err(Problem::at(line, "the name of a field is a text")),
                    };
                    let (event, of_value) = self.next()?;
                    // An empty value stands nowhere: its name does.
                    let mut value = self.node(event, of_value, depth + 1)?;
                    value.line = line;
                    if pairs.len() >= NAMES_MAX {
                        return Err(Problem::at(line, format!("more than {NAMES_MAX} names, one beside the other")));
                    }
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(Problem::at(line, format!("{name:?} is given twice")));
                    }
                    pairs.push((name, value));
                }
            }
            _ => return Err(Problem::at(line, "anchors and aliases are not taken: write it out")),
        };
        Ok(Node { line, what })
    }
}

fn line(span: &Span) -> usize {
    span.start.line()
}

fn scan(error: &ScanError) -> Problem {
    Problem::at(error.marker().line(), format!("this is no YAML: {}", error.info()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_once_and_the_rest_is_named_with_its_line() {
        let mut fields = Node::read("# a file\na: 1\nb:\n  - x\n  - 'y'\nc: null\n").unwrap().fields("it").unwrap();
        assert_eq!(fields.take("a").unwrap().text("a").unwrap(), "1");
        assert_eq!(fields.require("d").unwrap_err().to_string(), "line 2: it needs d");
        let b = fields.take("b").unwrap();
        assert_eq!(b.line, 3);
        assert_eq!(
            b.list("b").unwrap().into_iter().map(|node| node.text("b").unwrap()).collect::<Vec<_>>(),
            ["x", "y"]
        );
        assert_eq!(fields.finish().unwrap_err().to_string(), "line 6: it has no \"c\" here; there are: a, d, b");
        assert!(Node::read("").unwrap().fields("it").unwrap().finish().is_ok());
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        for (text, says) in [
            ("a: [1", ""),
            ("a: &x 1\nb: *x", "line 2: anchors"),
            ("a: 1\na: 2", "line 2: \"a\" is given twice"),
            ("a: 1\n---\nb: 2", "more than one document"),
            ("? [x]\n: 1", "the name of a field"),
        ] {
            let problem = Node::read(text).unwrap_err();
            assert!(problem.to_string().contains(says), "{text:?}: {problem}");
        }
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        assert!(Node::read(&deep).is_err());
        assert!(Node::read(&format!("[{}]", "a,".repeat(NODES_MAX + 1))).unwrap_err().message.contains("values"));
        let names: String = (0..=NAMES_MAX).map(|i| format!("n{i}: x\n")).collect();
        assert!(Node::read(&names).unwrap_err().to_string().contains("line 1001: more than 1000 names"));
        assert!(Node::read(&" ".repeat(BYTES_MAX + 1)).unwrap_err().message.contains("limit"));
    }
}
