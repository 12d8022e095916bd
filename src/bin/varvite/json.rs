//! JSON in and out. Numbers go through their literals: an integer stays an integer, a float keeps its bits, and nothing is rounded silently.

use serde_json::{Map, Number, Value as Json};
use varvite::{Metadata, Row, Value};

use crate::{
    failure::{Failure, Outcome},
    ids::{IdEncoding, readable},
};

/// An f32 as its shortest literal that reads back as the same bits; null for what JSON has no number for.
pub(crate) fn float(value: f32) -> Json {
    if value.is_finite() { literal(&format!("{value:?}")) } else { Json::Null }
}

/// What is wrong with one line of JSON, and where in the line.
pub(crate) fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => text.to_owned(),
        column => format!("{text} (column {column})"),
    }
}

/// A distance for programs: a number, or "Infinity", "-Infinity" or "NaN" where it has left the range of f32.
pub(crate) fn distance(value: f32) -> Json {
    match value {
        _ if value.is_finite() => float(value),
        _ if value.is_nan() => "NaN".into(),
        _ if value > 0.0 => "Infinity".into(),
        _ => "-Infinity".into(),
    }
}

fn literal(text: &str) -> Json {
    text.parse::<Number>().map_or(Json::Null, Json::Number)
}

/// The vector of a record, which must survive the way through JSON.
pub(crate) fn vector(id: &[u8], elements: &[f32]) -> Outcome<Json> {
    if elements.iter().any(|element| !element.is_finite()) {
        return Err(Failure::refused(format!(
            "the vector of {} holds a NaN or an infinity, which JSON cannot say: use `export --vectors F.npy`",
            readable(id)
        )));
    }
    Ok(elements.iter().copied().map(float).collect())
}

/// One record as an object that `import --vectors F.jsonl` takes.
pub(crate) fn record(row: &Row, encoding: IdEncoding, with_vector: bool) -> Outcome<Map<String, Json>> {
    let mut object = Map::new();
    object.insert("id".to_owned(), encoding.encode(row.id())?.into());
    if with_vector {
        object.insert("vector".to_owned(), vector(row.id(), row)?);
    }
    if let Some(document) = row.document()? {
        object.insert("document".to_owned(), document.into());
    }
    let metadata = row.metadata()?;
    if !metadata.is_empty() {
        object.insert("metadata".to_owned(), from_metadata(row.id(), &metadata)?);
    }
    if let Some(uri) = row.uri()? {
        object.insert("uri".to_owned(), uri.into());
    }
    Ok(object)
}

/// Metadata as a JSON object.
pub(crate) fn from_metadata(id: &[u8], metadata: &Metadata) -> Outcome<Json> {
    let mut object = Map::new();
    for (key, value) in metadata.iter() {
        let json = from_value(value).ok_or_else(|| {
            Failure::refused(format!("the metadata '{key}' of {} holds a NaN or an infinity, which JSON cannot say", readable(id)))
        })?;
        object.insert(key.to_owned(), json);
    }
    Ok(Json::Object(object))
}

fn from_value(value: &Value) -> Option<Json> {
    let double = |value: &f64| value.is_finite().then(|| literal(&format!("{value:?}")));
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::I64(number) => Some((*number).into()),
        Value::F64(number) => double(number),
        Value::Bool(truth) => Some((*truth).into()),
        Value::Strings(texts) => Some(texts.iter().map(String::as_str).collect()),
        Value::I64s(numbers) => Some(numbers.iter().copied().collect()),
        Value::F64s(numbers) => numbers.iter().map(double).collect::<Option<Vec<Json>>>().map(Json::Array),
        Value::Bools(truths) => Some(truths.iter().copied().collect()),
        _ => None,
    }
}

/// A value as people are shown it; never fails.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => from_value(other).map_or_else(|| format!("{other:?}"), |json| json.to_string()),
    }
}

/// A JSON object as metadata, or what is wrong with it. Each key stands there once: whoever parsed `pairs` kept doubles.
pub(crate) fn to_metadata(pairs: Vec<(String, Json)>) -> Result<Metadata, String> {
    let mut metadata = Metadata::new();
    for (key, json) in pairs {
        if key.is_empty() || key.len() > 65_535 {
            return Err(format!("a metadata key of {} bytes refused: 1 to 65,535 are possible", key.len()));
        }
        let value = to_value(json).map_err(|reason| format!("metadata '{key}' {reason}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata '{key}' stands there twice"));
        }
    }
    Ok(metadata)
}

fn to_value(json: Json) -> Result<Value, String> {
    match json {
        Json::String(text) => Ok(Value::String(text)),
        Json::Bool(truth) => Ok(Value::Bool(truth)),
        Json::Number(number) => to_number(number.as_str()),
        Json::Array(elements) => to_array(elements),
        Json::Null => Err("is null: leave the key out".to_owned()),
        Json::Object(_) => Err("is a nested object: use flat keys".to_owned()),
    }
}

fn to_number(literal: &str) -> Result<Value, String> {
    if literal.contains(['.', 'e', 'E']) {
        return match literal.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::F64(number)),
            _ => Err(format!("is {literal}, which no f64 can hold")),
        };
    }
    literal
        .parse()
        .map(Value::I64)
        .map_err(|_| format!("is {literal}, which no i64 can hold: write it as a string or with a decimal point"))
}

