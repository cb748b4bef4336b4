# saeuron: `make` builds ./saeuron, `make demo` shows it, `make test` proves it. C99 and libm; OpenMP if the compiler has it.
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
BUILD  ?= build
PROGRAM ?= saeuron
EMOJI  ?= ../shared/emoji
DEVICE ?= cpu

CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
ARCH  := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
# OpenMP when a program that uses it links; nothing breaks without.
OMP   ?= $(shell echo 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o /dev/null 2>/dev/null && echo -fopenmp)

WARN  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion
# docs/contract.md, section 1: none of these changes a value.
FLOAT := -std=c99 -ffp-contract=off -fno-math-errno -fno-trapping-math $(if $(CLANG),,-fexcess-precision=fast)
BASE  := $(FLOAT) $(OPT) $(WARN) $(OMP) -MMD -MP -I. $(EXTRA_CFLAGS)

# The kernels, once for each instruction set of this architecture; nn_init chooses at start.
ISAS := scalar
ifeq ($(ARCH),x86_64)
ISAS += sse2 avx2 avx512
endif
ifeq ($(ARCH),aarch64)
ISAS += neon
endif
ISA_scalar :=
ISA_sse2   := -msse2
ISA_avx2   := -mavx2 -mfma -mf16c
ISA_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512
ISA_neon   :=
HAVE := $(foreach i,$(filter-out scalar,$(ISAS)),-DNN_HAVE_$(shell echo $(i) | tr a-z A-Z))

CORE := nn rng io json png tokenizer unicode model clip unet vae ddim sae select synthetic pipeline
OBJS := $(CORE:%=$(BUILD)/%.o) $(ISAS:%=$(BUILD)/nn_kernels_%.o)
TESTS := main nn rng io tokenizer model golden cli
TESTOBJS := $(patsubst %,$(BUILD)/tests/%.o,$(patsubst %,test_%,$(filter-out main,$(TESTS))) main tiny)

all: $(PROGRAM)

$(PROGRAM): $(BUILD)/saeuron.o $(BUILD)/bench.o $(BUILD)/selftest.o $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

$(BUILD)/%.o: %.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) -c -o $@ $<

$(ISAS:%=$(BUILD)/nn_kernels_%.o): $(BUILD)/nn_kernels_%.o: nn_kernels.c | $(BUILD)/tests
	$(CC) $(BASE) $(ISA_$*) -DNN_ISA=$* -c -o $@ $<

$(BUILD)/tests/%.o: tests/%.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) -Itests -c -o $@ $<

$(BUILD)/tests:
	mkdir -p $@

$(BUILD)/tests/run: $(TESTOBJS) $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

$(BUILD)/selftest.o: tests/golden/digests.txt

# Every C test and golden; no Python, no network. The last line is "N passed, N failed". (Threads that wait by spinning make the
# tests, which are many small products, crawl on a busy machine: hence GOMP_SPINCOUNT.)
test: $(PROGRAM) $(BUILD)/tests/run
	GOMP_SPINCOUNT=1000 SAEURON_PROGRAM=$(PROGRAM) $(BUILD)/tests/run $(TEST)

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

# A picture, then the same without its style and without its object.
PROMPT := An image of Flame in Mosaic style.
demo: saeuron
	@mkdir -p demo
	@echo 'saeuron generate -p "$(PROMPT)" [--forget Mosaic | --forget Flame]:'
	@./saeuron generate -p "$(PROMPT)" -o demo/flame.png
	@./saeuron generate -p "$(PROMPT)" --forget Mosaic -o demo/flame-forget-mosaic.png
	@./saeuron generate -p "$(PROMPT)" --forget Flame -o demo/flame-forget-flame.png

# Speed; with PYTHON naming an interpreter that has diffusers, side by side with it.
bench: saeuron
ifeq ($(PYTHON),python3)
	./saeuron bench
else
	$(PYTHON) tests/bench_peer.py
endif

# The real size: SD 1.5 with hash-filled weights, against diffusers in float64. PYTHON as for bench; 8 GB of disk, 16 GB of memory.
fullsize: saeuron
	$(PYTHON) tests/fullsize.py --dir $(BUILD)/fullsize $(TEST)

# Trains EmojiCanvas again: see weights/train/README.md. Hours of two cores.
weights: saeuron
	EMOJI=$(EMOJI) PYTHON=$(PYTHON) DEVICE=$(DEVICE) sh weights/train/all.sh

clean:
	rm -rf $(BUILD) $(PROGRAM) demo

.PHONY: all test exhaustive demo bench fullsize weights clean
.DELETE_ON_ERROR:
.SUFFIXES:
%.d: ;
-include $(wildcard $(BUILD)/*.d $(BUILD)/tests/*.d)
