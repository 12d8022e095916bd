//! Each rule is shown something that must fail and its nearest neighbour that must pass.

use crate::{
    POLICY,
    lexer::{Kind, lex},
    parser::{functions, module_files, paths, split_tests},
    rules::{self, FILE_LINES_MAX, FUNCTION_LINES_MAX, File, Policy, Tree},
};

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn files(files: &[(&str, &str)]) -> Vec<File> {
    rules::sources(&tree(files))
}

/// One finding that says all of `words`.
#[track_caller]
fn refused(findings: &[String], words: &[&str]) {
    assert!(matches!(findings, [one] if words.iter().all(|word| one.contains(word))), "{words:?} in one finding of {findings:#?}");
}

#[track_caller]
fn accepted(findings: &[String]) {
    assert!(findings.is_empty(), "{findings:#?}");
}

fn floors(name: &str, text: &str) -> Vec<String> {
    let root = "mod error; mod io; mod log; mod segment; pub use error::{Error, Result as Outcome}; pub use log::inner::Entry;";
    rules::floors(&POLICY, &files(&[("src/lib.rs", root), (name, text)]))
}

fn seams(name: &str, text: &str) -> Vec<String> {
    rules::seams(&POLICY, &files(&[(name, text)]))
}

#[test]
fn an_import_that_points_up_is_refused_however_it_is_written() {
    let ways = [
        "use crate::database::Database;",
        "use crate::{error::Error, database};",
        "use crate::{error::{Error, Result}, database::{open::{self as o}, *}};",
        "pub(crate) use crate::database as base;",
        "use super::super::database::Database;",
        "use super::super::{database::Database, error::Error};",
        "use self::super::super::database::Database;",
        "fn f() { let _ = crate::database::open(1); }",
        "fn f(x: &dyn Fn(crate::database::Id) -> u8) {}",
        "fn f() -> <crate::database::A as B>::C { g::<crate::error::E>() }",
        "mod inner { mod deep { use super::super::super::super::database::X; } }",
        "macro_rules! m { () => { $crate::database::open() } }",
        "mod inner { fn f() {} } use super::super::database::X;",
        "#[cfg(not(test))] use crate::database::X;",
        "#[cfg(any(fuzzing, test))] use crate::database::X;",
        "const A: &str = \"// not a comment\"; use crate::database::X;",
        "const A: char = '\"'; use crate::database::X; const B: char = '\"';",
        "const A: &str = r#\"\\\"#; use crate::database::X;",
        "fn f<'a>(x: &'a u8) -> crate::database::X<'a> {}",
    ];
    for way in ways {
        let findings = floors("src/log/writer.rs", way);
        assert!(!findings.is_empty(), "passed: {way}");
        assert!(findings.iter().all(|finding| finding.contains("`log` imports `database`, which stands above")), "{way}: {findings:#?}");
    }
}

#[test]
fn what_is_not_an_import_is_not_taken_for_one() {
    let ways = [
        "use crate::{error::Error, io::{Storage, fs::{map, lock as l}}};",
        "use super::reader::Reader; use super::super::error::Error; use self::inner::X;",
        "// use crate::database::X;\n/* use crate::database::X; /* nested */ use crate::database::Y; */",
        "/// See [`crate::database::Database`].\nfn f() {}",
        "const A: &str = \"use crate::database::X; \\\" crate::database::Y\";",
        "const A: &str = r##\"use \"# crate::database::X;\"##; const B: &[u8] = b\"crate::database::X\";",
        "#[cfg(test)] mod tests { use crate::database::X; fn f() { { } } use crate::database::Y; }",
        "#[cfg(test)] #[path = \"x.rs\"] use crate::database::X;\nfn f() {}",
        "#[cfg(all(test, unix))] fn f(a: [u8; 3]) { crate::database::open() }",
        "pub(in crate::log) fn f() {}",
        "macro_rules! m { ($name:ident) => { mod $name { use super::super::reader::Reader; } } }",
        "fn f() { self.database.open(); database::open(); }",
        "use crate::Error; use crate::Outcome;",
    ];
    for way in ways {
        let findings = floors("src/log/writer.rs", way);
        assert!(findings.is_empty(), "{way}: {findings:#?}");
    }
}

#[test]
fn neighbours_on_one_floor_do_not_import_each_other() {
    refused(&floors("src/log/mod.rs", "\nuse crate::segment::Rows;"), &["src/log/mod.rs:2", "`log` imports `segment`", "one floor"]);
    accepted(&floors("src/log/mod.rs", "use crate::log::reader::X; use super::log::Y;"));
    refused(&floors("src/flush.rs", "use crate::compaction::X;"), &["`flush` imports `compaction`"]);
}

