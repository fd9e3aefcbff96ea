/* Files of a dataset: rows both ways, damage of every byte, and HDF5 files that are not ours. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>

#include "core/fault.h"
#include "core/files.h"
#include "core/random.h"
#include "data/footer.h"
#include "data/h5.h"
#include "data/index.h"
#include "data/records.h"
#include "data/shard.h"
#include "data/verify.h"
#include "tests/support/packed.h"

struct fixture {
    struct packed packed;
    char shard[160], index[160];
    char *shard_bytes, *index_bytes; /* as they were written */
    size_t shard_size, index_size;
};

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct pack_summary summary;
    assert_non_null(fixture);
    *state = fixture;
    struct packed *packed = &fixture->packed;
    assert_int_equal(packed_open(packed), LS_OK);
    assert_int_equal(packed_write(packed, "broken.mp4", "none", 4), LS_OK);
    for (int kind = 0; kind < packed_kind_count; kind++)
        if (strcmp(packed_kinds[kind].name, "mpeg4.avi") == 0 ||
            strcmp(packed_kinds[kind].name, "still.png") == 0)
            assert_int_equal(packed_make(packed, kind, NULL), LS_OK);
    assert_int_equal(packed_pack(&summary, packed, 1, 0), LS_OK);
    (void)snprintf(fixture->shard, sizeof fixture->shard, "%s/shard-00000.h5", packed->dataset);
    (void)snprintf(fixture->index, sizeof fixture->index, "%s/%s", packed->dataset, INDEX_NAME);
    assert_int_equal(
        files_read(&fixture->shard_bytes, &fixture->shard_size, fixture->shard, 1 << 24), LS_OK);
    assert_int_equal(
        files_read(&fixture->index_bytes, &fixture->index_size, fixture->index, 1 << 24), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    free(fixture->shard_bytes);
    free(fixture->index_bytes);
    free(fixture);
    return 0;
}

static void restore(const struct fixture *fixture)
{
    assert_int_equal(files_replace(fixture->shard, fixture->shard_bytes, fixture->shard_size),
                     LS_OK);
    assert_int_equal(files_replace(fixture->index, fixture->index_bytes, fixture->index_size),
                     LS_OK);
}

static void rows_have_the_widths_that_the_format_says(void **state)
{
    (void)state;
    enum { LAYOUTS = 5 };
    const struct table_layout *const layouts[LAYOUTS] = {
        &record_packet_layout, &record_frame_layout, &record_video_layout, &record_skipped_layout,
        &record_shard_layout};
    for (int i = 0; i < LAYOUTS; i++) {
        size_t bytes = 0;
        for (int c = 0; c < layouts[i]->column_count; c++)
            bytes += table_column_bytes(layouts[i]->columns[c].type);
        assert_int_equal(bytes, layouts[i]->row_bytes);
    }
}

static void rows_come_back_as_they_went(void **state)
{
    (void)state;
    struct random_stream random;
    uint8_t row[VIDEO_ROW_BYTES];
    uint8_t again[VIDEO_ROW_BYTES];
    struct video_record video;
    random_open(&random, 3, RANDOM_TEST, 0, 0, 0);
    for (size_t i = 0; i < sizeof row; i++)
        row[i] = (uint8_t)random_u32(&random);
    table_decode(&record_video_layout, &video, row, 1);
    table_encode(&record_video_layout, again, &video, 1);
    assert_memory_equal(row, again, sizeof row);
    struct packet_record packet = {.pts = -2, .size = 0x01020304};
    table_encode(&record_packet_layout, row, &packet, 1);
    static const uint8_t low_first[] = {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    assert_memory_equal(row, low_first, 8);
    static const uint8_t size[] = {4, 3, 2, 1};
    assert_memory_equal(row + 32, size, 4);
}

static void a_flipped_bit_of_a_row_or_a_packet_changes_its_check(void **state)
{
    (void)state;
    uint8_t data[40] = {7};
    uint8_t row[PACKET_ROW_BYTES];
    struct packet_record packet = {
        .pts = 5, .dts = 4, .offset = 1234, .size = 30, .side_size = 10, .flags = 1};
    struct frame_record frame = {.time = 5, .planes = 99, .width = 320, .height = 240};
    uint32_t check = record_packet_check(&packet, data);
    uint32_t frame_check = record_frame_check(&frame);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(record_packet_check(&packet, data), check);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * (size_t)(PACKET_ROW_BYTES - 4); bit++) {
        struct packet_record other;
        struct frame_record other_frame;
        table_encode(&record_packet_layout, row, &packet, 1);
        row[bit / 8] ^= (uint8_t)(1 << bit % 8);
        table_decode(&record_packet_layout, &other, row, 1);
        /* The data's length stays: the row alone is hit. */
        assert_int_not_equal(record_packet_row_check(&other), record_packet_row_check(&packet));
        table_encode(&record_frame_layout, row, &frame, 1);
        row[bit / 8] ^= (uint8_t)(1 << bit % 8);
        table_decode(&record_frame_layout, &other_frame, row, 1);
        assert_int_not_equal(record_frame_check(&other_frame), frame_check);
    }
}

