//! One message of JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>).

use serde_json::{Value, json};

/// What is wrong, by the number that the protocol gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// No JSON.
    Parse,
    /// No message.
    Request,
    /// No such method.
    Method,
    /// Not with these.
    Params,
}

/// Why a message is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    code: Code,
    message: String,
}

impl Refused {
    pub(super) fn new(code: Code, message: String) -> Self {
        Self { code, message }
    }

    /// As its sender is told.
    pub(super) fn answer(&self, id: &Value) -> Value {
        let code = match self.code {
            Code::Parse => -32_700,
            Code::Request => -32_600,
            Code::Method => -32_601,
            Code::Params => -32_602,
        };
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": self.message } })
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// `None`: nobody waits for an answer.
    pub(super) id: Option<Value>,
    /// Empty for answers to what was never asked.
    pub(super) method: String,
    /// Null where there are none.
    pub(super) params: Value,
}

impl Message {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let message: Value = serde_json::from_slice(body)
            .map_err(|error| Refused::new(Code::Parse, format!("the message is no JSON: {error}")))?;
        let wrong = |what: &str| Refused::new(Code::Request, what.to_owned());
        let Value::Object(mut message) = message else {
            return Err(wrong("send one message at a time, as an object"));
        };
        if message.get("jsonrpc").is_none_or(|version| version != "2.0") {
            return Err(wrong("jsonrpc is \"2.0\""));
        }
        let id = match message.remove("id") {
            None => None,
            Some(id @ (Value::String(_) | Value::Number(_))) => Some(id),
            Some(_) => return Err(wrong("id is a text or a number")),
        };
        let is_answer = message.contains_key("result") || message.contains_key("error");
        let method = match message.remove("method") {
            Some(Value::String(method)) => method,
            None if is_answer => return Ok(Self { id: None, method: String::new(), params: Value::Null }),
            _ => return Err(wrong("method is a text")),
        };
        Ok(Self { id, method, params: message.remove("params").unwrap_or(Value::Null) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_others_are_refused_by_number() {
        let read = |text: &str| Message::read(text.as_bytes());
        let ping = read(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).unwrap();
        assert_eq!((ping.id, ping.method.as_str(), ping.params), (Some(json!(7)), "ping", Value::Null));
        for (text, waits) in [
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","id":"a","method":"x","params":{}}"#, true),
        ] {
            assert_eq!(read(text).unwrap().id.is_some(), waits, "{text}");
        }
        let nested = "[".repeat(100_000);
        for (text, code) in [
            ("", -32_700),
            (nested.as_str(), -32_700),
            ("[]", -32_600),
            ("7", -32_600),
            (r#"{"id":1,"method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32_600),
        ] {
            let answer = read(text).unwrap_err().answer(&Value::Null);
            assert_eq!(answer["error"]["code"], code, "{}", text.chars().take(60).collect::<String>());
        }
    }
}