#[test]
fn a_cycle_is_caught_at_one_of_its_ends() {
    let cycle = [("src/log/mod.rs", "use crate::version::V;"), ("src/version/mod.rs", "use crate::log::L;")];
    refused(&rules::floors(&POLICY, &files(&cycle)), &["src/log/mod.rs:1", "`version`, which stands above"]);
}

#[test]
fn what_the_root_exports_counts_as_its_module() {
    refused(&floors("src/io/mod.rs", "use crate::Entry;"), &["`io` imports `log`", "above"]);
    refused(&floors("src/io/mod.rs", "use crate::Nonsense;"), &["crate::Nonsense", "no module of the floor plan"]);
    refused(&floors("src/io/mod.rs", "use crate::*;"), &["crate::*", "no module of the floor plan"]);
    refused(&floors("src/drawer/mod.rs", ""), &["`drawer` stands on no floor"]);
}

#[test]
fn the_program_is_a_client() {
    accepted(&floors("src/bin/varvite/main.rs", "mod import; use crate::import::x; use varvite::Database;"));
    accepted(&seams("src/bin/varvite/main.rs", "use std::{fs, thread, time::Instant};"));
    refused(&seams("src/bin/varvite/main.rs", "use memmap2::Mmap;"), &["names memmap2"]);
}

#[test]
fn seams_are_named_at_home_only() {
    let ways = [
        ("std::fs", "use std::fs::File;"),
        ("std::fs", "use std::{io, fs};"),
        ("std::fs", "use std::{path::Path, fs::{self, File}};"),
        ("std::fs", "fn f() { ::std::fs::read(x); }"),
        ("std::thread", "fn f() { std::thread::spawn(g); }"),
        ("Instant", "use std::time::Instant;"),
        ("Instant", "use std::time; fn f() { time::Instant::now(); }"),
        ("SystemTime", "use std::time::{Duration, SystemTime};"),
        ("std::sync", "use std::sync::Arc;"),
        ("std::sync", "use core::sync::atomic::AtomicU8;"),
        ("parking_lot", "use parking_lot::Mutex;"),
        ("memmap2", "use memmap2;"),
        ("rustix", "use rustix::fs as f;"),
        ("libc", "fn f() { unsafe { libc::kill(1, 9) } }"),
        ("getrandom", "use getrandom::fill;"),
        ("byteorder", "use byteorder::{ByteOrder, LE};"),
        ("crc32fast", "fn f() { crc32fast::hash(b\"\"); }"),
        ("xxhash_rust", "use xxhash_rust::xxh64;"),
        ("lz4_flex", "use lz4_flex::block;"),
    ];
    for (named, way) in ways {
        refused(&seams("src/cache/mod.rs", way), &["src/cache/mod.rs:1", named]);
    }
    refused(&seams("src/cache/mod.rs", "use std as s;"), &["std under another name"]);
    refused(&seams("src/cache/mod.rs", "use std::*;"), &["std under another name"]);
    accepted(&seams("src/cache/mod.rs", "use std::{io, time::Duration, fmt}; use crate::sync::Arc; fn f() { x.getrandom(); }"));
    accepted(&seams("src/cache/mod.rs", "#[cfg(test)] mod tests { use std::fs; }"));
    for (home, way) in [
        ("src/io/fs/map.rs", "use std::{fs, thread}; use memmap2::Mmap; use std::time::Instant;"),
        ("src/sync/mod.rs", "use std::sync::Arc; use parking_lot::Mutex;"),
        ("src/format/frame.rs", "use byteorder::LE; use xxhash_rust::xxh64; use lz4_flex::block; use crc32fast::hash;"),
    ] {
        accepted(&seams(home, way));
    }
}

const UNSAFE: Policy = Policy { floors: &[], seams: &[], unsafe_files: &["src/io/bytes.rs"] };

