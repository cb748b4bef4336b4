#!/bin/bash
# matrix.sh: the program for one platform or compiler after another: from each the same digests, and from some the same picture.
#
#   matrix.sh [NAME...]      these rows of the table below, two at a time; all of them without a NAME
#   matrix.sh --ci           those without the word rare, for CI's hour
#   matrix.sh --packages     the Debian packages that these need
#
#   a row's compiler --make--> program --its runner: selftest--> digests == tests/golden/digests.txt, PNG == the native program's
#
# A line a row: "NAME same", "NAME DIFFERS: LOG" after the log's last lines, "NAME refused" where the build must stop, "SKIPPED NAME: why".
# The last line is "N passed, N failed, N skipped". Builds and logs lie in CI_WORK/matrix/NAME (default /tmp/saeuron-ci/matrix/NAME).
# Not here: the instruction sets of x86-64 (packaging.sh portable), truth (make test). PROGRAM, the native one, and JOBS may be named.
set -u
cd "$(dirname "$0")/.." || exit 1
work=${CI_WORK:-/tmp/saeuron-ci}/matrix
PROGRAM=${PROGRAM:-$PWD/saeuron}
export PROGRAM GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
unset MAKEFLAGS MFLAGS CC OPT OMP EXTRA_CFLAGS DEPEND ISAS     # what make was told about the native program

