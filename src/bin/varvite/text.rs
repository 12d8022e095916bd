//! Words for people: numbers, sizes, excerpts.

/// The beginning of a text on one line.
pub(crate) fn excerpt(text: &str, characters: usize) -> String {
    let mut clean = text.chars().map(|c| if c.is_control() || turns_text(c) { ' ' } else { c });
    let mut shown: String = clean.by_ref().take(characters).collect();
    if clean.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A size in bytes with a unit people can compare.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: "1 record", "2,000 records".
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let things = match (number, thing.strip_suffix('y')) {
        (1, _) => thing.to_owned(),
        (_, Some(start)) => format!("{start}ies"),
        _ if thing.ends_with("ch") => format!("{thing}es"),
        _ => format!("{thing}s"),
    };
    format!("{} {things}", grouped(number))
}

/// A distance; very large and very small ones with an exponent.
pub(crate) fn distance(value: f32) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-4..1e9).contains(&size) { format!("{value:e}") } else { value.to_string() }
}

/// Characters that set the direction of writing can show a text as another one.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for a terminal, which must not take it for commands: control characters are escaped, lines and tabs stay.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| c.is_control() && c != '\n' && c != '\t' || turns_text(c);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{counted, distance, excerpt, grouped, harmless, size};

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2000].map(|number| counted(number, "record")), ["0 records", "1 record", "2,000 records"]);
        assert_eq!([1, 2].map(|number| counted(number, "query")), ["1 query", "2 queries"]);
    }

    #[test]
    fn distances_stay_short() {
        for (value, text) in
            [(0.0, "0"), (-0.25, "-0.25"), (1e-45, "1e-45"), (f32::MAX, "3.4028235e38"), (f32::INFINITY, "inf"), (5e8, "500000000")]
        {
            assert_eq!(distance(value), text);
        }
    }

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(harmless("a\n\tb"), "a\n\tb");
        assert_eq!(harmless("\u{1b}[31mred\u{9b}\u{202e}\r"), r"\u{1b}[31mred\u{9b}\u{202e}\r");
    }

    #[test]
    fn sizes_and_numbers_read_well() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1_572_864, "1.50 MiB")] {
            assert_eq!(size(bytes), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(excerpt("größer\nals", 5), "größe…");
        assert_eq!(excerpt("a\nb", 5), "a b");
    }
}