struct damage {
    int count;
    char first[512];
};

static void take_damage(void *context, const char *line)
{
    struct damage *damage = context;
    if (damage->count++ == 0)
        (void)snprintf(damage->first, sizeof damage->first, "%s", line);
}

/* Verify with one file changed; what is found must name that file. */
static void assert_found(const struct fixture *fixture, const char *path, const char *what,
                         size_t at)
{
    struct verify_result result;
    struct damage damage = {.count = 0};
    assert_int_equal(verify_dataset(&result, fixture->packed.dataset, take_damage, &damage), LS_OK);
    if (damage.count == 0 || result.damages != damage.count)
        fail_msg("%s: %s at byte %zu was not found", path, what, at);
    if (strncmp(damage.first, path, strlen(path)) != 0)
        fail_msg("%s: %s at byte %zu, but found: %s", path, what, at, damage.first);
}

static void flip_and_verify(const struct fixture *fixture, const char *path, const char *original,
                            size_t size)
{
    struct random_stream random;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, original, size);
    random_open(&random, 4, RANDOM_TEST, 0, 0, 0);
    for (size_t i = 0; i < 300; i++) {
        /* The beginning, where HDF5's own structures are, the footer, and places in between. */
        size_t at = i < 40 ? 3 * i : i < 80 ? size - 1 - (i - 40) : random_below(&random, size);
        unsigned char bit = (unsigned char)(1U << random_below(&random, 8));
        ((unsigned char *)bytes)[at] ^= bit;
        assert_int_equal(files_replace(path, bytes, size), LS_OK);
        assert_found(fixture, path, "a flipped bit", at);
        ((unsigned char *)bytes)[at] ^= bit;
    }
    free(bytes);
    restore(fixture);
}

static void verify_finds_every_flipped_bit_and_names_the_file(void **state)
{
    const struct fixture *fixture = *state;
    flip_and_verify(fixture, fixture->shard, fixture->shard_bytes, fixture->shard_size);
    flip_and_verify(fixture, fixture->index, fixture->index_bytes, fixture->index_size);
    struct verify_result result;
    struct damage damage = {.count = 0};
    assert_int_equal(verify_dataset(&result, fixture->packed.dataset, take_damage, &damage), LS_OK);
    assert_int_equal(damage.count, 0);
    assert_int_equal(result.shards, 1);
    assert_true(result.videos > 0);
}

static void verify_traces_a_packet_s_damage_to_its_video(void **state)
{
    const struct fixture *fixture = *state;
    struct shard shard = {0};
    struct verify_result result;
    struct damage damage = {.count = 0};
    assert_int_equal(shard_open(&shard, fixture->shard, 1), LS_OK);
    const struct video_record *video = &shard.videos[shard.record.videos - 1];
    size_t at = (size_t)(shard.record.bytes_at + video->bytes_at + video->bytes_size - 1);
    char *bytes = malloc(fixture->shard_size);
    assert_non_null(bytes);
    memcpy(bytes, fixture->shard_bytes, fixture->shard_size);
    bytes[at] ^= 0x10;
    assert_int_equal(files_replace(fixture->shard, bytes, fixture->shard_size), LS_OK);
    assert_int_equal(verify_dataset(&result, fixture->packed.dataset, take_damage, &damage), LS_OK);
    assert_int_equal(damage.count, 1);
    assert_non_null(strstr(damage.first, (const char *)shard.blob + video->name_at));
    assert_non_null(strstr(damage.first, "1 packet of"));
    /* Without a good index the shard is damaged as a whole. */
    damage.count = 0;
    assert_int_equal(verify_shard(&result, fixture->shard, take_damage, &damage), LS_OK);
    assert_int_equal(damage.count, 1);
    free(bytes);
    shard_close(&shard);
    restore(fixture);
}

