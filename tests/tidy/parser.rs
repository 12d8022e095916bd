//! Tokens to what the rules ask about: paths, modules, functions, and which lines are tests.

use std::ops::RangeInclusive;

use crate::lexer::{Kind, Token};

/// A path as written, groups expanded: `use a::{b, c::*}` is `a::b` and `a::c::*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) alias: Option<String>,
    pub(crate) line: usize,
    /// Names of the inline modules around it.
    pub(crate) inside: Vec<String>,
}

/// `mod name;`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleFile {
    pub(crate) name: String,
    /// From `#[path = "…"]`.
    pub(crate) path: Option<String>,
    pub(crate) inside: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).filter(|token| token.kind != Kind::Literal).map_or("", |token| token.text.as_str())
}

fn word_at(tokens: &[Token], at: usize) -> Option<&str> {
    tokens.get(at).filter(|token| token.kind == Kind::Word).map(|token| token.text.as_str())
}

fn line_at(tokens: &[Token], at: usize) -> usize {
    tokens.get(at).or(tokens.last()).map_or(0, |token| token.line)
}

/// The index just behind the bracket that closes the one at `open`.
fn behind_bracket(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for at in open..tokens.len() {
        match text_at(tokens, at) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The index just behind the item that starts at `start`: behind its `;` or its first block.
fn behind_item(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match text_at(tokens, at) {
            ";" => return at + 1,
            "}" => return at,
            "{" => return behind_bracket(tokens, at),
            "(" | "[" => at = behind_bracket(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Whether an attribute's tokens compile an item for tests only: `cfg(test)` and `cfg(all(test, …))`, but not `any` or `not`.
fn is_test_only(attribute: &[Token]) -> bool {
    let text = |at| text_at(attribute, at);
    let is_all = text(2) == "all";
    text(0) == "cfg"
        && (text(2) == "test" || is_all && attribute.iter().any(|token| token.is("test")))
        && !attribute.iter().any(|token| token.is("not") || token.is("any"))
}

/// Code without what only tests compile, and the lines that were left out.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) code: Vec<Token>,
    pub(crate) test_lines: Vec<RangeInclusive<usize>>,
    pub(crate) whole_file_is_test: bool,
}

pub(crate) fn split_tests(tokens: &[Token]) -> Split {
    let mut split = Split::default();
    let mut at = 0;
    while at < tokens.len() {
        let is_inner = text_at(tokens, at + 1) == "!";
        let open = at + 1 + usize::from(is_inner);
        if text_at(tokens, at) == "#" && text_at(tokens, open) == "[" {
            let behind = behind_bracket(tokens, open);
            let attribute = tokens.get(open + 1..behind.saturating_sub(1)).unwrap_or_default();
            if is_test_only(attribute) {
                if is_inner {
                    return Split { whole_file_is_test: true, ..Split::default() };
                }
                let mut start = behind;
                while text_at(tokens, start) == "#" {
                    start = behind_bracket(tokens, start + 1);
                }
                let end = behind_item(tokens, start);
                split.test_lines.push(line_at(tokens, at)..=line_at(tokens, end.saturating_sub(1)));
                at = end;
                continue;
            }
        }
        split.code.extend(tokens.get(at).cloned());
        at += 1;
    }
    split
}

/// Follows the inline modules around a position while a scan moves on.
#[derive(Default)]
struct Nesting {
    depth: usize,
    modules: Vec<(String, usize)>,
}

impl Nesting {
    fn step(&mut self, tokens: &[Token], at: usize) {
        match text_at(tokens, at) {
            "{" => {
                self.depth += 1;
                // In a macro the name may be one of its parameters: `mod $name {`.
                let sign = usize::from(at.checked_sub(2).is_some_and(|at| text_at(tokens, at) == "$"));
                let keyword = at.checked_sub(2 + sign).and_then(|at| word_at(tokens, at));
                if let (Some("mod"), Some(name)) = (keyword, at.checked_sub(1).and_then(|at| word_at(tokens, at))) {
                    self.modules.push((name.to_owned(), self.depth));
                }
            }
            "}" => {
                self.modules.retain(|(_, depth)| *depth < self.depth);
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn names(&self) -> Vec<String> {
        self.modules.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Every path in the code, in `use` or not; single words are paths too.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut nesting = Nesting::default();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| text_at(tokens, before));
        if word_at(tokens, at).is_some() && before != "." {
            at = tree(tokens, at, &[], &nesting, &mut found);
        } else {
            nesting.step(tokens, at);
            at += 1;
        }
    }
    found
}

/// Reads the path tree that starts at `at` and returns the index behind it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], nesting: &Nesting, found: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = line_at(tokens, at);
    let path = |segments, alias| Path { segments, alias, line, inside: nesting.names() };
    loop {
        if text_at(tokens, at) == "{" {
            at += 1;
            while at < tokens.len() && text_at(tokens, at) != "}" {
                at = if text_at(tokens, at) == "," { at + 1 } else { tree(tokens, at, &segments, nesting, found) };
            }
            return at + 1;
        }
        match tokens.get(at) {
            Some(token) if token.kind == Kind::Word || token.is("*") => segments.push(token.text.clone()),
            _ => {
                found.push(path(segments, None));
                // A turbofish goes on outside; anything else here is not Rust, and skipping it keeps the scan moving.
                return if text_at(tokens, at) == "<" { at } else { at + 1 };
            }
        }
        at += 1;
        if text_at(tokens, at) != "::" {
            break;
        }
        at += 1;
    }
    let alias = if text_at(tokens, at) == "as" { word_at(tokens, at + 1).map(str::to_owned) } else { None };
    found.push(path(segments, alias.clone()));
    if alias.is_some() { at + 2 } else { at }
}

/// The modules that stand in files of their own.
pub(crate) fn module_files(tokens: &[Token]) -> Vec<ModuleFile> {
    let mut found = Vec::new();
    let mut nesting = Nesting::default();
    let mut path = None;
    for at in 0..tokens.len() {
        nesting.step(tokens, at);
        if text_at(tokens, at) == "[" && word_at(tokens, at + 1) == Some("path") && text_at(tokens, at + 2) == "=" {
            path = tokens.get(at + 3).map(|token| token.text.clone());
        }
        if let (Some("mod"), Some(name)) = (word_at(tokens, at), word_at(tokens, at + 1)) {
            let path = path.take();
            if text_at(tokens, at + 2) == ";" {
                found.push(ModuleFile { name: name.to_owned(), path, inside: nesting.names() });
            }
        }
    }
    found
}

/// Functions with a body, nested ones and methods included.
pub(crate) fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let (Some("fn"), Some(name)) = (word_at(tokens, at), word_at(tokens, at + 1)) else { continue };
        let behind = behind_item(tokens, at);
        if behind > 0 && text_at(tokens, behind - 1) == "}" {
            let line = line_at(tokens, at);
            found.push(Function { name: name.to_owned(), line, lines: line_at(tokens, behind - 1) - line + 1 });
        }
    }
    found
}
