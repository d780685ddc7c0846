//! `cargo run --release -p tests --bin instructions -- --check`: what the engine by itself costs, in instructions that `callgrind` counts.
//!
//! No clock takes part, so the figures are the same on every machine with the same compiler, busy or not. Nothing is hashed, read or sent meanwhile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints counts")]

mod callgrind;
mod figures;
mod growth;
mod work;

use ::tests::{Outcome, Sizes, programs};
use figures::Figures;
use work::WORKS;

const USAGE: &str = "\
usage: instructions --check | --renew | --growth

--check: against the figures in tests/instructions.txt. --renew: writes them anew. --growth: a block that comes, by the size of what is around it.";

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--check"] => check(),
        ["--renew"] => counted()?.keep(),
        ["--growth"] => growth::print(),
        [callgrind::RUN, name, numbers @ ..] => run(name, numbers),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn counted() -> Outcome<Figures> {
    let mut counts = Vec::new();
    for (name, work) in WORKS {
        let count = callgrind::count(work, work.sizes())?;
        println!("{name} {count:.0}");
        counts.push((name.to_owned(), count));
    }
    Ok(Figures { compiler: programs::compiler()?, counts })
}

fn check() -> Outcome {
    let differences = Figures::kept()?.differences(&counted()?);
    if differences.is_empty() {
        return Ok(());
    }
    eprintln!("{}", differences.join("\n"));
    eprintln!("If it has to be so: cargo run --release -p tests --bin instructions -- --renew");
    std::process::exit(1);
}

/// What is counted: this process does the work and nothing else.
fn run(name: &str, numbers: &[&str]) -> Outcome {
    let (_, work) = WORKS.iter().find(|(known, _)| *known == name).ok_or("no such work")?;
    let numbers = numbers.iter().map(|number| Ok(number.parse()?)).collect::<Outcome<Vec<u32>>>()?;
    let [times, pieces, files, peers, torrents] = numbers[..] else { return Err("five numbers are needed".into()) };
    work.run(times, Sizes { pieces, files, peers, torrents });
    Ok(())
}
