/* `lockstep pack`: the command line of data/pack.h, its progress and its summary. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/pack.h"
#include "launcher/commands.h"

enum { BAR_CELLS = 28 };

static const double bar_every_s = 0.2;
static const double line_every_s = 10;

struct pack_command {
    struct option_list inputs;
    const char *output;
    int64_t jobs;
    int64_t shard_mb;
    const char *store;
    const char *part;
    int64_t frame_side;
    double gop_s;
    int64_t short_side;
    double dear_millions;
};

struct pack_display {
    bool terminal;
    double next_s; /* of the elapsed time */
};

/* "3:07" or "1:02:45". */
static void time_text(char *out, size_t bytes, double seconds)
{
    long long s = seconds > 0 ? (long long)seconds : 0;
    if (s >= 3600)
        (void)snprintf(out, bytes, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, bytes, "%lld:%02lld", s / 60, s % 60);
}

static void show_progress(void *context, const struct pack_progress *p)
{
    struct pack_display *display = context;
    char left[32];
    char elsewhere[64] = "";
    double share = p->bytes > 0 ? (double)p->bytes_done / (double)p->bytes : 0;
    double rate = p->elapsed_s > 0 ? (double)p->bytes_done / p->elapsed_s : 0;
    double left_s = rate > 0 ? (double)(p->bytes - p->bytes_done) / rate : 0;
    if (p->elapsed_s < display->next_s)
        return;
    display->next_s = p->elapsed_s + (display->terminal ? bar_every_s : line_every_s);
    time_text(left, sizeof left, left_s);
    if (p->shards_elsewhere > 0)
        (void)snprintf(elsewhere, sizeof elsewhere, ", %" PRId64 " shards in other packs",
                       p->shards_elsewhere);
    if (!display->terminal) {
        (void)fprintf(stderr,
                      "packing: %" PRId64 " of %" PRId64 " files, %" PRId64
                      " skipped, %.1f MB/s, %s left%s\n",
                      p->files_done, p->files, p->skipped, rate * 1e-6, left, elsewhere);
        return;
    }
    char bar[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < (int)(share * BAR_CELLS) ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    (void)fprintf(stderr,
                  "\r[%s] %" PRId64 "/%" PRId64 " files, %" PRId64
                  " skipped, %.1f MB/s, %s left%s\033[K",
                  bar, p->files_done, p->files, p->skipped, rate * 1e-6, left, elsewhere);
}

static void print_summary(const struct pack_command *command, const struct pack_summary *s)
{
    (void)printf("%s: %" PRId64 " videos, %" PRId64 " frames, %.1f MB in %" PRId64 " shard%s\n",
                 command->output, s->videos, s->frames, (double)s->bytes * 1e-6, s->shards,
                 s->shards == 1 ? "" : "s");
    if (s->new_videos + s->new_skipped < s->videos + s->skipped)
        (void)printf("%" PRId64 " of them new, the others were there already\n", s->new_videos);
    if (s->encoded > 0)
        (void)printf("%" PRId64 " dear videos are encoded again\n", s->encoded);
    if (s->kept > 0)
        (void)printf("%" PRId64 " dear videos are kept as they are: %s/%s says why\n", s->kept,
                     command->output, PACK_REPORT_NAME);
    if (s->left > 0)
        (void)printf("%" PRId64 " shards are left to other parts\n", s->left);
    if (s->skipped + s->duplicates > 0)
        (void)printf("%" PRId64 " files skipped: %s/%s says why\n", s->skipped + s->duplicates,
                     command->output, PACK_REPORT_NAME);
}

/* "K/N". */
static ls_status read_part(int *part, int *parts, const char *text)
{
    int end = 0;
    *part = *parts = 0;
    if (text == NULL)
        return LS_OK;
    if (sscanf(text, "%6d/%6d%n", part, parts, &end) != 2 || text[end] != '\0' || *part < 1 ||
        *part > *parts)
        return LS_FAIL(LS_USAGE, "--part: '%s' is not K/N with K from 1 to N", text);
    return LS_OK;
}

static ls_status check_encoding(const struct pack_command *command)
{
    if (command->gop_s > 0 && strcmp(command->store, "frames") == 0)
        return LS_FAIL(LS_USAGE, "pack: --gop encodes packets again: it does not go with "
                                 "--store frames");
    if (command->short_side > 0 && command->gop_s == 0)
        return LS_FAIL(LS_USAGE, "pack: --short-side is for videos that --gop encodes again; "
                                 "stored frames have --frame-side");
    return LS_OK;
}

static ls_status run_pack(const void *given)
{
    const struct pack_command *command = given;
    struct pack_display display = {.terminal = isatty(STDERR_FILENO) != 0};
    struct pack_summary summary = {0};
    if (command->output == NULL)
        return LS_FAIL(LS_USAGE, "pack: where to? give the dataset's folder by -o DATASET");
    int part;
    int parts;
    ls_status st = read_part(&part, &parts, command->part);
    if (st == LS_OK)
        st = check_encoding(command);
    if (st != LS_OK)
        return st;
    display.next_s = display.terminal ? bar_every_s : line_every_s;
    st = pack_run(
        &summary,
        &(struct pack_options){
            .inputs = command->inputs.values,
            .input_count = command->inputs.count,
            .output = command->output,
            .jobs = (int)command->jobs,
            .frame_side = strcmp(command->store, "frames") == 0 ? (int)command->frame_side : 0,
            .encoding = {.gop_s = command->gop_s,
                         .short_side = (int)command->short_side,
                         .dear = command->dear_millions * 1e6},
            .part = part,
            .parts = parts,
            .shard_bytes = (uint64_t)command->shard_mb << 20,
            .progress = show_progress,
            .context = &display,
        });
    if (display.terminal)
        (void)fprintf(stderr, "\r\033[K");
    if (st == LS_OK)
        print_summary(command, &summary);
    return st;
}

static const char *const store_choices[] = {"packets", "frames", NULL};

static const struct option pack_table[] = {
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct pack_command, output),
     .word = "DATASET",
     .help = "The dataset's folder. One that exists is gone on with: what its shards hold is not "
             "packed again."},
    {.name = "jobs",
     .letter = 'j',
     .type = OPTION_INTEGER,
     .offset = offsetof(struct pack_command, jobs),
     .word = "N",
     .initial = "0",
     .low = 0,
     .high = 1024,
     .help = "Worker processes; 0: one a processor."},
    {.name = "shard-mb",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct pack_command, shard_mb),
     .word = "N",
     .initial = "1024",
     .low = 1,
     .high = 1 << 20,
     .help = "Size of a shard, in MiB of source files."},
    {.name = "part",
     .type = OPTION_TEXT,
     .offset = offsetof(struct pack_command, part),
     .word = "K/N",
     .help = "Make only every N-th shard, the K-th of them, for a job array on a file system "
             "without locks: K from 1 to N, each of them once, with the same list. The last one "
             "to end writes the whole index; give the command without files to write it again."},
    {.name = "store",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct pack_command, store),
     .word = "packets|frames",
     .initial = "packets",
     .choices = store_choices,
     .help = "What is kept: compressed packets as they are, or decoded frames as uint8 RGB, for "
             "machines that are short of processors: nothing is left to decode, for 20 to 100 "
             "times the bytes."},
    {.name = "frame-side",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct pack_command, frame_side),
     .word = "N",
     .initial = "320",
     .low = 16,
     .high = 8192,
     .help = "With --store frames: frames are made smaller until their shorter side is N pixels."},
    {.name = "gop",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct pack_command, gop_s),
     .word = "SECONDS",
     .initial = "0",
     .low = 0,
     .high = 3600,
     .help = "Encode dear videos again, as H.264 with a key frame at least every so many seconds; "
             "0: none. Shown frames, times, orientation and colours stay; a dear video that cannot "
             "keep them is kept as it is, and the report says why."},
    {.name = "short-side",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct pack_command, short_side),
     .word = "N",
     .initial = "0",
     .low = 0,
     .high = 8192,
     .help = "With --gop: what is encoded again is made smaller until its shorter side is N "
             "pixels; 0: sizes stay."},
    {.name = "dear",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct pack_command, dear_millions),
     .word = "MILLIONS",
     .initial = "100",
     .low = 0,
     .high = 1000000000,
     .help =
         "With --gop: a video is dear when a clip of it (16 frames at 4 frames/s, mean over all "
         "positions) costs a loader more than so many millions: decoded pixels and 128 for each "
         "byte of packets. 100 are about 0.1 s of one core."},
};

const struct command command_pack = {
    .name = "pack",
    .arguments = "[LIST.csv|DIR|FILE...]",
    .summary = "videos and images into a sharded HDF5 dataset",
    .details =
        "Packs video files and images into DATASET: a folder (all files below it), a list with a "
        "line `path label` for each file (names ending in .csv or .txt), or single files. A line "
        "may go on: `path label weight rate` gives how often a video is drawn beside others (1.0) "
        "and its true frames a second, both with a decimal point. "
        "Compressed packets are copied, never encoded again unless --gop says so. Files that "
        "cannot be used are skipped, and DATASET/" PACK_REPORT_NAME
        " says why; that is no failure unless nothing at all could "
        "be packed (exit code 11). The command can be stopped at any moment and given again, and "
        "given on many machines at once: nothing is packed twice. Files that were skipped are "
        "tried "
        "again when they have changed. Without any file, only the index and the report of the "
        "shards in DATASET are made again.",
    .arguments_least = 0,
    .arguments_most = -1,
    .arguments_offset = offsetof(struct pack_command, inputs),
    .options = pack_table,
    .option_count = sizeof pack_table / sizeof pack_table[0],
    .bytes = sizeof(struct pack_command),
    .run = run_pack,
};
