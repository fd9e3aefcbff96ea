/* data/picture.h in a build without FFmpeg: nothing is drawn. */
#include "data/picture.h"

ls_status picture_write(const char *path, const uint8_t *rgb, int width, int height)
{
    (void)rgb;
    return LS_FAIL(LS_USAGE, "%s: no picture of %d x %d: this build is without FFmpeg", path, width,
                   height);
}

ls_status film_open(struct film **out, const char *path, int width, int height, double frames_per_s)
{
    *out = NULL;
    (void)frames_per_s;
    return LS_FAIL(LS_USAGE, "%s: no film of %d x %d: this build is without FFmpeg", path, width,
                   height);
}

ls_status film_add(struct film *film, const uint8_t *rgb)
{
    (void)film;
    (void)rgb;
    return LS_FAIL(LS_USAGE, "this build is without FFmpeg");
}

ls_status film_commit(struct film *film)
{
    (void)film;
    return LS_FAIL(LS_USAGE, "this build is without FFmpeg");
}

void film_close(struct film **film)
{
    *film = NULL;
}
