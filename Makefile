# saeuron: `make` builds ./saeuron, `make demo` shows it, `make test` proves it. C99 and libm; OpenMP if the compiler has it.
# `make lib` builds build/libsaeuron.a and .so, `make install` puts all in place, `make portable` one program for every x86-64,
# `make web` a page that draws.
#
#   CC=clang-14  OPT=-O0  OMP=  (no threads)  PREFIX=/usr/local  DESTDIR=  PYTHON=python3 (tests against PyTorch, training)

MAKEFLAGS += -r
CC     ?= gcc
ifeq ($(origin CC),default)
CC     := gcc
endif
OPT    ?= -O3
PYTHON ?= python3
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
BUILD  ?= build
EMOJI  ?= ../shared/emoji
DEVICE ?= cpu

CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
MACHINE := $(shell $(CC) -dumpmachine)
ARCH  := $(firstword $(subst -, ,$(MACHINE)))
# mingw-w64: no DLL beside the program; and moves that do not want AVX's locals aligned, which Windows' stack is not (gcc bug 54412).
WINDOWS := $(findstring mingw,$(MACHINE))
PROGRAM ?= saeuron$(if $(WINDOWS),.exe)
ifneq ($(WINDOWS),)
LINK  := -static
UNALIGNED := -Wa,-muse-unaligned-vector-move
endif
# OpenMP when a program that calls it links; nothing breaks without.
PROBE := int omp_get_max_threads(void); int main(void) { return omp_get_max_threads() < 1; }
ifeq ($(origin OMP),undefined)
OMP   := $(shell mkdir -p $(BUILD) && echo '$(PROBE)' > $(BUILD)/omp.c && $(CC) $(EXTRA_CFLAGS) $(LINK) -fopenmp -o $(BUILD)/omp $(BUILD)/omp.c 2>/dev/null && echo -fopenmp)
endif

WARN  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion
# docs/contract.md, section 1: none of these changes a value.
FLOAT := -std=c99 -ffp-contract=off -fno-math-errno -fno-trapping-math $(if $(CLANG),,-fexcess-precision=fast)
# Has the compiler write what each object was made from.
DEPEND ?= -MMD -MP
BASE  := $(FLOAT) $(OPT) $(WARN) $(OMP) $(UNALIGNED) $(DEPEND) -I. $(EXTRA_CFLAGS)

# The kernels, once for each instruction set of this architecture; nn_init chooses at start.
ISAS := scalar
ifeq ($(ARCH),x86_64)
ISAS += sse2 avx2 avx512
endif
ifeq ($(ARCH),aarch64)
ISAS += neon
endif
ifeq ($(ARCH),wasm32)
ISAS += simd128
endif
ISA_scalar :=
ISA_sse2   := -msse2
ISA_avx2   := -mavx2 -mfma -mf16c
ISA_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512
ISA_neon   :=
ISA_simd128 := -msimd128
HAVE := $(foreach i,$(filter-out scalar,$(ISAS)),-DNN_HAVE_$(shell echo $(i) | tr a-z A-Z))

