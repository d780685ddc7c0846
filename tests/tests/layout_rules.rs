//! The rules of the house that no compiler checks: floors, sizes, names, comments, the presence of papers.
//!
//! Each rule reports every breach it finds, one a line, with file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tests::workspace_root;

/// May the modules of one floor know each other?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbours {
    /// Vocabulary: yes, but not in a circle.
    Known,
    /// Machines: no.
    Strangers,
}
use Neighbours::{Known, Strangers};

/// The floors of core, from the ground up. A module imports only from floors below its own.
const FLOORS: &[(&str, Neighbours, &[&str])] = &[
    ("0", Known, &["time", "rng", "id", "bitfield", "fault", "hash"]),
    ("1, ground", Strangers, &["bencode", "layout"]),
    ("1, formats", Strangers, &["metainfo", "wire", "tracker", "resume", "blocklist"]),
    (
        "2",
        Known,
        &[
            "event",
            "action",
            "config",
            "view",
            "explain",
            "block",
            "selection",
            "tx",
            "timers",
            "rate",
            "limiter",
            "ledger",
            "priority",
        ],
    ),
    (
        "3",
        Strangers,
        &["pieces", "picker", "pipeline", "choker", "blame", "candidates", "bans", "external", "announce", "queue"],
    ),
    ("4", Strangers, &["peer"]),
    ("5", Strangers, &["torrent"]),
    ("6", Strangers, &["engine"]),
];

/// Lines of one file without its tests: what fits in a head, with some room before the rule bites.
const MAX_LINES: usize = 700;
/// A corpus is read at each run of the tests and cloned by everyone.
const MAX_CORPUS_FILE_BYTES: u64 = 64 * 1024;
/// Words that say nothing of what a type is.
const EMPTY_WORDS: [&str; 3] = ["Manager", "Util", "Helper"];
/// Marks of unfinished work, written apart so that this file does not hold them.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Every package and the fuzz targets.
const SOURCES: [&str; 5] = ["core", "driver-tokio", "sim", "tests", "fuzz"];
/// Where programs, not people, write.
const WRITTEN_BY_PROGRAMS: [&str; 6] = ["target", ".git", "corpus", "artifacts", "coverage", "snapshots"];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, _, modules)| modules.contains(&module))
}

/// Every breach fails the test together.
fn report(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).collect()
}

fn is_written_by_people(path: &Path) -> bool {
    !path.components().any(|part| WRITTEN_BY_PROGRAMS.iter().any(|name| part.as_os_str() == *name))
}

/// Files below `folders` with one of the `extensions`, written by people, with their path from the root.
fn texts(folders: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = workspace_root();
    let paths = folders.iter().flat_map(|folder| files_below(&root.join(folder)));
    let relative = paths.map(|path| path.strip_prefix(&root).expect("it lies below the root").to_path_buf());
    let wanted = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        is_written_by_people(path) && extensions.iter().any(|wanted| extension == *wanted)
    };
    let read =
        |path: PathBuf| (path.display().to_string(), fs::read_to_string(root.join(&path)).expect("sources are UTF-8"));
    relative.filter(wanted).map(read).collect()
}

/// The numbered lines of a source without its tests: without the inline test module, and nothing of a file that is one.
fn lines_without_tests<'a>(path: &str, source: &'a str) -> Vec<(usize, &'a str)> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let lines: Vec<&str> = source.lines().collect();
    let starts_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let end = lines.windows(2).position(starts_tests).unwrap_or(lines.len());
    (1..).zip(lines.into_iter().take(end)).collect()
}

/// The modules of core that one line of code names, whether as `crate::module` or in a group `crate::{module, …}`.
fn modules_named(line: &str) -> Vec<&str> {
    let mut modules = Vec::new();
    for (_, rest) in line.match_indices("crate::").map(|(at, word)| line.split_at(at + word.len())) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            // The depth of braces tells the modules from what is imported from them.
            Some(group) => {
                let mut depth = 0usize;
                let is_border = |c: char| {
                    match c {
                        '{' => depth += 1,
                        '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    c == ',' && depth == 0
                };
                group.split(is_border).map(str::trim).collect()
            }
            None => vec![rest],
        };
        let word = |name: &'_ str| name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        modules.extend(names.into_iter().map(|name| &name[..word(name)]).filter(|name| !name.is_empty()));
    }
    modules
}

