/* One input after the other; the muxer's queue interleaves them. */
#include "tests/support/remux.h"

#include <libavformat/avformat.h>
#include <stddef.h>

struct remuxing {
    const struct remux *what;
    AVFormatContext *inputs[REMUX_INPUTS_MAX], *output;
    int count;
};

static ls_status check(int result, const struct remuxing *remuxing, const char *step)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (result >= 0)
        return LS_OK;
    return LS_FAIL(LS_FAILED, "%s: cannot %s: %s", remuxing->what->path, step,
                   av_make_error_string(text, sizeof text, result));
}

static ls_status add_stream(struct remuxing *remuxing, int input)
{
    ls_status st = LS_OK;
    const char *path = remuxing->what->inputs[input];
    LS_TRY(check(avformat_open_input(&remuxing->inputs[input], path, NULL, NULL), remuxing,
                 "open an input"));
    remuxing->count++;
    LS_TRY(check(avformat_find_stream_info(remuxing->inputs[input], NULL), remuxing,
                 "look at an input"));
    AVStream *from = remuxing->inputs[input]->streams[0];
    AVStream *to = avformat_new_stream(remuxing->output, NULL);
    if (to == NULL) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", remuxing->what->path);
        goto done;
    }
    LS_TRY(check(avcodec_parameters_copy(to->codecpar, from->codecpar), remuxing,
                 "describe a stream"));
    to->codecpar->codec_tag = 0;
    to->time_base = from->time_base;
    to->avg_frame_rate = from->avg_frame_rate;
    if (input == remuxing->what->cover)
        to->disposition = AV_DISPOSITION_ATTACHED_PIC;
done:
    return st;
}

static ls_status open_output(struct remuxing *remuxing)
{
    ls_status st = LS_OK;
    const struct remux *what = remuxing->what;
    AVDictionary *options = NULL;
    LS_TRY(check(avformat_alloc_output_context2(&remuxing->output, NULL, what->muxer, what->path),
                 remuxing, "find the container"));
    remuxing->output->flags |= AVFMT_FLAG_BITEXACT;
    for (int i = 0; i < REMUX_INPUTS_MAX && what->inputs[i] != NULL; i++)
        LS_TRY(add_stream(remuxing, i));
    LS_TRY(
        check(avio_open(&remuxing->output->pb, what->path, AVIO_FLAG_WRITE), remuxing, "create"));
    if (what->options != NULL)
        LS_TRY(check(av_dict_parse_string(&options, what->options, "=", ":", 0), remuxing,
                     "read options"));
    LS_TRY(check(avformat_write_header(remuxing->output, &options), remuxing, "write the header"));
done:
    av_dict_free(&options);
    return st;
}

static ls_status copy(struct remuxing *remuxing, int input, AVPacket *packet)
{
    ls_status st = LS_OK;
    AVFormatContext *from = remuxing->inputs[input];
    for (int64_t number = 0; av_read_frame(from, packet) >= 0; number++) {
        if (packet->stream_index != 0 ||
            (remuxing->what->edit != NULL && !remuxing->what->edit(packet, input, number))) {
            av_packet_unref(packet);
            continue;
        }
        av_packet_rescale_ts(packet, from->streams[0]->time_base,
                             remuxing->output->streams[input]->time_base);
        packet->stream_index = input;
        packet->pos = -1;
        LS_TRY(check(av_interleaved_write_frame(remuxing->output, packet), remuxing, "write"));
    }
done:
    return st;
}

ls_status remux(const struct remux *what)
{
    ls_status st = LS_OK;
    struct remuxing remuxing = {.what = what};
    AVPacket *packet = av_packet_alloc();
    if (packet == NULL) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", what->path);
        goto done;
    }
    LS_TRY(open_output(&remuxing));
    for (int i = 0; i < remuxing.count; i++)
        LS_TRY(copy(&remuxing, i, packet));
    LS_TRY(check(av_write_trailer(remuxing.output), &remuxing, "end"));
done:
    for (int i = 0; i < remuxing.count; i++)
        avformat_close_input(&remuxing.inputs[i]);
    if (remuxing.output != NULL && remuxing.output->pb != NULL)
        (void)avio_closep(&remuxing.output->pb);
    av_packet_free(&packet);
    avformat_free_context(remuxing.output);
    return st;
}
