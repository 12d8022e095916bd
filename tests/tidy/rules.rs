//! The rules. Each takes the sources as text, so that the self-tests can show it something that must fail.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    lexer::{Comment, Lexed, Token, lex},
    parser::{Function, Path, Split, functions, module_files, paths, split_tests},
};

/// Source files by their path from the package's root, with `/` between folders.
pub(crate) type Tree = BTreeMap<String, String>;

/// What the rules hold a tree against.
pub(crate) struct Policy {
    /// Floors from the ground up, each with its modules. Modules import from floors below their own, never on it or above it: so there
    /// are no cycles either.
    pub(crate) floors: &'static [(&'static str, &'static [&'static str])],
    pub(crate) seams: &'static [Seam],
    /// The files that may say `unsafe`; each must.
    pub(crate) unsafe_files: &'static [&'static str],
}

/// Something that only some modules may name.
pub(crate) struct Seam {
    /// A path's beginning, or one word anywhere in a path.
    pub(crate) path: &'static str,
    pub(crate) homes: &'static [&'static str],
    pub(crate) instead: &'static str,
    /// Whether the program under `src/bin` is held to it too.
    pub(crate) binds_program: bool,
}

pub(crate) const FILE_LINES_MAX: usize = 500;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
const SAFETY_LINES_ABOVE: usize = 3;

/// A source file, taken apart.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) lexed: Lexed,
    pub(crate) split: Split,
    pub(crate) paths: Vec<Path>,
    /// `io/fs/map.rs` is `["io", "fs", "map"]`; the roots are empty.
    pub(crate) module: Vec<String>,
}

impl File {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let lexed = lex(text);
        let split = split_tests(&lexed.tokens);
        let paths = paths(&split.code);
        Self { name: name.to_owned(), lexed, split, paths, module: module_of(name) }
    }

    pub(crate) fn is_program(&self) -> bool {
        self.name.starts_with("src/bin/")
    }

    /// The module of the first floor-plan level that it belongs to; `None` for the crate's root.
    pub(crate) fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    pub(crate) fn lines_without_tests(&self) -> usize {
        let tests: usize = self.split.test_lines.iter().map(|lines| lines.end() - lines.start() + 1).sum();
        if self.split.whole_file_is_test { 0 } else { self.lexed.line_count.saturating_sub(tests) }
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        functions(&self.split.code)
    }
}

fn module_of(name: &str) -> Vec<String> {
    let inner = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// Takes `src/` apart. Files that only `#[cfg(test)] mod x;` declares are tests, and so is everything under them.
pub(crate) fn sources(tree: &Tree) -> Vec<File> {
    let mut files: Vec<File> = tree.iter().filter(|(name, _)| is_source(name)).map(|(name, text)| File::new(name, text)).collect();
    let outside =
        |file: &File, tokens: &[Token]| -> BTreeSet<String> { declared(tree, file, tokens).into_iter().map(|(_, name)| name).collect() };
    let mut test_files: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = test_files.len();
        for file in &files {
            let code = outside(file, &file.split.code);
            let is_test = test_files.contains(&file.name) || file.split.whole_file_is_test;
            test_files.extend(outside(file, &file.lexed.tokens).into_iter().filter(|name| is_test || !code.contains(name)));
        }
        if test_files.len() == before {
            break;
        }
    }
    for file in files.iter_mut().filter(|file| test_files.contains(&file.name)) {
        file.split = Split { whole_file_is_test: true, ..Split::default() };
        file.paths.clear();
    }
    files
}

fn is_source(name: &str) -> bool {
    name.starts_with("src/") && name.ends_with(".rs")
}

/// The files that a file's `mod x;` lines name: `(x, file)`.
fn declared(tree: &Tree, file: &File, tokens: &[Token]) -> Vec<(String, String)> {
    let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let last = file.name.rsplit('/').next().unwrap_or_default();
    let is_root = last == "mod.rs" || file.name == "src/lib.rs" || last == "main.rs" || folder == "src/bin";
    let own = if is_root { folder.to_owned() } else { file.name.trim_end_matches(".rs").to_owned() };
    module_files(tokens)
        .into_iter()
        .filter_map(|module| {
            let base = [std::slice::from_ref(&own), &module.inside].concat().join("/");
            let candidates = match &module.path {
                Some(path) => vec![format!("{folder}/{path}")],
                None => vec![format!("{base}/{}.rs", module.name), format!("{base}/{}/mod.rs", module.name)],
            };
            let name = candidates.into_iter().find(|name| tree.contains_key(name))?;
            Some((module.name, name))
        })
        .collect()
}

/// Every source file must be reached by `mod` from the library's root or a program's.
pub(crate) fn left_out(tree: &Tree, files: &[File]) -> Vec<String> {
    let is_program_root = |name: &str| {
        name.strip_prefix("src/bin/")
            .is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs") && rest.matches('/').count() == 1)
    };
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&File> = files.iter().filter(|file| file.name == "src/lib.rs" || is_program_root(&file.name)).collect();
    while let Some(file) = next.pop() {
        if reached.insert(&file.name) {
            let named = declared(tree, file, &file.lexed.tokens);
            next.extend(files.iter().filter(|other| named.iter().any(|(_, name)| *name == other.name)));
        }
    }
    let lost = files.iter().filter(|file| !reached.contains(file.name.as_str()));
    lost.map(|file| format!("{}: no `mod` line reaches it, so it is never compiled: declare it in its parent, or delete it.", file.name))
        .collect()
}

