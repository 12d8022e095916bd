use std::collections::BTreeMap;

/// One typed metadata value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// Signed integer.
    I64(i64),
    /// Double; kept bit-exactly.
    F64(f64),
    /// Truth value.
    Bool(bool),
    /// Array of texts.
    Strings(Vec<String>),
    /// Array of integers.
    I64s(Vec<i64>),
    /// Array of doubles.
    F64s(Vec<f64>),
    /// Array of truth values.
    Bools(Vec<bool>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}
value_from!(String => String, &str => String, i64 => I64, i32 => I64, u32 => I64, f64 => F64, f32 => F64, bool => Bool,
    Vec<String> => Strings, Vec<i64> => I64s, Vec<f64> => F64s, Vec<bool> => Bools);

/// Typed metadata of a record: key → [`Value`], in ascending order of the keys.
///
/// ```
/// use varvite::{Metadata, Value};
/// let metadata = Metadata::new().with("book", "Genesis").with("chapter", 1).with("poetry", false);
/// assert_eq!(metadata.get("chapter"), Some(&Value::I64(1)));
/// assert_eq!(metadata.len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    /// Empty metadata; a record with empty metadata has none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one key; for building in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Adds or replaces one key and returns what stood there.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes one key.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values in ascending byte order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}
