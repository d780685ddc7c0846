//! A scenario as Rust source: what differs from the plain one, ready to paste into `sim/tests/regressions.rs`.

use super::faults::Fault;
use super::link::Access;
use super::scenario::{Client, Scenario};
use sameseed_core::time::Duration;
use std::fmt::Debug;

/// The fields of a struct that differ from those of `base`.
struct Fields(Vec<String>);

impl Fields {
    fn add<T: PartialEq>(&mut self, name: &str, value: &T, base: &T, print: impl FnOnce(&T) -> String) {
        if value != base {
            self.0.push(format!("{name}: {}", print(value)));
        }
    }

    /// In one line; `base` alone when nothing differs.
    fn short(mut self, name: &str, base: &str) -> String {
        if self.0.is_empty() {
            return String::from(base);
        }
        self.0.push(format!("..{base}"));
        format!("{name} {{ {} }}", self.0.join(", "))
    }
}

fn plain<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}

fn list<T: Debug>(values: &Vec<T>) -> String {
    format!("vec!{values:?}")
}

fn duration(value: &Duration) -> String {
    match value.as_micros() {
        us if us.is_multiple_of(1_000_000) => format!("Duration::from_secs({})", us / 1_000_000),
        us => format!("Duration::from_micros({us})"),
    }
}

fn fault(value: &Option<Fault>) -> String {
    value.map_or_else(|| String::from("None"), |fault| format!("Some(Fault::{fault:?})"))
}

fn access(value: &Access) -> String {
    let Access { latency, jitter, up_per_s, down_per_s, nat } = value;
    let (base, mut fields) = (Access::default(), Fields(Vec::new()));
    fields.add("latency", latency, &base.latency, duration);
    fields.add("jitter", jitter, &base.jitter, duration);
    fields.add("up_per_s", up_per_s, &base.up_per_s, plain);
    fields.add("down_per_s", down_per_s, &base.down_per_s, plain);
    fields.add("nat", nat, &base.nat, plain);
    fields.short("Access", "Access::default()")
}

fn client(value: &Client) -> String {
    let Client {
        seeder,
        access: network,
        pool_blocks,
        upload_slots,
        peers,
        knows_itself,
        limits,
        later,
        start,
        skips,
        goals,
        turns,
    } = value;
    let (name, base) =
        if *seeder { ("Client::seeder()", Client::seeder()) } else { ("Client::leecher()", Client::leecher()) };
    let mut fields = Fields(Vec::new());
    fields.add("access", network, &base.access, access);
    fields.add("pool_blocks", pool_blocks, &base.pool_blocks, plain);
    fields.add("upload_slots", upload_slots, &base.upload_slots, plain);
    fields.add("peers", peers, &base.peers, list);
    fields.add("knows_itself", knows_itself, &base.knows_itself, plain);
    fields.add("limits", limits, &base.limits, plain);
    fields.add("later", later, &base.later, |later| {
        later
            .map_or_else(|| String::from("None"), |(after, limits)| format!("Some(({}, {limits:?}))", duration(&after)))
    });
    fields.add("start", start, &base.start, fault);
    fields.add("skips", skips, &base.skips, list);
    fields.add("goals", goals, &base.goals, |goals| {
        let time = goals.time.map_or_else(|| String::from("None"), |time| format!("Some({})", duration(&time)));
        format!("SeedingGoals {{ ratio_per_mille: {:?}, time: {time} }}", goals.ratio_per_mille)
    });
    fields.add("turns", turns, &base.turns, plain);
    fields.short("Client", name)
}

/// The scenario as an expression.
pub fn scenario(value: &Scenario) -> String {
    let Scenario { seed, piece_len, file_lens, clients, hostile, hostile_stay, trackers, rates, safety, cadence, blow } =
        value;
    let (base, mut fields) = (Scenario::plain(), Fields(Vec::new()));
    fields.add("seed", seed, &base.seed, plain);
    fields.add("piece_len", piece_len, &base.piece_len, plain);
    fields.add("file_lens", file_lens, &base.file_lens, list);
    fields.add("clients", clients, &base.clients, |clients| {
        let clients: String = clients.iter().map(|value| format!("\n            {},", client(value))).collect();
        format!("vec![{clients}\n        ]")
    });
    fields.add("hostile", hostile, &base.hostile, |hostile| {
        let hostile: Vec<String> = hostile.iter().map(|vice| format!("Fault::{vice:?}")).collect();
        format!("vec![{}]", hostile.join(", "))
    });
    fields.add("hostile_stay", hostile_stay, &base.hostile_stay, plain);
    fields.add("trackers", trackers, &base.trackers, |trackers| {
        let trackers: Vec<String> = trackers.iter().map(|(udp, wrong)| format!("({udp}, {})", fault(wrong))).collect();
        format!("vec![{}]", trackers.join(", "))
    });
    fields.add("rates", rates, &base.rates, |rates| {
        let rates: Vec<String> = rates.iter().map(|(fault, rate)| format!("(Fault::{fault:?}, {rate})")).collect();
        format!("vec![{}]", rates.join(", "))
    });
    fields.add("safety", safety, &base.safety, duration);
    fields.add("cadence", cadence, &base.cadence, plain);
    fields.add("blow", blow, &base.blow, |blow| {
        let text = format!("{blow:?}").replace("Some(", "Some(Blow::").replace("kind: ", "kind: DiskFaultKind::");
        text.replace("crash: ", "crash: Crash::")
    });
    let fields: String = fields.0.iter().map(|field| format!("        {field},\n")).collect();
    format!("Scenario {{\n{fields}        ..Scenario::plain()\n    }}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockstep::nth::Blow;

    #[test]
    fn only_what_differs_is_printed() {
        let nat = Access { nat: true, latency: Duration::from_millis(2), ..Access::default() };
        let value = Scenario {
            seed: 5,
            clients: vec![Client::seeder(), Client { access: nat, ..Client::leecher() }],
            rates: vec![(Fault::Reset, 20)],
            safety: Duration::from_secs(3),
            blow: Some(Blow::Serve { n: 4 }),
            ..Scenario::plain()
        };
        let expected = "Scenario {
        seed: 5,
        clients: vec![
            Client::seeder(),
            Client { access: Access { latency: Duration::from_micros(2000), nat: true, ..Access::default() }, ..Client::leecher() },
        ],
        rates: vec![(Fault::Reset, 20)],
        safety: Duration::from_secs(3),
        blow: Some(Blow::Serve { n: 4 }),
        ..Scenario::plain()
    }";
        assert_eq!(scenario(&value), expected);
    }
}
