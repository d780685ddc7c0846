//! The config file: TOML whose keys are the long options of a download.
//!
//! There is no second list of keys: what may stand in the file, and what its values may be, is asked of the command line's own
//! definition, and the file becomes options in front of those that were given. What the command line says goes before it.

use super::args::{self, Cli, ONLY_ON_THE_COMMAND_LINE, RunArgs, is_switch, long};
use super::exit::{Exit, Failure, system_words};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A config file is written by hand: what is longer is another file.
const MAX_BYTES: u64 = 1 << 20;
/// What values are called that may stand in the file as numbers.
const NUMBERS: [&str; 6] = ["SECONDS", "SPEED", "PORT[-PORT]", "N", "RATIO", "MINUTES"];
/// ... of them those that may have decimals.
const DECIMALS: [&str; 2] = ["RATIO", "MINUTES"];

/// The arguments of a download together with those of its config file, if there is one.
pub(crate) fn complete(argv: &[OsString], given: RunArgs) -> Result<RunArgs, Failure> {
    let Some((path, text)) = read(&given)? else { return Ok(given) };
    complete_with(argv, &path, &text)
}

fn complete_with(argv: &[OsString], path: &Path, text: &str) -> Result<RunArgs, Failure> {
    let path = path.display();
    let failure = |what: String| Failure::new(Exit::Usage, format!("{path}: {what}"));
    let command = args::command();
    // It was read once already, and without an error.
    let given = command.clone().try_get_matches_from(argv).map_err(|error| failure(first_paragraph(&error)))?;
    let options = options(&command, &given, text).map_err(failure)?;
    let (program, rest) = argv.split_at(argv.len().min(1));
    let cli: Cli =
        args::parse(&[program, &options, rest].concat()).map_err(|error| failure(first_paragraph(&error)))?;
    Ok(cli.run)
}

/// The file that was named, else the one at the usual place, when it is there.
fn read(args: &RunArgs) -> Result<Option<(PathBuf, String)>, Failure> {
    if args.no_config {
        return Ok(None);
    }
    let Some(path) = args.config.clone().or_else(usual_place) else { return Ok(None) };
    let mut text = String::new();
    // One byte more than is allowed.
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    let failure = |what: &str| {
        let hint = if args.config.is_none() { "; --no-config does without a config file" } else { "" };
        Failure::new(Exit::Usage, format!("{}: {what}{hint}", path.display()))
    };
    match read {
        Ok(_) if text.len() as u64 > MAX_BYTES => Err(failure("this is too long for a config file")),
        Ok(_) => Ok(Some((path, text))),
        Err(error) if args.config.is_none() && is_absent(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(failure("a config file is UTF-8 text")),
        Err(error) => Err(failure(&format!("cannot be read: {}", system_words(&error)))),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// By the XDG base directory specification.
fn usual_place() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    Some(config?.join("sameseed").join("config.toml"))
}

/// The file as options, without those that the command line gives or excludes.
fn options(command: &Command, given: &ArgMatches, text: &str) -> Result<Vec<OsString>, String> {
    let at = |place: usize| text.get(..place).map_or(1, |before| before.matches('\n').count() + 1);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(String::new(), |span| format!("line {}: ", at(span.start)));
        format!("{line}{}", error.message())
    })?;
    let mut options = Vec::new();
    // In the order of the file, so that the first mistake is the one that is told.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name: &str = key.get_ref();
        let failure = |what: String| format!("line {}: {what}", at(key.span().start));
        let arg = find(command, name).map_err(failure)?;
        let values = values(arg, value.get_ref()).map_err(|what| failure(format!("`{name}` {what}")))?;
        for value in values {
            let option = format!("--{name}={value}");
            // Alone, so that what is wrong with it is told with its place.
            let alone = ["sameseed", option.as_str(), "./x"];
            command.clone().try_get_matches_from(alone).map_err(|error| failure(first_paragraph(&error)))?;
            if !is_overruled(command, given, arg) {
                options.push(OsString::from(option));
            }
        }
    }
    Ok(options)
}

/// The option that a key means; else a sentence with the nearest key.
fn find<'a>(command: &'a Command, name: &str) -> Result<&'a Arg, String> {
    if ONLY_ON_THE_COMMAND_LINE.contains(&name) {
        return Err(format!("`{name}` is for the command line only"));
    }
    if let Some(arg) = keys(command).find(|arg| long(arg) == name) {
        return Ok(arg);
    }
    let wanted = name.to_lowercase().replace('_', "-");
    let likeness = |arg: &&Arg| strsim::normalized_damerau_levenshtein(&wanted, long(arg));
    let nearest = keys(command).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let nearest = nearest.map_or(String::new(), |arg| format!("; the nearest key is `{}`", long(arg)));
    Err(format!("unknown key `{name}`{nearest}"))
}

/// Every option that may stand in the file.
fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some() && !ONLY_ON_THE_COMMAND_LINE.contains(&long(arg)))
}

/// What to write behind the option, once for each time that it is given.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let is_repeatable = matches!(arg.get_action(), ArgAction::Append);
    match value {
        DeValue::Array(array) if is_repeatable => array.iter().map(|value| one(arg, value.get_ref())).collect(),
        // A switch that is off is as if it were not there.
        DeValue::Boolean(false) if is_switch(arg) => Ok(Vec::new()),
        value => one(arg, value).map(|value| vec![value]),
    }
}

