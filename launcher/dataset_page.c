/* Pages about datasets.  A page names what is there and what is unusual; zeros are left out. */
#include "launcher/dataset_page.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/files.h"
#include "data/pack.h"
#include "data/shard.h"
#include "launcher/json.h"
#include "launcher/page.h"

static void row_unless_zero(const char *label, int64_t count, const char *meaning)
{
    if (count > 0)
        page_row(label, "%" PRId64 " %s", count, meaning);
}

static void print_unusual(const struct dataset_totals *t)
{
    row_unless_zero("", t->stills, "stills");
    row_unless_zero("", t->turned, "shown turned or flipped");
    row_unless_zero("", t->size_changes, "change their size");
    row_unless_zero("", t->variable_rate, "of variable frame rate");
    row_unless_zero("", t->estimated_times, "with frames without time stamps");
    row_unless_zero("", t->interlaced, "interlaced");
    row_unless_zero("", t->alpha, "with an alpha plane");
    row_unless_zero("", t->hdr, "of high dynamic range");
    row_unless_zero("", t->damaged, "from files that end in an error");
    row_unless_zero("bad frames", t->bad_frames, "decode with errors");
}

static void print_totals(const struct dataset *dataset, const struct dataset_totals *t)
{
    char fingerprint[HASH_TEXT_BYTES];
    hash_text(fingerprint, dataset_fingerprint(dataset));
    page_row("dataset", "%s", dataset_path(dataset));
    page_row("fingerprint", "%s", fingerprint);
    page_row("size", "%.1f MB in %" PRId64 " shard%s, %.1f MB of it packets",
             (double)t->file_bytes * 1e-6, t->shards, t->shards == 1 ? "" : "s",
             (double)t->packet_bytes * 1e-6);
    page_row("videos", "%" PRId64 ", %" PRId64 " frames, %.2f hours", t->videos, t->frames,
             t->seconds / 3600);
    print_unusual(t);
    row_unless_zero("skipped", t->skipped, "files: see " PACK_REPORT_NAME " in it");
    if (t->labelled > 0)
        page_row("labels", "%" PRId64 " to %" PRId64 ", on %" PRId64 " videos", t->label_low,
                 t->label_high, t->labelled);
    page_row("frame size", "%d to %d wide, %d to %d high", t->width_low, t->width_high,
             t->height_low, t->height_high);
    for (int i = 0; i < t->codec_count; i++)
        page_row(i == 0 ? "codecs" : "", "%s, %" PRId64, t->codecs[i].name, t->codecs[i].videos);
    page_row("random access", "%.1f packets are decoded for one frame, in the mean",
             t->access_packets);
}

static const double million = 1e-6;
enum { COST_TEXT_BYTES = 160 };

/* "96.5 frames, 69.7 million pixels, 0.53 MB: cost 138 million". */
static void cost_text(char *out, size_t bytes, const struct clip_cost *cost)
{
    (void)snprintf(out, bytes, "%.1f frames, %.1f million pixels, %.2f MB: cost %.0f million",
                   cost->decoded, cost->pixels * million, cost->bytes * million,
                   cost->work * million);
}

/* What a clip costs as the dataset is, and what it would cost in another store. */
static void print_costs(const struct dataset *dataset, const struct dataset_costs *c,
                        const struct dataset_costs_question *question)
{
    char text[COST_TEXT_BYTES];
    char smaller[32] = "";
    const char *otherwise = "otherwise";
    cost_text(text, sizeof text, &c->stored);
    page_row("clip cost", "16 frames at 4 frames/s decode %s (mean of %" PRId64 " videos)", text,
             c->looked_at);
    cost_text(text, sizeof text, &c->dearest_cost);
    page_row("", "the dearest is %s: %s", dataset_video(dataset, c->dearest).name, text);
    if (c->packed.work != c->stored.work) {
        cost_text(text, sizeof text, &c->packed);
        page_row(otherwise, "packets as the sources had them: %s", text);
        otherwise = "";
    }
    if (question->short_side > 0)
        (void)snprintf(smaller, sizeof smaller, " --short-side %d", question->short_side);
    page_row(otherwise,
             "--gop %g%s would encode the %.1f %% above %g million: at most %.1f frames, %.1f "
             "million pixels",
             question->gop_s, smaller, 100 * c->dear_share, question->dear * million,
             c->encoded.decoded, c->encoded.pixels * million);
    page_row("", "--store frames: none decoded, %.1f MB of frames", c->frames_bytes * million);
}

