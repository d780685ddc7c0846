//! Swarms in simulation.

pub mod naive_wire;
