//! Names that are safe to write: what a torrent calls its files becomes paths below one folder.
//!
//! A name is cleaned rather than refused, so that an odd torrent still downloads. Whatever comes in, the paths that go out are relative, stay
//! in their folder, differ from each other, and none is a folder of another. Core never asks which system it runs on: the
//! rules are an argument.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// Longest cleaned element in bytes. File systems hold 255 bytes or UTF-16 units; the rest is room for what a driver appends (".part").
pub const MAX_ELEMENT_BYTES: usize = 240;

/// An extension up to this long (dot included, in bytes) survives the cutting of an over-long name.
const MAX_EXTENSION_BYTES: usize = 32;

/// Room for the longest number that tells equal names apart: " (4294967295)".
const NUMBER_BYTES: usize = 13;

/// The name of a file of which cleaning left nothing.
const UNNAMED: &str = "unnamed";

/// Which systems must be able to hold the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NameRules {
    /// Any system: the same torrent gives the same names on each. What Windows forbids is replaced, its device names and trailing dots and spaces are
    /// changed, and names that differ in case only count as equal.
    #[default]
    Portable,
    /// Systems where only `/` and NUL are forbidden and case matters. Keeps `What?.mkv`, `aux.c` and `README` beside `readme`, so that files
    /// made here or by other clients are found again.
    Posix,
}

