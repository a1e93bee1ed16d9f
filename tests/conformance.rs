//! The conformance table names tests and vectors: each of them is there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may end in a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const TABLE: &str = "docs/notary-conformance.md";
/// As many rows as there are: a table that is not read must not pass.
const ROWS: usize = 210;

#[test]
fn every_row_of_the_conformance_table_names_tests_that_exist() {
    let table = fs::read_to_string(TABLE).unwrap();
    let (mut numbers, mut files, mut wrong) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    for row in table.lines().filter_map(Row::read) {
        if !numbers.insert(row.number) {
            wrong.push(format!("{} stands twice", row.number));
        }
        if row.evidence.is_empty() {
            wrong.push(format!("{} names no test", row.number));
        }
        for named in row.evidence {
            if !exists(named, &mut files) {
                wrong.push(format!("{}: {named}", row.number));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the table:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(numbers.len(), ROWS);
}

struct Row<'t> {
    number: &'t str,
    /// What its last cell names, each `PATH::FUNCTION` or `PATH#CASE`.
    evidence: Vec<&'t str>,
}

impl<'t> Row<'t> {
    /// The row of a line that begins with a number.
    fn read(line: &'t str) -> Option<Self> {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let (number, last) = (*cells.first()?, *cells.last()?);
        let evidence = last.split('`').skip(1).step_by(2).collect();
        number.starts_with(|c: char| c.is_ascii_digit()).then_some(Self { number, evidence })
    }
}

fn exists<'t>(named: &'t str, files: &mut BTreeMap<&'t str, String>) -> bool {
    let (path, name) = named.split_once("::").or_else(|| named.split_once('#')).unwrap_or((named, ""));
    let text = files.entry(path).or_insert_with(|| fs::read_to_string(path).unwrap_or_default());
    let wanted = if named.contains("::") { format!("fn {name}(") } else { format!("\"case\": \"{name}\"") };
    !name.is_empty() && text.contains(&wanted)
}