static void cut_missing_and_strange_files_are_named(void **state)
{
    const struct fixture *fixture = *state;
    struct dataset *dataset = NULL;
    static const size_t cuts[] = {0, 1, 39, 40, 512, 5000};
    const struct {
        const char *path, *bytes;
        size_t size;
    } files[] = {{fixture->shard, fixture->shard_bytes, fixture->shard_size},
                 {fixture->index, fixture->index_bytes, fixture->index_size}};
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
            assert_int_equal(files_replace(files[f].path, files[f].bytes, cuts[i]), LS_OK);
            assert_int_equal(dataset_open(&dataset, fixture->packed.dataset), LS_DATA);
            assert_memory_equal(status_message(), files[f].path, strlen(files[f].path));
            assert_non_null(strstr(status_message(), "truncated"));
            assert_found(fixture, files[f].path, "cut", cuts[i]);
        }
        assert_int_equal(files_remove(files[f].path), LS_OK);
        assert_int_equal(dataset_open(&dataset, fixture->packed.dataset), LS_IO);
        assert_memory_equal(status_message(), files[f].path, strlen(files[f].path));
        assert_found(fixture, files[f].path, "missing", 0);
        restore(fixture);
    }
    assert_int_equal(dataset_open(&dataset, "/nowhere/at all"), LS_IO);
    assert_int_equal(dataset_open(&dataset, fixture->packed.dataset), LS_OK);
    dataset_close(&dataset);
}

/* A flipped bit that nobody looked for: the clip fails, it does not come out wrong. */
static ls_status refuse_frame(void *context, int position, const struct AVFrame *frame)
{
    (void)position;
    (void)frame;
    ++*(int *)context;
    return LS_OK;
}

static void a_clip_of_damaged_packets_is_an_error(void **state)
{
    const struct fixture *fixture = *state;
    struct dataset *dataset = NULL;
    struct clip_reader *reader = NULL;
    struct shard shard = {0};
    char *bytes = malloc(fixture->shard_size);
    int frames = 0;
    int64_t first = 0;
    assert_non_null(bytes);
    assert_int_equal(shard_open(&shard, fixture->shard, 1), LS_OK);
    assert_int_equal(clip_reader_open(&reader), LS_OK);
    const struct shard_record *r = &shard.record;
    const uint64_t places[] = {r->bytes_at + 5, r->packets_at + 3, r->frames_at + 30};
    for (int i = 0; i < 3; i++) {
        memcpy(bytes, fixture->shard_bytes, fixture->shard_size);
        bytes[places[i]] ^= 4;
        assert_int_equal(files_replace(fixture->shard, bytes, fixture->shard_size), LS_OK);
        assert_int_equal(dataset_open(&dataset, fixture->packed.dataset), LS_OK);
        assert_int_equal(clip_reader_read(reader, dataset, 0, &first, 1, refuse_frame, &frames),
                         LS_DATA);
        assert_non_null(strstr(status_message(), "damaged"));
        dataset_close(&dataset);
    }
    assert_int_equal(frames, 0);
    clip_reader_close(&reader);
    shard_close(&shard);
    free(bytes);
    restore(fixture);
}

/* Write `name` in a new HDF5 file in a form that no shard has. */
static void write_strange(hid_t file, const char *path, const char *other)
{
    hsize_t count = 4;
    hid_t space = H5Screate_simple(1, &count, NULL);
    hid_t chunked = H5Pcreate(H5P_DATASET_CREATE);
    hid_t external = H5Pcreate(H5P_DATASET_CREATE);
    hid_t virtual = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_chunk(chunked, 1, &count) >= 0);
    assert_true(H5Pset_deflate(chunked, 1) >= 0);
    assert_true(H5Pset_external(external, other, 0, 4) >= 0);
    assert_true(H5Dclose(H5Dcreate2(file, "chunked", H5T_STD_U8LE, space, H5P_DEFAULT, chunked,
                                    H5P_DEFAULT)) >= 0);
    assert_true(H5Dclose(H5Dcreate2(file, "external", H5T_STD_U8LE, space, H5P_DEFAULT, external,
                                    H5P_DEFAULT)) >= 0);
    assert_true(H5Dclose(H5Dcreate2(file, "wide", H5T_STD_U16LE, space, H5P_DEFAULT, H5P_DEFAULT,
                                    H5P_DEFAULT)) >= 0);
    assert_true(H5Lcreate_external(path, "/wide", file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT) >=
                0);
    assert_true(H5Lcreate_soft("/wide", file, "soft", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Pset_virtual(virtual, space, other, "bytes", space) >= 0);
    assert_true(H5Dclose(H5Dcreate2(file, "virtual", H5T_STD_U8LE, space, H5P_DEFAULT, virtual,
                                    H5P_DEFAULT)) >= 0);
    (void)H5Pclose(chunked);
    (void)H5Pclose(external);
    (void)H5Pclose(virtual);
    (void)H5Sclose(space);
}

