//! Swarms in simulation.
