//! Records as JSON lines: `{"id":…, "vector":[…], "document":…, "metadata":{…}, "uri":…}`, every key optional.

use std::{fmt, io::BufRead};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value as Json;
use varvite::{Fields, Metadata};

use super::lines::Lines;
use crate::{failure::Outcome, ids::IdEncoding, json, text::grouped};

/// Longest document the engine takes, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Longest uri the engine takes, in bytes.
const URI_BYTES_MAX: usize = 65_535;

/// What one line says. A key that is left out leaves what is stored as it is; null clears it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RecordLine {
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) vector: Option<Vec<f32>>,
    document: Option<Option<String>>,
    metadata: Option<Option<Metadata>>,
    uri: Option<Option<String>>,
}

impl RecordLine {
    pub(crate) fn parse(line: &[u8], encoding: IdEncoding) -> Result<Self, String> {
        if line.trim_ascii().is_empty() {
            return Err("the line is empty: each line is one JSON object".to_owned());
        }
        let RawRecord { metadata, others } = serde_json::from_slice(line).map_err(|error| json::complaint(&error))?;
        let mut record = Self {
            metadata: metadata.map(|metadata| metadata.map(|object| json::to_metadata(object.0)).transpose()).transpose()?,
            ..Self::default()
        };
        for (key, value) in others {
            match key.as_str() {
                "id" => match value {
                    Json::String(id) => record.id = Some(encoding.decode(id.as_bytes())?),
                    _ => return Err("the id is not a string".to_owned()),
                },
                "vector" => record.vector = Some(json::to_vector(&value)?),
                "document" => record.document = Some(text("document", value, DOCUMENT_BYTES_MAX)?),
                _ => record.uri = Some(text("uri", value, URI_BYTES_MAX)?),
            }
        }
        Ok(record)
    }

    /// Adds what the line says to `fields`.
    pub(crate) fn add_to<'a>(&'a self, mut fields: Fields<'a>) -> Fields<'a> {
        fields = match &self.document {
            Some(Some(document)) => fields.with_document(document.as_str()),
            Some(None) => fields.without_document(),
            None => fields,
        };
        fields = match &self.metadata {
            Some(Some(metadata)) => fields.with_metadata(metadata.clone()),
            Some(None) => fields.without_metadata(),
            None => fields,
        };
        match &self.uri {
            Some(Some(uri)) => fields.with_uri(uri.as_str()),
            Some(None) => fields.without_uri(),
            None => fields,
        }
    }

    /// Bytes of text in it, roughly.
    pub(crate) fn text_bytes(&self) -> usize {
        let length = |text: &Option<Option<String>>| text.iter().flatten().map(String::len).sum::<usize>();
        length(&self.document) + length(&self.uri)
    }

    pub(crate) fn document(&self) -> Option<&str> {
        self.document.as_ref()?.as_deref()
    }

    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()?.as_ref()
    }
}

fn text(key: &str, value: Json, longest: usize) -> Result<Option<String>, String> {
    match value {
        Json::String(text) if text.len() > longest => {
            Err(format!("a {key} of {} bytes is too long: at most {}", grouped(text.len() as u64), grouped(longest as u64)))
        }
        Json::String(text) => Ok(Some(text)),
        Json::Null => Ok(None),
        _ => Err(format!("the {key} is not a string")),
    }
}

/// The next line as a record; `None` at the end of the file.
pub(crate) fn next_record<R: BufRead>(lines: &mut Lines<R>, encoding: IdEncoding) -> Outcome<Option<RecordLine>> {
    let parsed = match lines.next_line()? {
        None => return Ok(None),
        Some(line) => RecordLine::parse(line, encoding),
    };
    parsed.map(Some).map_err(|what| lines.complaint(&what))
}