static void only_plain_datasets_of_the_file_itself_are_read(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const names[] = {"chunked",   "external", "virtual", "wide",
                                        "elsewhere", "soft",     "none"};
    char path[160];
    hid_t file = -1;
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/strange.h5", fixture->packed.folder);
    assert_int_equal(h5_create_file(&file, path), LS_OK);
    write_strange(file, path, fixture->shard);
    assert_int_equal(h5_close_file(&file, path), LS_OK);
    assert_int_equal(files_size(&bytes, path), LS_OK);
    assert_int_equal(h5_open_file(&file, path), LS_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct h5_extent extent;
        if (h5_find_bytes(&extent, file, path, names[i], bytes) != LS_DATA)
            fail_msg("/%s was taken", names[i]);
    }
    assert_int_equal(h5_check_format(file, path, SHARD_FORMAT, 1), LS_DATA);
    assert_int_equal(h5_close_file(&file, path), LS_OK);
    assert_int_equal(h5_open_file(&file, fixture->index), LS_OK);
    assert_int_equal(h5_check_format(file, path, INDEX_FORMAT, 2), LS_DATA);
    assert_non_null(strstr(status_message(), "version 1, this program reads version 2"));
    assert_int_equal(h5_close_file(&file, path), LS_OK);
}

/* HDF5 crashes on some files.  It does so in a process of its own, and the file is refused. */
static void a_file_on_which_hdf5_dies_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    static const int signals[] = {SIGSEGV, SIGABRT, SIGXCPU};
    struct shard shard = {0};
    struct index_file index = {0};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        fault_arm(FAULT_SIGNAL, "hdf5", 1, signals[i]);
        assert_int_equal(shard_open(&shard, fixture->shard, 1), LS_DATA);
        assert_memory_equal(status_message(), fixture->shard, strlen(fixture->shard));
        assert_non_null(strstr(status_message(), "refused: HDF5 died of signal"));
        assert_int_equal(index_open(&index, fixture->index), LS_DATA);
        assert_non_null(strstr(status_message(), "refused: HDF5 died of signal"));
    }
    fault_arm(FAULT_EXIT, "hdf5", 1, 0);
    assert_int_equal(shard_open(&shard, fixture->shard, 1), LS_DATA);
    assert_non_null(strstr(status_message(), "refused"));
    fault_arm(FAULT_OFF, NULL, 0, 0);
    assert_int_equal(shard_open(&shard, fixture->shard, 1), LS_OK);
    shard_close(&shard);
}

/* Every write, sync and rename of the index fails once: the old index stays, nothing is left over.
 */
static void a_failed_write_leaves_the_old_index(void **state)
{
    const struct fixture *fixture = *state;
    const char *folder = fixture->packed.dataset;
    int failures = 0;
    for (int64_t nth = 1;; nth++) {
        char **names = NULL;
        size_t count = 0;
        char *text = NULL;
        size_t bytes = 0;
        fault_arm(FAULT_FAIL, NULL, nth, 28 /* ENOSPC */);
        ls_status st = index_write(folder);
        fault_arm(FAULT_OFF, NULL, 0, 0);
        assert_int_equal(files_read(&text, &bytes, fixture->index, 1 << 24), LS_OK);
        assert_int_equal(bytes, fixture->index_size);
        assert_memory_equal(text, fixture->index_bytes, bytes);
        free(text);
        assert_int_equal(files_list(&names, &count, folder), LS_OK);
        assert_int_equal(count, 3); /* index, report, shard */
        files_list_free(&names, count);
        if (st == LS_OK)
            break;
        assert_int_equal(st, LS_IO);
        failures++;
    }
    assert_true(failures >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_widths_that_the_format_says),
        cmocka_unit_test(rows_come_back_as_they_went),
        cmocka_unit_test(a_flipped_bit_of_a_row_or_a_packet_changes_its_check),
        cmocka_unit_test(verify_finds_every_flipped_bit_and_names_the_file),
        cmocka_unit_test(verify_traces_a_packet_s_damage_to_its_video),
        cmocka_unit_test(cut_missing_and_strange_files_are_named),
        cmocka_unit_test(a_clip_of_damaged_packets_is_an_error),
        cmocka_unit_test(only_plain_datasets_of_the_file_itself_are_read),
        cmocka_unit_test(a_file_on_which_hdf5_dies_is_refused),
        cmocka_unit_test(a_failed_write_leaves_the_old_index),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