/// One cleaned path element; `None` when nothing is left of it (as with `..`).
pub fn clean_element(raw: &str, rules: NameRules) -> Option<String> {
    let mut name: String = raw.chars().map(|c| if is_unsafe(c, rules) { '_' } else { c }).collect();
    cut(&mut name, MAX_ELEMENT_BYTES);
    if rules == NameRules::Portable {
        name.truncate(name.trim_end_matches(['.', ' ']).len());
        if is_device(&name) {
            name.insert(0, '_');
            cut(&mut name, MAX_ELEMENT_BYTES);
        }
    }
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

/// Cleans the paths of all files of one torrent, in their order. Of equal paths the first keeps its name and the next become `name (2).ext` and
/// so on; a file that has the name of a folder is numbered likewise. O(n log n) in the elements, even when all names are equal.
pub fn clean_paths(raw_paths: impl IntoIterator<Item = Vec<String>>, rules: NameRules) -> Vec<Vec<String>> {
    let mut names = Names { rules, folders: BTreeMap::new(), files: BTreeSet::new(), last_numbers: BTreeMap::new() };
    let mut spellings = alloc::vec![String::new()];
    // Folders first: they are shared, so it is the file that gives way.
    let placed: Vec<(Vec<u32>, String)> = raw_paths
        .into_iter()
        .map(|raw| {
            let mut elements: Vec<String> = raw.iter().filter_map(|element| clean_element(element, rules)).collect();
            let file = elements.pop().unwrap_or_else(|| UNNAMED.to_owned());
            let mut inside = TOP;
            let folders = elements.into_iter().map(|name| {
                let next = spellings.len() as u32;
                let folder = *names.folders.entry((inside, names.fold(&name))).or_insert(next);
                if folder == next {
                    spellings.push(name);
                }
                inside = folder;
                folder
            });
            (folders.collect(), file)
        })
        .collect();
    let spelling = |folder: &u32| spellings.get(*folder as usize).cloned().unwrap_or_default();
    placed
        .into_iter()
        .map(|(folders, file)| {
            let file = names.place(folders.last().copied().unwrap_or(TOP), file);
            folders.iter().map(spelling).chain([file]).collect()
        })
        .collect()
}

/// The torrent's own folder.
const TOP: u32 = 0;

/// The names in use. Folders are numbered as they appear; a name is compared in its folded form.
struct Names {
    rules: NameRules,
    folders: BTreeMap<(u32, String), u32>,
    files: BTreeSet<(u32, String)>,
    /// The last number given to a folder's files of one (cut) stem and extension. Kept by the stem *after* cutting, else long names that share a
    /// beginning would try each other's numbers again and again.
    last_numbers: BTreeMap<(u32, String, String), u32>,
}

impl Names {
    /// The form in which names are compared. Upper then lower case comes close to Unicode's case folding, as Windows and macOS have it.
    fn fold(&self, name: &str) -> String {
        match self.rules {
            NameRules::Portable if name.is_ascii() => name.to_ascii_lowercase(),
            NameRules::Portable => name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect(),
            NameRules::Posix => name.to_owned(),
        }
    }

    /// Takes `name` in `folder`, or the first numbered form of it that is free.
    fn place(&mut self, folder: u32, name: String) -> String {
        if self.take(folder, &name) {
            return name;
        }
        let (stem, extension) = split_extension(&name);
        let stem = floor(stem, MAX_ELEMENT_BYTES - NUMBER_BYTES - extension.len());
        let counter = (folder, self.fold(stem), self.fold(extension));
        let mut number = self.last_numbers.get(&counter).copied().unwrap_or(1);
        loop {
            // Ends: each number is tried once for a stem, and there are fewer names than numbers.
            number += 1;
            let numbered = alloc::format!("{stem} ({number}){extension}");
            if self.take(folder, &numbered) {
                self.last_numbers.insert(counter, number);
                return numbered;
            }
        }
    }

    fn take(&mut self, folder: u32, name: &str) -> bool {
        let key = (folder, self.fold(name));
        !self.folders.contains_key(&key) && self.files.insert(key)
    }
}

/// Characters that no element may have: separators of any system, controls (also those of terminals), marks that turn the direction of writing and so
/// disguise an extension, and under portable rules what Windows forbids.
fn is_unsafe(c: char, rules: NameRules) -> bool {
    matches!(c, '/' | '\\' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || c.is_control()
        || (rules == NameRules::Portable && matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*'))
}

/// Whether Windows takes this name for a device, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    if ["con", "prn", "aux", "nul", "conin$", "conout$"].iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let mut chars = stem.chars();
    let is_port = chars.next_back().is_some_and(|c| matches!(c, '0'..='9' | '¹' | '²' | '³'));
    is_port && ["com", "lpt"].iter().any(|port| chars.as_str().eq_ignore_ascii_case(port))
}

/// Cuts `name` to `max` bytes on a character border; the extension is kept.
fn cut(name: &mut String, max: usize) {
    if name.len() > max {
        let (stem, extension) = split_extension(name);
        *name = alloc::format!("{}{extension}", floor(stem, max - extension.len()));
    }
}

/// A name before and from its last dot. A dot at the start, or one too far from the end, begins no extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The longest beginning of `text` of at most `max` bytes.
fn floor(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn portable(raw: &str) -> Option<String> {
        clean_element(raw, NameRules::Portable)
    }

    fn cleaned(raw: &[&str], rules: NameRules) -> Vec<String> {
        let split = |path: &&str| path.split('/').map(str::to_owned).collect();
        clean_paths(raw.iter().map(split), rules).iter().map(|path| path.join("/")).collect()
    }

    #[test]
    fn elements_that_mean_another_folder_are_dropped() {
        for raw in ["", ".", ".."] {
            assert_eq!(portable(raw), None);
            assert_eq!(clean_element(raw, NameRules::Posix), None);
        }
        for raw in ["...", ".. ", " ", ". ."] {
            assert_eq!(portable(raw), None, "{raw:?}");
        }
        assert_eq!(cleaned(&["../../etc/passwd", "/abs", ".."], NameRules::Portable), ["etc/passwd", "abs", "unnamed"]);
    }

    #[test]
    fn separators_controls_and_direction_marks_are_neutralised() {
        for rules in [NameRules::Portable, NameRules::Posix] {
            assert_eq!(clean_element("../../a\\b", rules).unwrap(), ".._.._a_b");
            assert_eq!(clean_element("a\0b\x1b[31m\u{85}\n", rules).unwrap(), "a_b_[31m__");
            assert_eq!(clean_element("evil\u{202e}gpj.exe", rules).unwrap(), "evil_gpj.exe");
        }
    }

    #[test]
    fn what_windows_cannot_hold_is_changed_under_portable_rules_only() {
        let cases = [
            ("C:", "C_"),
            ("What?.mkv", "What_.mkv"),
            ("wait for it...", "wait for it"),
            ("trailing ", "trailing"),
            ("aux.c", "_aux.c"),
            ("NUL", "_NUL"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("LPT²", "_LPT²"),
            ("con .txt", "_con .txt"),
            ("conic.txt", "conic.txt"),
            ("com.txt", "com.txt"),
        ];
        for (raw, expected) in cases {
            assert_eq!(portable(raw).unwrap(), expected);
            assert_eq!(clean_element(raw, NameRules::Posix).unwrap(), raw);
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_keep_their_extension() {
        let name = portable(&("é".repeat(200) + ".gz")).unwrap();
        assert_eq!(name, "é".repeat(118) + ".gz");
        assert_eq!(portable(&"x".repeat(300)).unwrap(), "x".repeat(240));
        assert_eq!(portable(&("x.".to_string() + &"y".repeat(300))).unwrap().len(), 240);
        assert_eq!(portable(&("con".to_string() + &" ".repeat(300) + "x.txt")).unwrap().len(), 240);
        assert_eq!(portable(&("con".to_string() + &" ".repeat(300) + "x")).unwrap(), "_con");
    }

    #[test]
    fn the_second_of_two_equal_paths_is_numbered() {
        assert_eq!(
            cleaned(&["d/a.txt", "d/a.txt", "d/a (2).txt", "e/a.txt", "d/a.txt", "x", "x"], NameRules::Portable),
            ["d/a.txt", "d/a (2).txt", "d/a (2) (2).txt", "e/a.txt", "d/a (3).txt", "x", "x (2)"]
        );
    }

    #[test]
    fn case_tells_names_apart_under_posix_rules_only() {
        let raw = ["README", "readme", "Dir/a", "dir/b"];
        assert_eq!(cleaned(&raw, NameRules::Portable), ["README", "readme (2)", "Dir/a", "Dir/b"]);
        assert_eq!(cleaned(&raw, NameRules::Posix), raw);
    }

    #[test]
    fn a_file_that_is_also_a_folder_is_told_apart() {
        assert_eq!(cleaned(&["a", "a/b", "a/b/c", "A"], NameRules::Portable), ["a (2)", "a/b (2)", "a/b/c", "A (3)"]);
    }

    #[test]
    fn eighty_thousand_equal_or_alike_names_cost_no_quadratic_time() {
        let equal = clean_paths((0..80_000).map(|_| vec!["same.bin".to_owned()]), NameRules::Portable);
        assert_eq!(equal[79_999], ["same (80000).bin"]);
        // Pairs of names that are equal as far as a numbered name can show.
        let alike = (0..80_000).map(|i| vec!["x".repeat(230) + &alloc::format!("{:06}", i / 2)]);
        assert_eq!(clean_paths(alike, NameRules::Portable)[79_999], ["x".repeat(227) + " (40001)"]);
        // All the numbers are taken by real names.
        let taken = (2..40_000).map(|i| vec![alloc::format!("f ({i})")]);
        let raw = taken.chain((0..40_000).map(|_| vec!["f".to_owned()]));
        assert_eq!(clean_paths(raw, NameRules::Portable).last().unwrap(), &["f (79998)"]);
    }

    /// Names that are likely to collide, to be dropped or to be cut.
    fn any_element() -> impl Strategy<Value = String> {
        let odd =
            ["..", ".", "", "a", "A", "a (2)", "b.c", "con", "a\0", "a/b", "..\\x", "a.", " ", "ß", "SS", "\u{202e}"];
        prop_oneof![
            4 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
            1 => any::<String>(),
            1 => ("[a ]", 230usize..300, "[.]?[a-c]{0,3}").prop_map(|(c, n, end)| c.repeat(n) + &end),
        ]
    }

    fn any_paths() -> impl Strategy<Value = Vec<Vec<String>>> {
        proptest::collection::vec(proptest::collection::vec(any_element(), 0..4), 0..30)
    }

    proptest! {
        #[test]
        fn cleaned_paths_are_safe_and_distinct(raw in any_paths(), posix in any::<bool>()) {
            let rules = if posix { NameRules::Posix } else { NameRules::Portable };
            let paths = clean_paths(raw.clone(), rules);
            prop_assert_eq!(paths.len(), raw.len());
            let mut files = BTreeSet::new();
            for path in &paths {
                prop_assert!(!path.is_empty());
                for element in path {
                    prop_assert!(!["", ".", ".."].contains(&element.as_str()));
                    prop_assert!(element.len() <= MAX_ELEMENT_BYTES && !element.contains(['/', '\\', '\0']));
                }
                let key = if posix { path.join("/") } else { path.join("/").to_lowercase() };
                prop_assert!(files.insert(key), "{:?} comes twice", path);
            }
            for path in &paths {
                for n in 1..path.len() {
                    let folder = path[..n].join("/");
                    let folder = if posix { folder } else { folder.to_lowercase() };
                    prop_assert!(!files.contains(&folder), "{:?} is a file and a folder", folder);
                }
            }
            prop_assert_eq!(clean_paths(paths.clone(), rules), paths);
        }
    }
}
