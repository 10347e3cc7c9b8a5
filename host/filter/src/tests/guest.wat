;; A filter whose first payload byte says what to do with the event. Lines marked `;;state` are left out of platform filters.
(module
  (import "tidegate:filter/log@2.0.0" "write" (func $log (param i32 i32 i32)))
  (import "tidegate:filter/state@2.0.0" "get" (func $get (param i32 i32 i32))) ;;state
  (import "tidegate:filter/state@2.0.0" "set" (func $set (param i32 i32 i32 i32 i32))) ;;state
  (memory (export "memory") 4)
  ;; What results and strings point into: the first 1,024 bytes.
  (data (i32.const 0) "dropped")
  (data (i32.const 16) "bad event")
  (data (i32.const 32) "metric_updated")
  (data (i32.const 48) "gap")
  (data (i32.const 64) "acme,globex")
  (data (i32.const 80) "n")
  (data (i32.const 96) "\ff\fe")
  (data (i32.const 112) "a\00b")
  (data (i32.const 128) "poison")
  (data (i32.const 144) "1.0.0")
  (data (i32.const 160) "panicked at here")
  (data (i32.const 176) "threshold is missing")
  (data (i32.const 200) "a/b")
  (data (i32.const 208) "hello")
  (global $bump (mut i32) (i32.const 131072))
  (global $emissions (mut i32) (i32.const 0))
  (global $verdicts (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $bump) (i32.const 7)) (i32.const -8)))
    (global.set $bump (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $bump) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1))) (i32.const -1))
          (then unreachable))))
    (local.get $at))

  (func (export "describe") (result i32)
    (i32.store (i32.const 1024) (i32.const 128)) (i32.store (i32.const 1028) (i32.const 6))
    (i32.store (i32.const 1032) (i32.const 144)) (i32.store (i32.const 1036) (i32.const 5))
    (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))
    (i32.store (i32.const 1048) (i32.const 0)) (i32.store (i32.const 1052) (i32.const 0))
    (i32.store (i32.const 1056) (i32.const 3))
    (i32.store (i32.const 1060) (i32.const 0)) (i32.store (i32.const 1064) (i32.const 0))
    (i32.const 1024))

  ;; `null` is refused, `true` traps.
  (func (export "init") (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 0))
    (if (i32.eq (local.get $length) (i32.const 4))
      (then
        (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x74)) (then unreachable))
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1028) (i32.const 176))
        (i32.store (i32.const 1032) (i32.const 20))))
    (i32.const 1024))

  (func $verdict (param $kind i32) (param $text i32) (param $length i32) (param $emissions i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const 2048) (i32.mul (global.get $verdicts) (i32.const 16))))
    (i32.store8 (local.get $at) (local.get $kind))
    (i32.store offset=4 (local.get $at) (local.get $text))
    (i32.store offset=8 (local.get $at) (local.get $length))
    (i32.store offset=12 (local.get $at) (local.get $emissions))
    (global.set $verdicts (i32.add (global.get $verdicts) (i32.const 1))))

  (func $emission (param $type i32) (param $type_length i32) (param $companies i32) (param $companies_length i32)
                  (param $place i32) (param $data i32) (param $length i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const 8192) (i32.mul (global.get $emissions) (i32.const 28))))
    (i32.store (local.get $at) (local.get $type))
    (i32.store offset=4 (local.get $at) (local.get $type_length))
    (i32.store offset=8 (local.get $at) (local.get $companies))
    (i32.store offset=12 (local.get $at) (local.get $companies_length))
    (i32.store8 offset=16 (local.get $at) (local.get $place))
    (i32.store offset=20 (local.get $at) (local.get $data))
    (i32.store offset=24 (local.get $at) (local.get $length))
    (global.set $emissions (i32.add (global.get $emissions) (i32.const 1))))

  (func $pass (param $event i32)
    (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.load offset=32 (local.get $event)) (i32.load offset=36 (local.get $event)))
    (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)))

  (func $say (param $type i32) (param $type_length i32) (param $companies i32) (param $companies_length i32)
             (param $data i32) (param $length i32)
    (call $emission (local.get $type) (local.get $type_length) (local.get $companies) (local.get $companies_length)
      (i32.const 1) (local.get $data) (local.get $length))
    (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)))

  (func $remember (param $at i32) (param $length i32) ;;state
    (call $set (i32.const 80) (i32.const 1) (local.get $at) (local.get $length) (i32.const 1100))) ;;state

  (func $one (param $event i32) (param $bytes i32)
    (local $what i32) (local $at i32) (local $length i32) (local $n i32)
    (local.set $at (i32.add (local.get $bytes) (i32.load offset=32 (local.get $event))))
    (local.set $length (i32.load offset=36 (local.get $event)))
    (if (i32.eqz (local.get $length)) (then (call $pass (local.get $event)) (return)))
    (local.set $what (i32.load8_u (local.get $at)))
    ;; t: a trap, after a line in the log
    (if (i32.eq (local.get $what) (i32.const 0x74))
      (then (call $log (i32.const 3) (i32.const 160) (i32.const 16)) unreachable))
    ;; l: for ever
    (if (i32.eq (local.get $what) (i32.const 0x6c)) (then (loop $forever (br $forever))))
    ;; d: dropped
    (if (i32.eq (local.get $what) (i32.const 0x64)) (then (call $verdict (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0)) (return)))
    ;; e: an error
    (if (i32.eq (local.get $what) (i32.const 0x65)) (then (call $verdict (i32.const 2) (i32.const 16) (i32.const 9) (i32.const 0)) (return)))
    ;; g: a span outside the result
    (if (i32.eq (local.get $what) (i32.const 0x67)) (then (call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1020) (i32.const 5)) (return)))
    ;; i: a span over the whole input, other events included
    (if (i32.eq (local.get $what) (i32.const 0x69))
      (then
        (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.add (i32.load offset=32 (local.get $event)) (i32.const 1)))
        (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)) (return)))
    ;; u: a text that is no UTF-8
    (if (i32.eq (local.get $what) (i32.const 0x75)) (then (call $verdict (i32.const 0) (i32.const 96) (i32.const 2) (i32.const 0)) (return)))
    ;; z: a NUL in the data
    (if (i32.eq (local.get $what) (i32.const 0x7a)) (then (call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 112) (i32.const 3)) (return)))
    ;; y: a type of the stream's own
    (if (i32.eq (local.get $what) (i32.const 0x79)) (then (call $say (i32.const 48) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 208) (i32.const 5)) (return)))
    ;; c: two companies and a type
    (if (i32.eq (local.get $what) (i32.const 0x63)) (then (call $say (i32.const 32) (i32.const 14) (i32.const 64) (i32.const 11) (i32.const 208) (i32.const 5)) (return)))
    ;; k: a company that can't be one
    (if (i32.eq (local.get $what) (i32.const 0x6b)) (then (call $say (i32.const 32) (i32.const 14) (i32.const 200) (i32.const 3) (i32.const 208) (i32.const 5)) (return)))
    ;; f: no verdict
    (if (i32.eq (local.get $what) (i32.const 0x66)) (then (return)))
    ;; o: one verdict too many
    (if (i32.eq (local.get $what) (i32.const 0x6f)) (then (call $pass (local.get $event)) (call $pass (local.get $event)) (return)))
    ;; q: announces an emission that isn't there
    (if (i32.eq (local.get $what) (i32.const 0x71)) (then (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)) (return)))
    ;; m: memory without end
    (if (i32.eq (local.get $what) (i32.const 0x6d))
      (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
    ;; n: grows by 16 pages and passes
    (if (i32.eq (local.get $what) (i32.const 0x6e)) (then (drop (memory.grow (i32.const 16))) (call $pass (local.get $event)) (return)))
    ;; 3: emitted three times, the second with only the payload's rest
    (if (i32.eq (local.get $what) (i32.const 0x33))
      (then
        (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 208) (i32.const 5))
        (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.add (i32.load offset=32 (local.get $event)) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)))
        (call $emission (i32.const 32) (i32.const 14) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 208) (i32.const 5))
        (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 3)) (return)))
    ;; w: some work
    (if (i32.eq (local.get $what) (i32.const 0x77))
      (then
        (local.set $n (i32.const 60000000))
        (loop $work (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $work (local.get $n)))
        (call $pass (local.get $event)) (return)))
    ;; s: remembers the payload; x: and traps; E: and fails; G: and returns garbage
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then (call $remember (local.get $at) (local.get $length)) (call $pass (local.get $event)) (return))) ;;state
    (if (i32.eq (local.get $what) (i32.const 0x78)) (then (call $remember (local.get $at) (local.get $length)) unreachable)) ;;state
    (if (i32.eq (local.get $what) (i32.const 0x45)) (then (call $remember (local.get $at) (local.get $length)) (call $verdict (i32.const 2) (i32.const 16) (i32.const 9) (i32.const 0)) (return))) ;;state
    (if (i32.eq (local.get $what) (i32.const 0x47)) (then (call $remember (local.get $at) (local.get $length)) (call $verdict (i32.const 0) (i32.const 96) (i32.const 2) (i32.const 0)) (return))) ;;state
    ;; r: says what it remembers, or that it is nothing
    (if (i32.eq (local.get $what) (i32.const 0x72)) ;;state
      (then ;;state
        (call $get (i32.const 80) (i32.const 1) (i32.const 1100)) ;;state
        (if (i32.eqz (i32.load8_u (i32.const 1100))) ;;state
          (then (call $verdict (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0)) (return))) ;;state
        (memory.copy (i32.const 512) (i32.load (i32.const 1104)) (i32.load (i32.const 1108))) ;;state
        (call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512) (i32.load (i32.const 1108))) (return))) ;;state
    (call $pass (local.get $event)))

  (func (export "process") (param $events i32) (param $count i32) (param $bytes i32) (param $length i32) (result i32)
    (global.set $verdicts (i32.const 0))
    (global.set $emissions (i32.const 0))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (call $one (local.get $events) (local.get $bytes))
        (local.set $events (i32.add (local.get $events) (i32.const 56)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (global.get $verdicts))
    (i32.store (i32.const 1032) (i32.const 8192)) (i32.store (i32.const 1036) (global.get $emissions))
    (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 1024))
    (i32.const 1024))
  (func (export "cabi_post_process") (param i32) (global.set $bump (i32.const 131072)))
)
