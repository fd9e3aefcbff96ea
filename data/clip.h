/* Which frames of a video a clip takes: the rule of the public V-JEPA 2 loader, by numbers, and
 * ours, by times. */
#ifndef LOCKSTEP_DATA_CLIP_H
#define LOCKSTEP_DATA_CLIP_H

#include <stdint.h>

/* Frames of the video from one clip frame to the next.
 *
 *     step = frame_step                       when it is set (> 0)
 *          = 1                                when `fps` is 0 (every frame) or the rate is unknown
 *          = ceil(average_fps) // fps         else, at least 1: a video slower than the target rate
 *                                             gives every frame
 *
 *   average_fps   frames/s as the container says, 0 unknown
 *   fps           target rate of the clip, frames/s
 *
 * Local.  Source: design section 4. */
int64_t clip_frame_step(double average_fps, double fps, int frame_step);

/* How many windows of `clip_frames * step` frames can be drawn from a video of `video_frames`
 * (>= 1): `video_frames - clip_frames * step` where the video is longer than that, else 1 (all of
 * it).  Local. */
int64_t clip_window_count(int64_t video_frames, int clip_frames, int64_t step);

/* The frame numbers of a clip.
 *
 *   out          out [clip_frames]  non-decreasing, each in [0, video_frames)
 *   window       which window, in [0, clip_window_count): its first frame
 *
 * Video longer than the window: `clip_frames` numbers spread evenly from the window's first frame
 * to one past its last, cut to the last (so the last gap is one frame short).  Else: video_frames
 * // step numbers spread over the whole video, then its last frame repeated.
 *
 * Local, pure.  Source: the arithmetic of numpy's linspace, clip and astype(int64), as the public
 * loader applies them; golden/clip_indices.h5. */
void clip_numbers(int64_t *out, int64_t video_frames, int clip_frames, int64_t step,
                  int64_t window);

/* The times of a clip (`data.sampling: timestamps`).
 *
 *     seconds[k] = t0 + k / fps,   t0 = part * max(0, span - (clip_frames - 1) / fps)
 *
 *   seconds      out [clip_frames]  since the video's first frame; the frames shown nearest to them
 *                                   are taken (frame_times_nearest), so that a video that ends early
 *                                   repeats its last
 *   span         seconds from the first frame to the last
 *   fps          > 0
 *   part         uniform in [0, 1)
 *
 * Local, pure. */
void clip_times(double *seconds, double span, int clip_frames, double fps, double part);

#endif
