//! A JSON object written member by member into one buffer: for the answers that are given most often.
//!
//! It writes what serde would of the same values; everything else is written by serde.

use core::fmt::Write;

use serde::Serialize;

/// The text of an object that is being written.
#[derive(Debug)]
pub(super) struct Members {
    text: String,
    is_first: bool,
}

impl Members {
    /// Opens an object behind `text`.
    pub(super) fn behind(mut text: String) -> Self {
        text.push('{');
        Self { text, is_first: true }
    }

    fn name(&mut self, name: &'static str) -> &mut String {
        if !core::mem::take(&mut self.is_first) {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        &mut self.text
    }

    /// A member that is true or false.
    pub(super) fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name).push_str(if value { "true" } else { "false" });
    }

    /// A member that is a whole number.
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        // Writing to a String cannot fail.
        let _ = write!(self.name(name), "{value}");
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        push_text(self.name(name), value);
    }

    /// A member that is a text without quotes, backslashes and control characters, which `push` appends.
    pub(super) fn plain(&mut self, name: &'static str, push: impl FnOnce(&mut String)) {
        let text = self.name(name);
        text.push('"');
        push(text);
        text.push('"');
    }

    /// A member that is a list of texts.
    pub(super) fn texts(&mut self, name: &'static str, values: &[String]) {
        let text = self.name(name);
        text.push('[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            push_text(text, value);
        }
        text.push(']');
    }

    /// A member of any other kind; one that cannot be said in JSON is `null`.
    pub(super) fn any(&mut self, name: &'static str, value: &impl Serialize) {
        let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.name(name).push_str(&value);
    }

    /// The text with the object closed.
    pub(super) fn close(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

fn push_text(text: &mut String, value: &str) {
    let is_odd = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if value.bytes().fold(false, |any, byte| any | is_odd(byte)) {
        // A text can always be said in JSON.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    } else {
        text.push('"');
        text.push_str(value);
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_written_as_serde_writes_them() {
        let odd = ["", "a b", "é€😀", "a\"b", "a\\b", "\0\u{1f}\u{7f}\n", "</script>", "\u{2028}"];
        for value in odd {
            let mut members = Members::behind(String::new());
            members.text("text", value);
            assert_eq!(members.close(), format!("{{\"text\":{}}}", serde_json::to_string(value).unwrap()));
        }
        let texts = odd.map(str::to_owned);
        let mut members = Members::behind(String::new());
        members.flag("a", true);
        members.flag("b", false);
        members.number("c", u64::MAX);
        members.texts("d", &texts);
        members.texts("e", &[]);
        members.any("f", &json!({"x": [1, null]}));
        members.plain("g", |text| text.push_str("plain"));
        let expected = format!(
            "{{\"a\":true,\"b\":false,\"c\":{},\"d\":{},\"e\":[],\"f\":{{\"x\":[1,null]}},\"g\":\"plain\"}}",
            u64::MAX,
            serde_json::to_string(&texts).unwrap()
        );
        assert_eq!(members.close(), expected);
        assert_eq!(Members::behind("[".to_owned()).close(), "[{}");
    }
}
