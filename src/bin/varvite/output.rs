//! Tables for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table, presets};

/// An empty table with a header. Wraps on a terminal and nowhere else.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.iter().copied());
    table
}

/// Columns below which a table is not readable as one.
const NARROW: u16 = 60;

/// The table as it is shown: on a narrow terminal with the fields of each row under one another.
pub(crate) fn shown(table: &Table) -> String {
    let (Some(header), Some(0..NARROW)) = (table.header(), table.width()) else { return table.to_string() };
    let row = |row: &Row| {
        let fields = header.cell_iter().zip(row.cell_iter()).map(|(name, value)| match name.content() {
            name if name.is_empty() => value.content(),
            name => format!("{name}: {}", value.content()),
        });
        fields.collect::<Vec<_>>().join("\n")
    };
    table.row_iter().map(row).collect::<Vec<_>>().join("\n\n")
}

/// A cell for a number.
pub(crate) fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::{shown, table};

    #[test]
    fn narrow_tables_are_lists() {
        let mut narrow = table(&["rank", "document"]);
        narrow.add_row(["1", "In the beginning God created the heaven and the earth."]).add_row(["2", "x"]);
        narrow.set_width(30);
        assert_eq!(shown(&narrow), "rank: 1\ndocument: In the beginning God created the heaven and the earth.\n\nrank: 2\ndocument: x");
        narrow.set_width(80);
        assert!(shown(&narrow).contains('│'));
    }
}