/// Imports point down.
pub(crate) fn floors(policy: &Policy, files: &[File]) -> Vec<String> {
    let exports = root_exports(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.is_program()) {
        let Some(top) = file.top() else { continue };
        let Some(own) = floor_of(policy, top) else {
            findings.push(format!("{}: module `{top}` stands on no floor: give it one in tests/tidy.rs.", file.name));
            continue;
        };
        for path in &file.paths {
            let Some(target) = in_crate(path, &file.module) else { continue };
            let name = target.first().map_or("", String::as_str);
            let module = exports.get(name).map_or(name, String::as_str);
            let place = format!("{}:{}", file.name, path.line);
            match floor_of(policy, module) {
                _ if module == top || module.is_empty() => {}
                None => findings.push(format!(
                    "{place}: `crate::{name}` is no module of the floor plan: import from the module that defines it (globs of the root hide where a name comes from)."
                )),
                Some(other) if other < own => {}
                Some(other) if other == own => findings.push(format!(
                    "{place}: `{top}` imports `{module}`, its neighbour on one floor: move what both need to a floor below, or hand it in from above."
                )),
                Some(_) => findings.push(format!(
                    "{place}: `{top}` imports `{module}`, which stands above it: turn the dependency round (imports point down only)."
                )),
            }
        }
    }
    findings
}

fn floor_of(policy: &Policy, module: &str) -> Option<usize> {
    policy.floors.iter().position(|(_, modules)| modules.contains(&module))
}

/// The names that `src/lib.rs` re-exports, with the module each comes from.
fn root_exports(files: &[File]) -> BTreeMap<String, String> {
    let root = files.iter().filter(|file| file.name == "src/lib.rs");
    root.flat_map(|file| &file.paths)
        .filter_map(|path| {
            let mut segments = path.segments.iter().filter(|segment| !["crate", "self"].contains(&segment.as_str()));
            let module = segments.next()?;
            let name = path.alias.as_ref().or(segments.next_back())?;
            Some((name.clone(), module.clone()))
        })
        .collect()
}

/// A path from the crate's root on, if it is written with `crate`, `self` or `super`.
fn in_crate(path: &Path, module: &[String]) -> Option<Vec<String>> {
    let first = path.segments.first()?.as_str();
    let mut base = [module, &path.inside].concat();
    let mut rest = path.segments.as_slice();
    match first {
        "crate" if rest.len() > 1 => base.clear(),
        "self" | "super" if rest.len() > 1 => {}
        _ => return None,
    }
    while let Some((word, behind)) = rest.split_first().filter(|(word, _)| ["crate", "self", "super"].contains(&word.as_str())) {
        if word == "super" {
            base.pop();
        }
        rest = behind;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Clocks, files, threads, locks and byte order are named in one place each.
pub(crate) fn seams(policy: &Policy, files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for path in &file.paths {
            let segments: Vec<&str> =
                path.segments.iter().map(|s| if ["core", "alloc"].contains(&s.as_str()) { "std" } else { s }).collect();
            let place = format!("{}:{}", file.name, path.line);
            let whole_std = segments == ["std", "*"] || segments == ["std", "self"] || (segments == ["std"] && path.alias.is_some());
            if whole_std && !file.is_program() {
                findings.push(format!("{place}: std under another name hides what is used: import the module itself."));
            }
            for seam in policy.seams {
                let wanted: Vec<&str> = seam.path.split("::").collect();
                let names_it = segments.starts_with(&wanted)
                    || wanted.len() == 1 && segments.contains(&seam.path) && seam.path.starts_with(char::is_uppercase);
                let at_home = file.top().is_some_and(|top| seam.homes.contains(&top)) || file.is_program() && !seam.binds_program;
                if names_it && !at_home {
                    findings.push(format!("{place}: names {}, which only {} may: {}.", seam.path, seam.homes.join(" and "), seam.instead));
                }
            }
        }
    }
    findings.dedup();
    findings
}

/// `unsafe` stands in the listed files only, each time under a comment that says why it holds.
pub(crate) fn unsafe_code(policy: &Policy, files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut users = BTreeSet::new();
    for file in files {
        for token in file.lexed.tokens.iter().filter(|token| token.is("unsafe")) {
            users.insert(file.name.as_str());
            let place = format!("{}:{}", file.name, token.line);
            if !policy.unsafe_files.contains(&file.name.as_str()) {
                findings.push(format!("{place}: unsafe code in a file that is not listed: find a safe way, or list the file in tests/tidy.rs and say why in docs/guarantees.md."));
            }
            if !file.lexed.comments.iter().any(|comment| justifies(comment, token.line)) {
                findings.push(format!("{place}: unsafe without a reason: put `// SAFETY: …` above it and say why it holds."));
            }
        }
    }
    let idle = policy.unsafe_files.iter().filter(|name| !users.contains(**name));
    findings.extend(idle.map(|name| format!("{name}: listed for unsafe code but has none: take it off the list in tests/tidy.rs.")));
    findings
}

fn justifies(comment: &Comment, line: usize) -> bool {
    let says_why = comment.text.contains("SAFETY:") || comment.is_doc && comment.text.contains("# Safety");
    says_why && comment.first_line <= line && comment.last_line + SAFETY_LINES_ABOVE >= line
}

/// Files and functions stay small.
pub(crate) fn sizes(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let lines = file.lines_without_tests();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines without tests, at most {FILE_LINES_MAX}: split it by concept.", file.name));
        }
        for Function { name, line, lines } in file.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
            findings.push(format!("{}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: give its steps names.", file.name));
        }
    }
    findings
}

