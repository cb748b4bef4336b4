# saeuron: `make` builds ./saeuron, `make demo` shows it, `make test` proves it. C99 and libm; OpenMP if the compiler has it.
#
#   CC=clang-14  OPT=-O0  OMP=  (no threads)  PREFIX=/usr/local  DESTDIR=  PYTHON=python3 (tests against PyTorch, training)

CC     ?= gcc
ifeq ($(origin CC),default)
CC     := gcc
endif
OPT    ?= -O3
PYTHON ?= python3
PREFIX ?= /usr/local
BUILD  ?= build
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

CORE := nn rng io json png tokenizer unicode model clip unet vae ddim sae select pipeline
OBJS := $(CORE:%=$(BUILD)/%.o) $(ISAS:%=$(BUILD)/nn_kernels_%.o)
TESTS := main nn rng io tokenizer model golden cli
TESTOBJS := $(patsubst %,$(BUILD)/tests/%.o,$(patsubst %,test_%,$(filter-out main,$(TESTS))) main)

all: saeuron

saeuron: $(BUILD)/saeuron.o $(BUILD)/bench.o $(BUILD)/selftest.o $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

$(BUILD)/%.o: %.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) -c -o $@ $<

$(BUILD)/nn_kernels_%.o: nn_kernels.c | $(BUILD)/tests
	$(CC) $(BASE) $(ISA_$*) -DNN_ISA=$* -c -o $@ $<

$(BUILD)/tests/%.o: tests/%.c | $(BUILD)/tests
	$(CC) $(BASE) $(HAVE) -Itests -c -o $@ $<

$(BUILD)/tests:
	mkdir -p $@

$(BUILD)/tests/run: $(TESTOBJS) $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

$(BUILD)/tests/digests: $(BUILD)/tests/digests.o $(OBJS)
	$(CC) $(OMP) $(EXTRA_CFLAGS) -o $@ $^ -lm

# Every C test and golden; no Python, no network. The last line is "N passed, N failed".
test: saeuron $(BUILD)/tests/run
	$(BUILD)/tests/run $(TEST)

# An image, then the same without the style and without the object.
demo: saeuron
	./saeuron demo -o demo

bench: saeuron
	./saeuron bench $(if $(filter-out python3,$(PYTHON)),--peer "$(PYTHON) tests/bench_peer.py")

clean:
	rm -rf $(BUILD) saeuron demo

.PHONY: all test demo bench clean
.DELETE_ON_ERROR:
-include $(wildcard $(BUILD)/*.d $(BUILD)/tests/*.d)
