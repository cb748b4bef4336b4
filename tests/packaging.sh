#!/bin/bash
# packaging.sh: what `make lib`, `make install` and `make portable` promise, each a step of .ci/run:
#
#   packaging.sh symbols    the libraries export saeuron.h's functions and nothing else; no call that prints or exits
#   packaging.sh install    a program and both examples against an installed library, C and C++; uninstall leaves nothing
#   packaging.sh manual     the manual is well-formed and knows every option of --help
#   packaging.sh portable   no instruction beyond SSE2 outside the kernels; the choice at start; one list of digests
#   packaging.sh neon       the aarch64 kernels' tiles are vector multiply-adds
#   packaging.sh race       two contexts in two threads: under ThreadSanitizer, then with OpenMP
#
# Builds in CI_WORK (default /tmp/saeuron-ci), never in the tree. Not here: the bits themselves (make test), other machines
# (.ci/run). CC, CXX, PYTHON (with Pillow) may be named. Says what it saw; exit 1 at the first thing that is wrong.
set -eu -o pipefail                         # so no `grep -q` in a pipe: it stops reading, and the writer fails
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000} LC_ALL=C
cd "$(dirname "$0")/.."
CC=${CC:-gcc} CXX=${CXX:-g++} PYTHON=${PYTHON:-python3}
work=${CI_WORK:-/tmp/saeuron-ci}/packaging-${CC//[^a-z0-9-]/_} # remove it when flags have changed: make does not notice
warn="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
mkdir -p "$work"

wrong() { echo "WRONG: $*"; exit 1; }

build() {                                   # build FOLDER TARGET... [VARIABLE=VALUE...]: make, in a folder of its own
    local dir=$work/$1; shift
    make -s -j2 CC="$CC" BUILD="$dir" PROGRAM="$dir/saeuron" PORTABLE="$dir/saeuron-portable" "$@"
}

# What saeuron.h declares, by the preprocessor's word: comments do not count.
declared() { $CC -std=c99 -E -P saeuron.h | grep -oE '\bsaeuron_[a-z0-9_]+\(' | tr -d '(' | sort -u; }

symbols() {
    build lib lib
    local lib=$work/lib
    declared > "$work/declared"
    [ -s "$work/declared" ] || wrong "no function was found in saeuron.h"
    nm -D --defined-only "$lib/libsaeuron.so" | awk '{print $3}' | sort > "$work/shared"
    nm -g --defined-only "$lib/libsaeuron.a" | awk 'NF == 3 {print $3}' | sort > "$work/static"
    diff "$work/declared" "$work/shared" || wrong "libsaeuron.so exports (>) other names than saeuron.h declares (<)"
    diff "$work/declared" "$work/static" || wrong "libsaeuron.a defines (>) other names than saeuron.h declares (<)"
    if nm -D --undefined-only "$lib/libsaeuron.so" | grep -wE '_?exit|quick_exit|abort|v?f?printf|__v?f?printf_chk|f?puts|putchar|perror|__assert_fail|stdout|stderr'; then
        wrong "the library prints or exits"
    fi
    # A program that has all of our inner names for itself.
    find "$lib/lib" -name '*.o' ! -name libsaeuron.o -exec nm -g --defined-only {} + | awk 'NF == 3 {print $3}' | grep '^[A-Za-z_]' | sort -u > "$work/all"
    grep -vxF -f "$work/declared" "$work/all" > "$work/inner"
    [ "$(wc -l < "$work/inner")" -gt 100 ] || wrong "few inner names were found: the check sees nothing"
    { echo '#include "saeuron.h"'; sed 's/.*/int & = 1;/' "$work/inner"; echo 'int main(void) { return saeuron_contract() < 1; }'; } > "$work/clash.c"
    $CC -std=c99 -I. -o "$work/clash" "$work/clash.c" "$lib/libsaeuron.a" -fopenmp -lm || wrong "an inner name meets the user's"
    "$work/clash"
    readelf -d "$lib/libsaeuron.so" | grep "SONAME.*libsaeuron.so.$(sed -n 's/.*SAEURON_VERSION "\([0-9]*\).*/\1/p' saeuron.h)]" > /dev/null || wrong "the soname"
    echo "$(wc -l < "$work/declared") functions exported, nothing else"
}

# The pixels of a PNG as PPM.
pixels() { "$PYTHON" -c 'import sys; from PIL import Image; Image.open(sys.argv[1]).convert("RGB").save(sys.argv[2])' "$1" "$2"; }

# example.py's structures against the compiler's: every field's place, every structure's size, and the codes.
structures() {
    "$PYTHON" - > "$work/structures.c" <<'END'
import importlib.util, re
spec = importlib.util.spec_from_file_location("example", "docs/example.py")
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
print('#include <saeuron.h>\n#define IS(a, b) typedef char check_at_line_##b[(a) ? 1 : -1]\n#define CHECK(a, b) IS(a, b)')
for name in ("Error", "Host", "ForgetOptions", "GenerateOptions"):
    c = "saeuron" + re.sub("([A-Z])", lambda m: "_" + m.group(1).lower(), name)
    kind = getattr(example, name)
    print(f"CHECK(sizeof({c}) == {example.c.sizeof(kind)}, __LINE__); /* {name} */")
    for field in kind._fields_:
        d = getattr(kind, field[0])
        print(f"CHECK(offsetof({c}, {field[0]}) == {d.offset} && sizeof((({c} *)0)->{field[0]}) == {d.size}, __LINE__);")
print(f"CHECK(SAEURON_OK == {example.SAEURON_OK} && SAEURON_ECANCEL == {example.SAEURON_ECANCEL}, __LINE__);\nint main(void) {{ return 0; }}")
END
    $CC -std=c99 $(pkg-config --cflags saeuron) -o "$work/structures" "$work/structures.c" || wrong "docs/example.py's structures are not saeuron.h's: see structures.c, line by line"
}

# Waits until a file has a line, at most a minute, then interrupts the process.
interrupt_after() { local i; for i in $(seq 600); do [ -s "$2" ] && break; sleep 0.1; done; kill -INT "$1"; }

install_() {
    local inst=$work/installed stage=$work/stage ppm=$work/ppm pid code
    rm -rf "$inst" "$stage" "$ppm"; mkdir -p "$ppm"
    # As a package is made: DESTDIR takes it all, the paths inside are PREFIX's.
    build out install PREFIX=/opt/nowhere DESTDIR="$stage"
    (cd "$stage" && find . ! -type d | sort) > "$work/files"
    for f in bin/saeuron include/saeuron.h include/saeuron_host.h lib/libsaeuron.a lib/libsaeuron.so lib/pkgconfig/saeuron.pc share/man/man1/saeuron.1 \
             share/saeuron/emojicanvas/unet/diffusion_pytorch_model.safetensors share/saeuron/emojicanvas/LICENSES.md; do
        grep -qx "./opt/nowhere/$f" "$work/files" || wrong "make install left out $f"
    done
    grep -rlI "$stage" "$stage" && wrong "a file remembers DESTDIR"
    grep -rlIE '@[A-Z]+@' "$stage/opt/nowhere/lib/pkgconfig" "$stage/opt/nowhere/share/man" && wrong "a placeholder was left"
    (cd /; "$stage/opt/nowhere/bin/saeuron" tokenize cat > "$work/said" 2>&1) && wrong "a model was found where there is none"
    grep -q '^saeuron: there is no model at weights/emojicanvas nor at /opt/nowhere/share/saeuron/emojicanvas: name .*--model.*SAEURON_MODEL' "$work/said" || wrong "$(cat "$work/said")"
    build out uninstall PREFIX=/opt/nowhere DESTDIR="$stage"
    [ -z "$(find "$stage" ! -type d)" ] || wrong "make uninstall left $(find "$stage" ! -type d)"

    # As a person has it: the program from another folder, the same picture as from here.
    build out install PREFIX="$inst"
    (cd "$work" && "$inst/bin/saeuron" generate -q -p "An image of Flame in Mosaic style." --forget Mosaic -o "$ppm/installed.png")
    "$work/out/saeuron" generate -q -m weights/emojicanvas -p "An image of Flame in Mosaic style." --forget Mosaic -o "$ppm/here.png"
    cmp "$ppm/installed.png" "$ppm/here.png" || wrong "the installed program draws another picture"
    pixels "$ppm/here.png" "$ppm/here.ppm"

    # A program of someone's own.
    export PKG_CONFIG_PATH=$inst/lib/pkgconfig LD_LIBRARY_PATH=$inst/lib
    local model; model=$(pkg-config --variable=modeldir saeuron)
    $CC -std=c99 $warn -o "$work/example" docs/example.c $(pkg-config --cflags --libs saeuron)
    $CC -std=c99 $warn -ffast-math -o "$work/example-fast" docs/example.c $(pkg-config --cflags --libs saeuron) # flushes subnormals from the start
    "$work/example-fast" "$model" "$ppm/never.ppm" 2> "$work/said" && wrong "a program linked with -ffast-math is served"
    [ ! -e "$ppm/never.ppm" ] && grep -q '^example: the floating-point environment' "$work/said" || wrong "$(cat "$work/said")"
    $CC -std=c99 $warn -o "$work/example-static" docs/example.c $(pkg-config --cflags saeuron) "$inst/lib/libsaeuron.a" \
        $(pkg-config --static --libs saeuron | sed 's/-lsaeuron//')
    ldd "$work/example" | grep "libsaeuron.so.*$inst" > /dev/null || wrong "the example does not use the installed library"
    ldd "$work/example-static" | grep libsaeuron && wrong "the static example uses the shared library"
    for f in example example-static; do
        (cd "$work" && "./$f" "$model" "$ppm/$f.ppm" 2> "$work/progress")
        cmp "$ppm/here.ppm" "$ppm/$f.ppm" || wrong "$f draws another picture than the program"
        grep -qx 'sampling 50/50' "$work/progress" || wrong "$f reports no progress"
        : > "$work/progress"
        "$work/$f" "$model" "$ppm/never.ppm" 2> "$work/progress" & pid=$!
        interrupt_after $pid "$work/progress"
        code=0; wait $pid || code=$?
        [ $code = 1 ] && grep -q '^example: stopped at step' "$work/progress" && [ ! -e "$ppm/never.ppm" ] || wrong "$f cannot be stopped: $code, $(tail -n 1 "$work/progress")"
    done
    structures
    "$PYTHON" docs/example.py "$model" "$ppm/python.ppm" --forget Mosaic --library "$inst/lib/libsaeuron.so" 2> "$work/progress"
    cmp "$ppm/here.ppm" "$ppm/python.ppm" || wrong "example.py draws another picture than the program"
    grep -qx 'sampling 50/50' "$work/progress" || wrong "example.py reports no progress"
    code=0; "$PYTHON" docs/example.py "$model" "$ppm/never.ppm" --stop-after 3 --library "$inst/lib/libsaeuron.so" 2> "$work/progress" || code=$?
    [ $code = 3 ] && grep -qx 'example.py: stopped at step 3 of 50' "$work/progress" && [ ! -e "$ppm/never.ppm" ] || wrong "example.py cannot be stopped: $code, $(tail -n 1 "$work/progress")"

    # C++ reads the header, and links.
    cat > "$work/user.cpp" <<'END'
#include <saeuron.h>
#include <string>
int main()
{
    saeuron_error err;
    saeuron_host host = saeuron_host();
    saeuron_context *context = 0;
    return saeuron_open(&context, &host, "/nowhere", &err) == SAEURON_ENOENT && std::string(err.text).find("/nowhere") != std::string::npos ? 0 : 1;
}
END
    for f in c++98 c++20; do
        $CXX -std=$f -Wall -Wextra -Wpedantic -Werror -o "$work/user" "$work/user.cpp" $(pkg-config --cflags --libs saeuron)
        "$work/user" || wrong "$f"
    done
    build out uninstall PREFIX="$inst"
    [ -z "$(find "$inst" ! -type d)" ] || wrong "make uninstall left $(find "$inst" ! -type d)"
    echo "installed, used from C, C++ and Python, stopped on demand, uninstalled"
}

manual() {
    build out "$work/out/saeuron"
    mandoc -T lint -W warning docs/saeuron.1 || wrong "docs/saeuron.1 is malformed"
    mandoc -T utf8 docs/saeuron.1 | sed 's/.\x08//g' > "$work/manual" # without overstriking
    local c o
    for c in $("$work/out/saeuron" --help | sed -n 's/^  saeuron \([a-z]*\) .*/\1/p'); do
        grep -qE "^     $c  " "$work/manual" || wrong "the manual lacks the command $c"
        for o in $("$work/out/saeuron" "$c" --help | grep -oE '^  (-[a-z], )?--[a-z0-9-]+' | grep -oE '\-\-[a-z0-9-]+'); do
            grep -qE "^     (.*[ ,])?$o( |,|\$)" "$work/manual" || wrong "the manual lacks $o of $c"
        done
    done
    for o in $(sed -n '/^OPTIONS/,/^ENVIRONMENT/p' "$work/manual" | grep -oE '(^|[ ,])--[a-z0-9-]+' | grep -oE '\-\-[a-z0-9-]+' | sort -u); do
        for c in $("$work/out/saeuron" --help | sed -n 's/^  saeuron \([a-z]*\) .*/\1/p'); do
            { "$work/out/saeuron" "$c" --help; echo "  --version "; } | grep -E -- "^  (-[a-z], )?$o " > /dev/null && continue 2
        done
        wrong "the manual has $o, which no command takes"
    done
    "$work/out/saeuron" generate --help | grep -- --forget > /dev/null || wrong "no option was found in --help"
    echo "every command and option of --help is in the manual"
}

portable() {
    build portable portable 2> "$work/linker" || { cat "$work/linker"; exit 1; }
    grep -q warning: "$work/linker" && grep -vE 'dlopen|in function .gomp_target_init' "$work/linker" | grep warning: && wrong "a warning"
    local p=$work/portable/saeuron-portable f isa cpu objects=$work/portable/portable
    readelf -d "$p" | grep NEEDED > /dev/null && wrong "it needs a shared library"
    readelf -l "$p" | grep INTERP > /dev/null && wrong "it needs a loader"
    # AVX encodings: a register of 32 or 64 bytes, a mask, or a mnemonic that begins with v (none of SSE2's does).
    avx() { objdump -d --no-show-raw-insn "$1" | grep -cE '%[yz]mm|%k[0-7]|^ *[0-9a-f]+:[[:space:]]+v[a-z0-9]+ ' || true; }
    for f in "$objects"/*.o; do
        case $f in
        *kernels_avx*) [ "$(avx "$f")" -gt 1000 ] || wrong "$f has no AVX: the check sees nothing";;
        *) [ "$(avx "$f")" = 0 ] || wrong "$(basename "$f") has $(avx "$f") AVX instructions: it would stop on a processor without";;
        esac
    done
    # The choice at start, where the processor has AVX and where it has not (emulated), and one list of digests for all.
    kernels() { "$@" info -m weights/emojicanvas --json 2> /dev/null | sed 's/.*"kernels": "\([a-z0-9]*\)".*/\1/'; }
    for cpu in qemu64:sse2 Nehalem:sse2 Haswell:avx2; do
        f=$(kernels qemu-x86_64 -cpu "${cpu%:*}" "$p") || f="nothing, and stops"
        [ "$f" = "${cpu#*:}" ] || wrong "on ${cpu%:*} it chooses $f, not ${cpu#*:}"
        qemu-x86_64 -cpu "${cpu%:*}" "$p" selftest --isa "${cpu#*:}" --threads 2 2> /dev/null | tee "$work/said" || true
        grep -q ' 1 passed, 0 failed$' "$work/said" || wrong "on ${cpu%:*}: wrong bits"
    done
    SAEURON_ISA=avx512 qemu-x86_64 -cpu Haswell "$p" selftest 2> /dev/null | tee "$work/said" || true
    grep -q '^SKIPPED avx512: not on this CPU' "$work/said" && grep -q ' 0 passed, 0 failed, 1 skipped$' "$work/said" || wrong "avx512 is not skipped where it cannot run"
    SAEURON_ISA=avx9 "$p" selftest > /dev/null 2>&1 && wrong "kernels that do not exist pass"
    for isa in scalar sse2 avx2 avx512; do
        echo "$isa:"
        SAEURON_ISA=$isa "$p" selftest | tee "$work/said" || true
        grep -qE ' 1 passed, 0 failed$| 0 passed, 0 failed, 1 skipped$' "$work/said" || wrong "$isa: wrong bits"
    done
    "$p" selftest --list | cmp - tests/golden/digests.txt
    # A whole picture, two threads, against the dynamic build.
    build out "$work/out/saeuron"
    "$p" generate -q -m weights/emojicanvas --threads 2 --steps 3 --map-steps --forget Sketch -p "An image of Cats in Sketch style." -o "$work/portable.png"
    "$work/out/saeuron" generate -q -m weights/emojicanvas --threads 1 --steps 3 --map-steps --forget Sketch -p "An image of Cats in Sketch style." -o "$work/dynamic.png"
    cmp "$work/portable.png" "$work/dynamic.png" || wrong "the portable program draws another picture"
    CC=aarch64-linux-gnu-gcc build other portable > /dev/null 2> "$work/said" && wrong "make portable does not refuse another architecture"
    grep -q 'builds for aarch64' "$work/said" || wrong "$(cat "$work/said")"
}

# fmla V.4S is four multiply-adds; a tile without them runs at a quarter of the speed or less, with the right bits.
neon() {
    CC=aarch64-linux-gnu-gcc build neon "$work/neon/kernels_neon.o"
    aarch64-linux-gnu-objdump -d --no-show-raw-insn "$work/neon/kernels_neon.o" |
        awk '/^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3) }
             name ~ /^(tile|narrow)_[0-9]+_(first|fold)$/ { tiles[name] += 0 }
             name ~ /^(tile|narrow)_[0-9]+_(first|fold)$/ && /fmla.*v[0-9]+\.4s/ { tiles[name]++ }
             name ~ /^(tile|narrow)_[0-9]+_(first|fold)$/ && /fmadd/ { single[name]++ }
             END { for (t in tiles) { n++; printf "%s: %d fmla v.4s, %d fmadd\n", t, tiles[t], single[t]; if (!tiles[t]) bad++ }
                   if (!n) print "no tile was found"; exit !n || bad }' || wrong "a tile has no fmla v.4s"
}

# libgomp is not instrumented: under ThreadSanitizer its barriers would look like races, so that build has no OpenMP.
race() {
    local tsan=$work/tsan run=
    setarch "$(uname -m)" -R true 2> /dev/null && run="setarch $(uname -m) -R" # its shadow memory wants the usual addresses
    build tsan OMP= OPT=-O2 EXTRA_CFLAGS="-g -fsanitize=thread" "$tsan/libsaeuron.a"
    $CC -std=c99 -O1 -g $warn -fsanitize=thread -I. -o "$tsan/two_contexts" tests/two_contexts.c "$tsan/libsaeuron.a" -lm -pthread
    TSAN_OPTIONS=exitcode=66 $run "$tsan/two_contexts" weights/emojicanvas 1 1 2>&1 | tee "$work/said" || wrong "ThreadSanitizer reports a race, or the bits differ"
    build out "$work/out/libsaeuron.a"
    $CC -std=c99 -O1 $warn -I. -o "$work/out/two_contexts" tests/two_contexts.c "$work/out/libsaeuron.a" -fopenmp -lm -pthread
    "$work/out/two_contexts" weights/emojicanvas 2 5
}

case ${1:-} in
symbols | manual | portable | neon | race) "$1" ;;
install) install_ ;;
*) echo "usage: packaging.sh symbols | install | manual | portable | neon | race" >&2; exit 2 ;;
esac
