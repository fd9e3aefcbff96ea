# Targets that are not compilation: set-up, tests, demo, checks, benchmarks.

# `make -j` of these targets decides itself how many jobs; a -j of the caller is kept.
PARALLEL = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

setup: ## install the missing Debian packages (does nothing when none is missing)
	@scripts/setup.sh
config: ## which compilers and libraries can be used, and why not
	@CC='$(CC)' CUDA='$(CUDA)' NVCC='$(NVCC)' CUDA_HOME='$(CUDA_HOME)' scripts/probe.sh
.PHONY: setup config

demo: ## a first run, start to end: videos, packing, training, stop and resume (VIDEOS=DIR takes yours)
	@scripts/setup.sh build
	+@$(PARALLEL) -s programs
	@BUILD='$(BUILD)' scripts/demo.sh $(call quote,$(VIDEOS))
test: ## all tests: unit, several processes, ASan + UBSan, TSan
	@scripts/setup.sh build test
	+@MAKE='$(PARALLEL)' BUILD='$(BUILD)' SHARED='$(SHARED)' tests/run.sh
test-emulated: ## all that runs on the emulated card: operators, golden files, training, resume, world sizes
	@scripts/setup.sh build test
	+@MAKE='$(PARALLEL)' BUILD='$(BUILD)' SHARED='$(SHARED)' tests/run.sh emulated emulated-reverse shell-emulated
.PHONY: test-emulated
test-gpu: ## the same on a real card: what docs/status.md wants of a first one, less compute-sanitizer
	@scripts/setup.sh build test
	@nvidia-smi -L >/dev/null 2>&1 || { echo "make: test-gpu needs an NVIDIA card: nvidia-smi -L lists none" >&2; exit 1; }
	@scripts/probe.sh --cuda | grep -q ' yes ' || { echo "make: test-gpu needs nvcc; 'make config' says why there is none" >&2; exit 1; }
	+@MAKE='$(PARALLEL)' BUILD='$(BUILD)' SHARED='$(SHARED)' TEST_JOBS=1 tests/run.sh cuda shell-cuda
.PHONY: test-gpu
test-asan: ## the unit tests under ASan + UBSan only
	@scripts/setup.sh build test
	+@MAKE='$(PARALLEL)' BUILD='$(BUILD)' SHARED='$(SHARED)' tests/run.sh asan
test-videos: ## every frame of ../shared/videos against ffmpeg, in order and at random, and RGB (half an hour)
	@scripts/setup.sh build test
	+@$(PARALLEL) -s programs
	@FRAMEMD5_ALL=1 BUILD='$(BUILD)' SHARED='$(SHARED)' bash tests/e2e/framemd5.sh
.PHONY: test-videos
fuzz: ## fuzz the readers of datasets and lists with libFuzzer, FUZZ_SECONDS each (clang)
	@scripts/setup.sh build fuzz
	+@$(PARALLEL) -s $(B)/tools/fuzz_seeds
	+@$(PARALLEL) -s VARIANT=fuzz CC=clang B=$(B) fuzzers
	@BUILD='$(BUILD)' scripts/fuzz.sh
.PHONY: fuzz
manual: ## write docs/lockstep.1 from the tables of the command line
	+@$(PARALLEL) -s $(B)/lockstep
	@$(B)/lockstep help --man >docs/lockstep.1
.PHONY: manual
test-interop: ## compare with TensorBoard and Hugging Face transformers (installs torch, 6 GB, into build/; not part of test)
	@scripts/setup.sh build test interop
	+@$(PARALLEL) -s programs
	@BUILD='$(BUILD)' scripts/interop_tensorboard.sh
	@BUILD='$(BUILD)' SHARED='$(SHARED)' scripts/interop.sh
test-cluster: ## every failure on 4 virtual nodes under a real SLURM (root); writes build/test-logs/faults.md
	@scripts/setup.sh build test
	+@MAKE='$(PARALLEL)' BUILD='$(BUILD)' SHARED='$(SHARED)' tests/run.sh cluster
.PHONY: demo test test-asan test-interop test-cluster
emulated: ## the CUDA sources compiled for the CPU, with the emulator, into build/emulated
	+@$(PARALLEL) -s VARIANT=emulated programs tests
.PHONY: emulated

# Kept with the sources: a change of it shows in a commit.
PTXAS_REPORT := benchmarks/results/ptxas-$(CUDA_ARCH).txt
ptxas-report: ## registers, shared memory and spills of every kernel, into benchmarks/results; fails where one spills
	+@$(PARALLEL) -s $(if $(CUDA_OBJECTS),$(CUDA_OBJECTS),config)
	@[ -n '$(CUDA_OBJECTS)' ] || { echo "make: no nvcc here, so no kernel was built" >&2; exit 1; }
	@{ echo "# make ptxas-report: $(CUDA_ARCH), $$($(NVCC) --version | sed -n 's/.*release.*, V/nvcc /p'), commit $$(git rev-parse --short HEAD)"; \
	    scripts/ptxas_report.sh $(addsuffix .log,$(CUDA_OBJECTS)); } > $(PTXAS_REPORT)
	@echo $(PTXAS_REPORT)
.PHONY: ptxas-report