static void add_cost(cJSON *root, const char *key, struct clip_cost cost)
{
    cJSON *object = cJSON_CreateObject();
    json_number(object, "frames", cost.decoded);
    json_number(object, "pixels", cost.pixels);
    json_number(object, "bytes", cost.bytes);
    json_number(object, "work", cost.work);
    json_item(root, key, object);
}

static void add_costs(cJSON *root, const struct dataset *dataset, const struct dataset_costs *c)
{
    cJSON *costs = cJSON_CreateObject();
    json_number(costs, "videos", (double)c->looked_at);
    add_cost(costs, "stored", c->stored);
    add_cost(costs, "packed", c->packed);
    add_cost(costs, "encoded", c->encoded);
    json_number(costs, "dear_share", c->dear_share);
    json_text(costs, "dearest", dataset_video(dataset, c->dearest).name);
    add_cost(costs, "dearest_cost", c->dearest_cost);
    json_number(costs, "stored_frames_bytes", c->frames_bytes);
    json_item(root, "clip_cost", costs);
}

static void add_video(cJSON *root, const struct video_record *row)
{
    char hash[HASH_TEXT_BYTES];
    hash_text(hash, (struct hash128){.low = row->bytes_hash_low, .high = row->bytes_hash_high});
    json_number(root, "label", (double)row->label);
    json_number(root, "weight", row->weight);
    json_number(root, "frames", (double)row->frames);
    json_number(root, "packets", (double)row->packets);
    json_number(root, "width", row->width);
    json_number(root, "height", row->height);
    json_number(root, "quarter_turns", row->quarter_turns);
    json_number(root, "flip_horizontal", row->flip_horizontal);
    json_number(root, "average_fps", row->average_fps);
    json_number(root, "bad_frames", (double)row->bad_frames);
    json_number(root, "access_packets", row->access_packets);
    json_number(root, "flags", row->flags);
    json_number(root, "bytes", (double)row->bytes_size);
    json_text(root, "checksum", hash);
    json_number(root, "shard", row->shard);
}

static cJSON *videos_json(const struct dataset *dataset)
{
    cJSON *list = cJSON_CreateArray();
    for (int64_t v = 0; v < dataset_video_count(dataset); v++) {
        struct dataset_video video = dataset_video(dataset, v);
        cJSON *one = json_append_object(list);
        json_text(one, "name", video.name);
        json_number(one, "label", (double)video.label);
        json_number(one, "frames", (double)video.frames);
        json_number(one, "width", video.width);
        json_number(one, "height", video.height);
        json_number(one, "average_fps", video.average_fps);
        json_number(one, "shard", video.shard);
    }
    return list;
}

static ls_status print_json(const struct dataset *dataset, const struct dataset_totals *t,
                            const struct dataset_costs *costs)
{
    char fingerprint[HASH_TEXT_BYTES];
    hash_text(fingerprint, dataset_fingerprint(dataset));
    cJSON *root = cJSON_CreateObject();
    json_text(root, "kind", "dataset");
    json_text(root, "path", dataset_path(dataset));
    json_text(root, "fingerprint", fingerprint);
    json_number(root, "shards", (double)t->shards);
    json_number(root, "videos", (double)t->videos);
    json_number(root, "stills", (double)t->stills);
    json_number(root, "frames", (double)t->frames);
    json_number(root, "packets", (double)t->packets);
    json_number(root, "skipped", (double)t->skipped);
    json_number(root, "bad_frames", (double)t->bad_frames);
    json_number(root, "seconds", t->seconds);
    json_number(root, "file_bytes", (double)t->file_bytes);
    json_number(root, "packet_bytes", (double)t->packet_bytes);
    json_number(root, "access_packets", t->access_packets);
    add_costs(root, dataset, costs);
    cJSON *codecs = cJSON_CreateObject();
    for (int i = 0; i < t->codec_count; i++)
        json_number(codecs, t->codecs[i].name, (double)t->codecs[i].videos);
    json_item(root, "codecs", codecs);
    json_item(root, "list", videos_json(dataset));
    return json_print(&root);
}

