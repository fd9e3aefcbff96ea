# lockstep: one non-recursive Makefile.  `make help` lists the targets.
#
# Sources are found by folder: a new core/x.c, tests/unit/test_x.c or benchmarks/bench_x.c needs no line here.
# Each folder becomes a static library; a program links the libraries of the layers it may use.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

VARIANT ?= release
JOBS ?= $(shell nproc)
BUILD ?= build
# Where objects of device code and of the emulator lie: those of the usual build serve the bundle too.
DEVICE_O := $(BUILD)/$(VARIANT)/obj
ifeq ($(BUNDLE),1)
override BUILD := $(BUILD)/bundle
endif
B := $(BUILD)$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
O := $(BUILD)/$(VARIANT)/obj
SHARED ?= ../shared

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
PACKAGES := ompi-c hdf5 libavformat libavcodec libavutil libswscale yaml-0.1 libcjson libxxhash
comma := ,
quote = '$(subst ','\'',$(1))'
# A prerequisite that always remakes, unless the stamp file $(1) holds the text $(2).
if_changed = $(if $(findstring x$(strip $(2))x,x$(strip $(file <$(1)))x),,FORCE)

include scripts/cuda.mk
include scripts/bundle.mk

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
ifneq ($(CI)$(WERROR),)
WARN += -Werror
endif
OPT_release := -O3 -g
OPT_debug := -O0 -g3
OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
# scripts/fuzz.sh: clang with libFuzzer.  Its warnings are others than gcc's, which the code is clean of.
OPT_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -w
OPENMP := $(if $(filter fuzz,$(VARIANT)),,-fopenmp)
OPT_emulated := -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CPPFLAGS += -I. -D_GNU_SOURCE -DLOCKSTEP_VARIANT='"$(VARIANT)"' -DLOCKSTEP_GPU='"$(GPU)"'
CFLAGS_ALL := -std=gnu17 $(OPT_$(VARIANT)) $(WARN) $(OPENMP) -pthread -ffp-contract=off $(CFLAGS)
LDFLAGS_ALL := $(OPT_$(VARIANT)) $(OPENMP) -pthread $(LDFLAGS)

# What each layer may see of foreign libraries.
cflags_core := $(call pkg,--cflags,yaml-0.1 libcjson libxxhash)
cflags_data := $(call pkg,--cflags,libavformat libavcodec libavutil libswscale hdf5 libcjson)
cflags_checkpoint := $(call pkg,--cflags,hdf5 libcjson)
cflags_comm := $(call pkg,--cflags,ompi-c) $(cflags_gpu_comm)
cflags_launcher := $(call pkg,--cflags,libcjson)
cflags_worker := $(call pkg,--cflags,libcjson)
cflags_tests := $(cflags_data) $(cflags_core) $(call pkg,--cflags,cmocka) $(cflags_gpu_comm)
cflags_benchmarks := $(cflags_data) $(cflags_core)
cflags_scripts := $(cflags_tests) $(cflags_comm)

libs_core := $(call pkg,--libs,yaml-0.1 libcjson libxxhash)
libs_data := $(call pkg,--libs,libavformat libavcodec libavutil libswscale hdf5)
libs_checkpoint := $(call pkg,--libs,hdf5)
libs_comm := $(call pkg,--libs,ompi-c)
libs_model := -ldnnl $(libs_cuda)
libs_tests := $(call pkg,--libs,cmocka)
ifeq ($(BUNDLE),1)
# Linked in where there is an archive; what is left is carried in the folder's lib/ (scripts/gpu_bundle.sh).
cflags_data := $(call pkg,--cflags,hdf5 libcjson)
cflags_comm := $(cflags_gpu_comm)
libs_core := -l:libyaml.a -l:libxxhash.a -lcjson
libs_data := -l:libhdf5.a -l:libsz.a -l:libaec.a -l:libz.a -ldl
libs_checkpoint :=
libs_comm :=
libs_model := $(if $(filter emulated,$(GPU)),-ldnnl) $(filter-out -lstdc++ -Wl$(comma)-rpath%,$(libs_cuda)) -l:libstdc++.a
endif
all_libs := $(libs_model) $(libs_comm) $(libs_data) $(libs_checkpoint) $(libs_core) -lm