# Name | Debian packages | arguments of make | what runs the program | what is run:
#   full      selftest, that is each kernel set with one and two threads; then its list
#   short     the list alone: the best kernel set
#   picture   two steps of EmojiCanvas, forgetting a style
#   refused   nothing: #error stops the build, with the words that follow
#   rare      not by CI: another row is much like it
# The emulated ones are built at -O1, which compiles twice as fast as -O3.
WASI="-DSAEURON_PLAIN_C -Wl,-z,stack-size=1048576 -Wno-unused-command-line-argument"
table() {
    cat << END
gcc-O0       | gcc | CC=gcc OPT=-O0 |  | short picture
gcc-O1       | gcc | CC=gcc OPT=-O1 |  | short rare
gcc-O2       | gcc | CC=gcc OPT=-O2 |  | short rare
gcc-O3       | gcc | CC=gcc OPT=-O3 |  | full
gcc-Os       | gcc | CC=gcc OPT=-Os |  | short rare
gcc-native   | gcc | CC=gcc 'OPT=-O2 -march=native' |  | short rare
gcc-lto      | gcc | CC=gcc 'OPT=-O2 -flto=auto' |  | short rare
gcc-ubsan    | gcc | CC=gcc OPT=-O1 'EXTRA_CFLAGS=-fsanitize=undefined -fno-sanitize-recover' |  | short
gcc-serial   | gcc | CC=gcc OPT=-O1 OMP= |  | short rare
plain-c      | gcc | CC=gcc OPT=-O1 OMP= EXTRA_CFLAGS=-DSAEURON_PLAIN_C |  | short picture
clang-O0     | clang-14 libomp-14-dev | CC=clang-14 OPT=-O0 |  | short rare
clang-O3     | clang-14 libomp-14-dev | CC=clang-14 OPT=-O3 |  | full
clang-19     | clang-19 | CC=clang-19 OPT=-O1 |  | short
musl         | musl-tools | CC=musl-gcc OPT=-O1 EXTRA_CFLAGS=-static |  | short
tcc          | tcc | CC=tcc DEPEND= ISAS=scalar EXTRA_CFLAGS=-DFLT_EVAL_METHOD=0 |  | short
pcc          | pcc | CC=pcc ISAS=scalar |  | short
i686         | gcc-i686-linux-gnu libc6-dev-i386-cross | CC=i686-linux-gnu-gcc OPT=-O1 'EXTRA_CFLAGS=-msse2 -mfpmath=sse' | /usr/i686-linux-gnu/lib/ld-linux.so.2 --library-path /usr/i686-linux-gnu/lib | short picture rare
i686-avx     | gcc-i686-linux-gnu libc6-dev-i386-cross | CC=i686-linux-gnu-gcc ISAS='scalar sse2 avx2 avx512' OPT=-O1 'EXTRA_CFLAGS=-msse2 -mfpmath=sse' | /usr/i686-linux-gnu/lib/ld-linux.so.2 --library-path /usr/i686-linux-gnu/lib | short picture
aarch64      | gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user | CC=aarch64-linux-gnu-gcc OPT=-O1 | qemu-aarch64 -L /usr/aarch64-linux-gnu | short picture
armhf        | gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user | CC=arm-linux-gnueabihf-gcc OPT=-O1 | qemu-arm -L /usr/arm-linux-gnueabihf | short rare
armhf-neon   | gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user | CC=arm-linux-gnueabihf-gcc OPT=-O1 EXTRA_CFLAGS=-mfpu=neon-vfpv4 | qemu-arm -L /usr/arm-linux-gnueabihf | short
armel        | gcc-arm-linux-gnueabi libc6-dev-armel-cross qemu-user | CC=arm-linux-gnueabi-gcc OPT=-O1 | qemu-arm -L /usr/arm-linux-gnueabi | short rare
riscv64      | gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user | CC=riscv64-linux-gnu-gcc OPT=-O1 | qemu-riscv64 -L /usr/riscv64-linux-gnu | short picture
s390x        | gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user | CC=s390x-linux-gnu-gcc OPT=-O1 | qemu-s390x -L /usr/s390x-linux-gnu | short picture
powerpc      | gcc-powerpc-linux-gnu libc6-dev-powerpc-cross qemu-user | CC=powerpc-linux-gnu-gcc OPT=-O1 | qemu-ppc -L /usr/powerpc-linux-gnu | short picture
ppc64        | gcc-powerpc64-linux-gnu libc6-dev-ppc64-cross qemu-user | CC=powerpc64-linux-gnu-gcc OPT=-O1 | qemu-ppc64 -L /usr/powerpc64-linux-gnu | short rare
ppc64el      | gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross qemu-user | CC=powerpc64le-linux-gnu-gcc OPT=-O1 | qemu-ppc64le -L /usr/powerpc64le-linux-gnu | short rare
mips         | gcc-mips-linux-gnu libc6-dev-mips-cross qemu-user | CC=mips-linux-gnu-gcc OPT=-O1 | qemu-mips -L /usr/mips-linux-gnu | short rare
mipsel       | gcc-mipsel-linux-gnu libc6-dev-mipsel-cross qemu-user | CC=mipsel-linux-gnu-gcc OPT=-O1 | qemu-mipsel -L /usr/mipsel-linux-gnu | short rare
mips64el     | gcc-mips64el-linux-gnuabi64 libc6-dev-mips64el-cross qemu-user | CC=mips64el-linux-gnuabi64-gcc OPT=-O1 | qemu-mips64el -L /usr/mips64el-linux-gnuabi64 | short rare
sparc64      | gcc-sparc64-linux-gnu libc6-dev-sparc64-cross qemu-user | CC=sparc64-linux-gnu-gcc OPT=-O1 | qemu-sparc64 -L /usr/sparc64-linux-gnu | short rare
alpha        | gcc-alpha-linux-gnu libc6.1-dev-alpha-cross qemu-user | CC=alpha-linux-gnu-gcc OPT=-O1 EXTRA_CFLAGS=-mieee | qemu-alpha -L /usr/alpha-linux-gnu | short rare
hppa         | gcc-hppa-linux-gnu libc6-dev-hppa-cross qemu-user | CC=hppa-linux-gnu-gcc OPT=-O1 | qemu-hppa -L /usr/hppa-linux-gnu | short rare
wasm32       | clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32 nodejs | CC='clang-14 --target=wasm32-wasi' OPT=-O1 'EXTRA_CFLAGS=$WASI' | node --no-warnings --no-turbo-fast-api-calls tests/wasi.mjs | short picture
emscripten   | emscripten | CC=emcc OPT=-O1 EXTRA_CFLAGS=-DSAEURON_PLAIN_C 'LINK=-sALLOW_MEMORY_GROWTH -sNODERAWFS' | node --no-experimental-fetch | short picture rare
m68k         | gcc-m68k-linux-gnu libc6-dev-m68k-cross | CC=m68k-linux-gnu-gcc |  | refused floats must be evaluated as floats
i686-x87     | gcc-i686-linux-gnu libc6-dev-i386-cross | CC=i686-linux-gnu-gcc |  | refused floats must be evaluated as floats
fast-math    | gcc | CC=gcc EXTRA_CFLAGS=-ffast-math |  | refused -ffast-math and its parts
unsafe-math  | gcc | CC=gcc EXTRA_CFLAGS=-funsafe-math-optimizations |  | refused -ffast-math and its parts
finite-math  | gcc | CC=gcc EXTRA_CFLAGS=-ffinite-math-only |  | refused -ffast-math and its parts
reciprocal   | gcc | CC=gcc EXTRA_CFLAGS=-freciprocal-math |  | refused -ffast-math and its parts
unsigned-zero | gcc | CC=gcc EXTRA_CFLAGS=-fno-signed-zeros |  | refused -ffast-math and its parts
clang-fast   | clang-14 | CC=clang-14 EXTRA_CFLAGS=-ffast-math |  | refused -ffast-math and its parts
clang-finite | clang-14 | CC=clang-14 EXTRA_CFLAGS=-ffinite-math-only |  | refused -ffast-math and its parts
END
}

