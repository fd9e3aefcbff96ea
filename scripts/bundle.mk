# BUNDLE=1: programs for a machine that has only the NVIDIA driver, CUDA's libraries and perhaps cuDNN and NCCL.  No
# FFmpeg (a dataset of stored frames is read), no oneDNN (it computes on cards only), no MPI (ranks of one machine meet
# in a file), HDF5 and the small libraries linked in.  Everything is built below $(BUILD)/bundle; `make gpu-bundle` puts the folder together.

# Read before anything is defined from them, then again by hand where the usual build says otherwise.
WITH_FFMPEG := data/av.c data/colour.c data/decoder.c data/encoder.c data/pack_analyse.c data/pack_encode.c data/pack_frames.c data/pack_read.c \
    data/pack_video.c data/picture.c data/planar.c data/planes.c \
    data/playback.c data/prove_skippable.c data/video.c
WITH_MPI := comm/collective.c comm/mpi.c comm/pieces.c comm/progress.c
BUNDLE_ONLY := comm/meeting.c comm/meeting_calls.c model/cpu_none.c

ifeq ($(BUNDLE),1)
ABSENT_SOURCES := $(ABSENT_SOURCES) $(WITH_FFMPEG) $(WITH_MPI)
PACKAGES := hdf5 yaml-0.1 libcjson libxxhash
LDFLAGS += -static-libgcc -Wl,-rpath,'$$ORIGIN/../lib' -L$(BUNDLE_HDF5)
else
ABSENT_SOURCES += $(BUNDLE_ONLY)
endif
BUNDLE_HDF5 = $(patsubst -L%,%,$(filter -L%,$(shell pkg-config --libs-only-L hdf5 2>/dev/null)))