gpu-bundle: ## a folder for a machine with an NVIDIA card and nothing else: build/gpu-bundle, see docs/operations.md
	@scripts/setup.sh build
	@scripts/probe.sh --cuda | grep -q ' yes ' || { echo "make: gpu-bundle needs nvcc; 'make config' says why there is none" >&2; exit 1; }
	+@$(PARALLEL) -s $(B)/lockstep $(B)/tools/motion_videos device-objects
	+@$(PARALLEL) -s BUNDLE=1 BUILD='$(BUILD)' $(addprefix $(BUILD)/bundle/,lockstep-worker golden benchmarks/bench_step benchmarks/bench_ops)
	@BUILD='$(BUILD)' scripts/gpu_bundle.sh $(BUILD)/bundle $(BUILD)/gpu-bundle
.PHONY: gpu-bundle
bench: ## measure this machine: step time, operators
	@scripts/setup.sh build
	+@$(PARALLEL) -s programs benches
	@BUILD='$(BUILD)' scripts/bench.sh
bench-checkpoint: ## measure what a checkpoint of ViT-L costs, beside dd and torch from PyPI (11 GB of disk, 16 GB of memory)
	@scripts/setup.sh build
	+@$(PARALLEL) -s benches
	@BUILD='$(BUILD)' scripts/bench_checkpoint.sh
bench-loader: ## the loader beside decord and torchcodec, which go into build/bench-loader (5 GB)
	@scripts/setup.sh build test interop
	+@$(PARALLEL) -s programs benches
	@BUILD='$(BUILD)' scripts/bench_loader.sh
bench-pack: ## packing with one and two worker processes (4 minutes)
	@scripts/setup.sh build test
	+@$(PARALLEL) -s programs
	@BUILD='$(BUILD)' SHARED='$(SHARED)' scripts/bench_pack.sh
bench-scaling: ## scaling over 1, 2 and 4 virtual nodes at three link rates, beside the forecast (root)
	@scripts/setup.sh build test
	+@$(PARALLEL) -s programs benches
	@BUILD='$(BUILD)' benchmarks/scaling_nodes.sh
bench-cpu: ## training steps on this CPU beside PyTorch's, into benchmarks/results/cpu-step.md; FLAGS='--repeats 2 ...'
	@scripts/setup.sh build test interop
	+@$(PARALLEL) -s $(BUILD)/benchmarks/bench_workers
	@python=$$(BUILD='$(BUILD)' scripts/interop_python.sh) && BUILD='$(BUILD)' "$$python" benchmarks/cpu_step.py $(FLAGS)
bench-count: ## count the instructions of one fixed training step (callgrind) and compare with the kept count
	@scripts/setup.sh build count
	+@$(PARALLEL) -s $(BUILD)/benchmarks/bench_count
	@BUILD='$(BUILD)' benchmarks/count.sh
bench-learning: ## what the demo's recipe learns over 5 seeds, beside random init: STEPS, SEEDS, WORKERS, THREADS; goes on where it was
	@scripts/setup.sh build
	+@$(PARALLEL) -s $(B)/lockstep $(B)/lockstep-worker $(B)/tools/motion_videos
	@BUILD='$(BUILD)' benchmarks/learning.sh
.PHONY: bench bench-checkpoint bench-cpu bench-loader bench-scaling bench-count bench-learning

# One stamp a file, so that what has not changed is not checked again; its .d names the headers it was checked with.
CHECKED_FOLDERS := $(LAYERS) tests benchmarks scripts
C_FILES := $(shell find $(CHECKED_FOLDERS) -name '*.[ch]' 2>/dev/null | sort)
CUDA_FILES := $(shell find $(CHECKED_FOLDERS) -name '*.cu' -o -name '*.cuh' 2>/dev/null | sort)
SHELL_FILES := $(shell find scripts tests slurm -name '*.sh' 2>/dev/null | sort) .ci/run
LINT := $(BUILD)/lint
LINT_STAMPS := $(patsubst %,$(LINT)/%.ok,$(C_FILES) $(CUDA_FILES) $(SHELL_FILES))

lint: ## format, clang-tidy, cppcheck, layers, shellcheck; only what changed since the last time
	@scripts/setup.sh build lint
	+@$(PARALLEL) -s -k layers $(LINT_STAMPS)
layers: ## who includes whom, and file sizes
	@scripts/layers.sh
format: ## clang-format all C and CUDA files
	@clang-format -i $(C_FILES) $(CUDA_FILES)
.PHONY: lint layers format

# clang-tidy comes without omp.h: it gets gcc's, less an attribute that clang does not know.
$(LINT)/include/omp.h:
	@mkdir -p $(@D)
	@sed 's/,* *__malloc__ (omp_free)//; s/((, /((/' "$$($(CC) -print-file-name=include/omp.h)" > $@
$(LINT)/launcher/main.c.ok $(LINT)/worker/main.c.ok: CPPFLAGS += -DLOCKSTEP_COMMIT='""'
$(LINT)/%.ok: % scripts/lint_file.sh .clang-tidy tests/.clang-tidy .clang-format $(LINT)/include/omp.h
	@mkdir -p $(@D)
	@scripts/lint_file.sh $< -std=gnu17 -fopenmp -isystem $(LINT)/include $(CPPFLAGS) $(cflags_$(call layer_of,$<))
	@case $< in *.c) $(CC) -MM -MP -MT $@ -MF $(LINT)/$*.d $(CPPFLAGS) $(cflags_$(call layer_of,$<)) $< ;; esac
	@touch $@
