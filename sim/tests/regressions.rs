//! Scenarios that once broke a law, as small as `sim shrink` made them; TESTING.md tells their stories.

use sim::lockstep::checks::SharedScene;
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::attempt;

/// No law is broken.
fn holds(scenario: &Scenario) {
    if let Err(failure) = attempt(scenario, &SharedScene::default()) {
        panic!("{}", failure.report());
    }
}

#[test]
fn the_plain_scenario_that_all_others_differ_from_breaks_no_law() {
    holds(&Scenario::plain());
}
