/* Edit distance with swapped neighbours: the slip of a typing finger is one edit. */
#include "core/text.h"

#include <string.h>

int text_distance(const char *a, const char *b)
{
    int row[3][TEXT_WORD_BYTES + 1];
    size_t n = strlen(a);
    size_t m = strlen(b);
    if (n > TEXT_WORD_BYTES || m > TEXT_WORD_BYTES)
        return TEXT_WORD_BYTES;
    int *before = row[0];
    int *last = row[1];
    int *now = row[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        int *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

bool text_near(const char *word, int distance)
{
    return distance <= 2 * (int)(1 + strlen(word) / 4) + 1;
}
