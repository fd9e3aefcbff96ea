#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libswscale/swscale.h>
#include <stdio.h>

int main(void)
{
    const char *x264 = avcodec_find_encoder_by_name("libx264") != NULL ? "with" : "without";
    printf("%s, %s x264\n", av_version_info(), x264);
    return avformat_version() == 0 || swscale_version() == 0 ||
           avcodec_find_decoder(AV_CODEC_ID_H264) == NULL;
}
