use crate::error::{Error, Result};

/// Accepts 1 to 255 bytes that can stand as a file name nowhere outside their directory.
pub(crate) fn check_collection_name(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else if name == "." || name == ".." || name.contains(['/', '\\']) {
        "it is a path"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("collection name {name:?} refused: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::check_collection_name;

    #[test]
    fn paths_and_control_characters_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "../x", "a\0", "a\nb", &"x".repeat(256)] {
            assert!(check_collection_name(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "docs.v2", "überschrift", "a b", &"x".repeat(255)] {
            assert!(check_collection_name(good).is_ok(), "{good:?}");
        }
    }
}