#[test]
fn modules_named_finds_paths_and_groups() {
    assert_eq!(modules_named("use crate::block::Block;"), ["block"]);
    assert_eq!(modules_named("let a = crate::id::A + crate::time::B;"), ["id", "time"]);
    assert_eq!(modules_named("use crate::{action::{Action, Op}, event::Event, id};"), ["action", "event", "id"]);
    assert!(modules_named("use alloc::vec::Vec;").is_empty());
}

#[test]
fn core_imports_only_from_floors_below() {
    let mut breaches = Vec::new();
    let mut neighbours: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, source) in texts(&["core/src"], &["rs"]) {
        let inside = path.strip_prefix("core/src/").unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some(floor) = floor_of(module) else {
            breaches.push(format!("{path}: the module `{module}` stands on no floor of the table"));
            continue;
        };
        // Groups may run over several lines, so statements are read, not lines; comments may point anywhere.
        let is_root_of_module = inside == format!("{module}.rs") || inside == format!("{module}/mod.rs");
        let code = lines_without_tests(&path, &source).into_iter().map(|(_, line)| line.trim());
        let code: String = code.filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join(" ");
        for statement in code.split(';') {
            if statement.contains("super::super::") || is_root_of_module && statement.contains("super::") {
                breaches.push(format!("{path}: another module is named by `super::`; say `crate::`"));
            }
            for other in modules_named(statement) {
                let Some(other_floor) = floor_of(other) else {
                    breaches.push(format!("{path}: names `crate::{other}`, which stands on no floor of the table"));
                    continue;
                };
                let may_know =
                    other_floor < floor || other == module || other_floor == floor && FLOORS[floor].1 == Known;
                if !may_know {
                    let (floor, other_floor) = (FLOORS[floor].0, FLOORS[other_floor].0);
                    breaches.push(format!("{path} (floor {floor}): imports `{other}` (floor {other_floor})"));
                }
                if other != module {
                    neighbours.entry(module.into()).or_default().insert(other.into());
                }
            }
        }
    }
    for module in neighbours.keys() {
        if reaches(&neighbours, module, module) {
            breaches.push(format!("`{module}` imports itself through others"));
        }
    }
    report("a module of core imports only from floors below its own", &breaches);
}

#[test]
fn the_table_of_floors_is_that_of_the_paper() {
    let paper = fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).unwrap();
    let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
    for row in paper.lines().filter_map(|line| line.strip_prefix("| ")) {
        let Some((floor, modules)) = row.split_once(" | ").filter(|(floor, _)| floor.parse::<u8>().is_ok()) else {
            continue;
        };
        told.extend(modules.split('`').skip(1).step_by(2).map(|module| (floor, module)));
    }
    let checked: BTreeSet<(&str, &str)> =
        FLOORS.iter().flat_map(|(floor, _, modules)| modules.iter().map(|module| (&floor[..1], *module))).collect();
    assert_eq!(told, checked, "ARCHITECTURE.md tells the floors that are checked");
    let missing = |module: &str| {
        let source = workspace_root().join("core/src").join(module);
        !source.is_dir() && !source.with_extension("rs").is_file()
    };
    let breaches: Vec<String> =
        checked.iter().filter(|(_, module)| missing(module)).map(|(_, module)| module.to_string()).collect();
    report("every module of the table is in core", &breaches);
}

