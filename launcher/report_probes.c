/* What probes say of the features: the table with pretrained and random encoder side by side, and
 * which classes are taken for which. */
#include <inttypes.h>
#include <math.h>

#include "launcher/html.h"
#include "launcher/report.h"

enum { CLASSES_SHOWN = 40, CELL = 14, LEFT = 40, TOP = 18 };

static void print_share(FILE *out, double share)
{
    if (isfinite(share))
        (void)fprintf(out, "<td class=\"n\">%.1f %%</td>", 100 * share);
    else
        (void)fputs("<td class=\"n\">-</td>", out);
}

static void print_row(FILE *out, const struct probe_result *result)
{
    char text[HTML_NUMBER_BYTES];
    (void)fputs("<tr><td>", out);
    html_text(out, result->tag);
    (void)fputs(result->random ? "</td><td>random, untrained</td>" : "</td><td>pretrained, step ",
                out);
    if (!result->random)
        (void)fprintf(out, "%s</td>", html_count(text, result->step));
    if (isfinite(result->interval) && isfinite(result->top1))
        (void)fprintf(out, "<td class=\"n\">%.1f &#177; %.1f %%</td>", 100 * result->top1,
                      100 * result->interval);
    else
        print_share(out, result->top1);
    print_share(out, result->top5);
    print_share(out, result->knn);
    print_share(out, result->chance);
    (void)fprintf(out, "<td class=\"n\">%s</td></tr>\n",
                  result->videos >= 0 ? html_count(text, result->videos) : "-");
}

/* Both were measured on the same videos, so that the intervals of the two say too much rather than
 * too little of the difference. */
static void print_difference(FILE *out, const struct probe_result *result,
                             const struct probe_result *random)
{
    double points = 100 * (result->top1 - random->top1);
    double interval = 100 * hypot(result->interval, random->interval);
    if (!isfinite(points))
        return;
    (void)fputs("<p>", out);
    html_text(out, result->tag);
    (void)fprintf(out, ": pretrained minus random <b class=\"%s\">%+.1f points</b>",
                  points > interval    ? "good"
                  : points < -interval ? "bad"
                                       : "warn",
                  points);
    if (isfinite(interval))
        (void)fprintf(out, " (&#177; %.1f, from the number of test videos alone)%s", interval,
                      fabs(points) <= interval ? ": no difference that these videos can show" : "");
    (void)fputs(".</p>\n", out);
}

static double cell_of(const cJSON *row, int column)
{
    const cJSON *cell = cJSON_GetArrayItem(row, column);
    return cJSON_IsNumber(cell) && cell->valuedouble > 0 ? cell->valuedouble : 0;
}

static void draw_row(FILE *out, const cJSON *row, int number, int classes)
{
    double sum = 0;
    for (int c = 0; c < classes; c++)
        sum += cell_of(row, c);
    for (int c = 0; c < classes && sum > 0; c++) {
        double count = cell_of(row, c);
        if (count > 0)
            (void)fprintf(out,
                          "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                          "fill-opacity=\"%.2f\"><title>class %d taken for %d: %.0f of %.0f"
                          "</title></rect>",
                          c == number ? "a3" : "a2", LEFT + c * CELL, TOP + number * CELL, CELL - 1,
                          CELL - 1, fmin(0.15 + 0.85 * count / sum, 1), number, c, count, sum);
    }
}

/* Which classes are taken for which; rows are the true ones. */
static void draw_confusion(FILE *out, const struct probe_result *result)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(result->json, "confusion");
    int classes = cJSON_GetArraySize(rows);
    if (!cJSON_IsArray(rows) || classes < 2 || classes > CLASSES_SHOWN)
        return;
    int side = LEFT + classes * CELL;
    (void)fputs("<figure><figcaption><b>Taken for</b>", out);
    html_text(out, result->tag);
    (void)fprintf(out,
                  ", %s; rows are the true classes, green is right</figcaption>\n"
                  "<svg viewBox=\"0 0 %d %d\" style=\"max-width:%dpx\" role=\"img\" "
                  "aria-label=\"Confusion\">",
                  result->random ? "random" : "pretrained", side < 220 ? 220 : side,
                  TOP + classes * CELL + 4, (side < 220 ? 220 : side) * 4 / 3);
    (void)fprintf(out, "<rect class=\"cell0\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", LEFT,
                  TOP, classes * CELL - 1, classes * CELL - 1);
    for (int i = 0; i<classes; i += classes> 12 ? 5 : 1)
        (void)fprintf(out,
                      "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d</text>"
                      "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>",
                      LEFT - 5, TOP + i * CELL + 11, i, LEFT + i * CELL + CELL / 2, TOP - 5, i);
    for (int i = 0; i < classes; i++)
        draw_row(out, cJSON_GetArrayItem(rows, i), i, classes);
    (void)fputs("</svg></figure>\n", out);
}

void report_print_probes(FILE *out, const struct report *report)
{
    const struct probe_results *results = &report->probes;
    (void)fputs("<h2>Probes</h2>\n", out);
    if (results->count == 0) {
        (void)fputs("<p class=\"soft\">None yet: how good the features are, nobody has "
                    "measured.</p>\n",
                    out);
        return;
    }
    (void)fputs("<div class=\"scroll\"><table><tr><th>probe</th><th>encoder, frozen</th>"
                "<th class=\"n\">top-1</th><th class=\"n\">top-5</th><th class=\"n\">k-NN</th>"
                "<th class=\"n\">chance</th><th class=\"n\">test videos</th></tr>\n",
                out);
    for (int i = 0; i < results->count; i++)
        print_row(out, &results->list[i]);
    (void)fputs("</table></div>\n", out);
    for (int i = 0; i < results->count; i++) {
        const struct probe_result *random = probe_results_random(results, &results->list[i]);
        if (!results->list[i].random && random != NULL)
            print_difference(out, &results->list[i], random);
    }
    (void)fputs("<div class=\"charts\">\n", out);
    for (int i = 0; i < results->count; i++)
        draw_confusion(out, &results->list[i]);
    (void)fputs("</div>\n", out);
}
