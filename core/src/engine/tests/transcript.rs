//! A whole short session, as a person would read it.

use super::config;
use super::harness::{Said, World};
use crate::id::BLOCK_LEN;
use crate::wire::Message;
use alloc::format;
use alloc::string::String;

/// What the engine has just said, a line each, and its bytes where there are few.
fn told(world: &mut World, conn: crate::id::ConnId, lines: &mut String) {
    for said in world.news(conn) {
        let line = match said {
            Said::Request(r) => format!("request piece {} begin {} len {}", r.piece.0, r.begin, r.len),
            Said::Cancel(r) => format!("cancel piece {} begin {} len {}", r.piece.0, r.begin, r.len),
            Said::Reject(r) => format!("reject piece {} begin {} len {}", r.piece.0, r.begin, r.len),
            Said::Block(r) => format!("piece {} begin {} with {} bytes", r.piece.0, r.begin, r.len),
            Said::Have(piece) => format!("have {piece}"),
            Said::Bitfield(bytes) => format!("bitfield {bytes:02x?}"),
            Said::Extended(payload) => format!("extended {}", payload.escape_ascii()),
            Said::Handshake => String::from("handshake"),
            Said::Plain(word) => String::from(word),
        };
        lines.push_str(&format!("-> {line}\n"));
    }
    let raw = world.peers.get_mut(&conn).map(|peer| core::mem::take(&mut peer.raw)).unwrap_or_default();
    if !raw.is_empty() && raw.len() <= 200 {
        lines.push_str(&format!("   {}\n", raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    }
}

#[test]
fn a_short_session_reads_like_this() {
    let mut world = World::new(2, 2 * BLOCK_LEN, false, config());
    let mut lines = String::new();
    let peer = world.accept(1);
    let mut step = |world: &mut World, what: &str, act: &mut dyn FnMut(&mut World)| {
        lines.push_str(&format!("<- {what}\n"));
        act(world);
        told(world, peer, &mut lines);
    };
    step(&mut world, "handshake", &mut |world| world.shake(peer, 1, true));
    let hello = Message::Extended { id: 0, payload: b"d1:md6:ut_pexi1ee4:reqqi250e1:v4:teste" };
    step(&mut world, "extended handshake", &mut |world| world.say(peer, &hello));
    step(&mut world, "bitfield c0", &mut |world| world.say_bits(peer, |_| true));
    step(&mut world, "unchoke", &mut |world| world.say(peer, &Message::Unchoke));
    while let Some(next) = world.asked(peer).first().copied() {
        let what = format!("piece {} begin {} with {} bytes", next.piece.0, next.begin, next.len);
        step(&mut world, &what, &mut |world| world.give(peer, next));
    }
    lines.push_str("notices:\n");
    world.notices.iter().for_each(|notice| lines.push_str(&format!("   {notice:?}\n")));
    lines.push_str(&format!("closed: {:?}\n", world.closed));
    insta::assert_snapshot!(lines);
    world.audit();
}
