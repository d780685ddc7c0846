//! Swarms in simulation.

pub mod content;
pub mod lockstep;
pub mod naive_wire;