/// Library code never prints.
pub(crate) fn printing(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.is_program()) {
        for pair in file.split.code.windows(2) {
            let [word, mark] = pair else { continue };
            if mark.is("!") && ["print", "println", "eprint", "eprintln", "dbg"].iter().any(|name| word.is(name)) {
                findings.push(format!("{}:{}: a library never prints: return it, or emit it through `observe`.", file.name, word.line));
            }
        }
    }
    findings
}

/// Nothing unfinished and no test switched off, in any Rust or Python file of the repository.
pub(crate) fn unfinished(tree: &Tree) -> Vec<String> {
    const NOTES: [&str; 3] = ["TODO", "FIXME", "XXX"];
    let is_note = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| NOTES.contains(&word));
    let mut findings = Vec::new();
    for (name, text) in tree {
        if name.ends_with(".py") {
            let lines = (1..).zip(text.lines()).filter(|(_, line)| is_note(line));
            findings.extend(lines.map(|(line, _)| format!("{name}:{line}: a note of something unfinished: finish it, or open an issue.")));
        } else if name.ends_with(".rs") {
            let lexed = lex(text);
            for comment in lexed.comments.iter().filter(|comment| is_note(&comment.text)) {
                findings.push(format!("{name}:{}: a note of something unfinished: finish it, or open an issue.", comment.first_line));
            }
            for pair in lexed.tokens.windows(2) {
                let [first, second] = pair else { continue };
                if (first.is("todo") || first.is("unimplemented")) && second.is("!") {
                    findings.push(format!("{name}:{}: code that is not written: write it.", first.line));
                } else if first.is("[") && second.is("ignore") {
                    findings.push(format!("{name}:{}: a test that is switched off: mend it or delete it.", first.line));
                }
            }
        }
    }
    findings
}

/// No text names a place on somebody's machine.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<String> {
    let places = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/Us", "ers/")];
    let mut findings = Vec::new();
    for (name, text) in tree {
        for (number, line) in (1..).zip(text.lines()) {
            let begins_path = |at: usize| {
                !line.get(..at).and_then(|before| before.chars().next_back()).is_some_and(|c| c.is_alphanumeric() || "._-~/}*".contains(c))
            };
            if let Some(place) = places.iter().find(|place| line.match_indices(**place).any(|(at, _)| begins_path(at))) {
                findings.push(format!("{name}:{number}: names {place}…, a place on one machine: use a path from the repository's root."));
            }
        }
    }
    findings
}

/// What a document names, in backticks or as a link, is there.
pub(crate) fn dead_references(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, text) in tree.iter().filter(|(name, _)| name.ends_with(".md")) {
        for (number, line) in (1..).zip(text.lines()) {
            let quoted = line.split('`').skip(1).step_by(2).filter(|word| is_own_path(word)).map(str::to_owned);
            let linked = line.split("](").skip(1).filter_map(|rest| link_target(name, rest.split(')').next()?));
            for target in quoted.chain(linked) {
                let folder = format!("{}/", target.trim_end_matches('/'));
                if !tree.contains_key(&target) && !tree.keys().any(|other| other.starts_with(&folder)) {
                    findings.push(format!("{name}:{number}: names {target}, which does not exist: mend the name or the text."));
                }
            }
        }
    }
    findings
}

/// Whether a word in backticks is a path of the repository, and not a pattern or a command.
fn is_own_path(word: &str) -> bool {
    let folders = ["src/", "tests/", "docs/", "fuzz/", "benches/", "examples/", ".ci/"];
    folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '<', '*', '{', '…'])
}

/// What a link in a document points to, from the repository's root; `None` if it leads elsewhere or within the document.
fn link_target(document: &str, link: &str) -> Option<String> {
    let file = link.split('#').next().filter(|file| !file.is_empty() && !file.contains(':'))?;
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// All rules over the whole repository.
pub(crate) fn check(policy: &Policy, tree: &Tree) -> Vec<String> {
    let files = sources(tree);
    [
        floors(policy, &files),
        seams(policy, &files),
        unsafe_code(policy, &files),
        sizes(&files),
        left_out(tree, &files),
        printing(&files),
        unfinished(tree),
        machine_paths(tree),
        dead_references(tree),
    ]
    .concat()
}