fn one(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    let takes = |kind: &[&str]| {
        arg.get_value_names().is_some_and(|names| names.iter().any(|name| kind.contains(&name.as_str())))
    };
    let is_number = takes(&NUMBERS);
    match value {
        DeValue::Boolean(value) if is_switch(arg) => Ok(value.to_string()),
        DeValue::String(text) if !is_switch(arg) => Ok(text.to_string()),
        DeValue::Integer(number) if is_number => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| String::from("is a number beyond all bounds")),
        DeValue::Float(number) if takes(&DECIMALS) => Ok(number.as_str().to_owned()),
        value => {
            let wanted = match (is_switch(arg), is_number, matches!(arg.get_action(), ArgAction::Append)) {
                (true, _, _) => "true or false",
                (_, true, _) => "a number, or text in quotes",
                (_, _, true) => "text in quotes, or a list of it",
                _ => "text in quotes",
            };
            Err(format!("takes {wanted}, not this {}", value.type_str()))
        }
    }
}

/// Whether the command line has the option itself, or one that it cannot stand beside.
fn is_overruled(command: &Command, given: &ArgMatches, arg: &Arg) -> bool {
    let is_given = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|conflict| conflict.get_id() == other.get_id())
    };
    is_given(arg)
        || command.get_arguments().any(|other| is_given(other) && (excludes(arg, other) || excludes(other, arg)))
}

/// What clap says, without its hints on usage, on one line.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(args: &str, file: &str) -> Result<RunArgs, String> {
        let argv: Vec<OsString> =
            std::iter::once("sameseed").chain(args.split_whitespace()).map(OsString::from).collect();
        complete_with(&argv, Path::new("c.toml"), file).map_err(|failure| failure.message)
    }

    /// A right value in TOML for every key, and a wrong one.
    fn sample(key: &str) -> (&'static str, &'static str) {
        match key {
            "seed" | "sequential" | "force-check" | "json" | "no-resume" => ("true", "\"true\""),
            "dir" | "resume-dir" | "log-file" | "on-complete" => ("\"/tmp\"", "1"),
            "listen-port" => ("6881", "[6881]"),
            "bind" => ("\"127.0.0.1\"", "127"),
            "peer" => ("[\"127.0.0.1:1\", \"[::1]:2\"]", "[1]"),
            "tracker" => ("\"udp://t:1\"", "[[\"udp://t:1\"]]"),
            "peer-timeout" | "stop-timeout" | "disk-timeout" => ("60", "1.5"),
            "max-download-limit" | "max-upload-limit" => ("\"500K\"", "true"),
            "max-overall-download-limit" | "max-overall-upload-limit" => ("1_000_000", "-1"),
            "seed-ratio" | "seed-time" => ("1.5", "-1.5"),
            "max-concurrent-downloads" => ("3", "0"),
            "max-peers" => ("55", "0"),
            "log-level" => ("\"info\"", "\"loud\""),
            _ => panic!(
                "--{key} is new: give it a sample here, or a place among those that are for the command line only"
            ),
        }
    }

    #[test]
    fn every_option_is_a_key_with_its_type() {
        let command = args::command();
        assert!(keys(&command).count() > 15);
        for arg in keys(&command) {
            let (right, wrong) = sample(long(arg));
            complete("x", &format!("{} = {right}", long(arg))).unwrap_or_else(|what| panic!("{what}"));
            assert!(complete("x", &format!("{} = {wrong}", long(arg))).is_err(), "{} = {wrong}", long(arg));
        }
        for only in ONLY_ON_THE_COMMAND_LINE {
            let what = complete("x", &format!("{only} = true")).map(drop).unwrap_err();
            assert_eq!(what, format!("c.toml: line 1: `{only}` is for the command line only"));
        }
    }

    #[test]
    fn no_pair_of_options_panics() {
        let command = args::command();
        let lines: Vec<String> = keys(&command).map(|arg| format!("{} = {}", long(arg), sample(long(arg)).0)).collect();
        let options: Vec<String> = keys(&command)
            .map(|arg| {
                format!("--{}={}", long(arg), sample(long(arg)).0.trim_matches('"').replace(['[', ' ', '_'], ""))
            })
            .collect();
        for line in &lines {
            for option in &options {
                // Right or wrong, it is an answer.
                let _ = complete(&format!("x {option}"), line);
                let _ = args::parse(&["sameseed", "x", option, &options[0]].map(OsString::from));
            }
        }
        // All at once: only the two that exclude each other are refused.
        let what = complete("x", &lines.join("\n")).map(drop).unwrap_err();
        assert!(what.contains("--no-resume") && what.starts_with("c.toml: "), "{what}");
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = "dir = 'f'\nseed = true\ntracker = ['http://f']\nmax-upload-limit = '5K'\nresume-dir = 'r'";
        let run = complete("x --dir c --seed=false --tracker udp://c:1 --no-resume", file).unwrap();
        assert_eq!((run.dir, run.seed, run.max_upload_limit), (PathBuf::from("c"), false, 5 << 10));
        assert_eq!((run.trackers, run.resume_dir), (vec![String::from("udp://c:1")], None), "instead, not besides");
        let run = complete("x", file).unwrap();
        assert!(run.seed && !run.json && run.resume_dir.is_some());
        let run = complete("x --resume-dir here", "no-resume = true\njson = false").unwrap();
        assert!(!run.no_resume && !run.json);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let files = [
            "\n\nmax-downlod-limit = 1",
            "max_upload_limit = 1",
            "seeds = true",
            "zzz = 1",
            "[section]\nseed = true",
            "seed = \"yes\"",
            "dir = 7",
            "peer = [1]",
            "peer-timeout = -1",
            "peer-timeout = 99999999999999999999999999999999999999999",
            "dir = ''",
            "# fine\nmax-upload-limit = 'fast'",
            "log-level = 'loud'",
            "seed = true\nseed = true",
            "seed",
            "no-resume = true\nresume-dir = 'x'",
        ];
        let told: Vec<String> = files
            .iter()
            .map(|file| complete("x", file).map(drop).err().unwrap_or_else(|| String::from("fine")))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