# The rooms, from below; tests/includes.sh says what may include what. No two files have one name.
ROOMS := arithmetic files layers training evaluation gradients rivals program
vpath %.c $(ROOMS) docs/web
names = $(notdir $(basename $(wildcard $(1:%=%/*.c))))
# The library is the method and what is under it; classifiers stand beside it. The kernels are compiled once for each instruction set.
LIBRARY := $(filter-out kernels,$(call names,arithmetic files layers .)) vit classifier
KERNELS := $(ISAS:%=kernels_%)
# What the program has beyond the library.
OUTSIDE := $(filter-out $(LIBRARY),$(call names,training evaluation gradients rivals))
PROGRAMS := $(call names,program)
# All of tests/ but programs of their own.
TESTS := $(filter-out exhaustive faults prove cbmc fuzz_% %_driver two_contexts,$(call names,tests))
OBJS := $(patsubst %,$(BUILD)/%.o,$(LIBRARY) $(KERNELS))
TESTOBJS := $(TESTS:%=$(BUILD)/tests/%.o)

# Where the program finds EmojiCanvas once it is installed and no weights/ lies in the current folder.
SHARE := $(PREFIX)/share/saeuron

all: $(PROGRAM)

$(PROGRAM): $(patsubst %,$(BUILD)/%.o,$(PROGRAMS) $(OUTSIDE)) $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) $(LINK) -o $@ $^ -lm

$(BUILD)/%.o: %.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) $(DEFINE) -c -o $@ $<

$(ISAS:%=$(BUILD)/kernels_%.o): $(BUILD)/kernels_%.o: arithmetic/kernels.c | $(BUILD)/tests
	$(CC) $(BASE) $(ISA_$*) -DNN_ISA=$* -c -o $@ $<

$(BUILD)/tests/%.o: tests/%.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) -Itests -c -o $@ $<

$(BUILD)/tests $(BUILD)/lib $(BUILD)/portable:
	mkdir -p $@

# The one file that knows PREFIX; the file beside it changes when PREFIX does.
$(BUILD)/opening.o $(BUILD)/portable/opening.o: DEFINE = -DSAEURON_SHARE='"$(SHARE)"'
$(BUILD)/opening.o $(BUILD)/portable/opening.o: $(BUILD)/share
$(BUILD)/share: FORCE | $(BUILD)/tests
	@echo '$(SHARE)' | cmp -s - $@ || echo '$(SHARE)' > $@
FORCE:

$(BUILD)/tests/run: $(TESTOBJS) $(OUTSIDE:%=$(BUILD)/%.o) $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

# The program, but of its calls of the system one can be made to fail (tests/faults.c).
FAULTY := system posix
$(FAULTY:%=$(BUILD)/tests/%.o): $(BUILD)/tests/%.o: files/%.c tests/faults.h | $(BUILD)/tests
	$(CC) $(BASE) -include tests/faults.h -c -o $@ $<

$(BUILD)/tests/faulty: $(patsubst %,$(BUILD)/%.o,$(PROGRAMS) $(OUTSIDE) $(filter-out $(FAULTY),$(LIBRARY)) $(KERNELS)) \
		$(FAULTY:%=$(BUILD)/tests/%.o) $(BUILD)/tests/faults.o
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

$(BUILD)/selftest.o: tests/golden/digests.txt

# Every C test and golden; no Python, no network. The last line is "N passed, N failed". (Threads that wait by spinning make the
# tests, which are many small products, crawl on a busy machine: hence GOMP_SPINCOUNT.)
test: $(PROGRAM) $(BUILD)/tests/run $(BUILD)/tests/faulty
	GOMP_SPINCOUNT=1000 SAEURON_PROGRAM=$(PROGRAM) SAEURON_FAULTY=$(BUILD)/tests/faulty $(BUILD)/tests/run $(TEST)

# Every function of one number over all 2^32 floats: lanes of this machine's kind (LANES=avx512 where it has them) against
# the reference, and the distance from the truth. STEP=17 takes every 17th. Minutes to an hour.
LANES ?= $(if $(filter x86_64,$(ARCH)),avx2,scalar)
QUAD  := $(if $(CLANG),,$(if $(filter x86_64,$(ARCH)),-DHAVE_QUADMATH))
exhaustive: $(BUILD)/tests/exhaustive
	$(BUILD)/tests/exhaustive $(STEP)

$(BUILD)/tests/exhaustive.o: tests/exhaustive.c | $(BUILD)/tests
	$(CC) $(BASE) $(ISA_$(LANES)) $(QUAD) -c -o $@ $<

$(BUILD)/tests/exhaustive: $(BUILD)/tests/exhaustive.o $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ $(if $(QUAD),-lquadmath) -lm

# The same digests and the same picture from one platform and compiler after another; MATRIX="aarch64 s390x": these alone. Minutes.
matrix: $(PROGRAM)
	PROGRAM=$(abspath $(PROGRAM)) tests/matrix.sh $(MATRIX)

# Breaks the program at one place after another and counts which breaks the tests notice. An hour; MUTANTS="--count 30".
mutants:
	$(PYTHON) tests/mutants.py $(MUTANTS)

# Which branches of the root, arithmetic, files and layers the tests take. clang-14 and its llvm tools; minutes.
coverage:
	$(PYTHON) tests/coverage.py $(COVERAGE)

# A picture of the first object and the first style in concepts.json, then the same without its style and without its object.
PROMPT := An image of Architectures in Bricks style.
demo: saeuron
	@mkdir -p demo
	@echo 'saeuron generate -p "$(PROMPT)" [--forget Bricks | --forget Architectures]:'
	@./saeuron generate -p "$(PROMPT)" -o demo/picture.png
	@./saeuron generate -p "$(PROMPT)" --forget Bricks -o demo/forget-bricks.png
	@./saeuron generate -p "$(PROMPT)" --forget Architectures -o demo/forget-architectures.png

# Speed; with PYTHON naming an interpreter that has diffusers, side by side with it. BENCH: options, as BENCH="--threads 1".
bench: saeuron
ifeq ($(PYTHON),python3)
	./saeuron bench $(BENCH)
else
	$(PYTHON) tests/bench_peer.py $(BENCH)
endif

# Training an SAE of the paper's size beside the released trainer's step, and what the paper's recipe would cost. PYTHON: with PyTorch; NumPy.
bench-sae: saeuron
	$(PYTHON) tests/bench_sae.py $(BENCH)

costs: saeuron
	$(PYTHON) docs/costs.py --write

# The real size: SD 1.5 with hash-filled weights, against diffusers in float64. PYTHON as for bench; 8 GB of disk, 16 GB of memory.
fullsize: saeuron $(BUILD)/libsaeuron.so
	$(PYTHON) tests/fullsize.py --dir $(BUILD)/fullsize --library $(BUILD)/libsaeuron.so $(TEST)

# Trains EmojiCanvas again: see weights/train/README.md. Hours of two cores.
weights: saeuron
	EMOJI=$(EMOJI) PYTHON=$(PYTHON) DEVICE=$(DEVICE) sh weights/train/all.sh

# ---- in anyone's program: the library ----

VERSION := $(shell sed -n 's/.*SAEURON_VERSION "\(.*\)"/\1/p' saeuron.h)
SONAME  := libsaeuron.so.$(firstword $(subst ., ,$(VERSION)))
SHARED  := $(BUILD)/libsaeuron.so.$(VERSION)
LIBOBJS := $(patsubst %,$(BUILD)/lib/%.o,$(LIBRARY) $(KERNELS))
# What is not declared in saeuron.h stays inside: hidden in the .so, made local in the .a, where `fail` would meet the user's.
HIDDEN  := -fPIC -fvisibility=hidden
OBJCOPY ?= $(shell $(CC) -print-prog-name=objcopy)
ifeq ($(origin AR),default)
AR       = $(shell $(CC) -print-prog-name=ar)
endif

lib: $(BUILD)/libsaeuron.a $(BUILD)/libsaeuron.so

$(BUILD)/lib/%.o: %.c | $(BUILD)/lib
	$(CC) $(BASE) $(HIDDEN) $(HAVE) -c -o $@ $<

$(ISAS:%=$(BUILD)/lib/kernels_%.o): $(BUILD)/lib/kernels_%.o: arithmetic/kernels.c | $(BUILD)/lib
	$(CC) $(BASE) $(HIDDEN) $(ISA_$*) -DNN_ISA=$* -c -o $@ $<

# One object, because only names inside one can be made local; clang's OpenMP names its locks in the open, as commons (-d: no longer).
LIBOBJ  := $(BUILD)/lib/libsaeuron.o
$(LIBOBJ): $(LIBOBJS)
	$(CC) -r -nostdlib -Wl,-d -o $@ $^
	$(OBJCOPY) --localize-hidden --wildcard --localize-symbol='.gomp_*' $@

$(BUILD)/libsaeuron.a: $(LIBOBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(SHARED): $(LIBOBJ)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs -o $@ $^ -lm

$(BUILD)/libsaeuron.so: $(SHARED)
	ln -sf $(notdir $<) $(BUILD)/$(SONAME)
	ln -sf $(notdir $<) $@

# Program, library, man page and the small model. PREFIX is where they will be used, DESTDIR a folder before it where they are
# collected for a package.
INSTALL ?= install
TO      := $(DESTDIR)$(PREFIX)
TOLIB   := $(DESTDIR)$(LIBDIR)
MODEL   := $(DESTDIR)$(SHARE)/emojicanvas

install: $(PROGRAM) lib
	$(INSTALL) -d '$(TO)/bin' '$(TO)/include' '$(TOLIB)/pkgconfig' '$(TO)/share/man/man1' '$(MODEL)'
	$(INSTALL) -m 755 $(PROGRAM) '$(TO)/bin/saeuron'
	$(INSTALL) -m 644 saeuron.h saeuron_host.h '$(TO)/include/'
	$(INSTALL) -m 644 $(BUILD)/libsaeuron.a '$(TOLIB)/libsaeuron.a'
	$(INSTALL) -m 755 $(SHARED) '$(TOLIB)/$(notdir $(SHARED))'
	ln -sf $(notdir $(SHARED)) '$(TOLIB)/$(SONAME)'
	ln -sf $(notdir $(SHARED)) '$(TOLIB)/libsaeuron.so'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@OMP@|$(OMP)|' \
	    docs/saeuron.pc.in > '$(TOLIB)/pkgconfig/saeuron.pc'
	sed -e 's|@SHARE@|$(SHARE)|' -e 's|@VERSION@|$(VERSION)|' docs/saeuron.1 > '$(TO)/share/man/man1/saeuron.1'
	cp -R weights/emojicanvas/. '$(MODEL)'

uninstall:
	rm -f '$(TO)/bin/saeuron' '$(TO)/include/saeuron.h' '$(TO)/include/saeuron_host.h' '$(TOLIB)'/libsaeuron.a '$(TOLIB)'/libsaeuron.so* \
	    '$(TOLIB)/pkgconfig/saeuron.pc' '$(TO)/share/man/man1/saeuron.1'
	rm -rf '$(MODEL)'
	-rmdir '$(DESTDIR)$(SHARE)' 2> /dev/null || true

# ---- one program for every x86-64: nothing beyond SSE2 outside the kernels, which are chosen at start; no shared library ----

PORTABLE ?= saeuron-portable
# OpenMP when its runtime is there as a static library, found out once and only when it is wanted.
STATIC_OMP = $(eval STATIC_OMP := $(shell [ -z "$(OMP)" ] || { echo '$(PROBE)' > $(BUILD)/omp.c && $(CC) -static $(OMP) -o $(BUILD)/omp $(BUILD)/omp.c 2>/dev/null && \
    echo $(OMP); } || echo 'make portable: no static OpenMP runtime, so it has one thread' >&2))$(STATIC_OMP)
BASELINE := -march=x86-64 -mtune=generic
PORTOBJS := $(patsubst %,$(BUILD)/portable/%.o,$(LIBRARY) $(KERNELS) $(OUTSIDE) $(PROGRAMS))

ifeq ($(ARCH),x86_64)
portable: $(PORTABLE)
else
portable:
	@echo 'make portable: $(CC) builds for $(ARCH), where one set of kernels serves all: use make' >&2; exit 1
endif

$(BUILD)/portable/%.o: %.c | $(BUILD)/portable
	$(CC) $(subst $(OMP),$(STATIC_OMP),$(BASE)) $(BASELINE) $(HAVE) $(DEFINE) -c -o $@ $<

$(ISAS:%=$(BUILD)/portable/kernels_%.o): $(BUILD)/portable/kernels_%.o: arithmetic/kernels.c | $(BUILD)/portable
	$(CC) $(subst $(OMP),$(STATIC_OMP),$(BASE)) $(BASELINE) $(ISA_$*) -DNN_ISA=$* -c -o $@ $<

$(BUILD)/portable/selftest.o: tests/golden/digests.txt

# (libgomp.a names dlopen, for accelerators, which nothing here has: the linker's warning about it means nothing.)
$(PORTABLE): $(PORTOBJS)
	$(CC) $(EXTRA_CFLAGS) -static -o $@ $^ $(STATIC_OMP) -lm

# ---- in a page: docs/web/, the library as WebAssembly, and of the small model what it reads; one thread ----

WASM_CC ?= clang-14 --target=wasm32-wasi
WEB     := $(BUILD)/web
SERVED  := concepts.json model_index.json scheduler text_encoder tokenizer unet vae sae/up_blocks.*

web:
	@mkdir -p $(BUILD) && echo '#include <stdlib.h>' > $(BUILD)/wasm.c && $(WASM_CC) -nostartfiles -Wl,--no-entry -o $(BUILD)/wasm.out $(BUILD)/wasm.c 2> /dev/null || \
	    { echo 'make web: needs the Debian packages clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32' >&2; exit 1; }
	$(MAKE) CC='$(WASM_CC)' OMP= BUILD=$(BUILD)/wasm EXTRA_CFLAGS=-DSAEURON_BARE $(BUILD)/wasm/saeuron.wasm
	rm -rf $(WEB) && mkdir -p $(WEB)/emojicanvas
	cp $(BUILD)/wasm/saeuron.wasm docs/web/index.html docs/web/page.js docs/web/worker.js $(WEB)
	cd weights/emojicanvas && tar cf - $(SERVED) LICENSES.md | tar xf - -C '$(abspath $(WEB))/emojicanvas'
	cd $(WEB) && find emojicanvas -type f ! -name '*.md' | sort > files.txt
	@echo 'to look at it: python3 -m http.server -b 127.0.0.1 -d $(WEB), then http://127.0.0.1:8000'

# A stack that overflows meets the end of memory, not the data.
$(BUILD)/saeuron.wasm: $(BUILD)/web.o $(OBJS)
	$(CC) -nostartfiles -Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=1048576 -o $@ $^

clean:
	rm -rf $(BUILD) $(PROGRAM) $(PORTABLE) demo

.PHONY: all test exhaustive matrix mutants coverage demo bench bench-sae costs fullsize weights lib install uninstall portable web clean FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
%.d: ;
-include $(wildcard $(BUILD)/*.d $(BUILD)/tests/*.d $(BUILD)/lib/*.d $(BUILD)/portable/*.d)