fn unsafe_code(name: &str, text: &str) -> Vec<String> {
    let listed = ("src/io/bytes.rs", "// SAFETY: reason\nunsafe impl Send for X {}");
    rules::unsafe_code(
        &UNSAFE,
        &files(if name == listed.0 { &[] } else { std::slice::from_ref(&listed) })
            .into_iter()
            .chain(files(&[(name, text)]))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn unsafe_needs_a_listed_file_and_a_reason() {
    refused(&unsafe_code("src/cache/mod.rs", "// SAFETY: reason\nunsafe fn f() {}"), &["src/cache/mod.rs:2", "not listed"]);
    let reasonless = [
        "fn f() { unsafe { g() } }",
        "unsafe impl Sync for X {}",
        "// it is fine\nunsafe fn f() {}",
        "// SAFETY: too far above\n\n\n\nfn f() { unsafe { g() } }",
        "fn f() { unsafe { g() } }\n// SAFETY: too late",
        "const A: &str = \"// SAFETY: a string\";\nunsafe fn f() {}",
        "#[cfg(test)] mod tests { fn f() { unsafe { g() } } }",
    ];
    for text in reasonless {
        refused(&unsafe_code("src/io/bytes.rs", text), &["src/io/bytes.rs", "SAFETY"]);
    }
    let reasoned = [
        "// SAFETY: a reason\n// of more\n// than three\n// lines\n#[inline]\nunsafe fn f() {}",
        "/// Does it.\n///\n/// # Safety\n/// `x` is valid.\npub unsafe fn f() {}",
        "/* SAFETY: reason */ unsafe impl Send for X {}\n// unsafe in a comment\nconst A: &str = \"unsafe\";",
    ];
    for text in reasoned {
        accepted(&unsafe_code("src/io/bytes.rs", text));
    }
    refused(&unsafe_code("src/io/bytes.rs", "fn f() {}"), &["listed", "has none"]);
}

#[test]
fn size_counts_code_and_leaves_out_tests() {
    let long_file = "fn f() {}\n".repeat(FILE_LINES_MAX + 1);
    refused(&rules::sizes(&files(&[("src/error.rs", &long_file)])), &["src/error.rs: 501 lines"]);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{long_file}}}\n", "fn f() {}\n".repeat(FILE_LINES_MAX));
    accepted(&rules::sizes(&files(&[("src/error.rs", &tests)])));

    let function = |lines: usize| {
        let body = "        x();\n".repeat(lines - 3);
        format!("struct A;\nimpl A {{\n    fn long(&self, x: [u8; 3]) -> Vec<u8>\n    {{\n{body}    }}\n}}\n")
    };
    refused(&rules::sizes(&files(&[("src/error.rs", &function(FUNCTION_LINES_MAX + 1))])), &["src/error.rs:3", "`long` has 71"]);
    accepted(&rules::sizes(&files(&[("src/error.rs", &function(FUNCTION_LINES_MAX))])));
    let only_test = format!("#[cfg(test)]\nmod tests {{ {} }}", function(200));
    accepted(&rules::sizes(&files(&[("src/error.rs", &only_test)])));
}

#[test]
fn a_file_of_tests_alone_is_measured_as_tests() {
    let long = "fn f() {}\n".repeat(FILE_LINES_MAX + 1);
    let declared = |line: &str| files(&[("src/lib.rs", "mod log;"), ("src/log/mod.rs", line), ("src/log/model.rs", &long)]);
    accepted(&rules::sizes(&declared("#[cfg(test)]\nmod model;")));
    assert_eq!(rules::sizes(&declared("mod model;")).len(), 1);
    accepted(&rules::sizes(&files(&[("src/error.rs", &format!("#![cfg(test)]\n{long}"))])));
}

#[test]
fn a_file_that_nothing_declares_is_refused() {
    let left_out = |names: &[(&str, &str)]| rules::left_out(&tree(names), &files(names));
    let whole = [
        ("src/lib.rs", "mod log; mod outer { mod inner; } #[path = \"odd/place.rs\"] mod other;"),
        ("src/log/mod.rs", "pub(crate) mod reader; #[cfg(test)] mod tests;"),
        ("src/log/reader.rs", "mod part;"),
        ("src/log/reader/part.rs", ""),
        ("src/log/tests.rs", ""),
        ("src/outer/inner.rs", ""),
        ("src/odd/place.rs", ""),
        ("src/bin/varvite/main.rs", "mod import;"),
        ("src/bin/varvite/import.rs", ""),
        ("src/bin/other.rs", ""),
    ];
    accepted(&left_out(&whole));
    for lost in ["src/log/writer.rs", "src/log/reader/other.rs", "src/bin/varvite/lost/main.rs", "src/bin/varvite/export.rs"] {
        refused(&left_out(&[&whole[..], &[(lost, "")]].concat()), &[lost, "no `mod` line"]);
    }
    refused(&left_out(&[("src/lib.rs", "// mod log;\nconst A: &str = \"mod log;\";"), ("src/log.rs", "")]), &["src/log.rs"]);
}

