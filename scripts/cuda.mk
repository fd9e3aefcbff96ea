# The CUDA twin: compiled by nvcc where it is (variants release and debug), or for the emulator by g++
# (VARIANT=emulated, under ASan and UBSan), or left out.  Sets GPU to cuda, emulated or none.  nvcc counts as
# there when a program that it compiles and links with cuBLAS runs (scripts/probe.sh).

CUDA ?= auto
CUDA_HOME ?= /usr/local/cuda
CUDA_ARCH ?= sm_90
NVCC ?= $(or $(shell command -v nvcc),$(CUDA_HOME)/bin/nvcc)
ifeq ($(VARIANT),emulated)
GPU := emulated
else ifneq ($(filter-out 0 no,$(CUDA)),)
cuda_found = $(filter yes,$(shell CUDA='$(CUDA)' NVCC='$(NVCC)' CUDA_HOME='$(CUDA_HOME)' CUDA_FOUND='$(BUILD)/cuda-found' scripts/probe.sh --cuda))
GPU := $(if $(filter release debug,$(VARIANT)),$(if $(cuda_found),cuda,none),none)
else
GPU := none
endif

# Files that exist for the other case only.
ABSENT_SOURCES := $(if $(filter none,$(GPU)),comm/nccl.c,model/gpu_none.c comm/nccl_none.c) \
    $(if $(filter cuda,$(GPU)),,comm/nccl_library.c)
CUDA_SOURCES := $(if $(filter-out none,$(GPU)),$(wildcard model/cuda/*.cu))
# The fused attention needs cuDNN's headers to be built; the library is looked for when a program starts.
CUDNN ?= $(if $(wildcard $(CUDA_HOME)/include/cudnn_graph.h),yes,no)
WITHOUT_CUDNN := $(filter-out model/cuda/fused_none.c,$(wildcard model/cuda/cudnn*.c model/cuda/fused*.c))
CUDA_TABLE := $(if $(filter-out none,$(GPU)),$(filter-out $(if $(filter yes,$(CUDNN)),model/cuda/fused_none.c,$(WITHOUT_CUDNN)) \
    $(if $(filter emulated,$(GPU)),model/cuda/cudnn_library.c),$(wildcard model/cuda/*.c)))
CUDA_OBJECTS := $(patsubst %.cu,$(DEVICE_O)/%.o,$(CUDA_SOURCES))
CUDA_INCLUDE := -isystem $(CUDA_HOME)/include

# Headers that .cu files share are C17; g++ and nvcc read them as C++17.
# What comm/nccl*.c need; the library is looked for when a program starts.
cflags_gpu_comm := $(if $(filter-out none,$(GPU)),$(CUDA_INCLUDE))
# What model/cuda/cudnn*.c need.
cflags_model := $(cflags_gpu_comm)
NVCC_FLAGS := -std=c++17 -O3 -g -lineinfo -arch=$(CUDA_ARCH) -Werror all-warnings -Xptxas -v -Xcompiler -fopenmp,-Wall,-Wextra
HOST_CXX ?= g++
EMULATOR_FLAGS := -std=c++17 -Wall -Wextra -Wshadow -Werror -Wno-unknown-pragmas -fsanitize-sections=emulator_shared \
    $(CUDA_INCLUDE) -include tests/emulator/device.h

ifeq ($(GPU),cuda)
libs_cuda := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcublasLt -lcublas -lcudart -ldl -lstdc++
$(O)/%.o: %.cu $(O)/flags
	@mkdir -p $(@D)
	@$(NVCC) $(CPPFLAGS) $(NVCC_FLAGS) -MMD -MP -c -o $@ $< > $@.log 2>&1 || { grep -v '^ptxas info' $@.log; exit 1; }
	@grep -v -E '^ptxas info|^ *[0-9]+ bytes stack' $@.log || true
	@echo "$(NVCC) $<"
else ifeq ($(GPU),emulated)
libs_cuda := -lstdc++
$(O)/%.o: %.cu $(O)/flags tests/emulator/device.h
	@mkdir -p $(@D)
	$(HOST_CXX) $(CPPFLAGS) $(OPT_$(VARIANT)) -fopenmp $(EMULATOR_FLAGS) -x c++ -MMD -MP -c -o $@ $<
# The switching of fibers touches no memory of kernels, and its own checks would be most of its time.
$(O)/tests/emulator/fibers.o: UNCHECKED := -fno-sanitize=all
$(O)/tests/emulator/%.o: tests/emulator/%.cpp $(O)/flags
	@mkdir -p $(@D)
	$(HOST_CXX) $(CPPFLAGS) $(OPT_$(VARIANT)) $(UNCHECKED) -fopenmp $(EMULATOR_FLAGS) -MMD -MP -c -o $@ $<
endif
EMULATOR_OBJECTS := $(if $(filter emulated,$(GPU)),$(patsubst %.cpp,$(DEVICE_O)/%.o,$(wildcard tests/emulator/*.cpp)))
device-objects: $(CUDA_OBJECTS) $(EMULATOR_OBJECTS)
.PHONY: device-objects

# Tests of the emulator itself, written as device code.
ifeq ($(GPU),emulated)
$(O)/tests/emulated/%.o: EMULATOR_FLAGS += -Wno-shadow # C lets a function and a struct have one name
EMULATED_TESTS := $(patsubst tests/emulated/%.cu,$(B)/tests/%,$(wildcard tests/emulated/test_*.cu))
endif

# Tests of model/cuda/cudnn*.c against libcudnn, or against the emulator's stand-in for it.
ifeq ($(filter-out none,$(GPU))$(CUDNN),$(GPU)yes)
CUDA_TESTS := $(patsubst tests/cuda/%.c,$(B)/tests/%,$(wildcard tests/cuda/test_*.c))
endif
$(B)/tests/fake_driver/libcuda.so.1: tests/fakes/driver.c $(O)/flags
	@mkdir -p $(@D)
	$(CC) $(WARN) -O1 -shared -fPIC -Wl,-soname,libcuda.so.1 -o $@ $<
