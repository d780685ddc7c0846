//! `cargo run --release -p tests --bin bench`: sameseed and whatever other clients are here, side by side over the same torrents on loopback.
//!
//! The clients take turns (A B C A B C), the data is checked after each download, and CPU time and peak memory are the operating system's. Medians are
//! printed, with the ratio of each client's CPU time to that of the best other one; `--json` writes all runs. A client that is not installed is named.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod crowd;
mod idle;
mod measure;
mod ready;
mod recheck;
mod rows;
mod scene;
mod staying;
mod swarm;
mod warm;

use ::tests::Outcome;
use measure::{Cost, median};
use rows::{ROWS, What, clients};
use scene::{Scene, own_folder};
use std::collections::BTreeMap;
use std::path::PathBuf;

const USAGE: &str = "\
usage: bench [ROW ...] [--size MIB] [--runs N] [--clients NAME,...] [--dir DIR] [--hash-with MEANS] [--json FILE] [--list]

Without rows all of them are run. --size: of the torrent (2048). --runs: of each client in each row (3).
--clients: only these are measured; whoever stands on the other side is there anyhow.
--dir: where a folder of its own is made, and removed at the end (/dev/shm, or the system's for temporary files).
--hash-with: one, sha-ni, avx2 or avx512, for sameseed (not for verify). --list: the names of all rows. Rows:";

struct Args {
    list: bool,
    rows: Vec<(&'static str, What)>,
    size_mib: usize,
    runs: usize,
    clients: Option<Vec<String>>,
    dir: PathBuf,
    more: Vec<String>,
    json: Option<PathBuf>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let shm = PathBuf::from("/dev/shm");
    let dir = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let mut args = Args {
        list: false,
        rows: Vec::new(),
        size_mib: 2048,
        runs: 3,
        clients: None,
        dir,
        more: Vec::new(),
        json: None,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse().ok().filter(|n| *n > 0).ok_or(format!("{text:?} is no number"));
        match word.as_str() {
            "--help" => return Err(String::from("Clients side by side.")),
            "--list" => args.list = true,
            "--size" => args.size_mib = number(value()?)?,
            "--runs" => args.runs = number(value()?)?,
            "--clients" => args.clients = Some(named(&value()?)?),
            "--dir" => args.dir = value()?.into(),
            "--json" => args.json = Some(value()?.into()),
            "--hash-with" => args.more = vec![word.clone(), value()?],
            _ => args.rows.push(*ROWS.iter().find(|(name, _)| *name == word).ok_or(format!("no row {word:?}"))?),
        }
    }
    if args.rows.is_empty() {
        args.rows = ROWS.to_vec();
    }
    Ok(args)
}

/// Clients, by their names.
fn named(names: &str) -> Result<Vec<String>, String> {
    let (here, missing) = clients();
    let all: Vec<&str> = [here, missing].concat();
    let known = |name: &str| all.contains(&name).then(|| name.to_owned()).ok_or(format!("{name:?} is none of {all:?}"));
    names.split(',').map(known).collect()
}

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [crowd::LEECH, words @ ..] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return crowd::leech(words);
    }
    let args = match parse(words.into_iter()) {
        Ok(args) => args,
        Err(why) => {
            let names: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
            eprintln!("{why}\n{USAGE} {}", names.join(" "));
            std::process::exit(2);
        }
    };
    if args.list {
        ROWS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    let (here, missing) = clients();
    if !missing.is_empty() {
        println!("not installed: {}\n", missing.join(", "));
    }
    let scene = Scene { dir: own_folder(&args.dir)?, size_mib: args.size_mib, more: args.more };
    println!("| row | with | client | s | MiB/s | CPU s | CPU s/GiB | peak MiB | CPU by the best other's |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for (row, what) in args.rows {
        let other = match what.other_side(&here) {
            Ok(other) => other,
            Err(lacking) => {
                println!("| {row} | {lacking} is not installed | | | | | | | |");
                continue;
            }
        };
        let mut names = what.measured(&here);
        if let Some(chosen) = &args.clients {
            names.retain(|name| chosen.iter().any(|chosen| name.split(' ').next() == Some(chosen)));
        }
        let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
        for _ in 0..args.runs {
            for name in &names {
                match scene.run(what, other, name) {
                    Ok(cost) => costs.entry(name).or_default().push(cost),
                    Err(error) => eprintln!("{row}, {name}: {error}"),
                }
            }
        }
        let of = |name: &str, part: fn(&Cost) -> f64| median(costs.get(name).into_iter().flatten().map(part));
        let size_mib = what.work_mib(args.size_mib);
        for name in &names {
            if !costs.contains_key(name) {
                println!("| {row} | {} | {name} | failed | | | | | |", other.unwrap_or(""));
                continue;
            }
            let (wall_s, cpu_s, peak) = (of(name, |c| c.wall_s), of(name, |c| c.cpu_s), of(name, |c| c.peak_mib));
            let others = names.iter().filter(|other| !other.starts_with("sameseed") && *other != name);
            let best = others.map(|other| of(other, |c| c.cpu_s)).fold(f64::NAN, f64::min);
            let (rate, per_gib) = (size_mib / wall_s, cpu_s / size_mib * 1024.0);
            let with = other.unwrap_or("");
            let ratio = if best.is_nan() { String::from("-") } else { format!("{:.2}", cpu_s / best) };
            println!(
                "| {row} | {with} | {name} | {wall_s:.2} | {rate:.0} | {cpu_s:.2} | {per_gib:.2} | {peak:.0} | {ratio} |"
            );
        }
        let runs = costs.into_iter().flat_map(|(name, costs)| costs.into_iter().map(move |cost| (name, cost)));
        all.extend(runs.map(|(name, cost)| (row, other, name, size_mib, cost)));
    }
    if let Some(path) = args.json {
        let runs = all.iter().map(|(row, with, name, size_mib, cost)| {
            let Cost { wall_s, cpu_s, peak_mib } = cost;
            serde_json::json!({ "row": row, "with": with, "client": name, "size_mib": size_mib, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": peak_mib })
        });
        std::fs::write(path, serde_json::to_string_pretty(&runs.collect::<Vec<_>>())?)?;
    }
    Ok(std::fs::remove_dir_all(&scene.dir)?)
}