field() { table | awk -F'|' -v name="$1" -v n="$2" '{ for (i = 1; i <= NF; i++) gsub(/^ +| +$/, "", $i) } $1 == name { print $n }'; }

check() {                                   # check NAME RUNNER WHAT MAKE-ARGUMENTS...: whether the row is as it should be
    local dir=$work/$1 runner=$2 what=$3 run; shift 3
    local make=(make -s -r BUILD="$dir" PROGRAM="$dir/saeuron" "$@")
    run="timeout -s KILL 900 $runner $dir/saeuron"
    case $what in refused*)
        "${make[@]}" "$dir/number.o" && { echo "this build should have been refused"; return 1; }
        grep -F "error" "$dir/log" | grep -qF -e "\"${what#refused }"; return ;;
    esac
    "${make[@]}" "$dir/saeuron" || return 1
    case "$*" in *gcc*|*clang*) grep -q 'warning:' "$dir/log" && { echo "the compiler warns"; return 1; } ;; esac
    case $what in *full*) $run selftest || return 1 ;; esac
    $run selftest --list > "$dir/digests" && cmp "$dir/digests" tests/golden/digests.txt || return 1
    case $what in *picture*) draw "$run" "$dir/picture.png" && cmp "$dir/picture.png" "$work/picture.png" ;; esac
}

draw() {                                    # draw PROGRAM FILE
    $1 generate -q -p "An image of Cats in Sketch style." --forget Sketch --steps 2 --map-steps --width 32 --height 32 -o "$2" > /dev/null
}

row() {                                     # row NAME: builds and runs it, says what came of it
    local name=$1 packages runner what dir=$work/$1 compiler argument
    packages=$(field "$name" 2) runner=$(field "$name" 4) what=$(field "$name" 5)
    eval "set -- $(field "$name" 3)"
    for argument; do case $argument in CC=*) compiler=${argument#CC=} ;; esac; done
    rm -rf "$dir" && mkdir -p "$dir"
    echo 'int main(void) { return 0; }' > "$dir/probe.c"
    if ! $compiler -o "$dir/probe" "$dir/probe.c" > "$dir/log" 2>&1 || { [ -n "$runner" ] && ! $runner "$dir/probe" >> "$dir/log" 2>&1; }; then
        echo "SKIPPED $name: no program can be built and run: apt-get install $packages"
    elif check "$name" "$runner" "$what" "$@" > "$dir/log" 2>&1; then
        case $what in refused*) echo "$name refused" ;; *) echo "$name same" ;; esac
    else
        printf '%s\n' "$(tail -n 20 "$dir/log" | sed 's/^/    /')" "$name DIFFERS: $dir/log"
    fi
}

if [ "${1:-}" = --row ]; then
    row "$2"
    exit
fi
case ${1:-} in
"") set -- $(table | awk '{ print $1 }') ;;
--ci) set -- $(table | grep -v ' rare$' | awk '{ print $1 }') ;;
--packages) table | grep -v ' rare$' | cut -d'|' -f2 | xargs -n 1 | sort -u; exit ;;
esac
for name; do
    [ -n "$(field "$name" 1)" ] || { echo "matrix.sh: there is no row $name: $(table | awk '{ printf "%s ", $1 }')"; exit 2; }
done
mkdir -p "$work" && draw "$PROGRAM" "$work/picture.png" || exit 1
printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-2}" tests/matrix.sh --row | tee "$work/verdicts"
passed=$(grep -cE '^[^ ]+ (same|refused)$' "$work/verdicts")
skipped=$(grep -c '^SKIPPED ' "$work/verdicts")
failed=$(($# - passed - skipped))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