fn to_array(elements: Vec<Json>) -> Result<Value, String> {
    let mut array: Option<Value> = None;
    for element in elements {
        let value = to_value(element).map_err(|reason| format!("holds an element that {reason}"))?;
        array = Some(match (array, value) {
            (None, Value::String(text)) => Value::Strings(vec![text]),
            (None, Value::I64(number)) => Value::I64s(vec![number]),
            (None, Value::F64(number)) => Value::F64s(vec![number]),
            (None, Value::Bool(truth)) => Value::Bools(vec![truth]),
            (Some(Value::Strings(mut all)), Value::String(text)) => {
                all.push(text);
                Value::Strings(all)
            }
            (Some(Value::I64s(mut all)), Value::I64(number)) => {
                all.push(number);
                Value::I64s(all)
            }
            (Some(Value::F64s(mut all)), Value::F64(number)) => {
                all.push(number);
                Value::F64s(all)
            }
            (Some(Value::Bools(mut all)), Value::Bool(truth)) => {
                all.push(truth);
                Value::Bools(all)
            }
            (None, _) => return Err("holds an array in an array: use flat keys".to_owned()),
            (Some(_), _) => return Err("is an array of mixed types: use one type (1.0 is not 1)".to_owned()),
        });
    }
    array.ok_or_else(|| "is an empty array, which has no type: leave the key out".to_owned())
}

/// A JSON array of numbers as a vector, or what is wrong with it.
pub(crate) fn to_vector(json: &Json) -> Result<Vec<f32>, String> {
    let Json::Array(elements) = json else {
        return Err("the vector is not an array of numbers".to_owned());
    };
    elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            let Json::Number(number) = element else {
                return Err(format!("element {index} of the vector is not a number"));
            };
            match number.as_str().parse::<f32>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => Err(format!("element {index} of the vector is {number}, which no f32 can hold")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Result<Metadata, String> {
        let Json::Object(map) = serde_json::from_str(text).unwrap() else { panic!("not an object: {text}") };
        to_metadata(map.into_iter().collect())
    }

    #[test]
    fn integers_and_floats_stay_apart_bit_for_bit() {
        let read = metadata(r#"{"a":1,"b":1.0,"c":-9223372036854775808,"d":0.1,"e":5e-324,"f":-0.0,"g":[1,2],"h":[1.0]}"#).unwrap();
        assert_eq!(read.get("a"), Some(&Value::I64(1)));
        assert_eq!(read.get("b"), Some(&Value::F64(1.0)));
        assert_eq!(read.get("c"), Some(&Value::I64(i64::MIN)));
        assert_eq!(read.get("g"), Some(&Value::I64s(vec![1, 2])));
        assert_eq!(read.get("h"), Some(&Value::F64s(vec![1.0])));
        let Some(Value::F64(zero)) = read.get("f") else { panic!("not a float") };
        assert!(zero.is_sign_negative());
        let text = from_metadata(b"x", &read).unwrap().to_string();
        assert_eq!(metadata(&text).unwrap(), read);
        assert!(text.contains(r#""b":1.0"#) && text.contains(r#""a":1,"#), "{text}");
    }

    #[test]
    fn what_has_no_type_is_refused_by_name() {
        for (text, reason) in [
            (r#"{"k":null}"#, "null"),
            (r#"{"k":{}}"#, "nested"),
            (r#"{"k":[]}"#, "empty array"),
            (r#"{"k":[1,2.0]}"#, "mixed"),
            (r#"{"k":[1,"a"]}"#, "mixed"),
            (r#"{"k":[[1]]}"#, "array in an array"),
            (r#"{"k":[null]}"#, "null"),
            (r#"{"k":9223372036854775808}"#, "i64"),
            (r#"{"k":1e999}"#, "f64"),
            (r#"{"":1}"#, "key"),
        ] {
            let error = metadata(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let twice = vec![("k".to_owned(), Json::from(1)), ("k".to_owned(), Json::from(2))];
        assert!(to_metadata(twice).unwrap_err().contains("twice"));
    }

    #[test]
    fn floats_round_trip_through_their_shortest_literal() {
        for bits in [0_u32, 0x8000_0000, 1, 0x007f_ffff, 0x3dcc_cccd, 0x7f7f_ffff, 0x3f80_0000, 0x5a0e_1bca] {
            let value = f32::from_bits(bits);
            let text = float(value).to_string();
            assert_eq!(text.parse::<f32>().unwrap().to_bits(), bits, "{text}");
            let parsed: Json = serde_json::from_str(&format!("[{text}]")).unwrap();
            assert_eq!(to_vector(&parsed).unwrap().first().unwrap().to_bits(), bits, "{text}");
        }
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(float(f32::NAN), Json::Null);
        let shown = [0.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(|value| distance(value).to_string());
        assert_eq!(shown, ["0.5", "\"Infinity\"", "\"-Infinity\"", "\"NaN\""]);
    }

    #[test]
    fn vectors_name_the_bad_element() {
        for (text, reason) in [("[1,\"2\"]", "element 1"), ("[1e39]", "element 0"), ("{}", "array"), ("[null]", "element 0")] {
            let error = to_vector(&serde_json::from_str(text).unwrap()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