ls_status dataset_page(const struct dataset *dataset, const struct dataset_costs_question *question,
                       bool json)
{
    ls_status st = LS_OK;
    struct dataset_totals totals;
    struct dataset_costs costs;
    LS_TRY(dataset_costs(&costs, dataset, question));
    dataset_totals(&totals, dataset);
    if (json) {
        LS_TRY(print_json(dataset, &totals, &costs));
        goto done;
    }
    print_totals(dataset, &totals);
    print_costs(dataset, &costs, question);
done:
    return st;
}

/* What the pack did with a dear video. */
static void print_note(const struct store_note *note)
{
    char text[COST_TEXT_BYTES];
    if (!note->encoded) {
        page_row("kept", "though a clip costs %.0f million: %s", note->before.work * million,
                 note->why);
        return;
    }
    page_row("encoded", "by %s, %s", note->encoder, note->options);
    if (note->short_side > 0)
        page_row("", "a key frame every %g s at least, short side %d where it was longer",
                 note->gop_s, note->short_side);
    else
        page_row("", "a key frame every %g s at least", note->gop_s);
    cost_text(text, sizeof text, &note->before);
    page_row("", "from %s %dx%d, %s, %.3f MB of packets; a clip decoded %s", note->source_codec,
             note->source_width, note->source_height, note->source_format,
             (double)note->source_packet_bytes * million, text);
}

static void print_video(const struct video_detail *d)
{
    char text[COST_TEXT_BYTES];
    const struct video_record *row = &d->row;
    page_row("video", "%s", d->name);
    page_row("stored in", "%s", d->shard_path);
    if (row->label >= 0)
        page_row("label", "%" PRId64, row->label);
    if (row->weight != 1)
        page_row("weight", "%g", row->weight);
    page_row("source", "%s in %s, %.3f MB", d->codec, d->container,
             (double)row->source_bytes * 1e-6);
    page_row("frames", "%" PRIu64 " of %dx%d, %s", row->frames, row->width, row->height,
             d->pixel_format);
    if (row->quarter_turns != 0 || row->flip_horizontal != 0)
        page_row("", "turned by %d degrees clockwise%s to be shown", 90 * row->quarter_turns,
                 row->flip_horizontal ? ", then flipped" : "");
    row_unless_zero("", (int64_t)row->bad_frames, "decode with errors");
    page_row("rate", "%.6g frames/s%s%s%s", row->average_fps,
             row->flags & VIDEO_RATE_GIVEN ? ", as the list says" : "",
             row->flags & VIDEO_VARIABLE_RATE ? ", variable" : "",
             row->flags & VIDEO_TIME_ESTIMATED ? ", some times estimated" : "");
    page_row("time base", "%d/%d s", row->time_base_num, row->time_base_den);
    page_row("packets", "%" PRIu64 ", %.3f MB", row->packets, (double)row->bytes_size * 1e-6);
    row_unless_zero("", d->discarded, "are decoded and not shown");
    row_unless_zero("", d->skippable, "may be left out");
    page_row("random access", "%" PRId64 " starts, %.1f packets decoded for one frame in the mean",
             d->starts, row->access_packets);
    cost_text(text, sizeof text, &d->cost);
    page_row("clip cost", "16 frames at 4 frames/s decode %s", text);
    if (d->has_note)
        print_note(&d->note);
}

