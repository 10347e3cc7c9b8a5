//! A guest that does what its events say, byte for byte: for random events.

use crate::guest::guest;

/// A company's filter that takes what follows the eighth byte of a payload as steps of 17 bytes, where that byte is
/// [`crate::STRIKE`]: a byte that says what is done, and four little-endian numbers it is done with. What is done is a call
/// of the host (`log.write`, `state.get`, `set`, `delete`, `scan`), a number written among verdicts and emissions, a number
/// written into the result, or another place for the result.
#[must_use]
pub fn parrot() -> Vec<u8> {
    const PLAY: &str = "
      (global $poke_at (mut i32) (i32.const -1)) (global $poke (mut i32) (i32.const 0)) (global $place (mut i32) (i32.const 1024))
      (func $play (param $event i32) (param $bytes i32)
        (local $at i32) (local $end i32) (local $what i32) (local $a i32) (local $b i32) (local $c i32) (local $d i32)
        (call $pass (local.get $event))
        (local.set $at (i32.add (local.get $bytes) (i32.load offset=32 (local.get $event))))
        (local.set $end (i32.add (local.get $at) (i32.load offset=36 (local.get $event))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (block $done (loop $next
          (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 17)) (local.get $end)))
          (local.set $what (i32.and (i32.load8_u (local.get $at)) (i32.const 7)))
          (local.set $a (i32.load offset=1 (local.get $at))) (local.set $b (i32.load offset=5 (local.get $at)))
          (local.set $c (i32.load offset=9 (local.get $at))) (local.set $d (i32.load offset=13 (local.get $at)))
          (if (i32.eq (local.get $what) (i32.const 0)) (then (call $log (local.get $a) (local.get $b) (local.get $c))))
          (if (i32.eq (local.get $what) (i32.const 1)) (then (call $get (local.get $a) (local.get $b) (local.get $c))))
          (if (i32.eq (local.get $what) (i32.const 2)) (then (call $set (local.get $a) (local.get $b) (local.get $c) (local.get $d) (i32.const 1100))))
          (if (i32.eq (local.get $what) (i32.const 3)) (then (call $delete (local.get $a) (local.get $b))))
          (if (i32.eq (local.get $what) (i32.const 4)) (then (call $scan (local.get $a) (local.get $b) (local.get $c) (local.get $d))))
          (if (i32.eq (local.get $what) (i32.const 5)) (then (i32.store (i32.add (i32.const 2048) (i32.rem_u (local.get $a) (i32.const 16384))) (local.get $b))))
          (if (i32.eq (local.get $what) (i32.const 6)) (then (global.set $poke_at (i32.rem_u (local.get $a) (i32.const 24))) (global.set $poke (local.get $b))))
          (if (i32.eq (local.get $what) (i32.const 7)) (then (global.set $place (local.get $a))))
          (local.set $at (i32.add (local.get $at) (i32.const 17)))
          (br $next))))";
    const FINISH: &str = "
      (if (i32.ge_s (global.get $poke_at) (i32.const 0)) (then (i32.store (i32.add (i32.const 1024) (global.get $poke_at)) (global.get $poke))))
      (global.set $result (global.get $place)) (global.set $poke_at (i32.const -1)) (global.set $place (i32.const 1024))";
    guest(&[("fields", PLAY), ("act", "(call $play (local.get $event) (local.get $bytes))"), ("finish", FINISH)], false)
}
