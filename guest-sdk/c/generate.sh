#!/bin/sh
# Makes world.h, world.c and world_type.c anew from ../wit/v2/filter.wit. An author needs none of this.
# Needs: cargo install wit-bindgen-cli --version 0.61.1 --no-default-features --features c
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wit-bindgen c ../wit/v2 --world filter --out-dir "$work"
cp "$work/filter.h" world.h
sed 's/#include "filter.h"/#include "world.h"/' "$work/filter.c" > world.c
# What the generator leaves in an object file, as text: the world that the host reads from the module.
python3 - "$work/filter_component_type.o" ../wit/v2/filter.wit > world_type.c <<'END'
import sys

def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

data = open(sys.argv[1], "rb").read()
digest = 0xCBF29CE484222325
for byte in open(sys.argv[2], "rb").read():
    digest = ((digest ^ byte) * 0x100000001B3) % 2**64
at, found = 8, None
while at < len(data):
    kind = data[at]
    size, at = number(data, at + 1)
    if kind == 0:
        length, start = number(data, at)
        name = data[start:start + length].decode()
        if name.startswith("component-type"):
            found = name, data[start + length:at + size]
    at += size
name, body = found
print("// The filter world, as `wit-bindgen` 0.61.1 encodes it, in a section of the module. Made by generate.sh.")
print(f"// FNV-1a of filter.wit: {digest:016x}")
print("__asm__(")
print(f'    "\\t.section \\".custom_section.{name}\\",\\"\\",@\\n"')
for line in range(0, len(body), 24):
    print('    "\\t.byte %s\\n"' % ",".join(str(byte) for byte in body[line:line + 24]))
print('    "\\t.text\\n");')
print()
print("// Called by world.c, so that this file is linked in.")
print("void __component_type_object_force_link_filter(void);")
print("void __component_type_object_force_link_filter(void) {}")
END