static void add_note(cJSON *root, const struct store_note *note)
{
    cJSON *object = cJSON_CreateObject();
    json_text(object, "store", note->encoded ? "encoded" : "kept");
    add_cost(object, "clip_cost_before", note->before);
    if (!note->encoded) {
        json_text(object, "why", note->why);
    } else {
        json_text(object, "encoder", note->encoder);
        json_text(object, "options", note->options);
        json_number(object, "gop_s", note->gop_s);
        json_number(object, "short_side", note->short_side);
        json_number(object, "dear", note->dear);
        json_text(object, "source_codec", note->source_codec);
        json_text(object, "source_pixel_format", note->source_format);
        json_number(object, "source_width", note->source_width);
        json_number(object, "source_height", note->source_height);
        json_number(object, "source_packet_bytes", (double)note->source_packet_bytes);
    }
    json_item(root, "pack_note", object);
}

ls_status dataset_page_video(const struct dataset *dataset, int64_t video, bool json)
{
    ls_status st = LS_OK;
    struct video_detail detail;
    LS_TRY(dataset_detail(&detail, dataset, video));
    if (!json) {
        print_video(&detail);
        goto done;
    }
    cJSON *root = cJSON_CreateObject();
    json_text(root, "kind", "video");
    json_text(root, "name", detail.name);
    json_text(root, "container", detail.container);
    json_text(root, "codec", detail.codec);
    json_text(root, "pixel_format", detail.pixel_format);
    add_video(root, &detail.row);
    json_number(root, "starts", (double)detail.starts);
    json_number(root, "keys", (double)detail.keys);
    json_number(root, "skippable", (double)detail.skippable);
    json_number(root, "discarded", (double)detail.discarded);
    add_cost(root, "clip_cost", detail.cost);
    if (detail.has_note)
        add_note(root, &detail.note);
    LS_TRY(json_print(&root));
done:
    return st;
}

static void print_shard(const struct shard *shard)
{
    const struct shard_record *r = &shard->record;
    const char *blob = (const char *)shard->blob;
    page_row("shard", "%s", shard->path);
    page_row("size", "%.1f MB, %.1f MB of it packets", (double)r->file_bytes * 1e-6,
             (double)r->bytes * 1e-6);
    page_row("holds", "%" PRIu64 " videos, %" PRIu64 " packets, %" PRIu64 " frames", r->videos,
             r->packets, r->frames);
    for (uint64_t v = 0; v < r->videos; v++)
        page_row(v == 0 ? "videos" : "", "%s, %" PRIu64 " frames", blob + shard->videos[v].name_at,
                 shard->videos[v].frames);
    for (uint64_t s = 0; s < r->skipped; s++)
        page_row(s == 0 ? "skipped" : "", "%s: %s", blob + shard->skipped[s].name_at,
                 blob + shard->skipped[s].reason_at);
}

static ls_status print_shard_json(const struct shard *shard)
{
    const struct shard_record *r = &shard->record;
    const char *blob = (const char *)shard->blob;
    cJSON *root = cJSON_CreateObject();
    json_text(root, "kind", "dataset shard");
    json_text(root, "path", shard->path);
    json_number(root, "file_bytes", (double)r->file_bytes);
    json_number(root, "packet_bytes", (double)r->bytes);
    json_number(root, "packets", (double)r->packets);
    json_number(root, "frames", (double)r->frames);
    cJSON *videos = cJSON_CreateArray();
    for (uint64_t v = 0; v < r->videos; v++) {
        cJSON *one = json_append_object(videos);
        json_text(one, "name", blob + shard->videos[v].name_at);
        add_video(one, &shard->videos[v]);
    }
    json_item(root, "videos", videos);
    cJSON *skipped = cJSON_CreateArray();
    for (uint64_t s = 0; s < r->skipped; s++) {
        cJSON *one = json_append_object(skipped);
        json_text(one, "name", blob + shard->skipped[s].name_at);
        json_text(one, "reason", blob + shard->skipped[s].reason_at);
    }
    json_item(root, "skipped", skipped);
    return json_print(&root);
}

ls_status dataset_page_shard(const char *path, bool json)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    LS_TRY(shard_open(&shard, path, 1));
    if (json)
        LS_TRY(print_shard_json(&shard));
    else
        print_shard(&shard);
done:
    shard_close(&shard);
    return st;
}
