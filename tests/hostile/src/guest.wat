;; A filter that passes every event, but for those whose payload has `!` as its eighth byte. What is in slots is replaced
;; by a case's own text. Lines marked `;;state` are left out of platform filters.
(module
  (type $none (func))
  (import "tidegate:filter/log@2.0.0" "write" (func $log (param i32 i32 i32)))
  (import "tidegate:filter/state@2.0.0" "get" (func $get (param i32 i32 i32))) ;;state
  (import "tidegate:filter/state@2.0.0" "set" (func $set (param i32 i32 i32 i32 i32))) ;;state
  (import "tidegate:filter/state@2.0.0" "delete" (func $delete (param i32 i32))) ;;state
  (import "tidegate:filter/state@2.0.0" "scan" (func $scan (param i32 i32 i32 i32))) ;;state
  {{imports:}}
  {{memory:(memory (export "memory") 4)}}
  (data (i32.const 0) "hostile")
  (data (i32.const 16) "1.0.0")
  (data (i32.const 32) "{{text:}}")
  (global $bump (mut i32) (i32.const 131072))
  (global $emissions (mut i32) (i32.const 0))
  (global $verdicts (mut i32) (i32.const 0))
  (global $result (mut i32) (i32.const 1024))
  (global $struck (mut i32) (i32.const 0))
  (global $n (mut i32) (i32.const 0))
  {{fields:}}

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    {{realloc:}}
    (local.set $at (i32.and (i32.add (global.get $bump) (i32.const 7)) (i32.const -8)))
    (global.set $bump (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $bump) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1))) (i32.const -1))
          (then unreachable))))
    (local.get $at))

  (func (export "describe") {{describe-type:(result i32)}}
    (i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 7))
    (i32.store (i32.const 1032) (i32.const 16)) (i32.store (i32.const 1036) (i32.const 5))
    (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))
    (i32.store (i32.const 1048) (i32.const 0)) (i32.store (i32.const 1052) (i32.const 0))
    (i32.store (i32.const 1056) (i32.const 1))
    (i32.store (i32.const 1060) (i32.const 0)) (i32.store (i32.const 1064) (i32.const 0))
    {{describe:}}
    (i32.const 1024))

  (func (export "init") (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 0))
    {{init:}}
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

  ;; The event's own data; its type is the event's own, or for a platform filter the text from 1.0.0 on (any will do).
  (func $pass (param $event i32)
    (call $emission {{pass:(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)}} (i32.const 0)
      (i32.load offset=32 (local.get $event)) (i32.load offset=36 (local.get $event)))
    (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)))

  ;; One emission of the result's bytes, which are the first 64 KiB of memory and begin with `hostile`.
  (func $say (param $type i32) (param $type_length i32) (param $companies i32) (param $companies_length i32)
             (param $data i32) (param $length i32)
    (call $emission (local.get $type) (local.get $type_length) (local.get $companies) (local.get $companies_length)
      (i32.const 1) (local.get $data) (local.get $length))
    (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1)))

  (func $act (param $event i32) (param $bytes i32)
    (local $at i32)
    {{act:(call $pass (local.get $event))}})

  (func (export "process") (param $events i32) (param $count i32) (param $bytes i32) (param $length i32) (result i32)
    (local $left i32) (local $event i32)
    (global.set $verdicts (i32.const 0))
    (global.set $emissions (i32.const 0))
    (global.set $result (i32.const 1024))
    (global.set $struck (i32.const 0))
    (local.set $left (local.get $count))
    (local.set $event (local.get $events))
    (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 65536))
    (i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 8192))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (if (i32.and
              (i32.gt_u (i32.load offset=36 (local.get $event)) (i32.const 7))
              (i32.eq (i32.load8_u offset=7 (i32.add (local.get $bytes) (i32.load offset=32 (local.get $event)))) (i32.const 0x21)))
          (then (global.set $struck (i32.const 1)) (call $act (local.get $event) (local.get $bytes)))
          (else (call $pass (local.get $event))))
        (local.set $event (i32.add (local.get $event) (i32.const 56)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 1028) (global.get $verdicts)) (i32.store (i32.const 1036) (global.get $emissions))
    (if (global.get $struck) (then {{finish:}}))
    (global.get $result))

  (func (export "cabi_post_process") (param i32)
    (if (global.get $struck) (then {{post:}}))
    (global.set $bump (i32.const 131072)))
)
