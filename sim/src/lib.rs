//! Swarms in simulation, in two worlds: [`lockstep`] (engines alone, fast) and [`real_driver`] (the real driver under turmoil: real
//! async, simulated sockets and disks).

// Without it a panic in a simulated host leaves the run green, and `select!` is not repeatable.
#[cfg(not(any(tokio_unstable, doc)))]
compile_error!("build with --cfg tokio_unstable; a RUSTFLAGS variable replaces the flags of .cargo/config.toml");

pub mod content;
pub mod lockstep;
pub mod naive_wire;
pub mod random;
pub mod real_driver;
