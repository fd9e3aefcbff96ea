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
B := $(BUILD)$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
O := $(BUILD)/$(VARIANT)/obj
SHARED ?= ../shared

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
quote = '$(subst ','\'',$(1))'

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
ifneq ($(CI)$(WERROR),)
WARN += -Werror
endif
OPT_release := -O3 -g
OPT_debug := -O0 -g3
OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
CPPFLAGS += -I. -D_GNU_SOURCE -DLOCKSTEP_VARIANT='"$(VARIANT)"'
CFLAGS_ALL := -std=gnu17 $(OPT_$(VARIANT)) $(WARN) -fopenmp -pthread -ffp-contract=off $(CFLAGS)
LDFLAGS_ALL := $(OPT_$(VARIANT)) -fopenmp -pthread $(LDFLAGS)

# What each layer may see of foreign libraries.
cflags_core := $(call pkg,--cflags,yaml-0.1 libcjson libxxhash)
cflags_data := $(call pkg,--cflags,libavformat libavcodec libavutil libswscale hdf5)
cflags_checkpoint := $(call pkg,--cflags,hdf5 libcjson)
cflags_comm := $(call pkg,--cflags,ompi-c)
cflags_launcher := $(call pkg,--cflags,libcjson)
cflags_worker := $(call pkg,--cflags,libcjson)
cflags_tests := $(cflags_data) $(cflags_core) $(call pkg,--cflags,cmocka)
cflags_benchmarks := $(cflags_data) $(cflags_core)

libs_core := $(call pkg,--libs,yaml-0.1 libcjson libxxhash)
libs_data := $(call pkg,--libs,libavformat libavcodec libavutil libswscale hdf5)
libs_checkpoint := $(call pkg,--libs,hdf5)
libs_comm := $(call pkg,--libs,ompi-c)
libs_model := -ldnnl

LAYERS := core data checkpoint comm model worker launcher
sources = $(wildcard $(1)/*.c) $(if $(filter model,$(1)),$(wildcard model/cpu/*.c))
objects = $(patsubst %.c,$(O)/%.o,$(call sources,$(1)))
LIBRARY = $(O)/lib$(1).a
PROGRAM_MAINS := $(O)/worker/main.o $(O)/launcher/main.o

LAUNCHER_LIBS := launcher data checkpoint core
WORKER_LIBS := worker model comm data checkpoint core
ALL_LIBS := worker launcher model comm data checkpoint core reference support
LINK = $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -Wl,--as-needed

PROGRAMS := $(B)/lockstep $(B)/lockstep-worker $(B)/golden
TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
BENCHES := $(patsubst benchmarks/%.c,$(B)/benchmarks/%,$(wildcard benchmarks/bench_*.c))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))

all: programs ## build the programs into build/ (default)
programs: $(PROGRAMS) $(TOOLS)
tests: $(TESTS)
benches: $(BENCHES)
.PHONY: all programs tests benches

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
.PHONY: help

clean: ## remove build/
	rm -rf $(BUILD)
.PHONY: clean

include scripts/targets.mk

# A change of flags rebuilds: the stamp's text is the flags.
FLAGS_TEXT := $(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL)
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(FLAGS_TEXT)) | cmp -s - $@ || printf '%s\n' $(call quote,$(FLAGS_TEXT)) > $@
FORCE:

layer_of = $(firstword $(subst /, ,$(1)))
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(cflags_$(call layer_of,$<)) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define library
$(O)/lib$(1).a: $(filter-out $(PROGRAM_MAINS),$(call objects,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach layer,$(LAYERS),$(eval $(call library,$(layer))))
$(O)/libreference.a: $(patsubst %.c,$(O)/%.o,$(wildcard tests/reference/*.c))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)
$(O)/libsupport.a: $(patsubst %.c,$(O)/%.o,$(wildcard tests/support/*.c))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

all_libs := $(libs_model) $(libs_comm) $(libs_data) $(libs_checkpoint) $(libs_core) -lm
$(B)/lockstep: $(O)/launcher/main.o $(foreach l,$(LAUNCHER_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(libs_data) $(libs_checkpoint) $(libs_core) -lm
$(B)/lockstep-worker: $(O)/worker/main.o $(foreach l,$(WORKER_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(all_libs)
$(B)/golden: $(patsubst %.c,$(O)/%.o,$(wildcard tests/golden_program/*.c)) $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	$(LINK) $(all_libs)
$(B)/tests/%: $(O)/tests/unit/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(call pkg,--libs,cmocka) $(all_libs)
$(B)/tools/%: $(O)/tests/tools/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(all_libs)
$(B)/benchmarks/%: $(O)/benchmarks/%.o $(foreach l,$(ALL_LIBS),$(call LIBRARY,$(l)))
	@mkdir -p $(@D)
	$(LINK) $(all_libs)
.SECONDARY:

-include $(shell find $(O) -name '*.d' 2>/dev/null)