LAYERS := core data checkpoint comm model worker launcher
sources = $(filter-out $(ABSENT_SOURCES),$(wildcard $(1)/*.c)) $(if $(filter model,$(1)),$(if $(filter 1,$(BUNDLE)),,$(wildcard model/cpu/*.c)) $(CUDA_TABLE)) \
    $(if $(filter 1,$(BUNDLE)),$(if $(filter data,$(1)),$(wildcard data/stored/*.c)))
objects = $(patsubst %.c,$(O)/%.o,$(call sources,$(1))) $(if $(filter model,$(1)),$(CUDA_OBJECTS) $(EMULATOR_OBJECTS))
LIBRARY = $(O)/lib$(1).a
PROGRAM_MAINS := $(O)/worker/main.o $(O)/launcher/main.o

LAUNCHER_LIBS := launcher data checkpoint core
WORKER_LIBS := worker model comm data checkpoint core
ALL_LIBS := worker launcher model comm data checkpoint core reference support
SUPPORT_SOURCES := $(wildcard tests/support/*.c)
ifeq ($(BUNDLE),1)
ALL_LIBS := $(filter-out launcher,$(ALL_LIBS))
SUPPORT_SOURCES := $(wildcard tests/support/golden*.c) tests/support/ceiling.c tests/support/op_timing.c \
    tests/support/step_subject.c
endif
LINK = $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -Wl,--as-needed

PROGRAMS := $(B)/lockstep $(B)/lockstep-worker $(B)/golden
TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c)) $(EMULATED_TESTS) $(CUDA_TESTS)
BENCHES := $(patsubst benchmarks/%.c,$(B)/benchmarks/%,$(wildcard benchmarks/bench_*.c))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))

all: programs ## build the programs into build/ (default)
programs: $(PROGRAMS) $(TOOLS)
tests: $(TESTS)
benches: $(BENCHES)
.PHONY: all programs tests benches

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile scripts/targets.mk
.PHONY: help

clean: ## remove build/
	rm -rf $(BUILD)
.PHONY: clean

include scripts/targets.mk

# A change of flags rebuilds: the stamp's text is the flags.  Without the libraries' packages nothing would
# compile, so that is said here instead of by a hundred missing headers.
FLAGS_TEXT := $(CC) $(GPU) $(NVCC_FLAGS) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(cflags_data) $(cflags_comm) $(cflags_core) $(cflags_tests) $(all_libs)
$(O)/flags: $(call if_changed,$(O)/flags,$(FLAGS_TEXT))
	@pkg-config --exists $(PACKAGES) || { \
	    echo "make: these are needed and pkg-config does not know all of them: $(PACKAGES)" >&2; \
	    echo "make: run 'make setup' to install what is missing; 'make config' shows what was found" >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(FLAGS_TEXT)) > $@
FORCE:
.PHONY: FORCE

layer_of = $(firstword $(subst /, ,$(1)))
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(cflags_$(call layer_of,$<)) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The commit is in the two programs alone.
COMMIT := $(shell commit=$$(git rev-parse --short=12 HEAD 2>/dev/null) && echo "$$commit$$(git diff --quiet HEAD 2>/dev/null || echo +)" || echo unknown)
$(O)/commit: $(call if_changed,$(O)/commit,$(COMMIT))
	@mkdir -p $(@D)
	@echo '$(COMMIT)' > $@
$(PROGRAM_MAINS): $(O)/commit
$(PROGRAM_MAINS): CPPFLAGS += -DLOCKSTEP_COMMIT='"$(COMMIT)"'

# One library a folder.  Its list of objects is a prerequisite too, so that a file that went leaves no object behind.
define library
$(O)/lib$(1).list: $(call if_changed,$(O)/lib$(1).list,$(2))
	@mkdir -p $$(@D)
	@echo $(2) > $$@
$(O)/lib$(1).a: $(2) $(O)/lib$(1).list
	@rm -f $$@
	ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach layer,$(LAYERS),$(eval $(call library,$(layer),$(filter-out $(PROGRAM_MAINS),$(call objects,$(layer))))))
$(eval $(call library,reference,$(patsubst %.c,$(O)/%.o,$(wildcard tests/reference/*.c))))
$(eval $(call library,support,$(patsubst %.c,$(O)/%.o,$(SUPPORT_SOURCES))))

$(B)/lockstep: $(O)/launcher/main.o $(foreach l,$(LAUNCHER_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(libs_data) $(libs_checkpoint) $(libs_core) -lm
$(B)/lockstep-worker: $(O)/worker/main.o $(foreach l,$(WORKER_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(all_libs)
$(B)/golden: $(patsubst %.c,$(O)/%.o,$(wildcard tests/golden_program/*.c)) $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(all_libs)
$(B)/tests/%: $(O)/tests/unit/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(libs_tests) $(all_libs)
$(EMULATED_TESTS): $(B)/tests/%: $(O)/tests/emulated/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(libs_tests) $(all_libs)
$(CUDA_TESTS): $(B)/tests/%: $(O)/tests/cuda/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(libs_tests) $(all_libs)
# These replace a part of a library by a fake, which is linked before it.
$(addprefix $(B)/tests/test_,draws loader loader_failures): $(O)/tests/fakes/dataset.o
# The bundle's group in place of MPI's.
$(B)/tests/test_meeting: $(O)/comm/meeting.o $(O)/comm/meeting_calls.o
$(B)/tools/%: $(O)/tests/tools/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(all_libs)
$(B)/benchmarks/%: $(O)/benchmarks/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(all_libs)
# Only what packing and loading need is compiled by clang.
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzzers: $(FUZZERS)
.PHONY: fuzzers
$(B)/fuzz/%: $(O)/tests/fuzz/%.o $(O)/tests/support/hostile.o $(call LIBRARY,data) $(call LIBRARY,core)
	@mkdir -p $(@D)
	$(LINK) -fsanitize=fuzzer $(libs_data) $(libs_core) -lm
$(addprefix $(B)/fuzz/,fuzz_index fuzz_shard): $(O)/tests/fuzz/fake_locate.o
# Objects of tests and tools are kept although only chains of rules mention them.
.PRECIOUS: $(O)/%.o

-include $(shell find $(O) $(BUILD)/lint -name '*.d' 2>/dev/null)
