/* The driver: positions, sizes and bytes go straight to the memfd that the name stands for.  HDF5's
 * own memory driver would take memory for the whole file, its disk driver refuses a memfd because
 * it resolves the /proc link. */
#include "checkpoint/memory_file.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct memory_file {
    H5FD_t public; /* first: HDF5 casts */
    int file;      /* borrowed */
    haddr_t eoa;   /* end of what HDF5 has allocated */
};

static H5FD_t *memory_open(const char *name, unsigned flags, hid_t access, haddr_t limit)
{
    (void)flags;
    (void)access;
    (void)limit;
    char *end = NULL;
    errno = 0;
    long file = strtol(name, &end, 10);
    struct memory_file *memory = calloc(1, sizeof *memory);
    if (memory == NULL || errno != 0 || end == name || *end != '\0') {
        free(memory);
        return NULL;
    }
    memory->file = (int)file;
    return &memory->public;
}

static herr_t memory_close(H5FD_t *file)
{
    free(file);
    return 0;
}

static int memory_compare(const H5FD_t *a, const H5FD_t *b)
{
    int left = ((const struct memory_file *)(const void *)a)->file;
    int right = ((const struct memory_file *)(const void *)b)->file;
    return (left > right) - (left < right);
}

static herr_t memory_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t memory_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct memory_file *)(const void *)file)->eoa;
}

static herr_t memory_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t eoa)
{
    (void)type;
    ((struct memory_file *)(void *)file)->eoa = eoa;
    return 0;
}

static haddr_t memory_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    struct stat info;
    if (fstat(((const struct memory_file *)(const void *)file)->file, &info) != 0)
        return HADDR_UNDEF;
    return (haddr_t)info.st_size;
}

static herr_t memory_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          void *out)
{
    (void)type;
    (void)transfer;
    char *next = out;
    while (bytes > 0) {
        ssize_t got = pread(((struct memory_file *)(void *)file)->file, next, bytes, (off_t)at);
        if (got < 0)
            return -1;
        if (got == 0) { /* beyond the end: zeros, as HDF5 asks of a driver */
            memset(next, 0, bytes);
            return 0;
        }
        next += got;
        at += (haddr_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

static herr_t memory_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *data)
{
    (void)type;
    (void)transfer;
    const char *next = data;
    while (bytes > 0) {
        ssize_t written =
            pwrite(((struct memory_file *)(void *)file)->file, next, bytes, (off_t)at);
        if (written <= 0)
            return -1;
        next += written;
        at += (haddr_t)written;
        bytes -= (size_t)written;
    }
    return 0;
}

/* The file ends where HDF5's allocation ends. */
static herr_t memory_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer;
    (void)closing;
    struct memory_file *memory = (struct memory_file *)(void *)file;
    return ftruncate(memory->file, (off_t)memory->eoa) == 0 ? 0 : -1;
}

static const H5FD_class_t memory_class = {
#ifdef H5FD_CLASS_VERSION
    .version = H5FD_CLASS_VERSION, /* HDF5 1.14 */
    .value = 600,                  /* in its range for unregistered drivers (512 to 65535) */
#endif
    .name = "lockstep_memory",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .open = memory_open,
    .close = memory_close,
    .cmp = memory_compare,
    .query = memory_query,
    .get_eoa = memory_get_eoa,
    .set_eoa = memory_set_eoa,
    .get_eof = memory_get_eof,
    .read = memory_read,
    .write = memory_write,
    .truncate = memory_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t memory_file_driver(void)
{
    return H5FDregister(&memory_class);
}

void memory_file_name(char *out, int file)
{
    (void)snprintf(out, MEMORY_FILE_NAME_BYTES, "%d", file);
}