/// A JSON object with its keys in order, doubles included (a map would keep the last one silently).
pub(crate) struct Object(pub(crate) Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

struct RawRecord {
    metadata: Option<Option<Object>>,
    others: Vec<(String, Json)>,
}

impl<'de> Deserialize<'de> for RawRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = RawRecord;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with id, vector, document, metadata or uri")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRecord, A::Error> {
                let mut record = RawRecord { metadata: None, others: Vec::new() };
                while let Some(key) = map.next_key::<String>()? {
                    let twice = match key.as_str() {
                        "metadata" => record.metadata.replace(map.next_value()?).is_some(),
                        "id" | "vector" | "document" | "uri" => {
                            let twice = record.others.iter().any(|(other, _)| *other == key);
                            record.others.push((key.clone(), map.next_value()?));
                            twice
                        }
                        _ => {
                            return Err(A::Error::custom(format_args!(
                                "unknown key '{key}': id, vector, document, metadata and uri are known"
                            )));
                        }
                    };
                    if twice {
                        return Err(A::Error::custom(format_args!("the key '{key}' stands there twice")));
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(line: &str) -> Result<RecordLine, String> {
        RecordLine::parse(line.as_bytes(), IdEncoding::Utf8)
    }

    #[test]
    fn a_whole_record_is_read() {
        let record = parse(r#"{"id":"a","vector":[1,-0.0,1e-45],"document":"d","metadata":{"n":1},"uri":"u"}"#).unwrap();
        assert_eq!(record.id.as_deref(), Some(&b"a"[..]));
        let bits: Vec<u32> = record.vector.unwrap().iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x3f80_0000, 0x8000_0000, 1]);
        assert_eq!(record.document, Some(Some("d".to_owned())));
        assert_eq!(record.metadata.unwrap().unwrap().len(), 1);
    }

    #[test]
    fn absent_and_null_differ() {
        assert_eq!(parse("{}").unwrap(), RecordLine::default());
        let cleared = parse(r#"{"document":null,"metadata":null,"uri":null}"#).unwrap();
        assert_eq!(cleared, RecordLine { document: Some(None), metadata: Some(None), uri: Some(None), ..RecordLine::default() });
    }

    #[test]
    fn broken_lines_are_refused_by_name() {
        let deep = "[".repeat(100_000);
        for (line, reason) in [
            ("", "the line is empty"),
            (" \r", "the line is empty"),
            ("[]", "expected an object"),
            ("{\"id\":\"a\"", "EOF"),
            ("{} {}", "trailing"),
            (r#"{"id":5}"#, "id is not a string"),
            (r#"{"id":""}"#, "at least one byte"),
            (r#"{"id":"a","id":"b"}"#, "twice"),
            (r#"{"metadata":{"k":1,"k":2}}"#, "twice"),
            (r#"{"metadata":{"k":{"j":1}}}"#, "nested"),
            (r#"{"metadata":[1]}"#, "expected an object"),
            (r#"{"metadata":{},"metadata":{}}"#, "twice"),
            (r#"{"document":7}"#, "document is not a string"),
            (r#"{"text":"x"}"#, "unknown key 'text'"),
            (r#"{"vector":"x"}"#, "not an array"),
            (r#"{"vector":[1,]}"#, "column"),
            (r#"{"document":"\ud800"}"#, "hex escape"),
            (&format!(r#"{{"document":{deep}"#), "recursion"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{}: {error}", &line[..line.len().min(40)]);
        }
        assert!(RecordLine::parse(b"{\"id\":\"\xff\"}", IdEncoding::Utf8).is_err());
    }

    #[test]
    fn errors_name_the_line() {
        let mut lines = Lines::new(&b"{}\n{\"id\":1}\n"[..], Path::new("r.jsonl"));
        assert!(next_record(&mut lines, IdEncoding::Utf8).unwrap().is_some());
        let error = next_record(&mut lines, IdEncoding::Utf8).unwrap_err().to_string();
        assert!(error.starts_with("'r.jsonl' line 2: "), "{error}");
    }
}