fn reaches(imports: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in imports.get(module).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

#[test]
fn files_fit_in_a_head() {
    let sources = texts(&["core/src", "driver-tokio/src", "driver-tokio/sha-lanes/src", "sim/src"], &["rs"]);
    let lines = sources.iter().map(|(path, source)| (path, lines_without_tests(path, source).len()));
    let long = lines.filter(|(_, lines)| *lines > MAX_LINES);
    let breaches: Vec<String> = long.map(|(path, lines)| format!("{path}: {lines} lines")).collect();
    report(&format!("no file has more than {MAX_LINES} lines without its tests"), &breaches);
}

#[test]
fn files_open_with_what_they_own() {
    let sources = texts(&SOURCES, &["rs"]);
    let bare = sources.iter().filter(|(_, source)| !source.starts_with("//! "));
    let breaches: Vec<String> = bare.map(|(path, _)| path.clone()).collect();
    report("every source file opens with a `//!` header", &breaches);
}

#[test]
fn types_are_called_by_what_they_are() {
    let mut breaches = Vec::new();
    for (path, source) in texts(&SOURCES, &["rs"]) {
        for (number, line) in (1..).zip(source.lines()) {
            let declares = |word: &&str| ["struct", "enum", "trait", "type", "union"].contains(word);
            let name = line.split_whitespace().skip_while(|word| !declares(word)).nth(1).unwrap_or_default();
            if EMPTY_WORDS.iter().any(|empty| name.contains(empty)) {
                breaches.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    report("no type is called Manager, Util or Helper", &breaches);
}

#[test]
fn nothing_is_left_for_later() {
    let root = workspace_root();
    let at_root = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let at_root =
        at_root.filter(|path| path.extension().is_some_and(|extension| extension == "md" || extension == "toml"));
    let at_root = at_root.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    let mut breaches = Vec::new();
    for (path, text) in texts(&SOURCES, &["rs", "toml", "md"]).into_iter().chain(at_root) {
        let marked = (1..).zip(text.lines()).filter(|(_, line)| UNFINISHED.iter().any(|mark| line.contains(mark)));
        breaches.extend(marked.map(|(number, line): (usize, &str)| format!("{path}:{number}: {}", line.trim())));
    }
    report("no mark of unfinished work", &breaches);
}

#[test]
fn every_dependency_says_why() {
    let root = workspace_root();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, section) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let mut breaches = Vec::new();
    let mut before = "";
    for line in section.lines().take_while(|line| !line.starts_with('[')) {
        let names_a_dependency = line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains(" = ");
        // The packages of this workspace need no reason.
        let foreign = names_a_dependency && !line.contains("path = ");
        let has_reason = before.starts_with("# ") && !before.starts_with("# --");
        if foreign && !has_reason {
            breaches.push(format!("Cargo.toml: {line}"));
        }
        before = line;
    }
    for member in ["core", "driver-tokio", "driver-tokio/sha-lanes", "sim", "tests"] {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            }
            let names_a_dependency = line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains(" = ");
            if in_dependencies && names_a_dependency && !line.contains("workspace = true") {
                breaches.push(format!("{member}/Cargo.toml: {line}: state the version at the root"));
            }
        }
    }
    report("every dependency is stated once, at the root, below a comment with its reason", &breaches);
}

#[test]
fn corpora_are_small() {
    let root = workspace_root();
    let files = files_below(&root.join("fuzz/corpus"));
    assert!(!files.is_empty(), "the corpora are committed");
    let sizes = files.iter().map(|path| (path, fs::metadata(path).unwrap().len()));
    let large = sizes.filter(|(_, len_bytes)| *len_bytes >= MAX_CORPUS_FILE_BYTES);
    let breaches: Vec<String> =
        large.map(|(path, len_bytes)| format!("{}: {len_bytes} bytes", path.display())).collect();
    report("a corpus file is smaller than 64 KiB", &breaches);
}

#[test]
fn the_papers_are_there() {
    let papers = [
        "README.md",
        "ARCHITECTURE.md",
        "TESTING.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "PERFORMANCE.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    let root = workspace_root();
    let missing = papers.iter().filter(|paper| fs::metadata(root.join(paper)).map_or(true, |found| found.len() == 0));
    let breaches: Vec<String> = missing.map(|paper| paper.to_string()).collect();
    report("every paper is there", &breaches);
}