#[test]
fn a_library_does_not_print() {
    let printing = |name, text| rules::printing(&files(&[(name, text)]));
    refused(&printing("src/error.rs", "fn f() {\n println!(\"x\") }"), &["src/error.rs:2", "never prints"]);
    refused(&printing("src/error.rs", "fn f() { dbg!(x); }"), &["never prints"]);
    accepted(&printing("src/error.rs", "#[cfg(test)] mod tests { fn f() { eprintln!() } }\nfn print() {}"));
    accepted(&printing("src/bin/varvite/main.rs", "fn main() { println!() }"));
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    for (name, text) in [
        ("src/error.rs", concat!("// TO", "DO: more")),
        ("tests/crash.rs", concat!("/* FIX", "ME */")),
        ("tests/reader.py", concat!("# XX", "X")),
        ("src/error.rs", "fn f() { todo!() }"),
        ("fuzz/fuzz_targets/log.rs", "fn f() { unimplemented!(\"x\") }"),
        ("tests/crash.rs", "#[test]\n#[ignore]\nfn f() {}"),
        ("tests/crash.rs", "#[ignore = \"slow\"] fn f() {}"),
    ] {
        refused(&rules::unfinished(&tree(&[(name, text)])), &[name]);
    }
    accepted(&rules::unfinished(&tree(&[("src/error.rs", "const A: &str = \"todo!() #[ignore]\"; fn ignore(todo: u8) { a[ignored]; }")])));
}

#[test]
fn documents_name_only_what_exists() {
    let documents = |name: &str, text: &str| rules::dead_references(&tree(&[(name, text), ("tests/golden/a/MANIFEST-00000001", "")]));
    for name in ["`src/lost.rs`", "see `tests/lost` and", "[x](../src/lost.rs)", "[x](lost.md#part)"] {
        refused(&documents("docs/x.md", &format!("\n{name}")), &["docs/x.md:2", "lost"]);
    }
    accepted(&documents("docs/x.md", "`tests/golden/` `tests/golden/a` [x](../tests/golden/a/MANIFEST-00000001) `docs/x.md`"));
    accepted(&documents(
        "docs/x.md",
        "[x](https://example.org/y) [y](x.md) [z](#part) `fuzz/artifacts/<target>/` `src/*/mod.rs` `other/lost`",
    ));
    accepted(&documents("src/error.rs", "// `src/lost.rs`"));
}

#[test]
fn no_text_names_a_machine() {
    let text = |start: &str, place: &str| rules::machine_paths(&tree(&[("docs/x.md", &format!("first\n{start}{place}x"))]));
    for start in ["", " ", "`", "(", "\"", "=", "file:"] {
        refused(&text(start, concat!("/ho", "me/")), &["docs/x.md:2"]);
    }
    for start in ["docs", "..", "https://example.org", "src/"] {
        accepted(&text(start, concat!("/wo", "rk/")));
    }
}

#[test]
fn tokens_keep_lines_and_tell_literals_from_code() {
    let lexed = lex("a\n\"two\nlines\" 'x' '\\'' 'life b'q' br\"raw\\\" r#type 0..1_0u8 /* c\n */ end");
    let kinds: Vec<(Kind, &str, usize)> = lexed.tokens.iter().map(|token| (token.kind, token.text.as_str(), token.line)).collect();
    assert_eq!(
        kinds,
        [
            (Kind::Word, "a", 1),
            (Kind::Literal, "two\nlines", 2),
            (Kind::Literal, "x", 3),
            (Kind::Literal, "\\'", 3),
            (Kind::Lifetime, "life", 3),
            (Kind::Literal, "q", 3),
            (Kind::Literal, "raw\\", 3),
            (Kind::Word, "type", 3),
            (Kind::Word, "0", 3),
            (Kind::Mark, ".", 3),
            (Kind::Mark, ".", 3),
            (Kind::Word, "1_0u8", 3),
            (Kind::Word, "end", 4),
        ]
    );
}

#[test]
fn groups_expand_and_aliases_stay() {
    let lexed = lex("use a::{b::{self, c as d}, e::*};");
    let all: Vec<(String, Option<String>)> = paths(&lexed.tokens).into_iter().map(|path| (path.segments.join("::"), path.alias)).collect();
    let expected = [("use", None), ("a::b::self", None), ("a::b::c", Some("d")), ("a::e::*", None)];
    assert_eq!(all, expected.map(|(path, alias)| (path.to_owned(), alias.map(str::to_owned))));
}

#[test]
fn parts_of_a_file_are_found() {
    let lexed = lex("trait T { fn a(&self); fn b() where [u8; 2]: Sized {\n} }\nmod x { mod y; }\n#[cfg(test)]\nmod tests {\n}\nfn c() {}");
    let split = split_tests(&lexed.tokens);
    assert_eq!(split.test_lines, [4..=6]);
    let found: Vec<(String, usize, usize)> = functions(&split.code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("b".to_owned(), 1, 2), ("c".to_owned(), 7, 1)]);
    let modules: Vec<(String, Vec<String>)> = module_files(&lexed.tokens).into_iter().map(|m| (m.name, m.inside)).collect();
    assert_eq!(modules, [("y".to_owned(), vec!["x".to_owned()])]);
}
