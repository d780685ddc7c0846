//! The figures that are kept in the repository, and whether what is counted is still what they say.

use ::tests::{Outcome, workspace_root};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// More or less than this is another figure.
const TOLERANCE: f64 = 0.1;
/// What stands above them.
const HEAD: &str = "\
# Instructions of the engine for one piece of work, by the compiler named first.
# `cargo run --release -p tests --bin instructions -- --renew` writes this file anew.
";

/// A compiler, and what it makes of each work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) compiler: String,
    pub(crate) counts: Vec<(String, f64)>,
}

impl Figures {
    /// Those in the repository.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn kept() -> Outcome<Figures> {
        Figures::parse(&fs::read_to_string(path())?)
            .ok_or_else(|| format!("{} is not understood", path().display()).into())
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn keep(&self) -> Outcome {
        Ok(fs::write(path(), self.to_text())?)
    }

    /// Which of `others` are no longer as they were here: sentences.
    pub(crate) fn differences(&self, others: &Figures) -> Vec<String> {
        let mut differences = Vec::new();
        if self.compiler != others.compiler {
            differences.push(format!("the figures are of {}, and this is {}", self.compiler, others.compiler));
        }
        for (name, count) in &others.counts {
            match self.counts.iter().find(|(known, _)| known == name) {
                Some((_, kept)) if (count / kept - 1.0).abs() <= TOLERANCE => {}
                Some((_, kept)) => differences.push(format!("{name}: {count:.0} instructions instead of {kept:.0}")),
                None => differences.push(format!("{name}: {count:.0} instructions, and no figure is kept")),
            }
        }
        differences
    }

    fn parse(text: &str) -> Option<Figures> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compiler = lines.next()?.to_owned();
        let count =
            |line: &str| line.split_once(' ').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
        Some(Figures { compiler, counts: lines.map(count).collect::<Option<_>>()? })
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEAD}{}\n", self.compiler);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name} {count:.0}");
        }
        text
    }
}

fn path() -> PathBuf {
    workspace_root().join("tests").join("instructions.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(count: f64) -> Figures {
        Figures { compiler: "rustc 1".into(), counts: vec![("have".into(), count)] }
    }

    #[test]
    fn a_tenth_more_or_less_is_the_same() {
        assert!(figures(100.0).differences(&figures(109.0)).is_empty());
        assert!(figures(100.0).differences(&figures(91.0)).is_empty());
        assert_eq!(figures(100.0).differences(&figures(111.0)), ["have: 111 instructions instead of 100"]);
        assert_eq!(figures(100.0).differences(&figures(89.0)), ["have: 89 instructions instead of 100"]);
    }

    #[test]
    fn another_compiler_and_another_work_have_other_figures() {
        let other = Figures { compiler: "rustc 2".into(), ..figures(1.0) };
        let none = Figures { counts: Vec::new(), ..figures(1.0) };
        assert_eq!(figures(1.0).differences(&other), ["the figures are of rustc 1, and this is rustc 2"]);
        assert_eq!(none.differences(&figures(1.0)), ["have: 1 instructions, and no figure is kept"]);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        assert_eq!(Figures::parse(&figures(7.0).to_text()), Some(figures(7.0)));
        assert_eq!(Figures::parse("rustc\nhave many\n"), None);
    }
}
