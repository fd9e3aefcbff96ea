#include "launcher/html.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bytes of the well-formed UTF-8 character at `at`; 0 where there is none. */
static int character(const unsigned char *at)
{
    int bytes = at[0] < 0x80                    ? 1
                : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                : 0;
    for (int i = 1; i < bytes; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Longer than needed, halves of a pair, beyond the last. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return bytes;
}

void html_text(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        int bytes = character(at);
        bool control = (at[0] < 0x20 && strchr("\t\n\r", at[0]) == NULL) || at[0] == 0x7f;
        if (bytes == 0 || control)
            (void)fputs("&#xfffd;", out);
        else if (strchr("&<>\"'", at[0]) != NULL)
            (void)fprintf(out, "&#%d;", at[0]);
        else
            (void)fwrite(at, 1, (size_t)bytes, out);
        at += bytes > 0 ? bytes : 1;
    }
}

static const char style[] =
    ":root{color-scheme:light dark;--page:#f6f6f3;--card:#fff;--ink:#16160f;--soft:#5c5b55;"
    "--line:#dddcd4;--hover:#0000000d;--c1:#2a6fd0;--c2:#d9622b;--c3:#168f64;--c4:#6a4bc4;"
    "--c5:#a3860b;--good:#157347;--warn:#9a5b00;--bad:#b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#151513;--card:#1e1e1b;--ink:#f1f0ea;"
    "--soft:#b3b2a9;--line:#3a3933;--hover:#ffffff14;--c1:#6aa5f5;--c2:#f08a58;--c3:#45c497;"
    "--c4:#ab97f2;--c5:#d8bb4a;--good:#55c98c;--warn:#e8aa4c;--bad:#ff8a80}}\n"
    "@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--c1:#2a6fd0;"
    "--c2:#d9622b;--c3:#168f64;--c4:#6a4bc4;--c5:#a3860b;--good:#157347;--warn:#9a5b00;"
    "--bad:#b3261e}figure,tr,.tile{break-inside:avoid}h2{break-after:avoid}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;padding:20px 16px 48px;max-width:1440px;"
    "background:var(--page);color:var(--ink);"
    "font:15px/1.5 system-ui,'Segoe UI',Roboto,'Liberation Sans',sans-serif}\n"
    "h1{font-size:1.5em;margin:.2em 0;overflow-wrap:anywhere}"
    "h3{font-size:1em;margin:1em 0 .3em}h2{font-size:1.12em;margin:1.9em 0 .5em}p{margin:.5em "
    "0;max-width:60em}"
    ".soft,figcaption,th{color:var(--soft)}.good{color:var(--good)}.warn{color:var(--warn)}"
    ".bad{color:var(--bad)}.lead{font-size:1.08em}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:10px;"
    "margin:16px 0}.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:8px 12px}.tile b{display:block;font-size:1.3em;font-weight:600}"
    ".tile span{color:var(--soft);font-size:.87em}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(400px,100%),1fr));"
    "gap:12px}figure{margin:0;background:var(--card);border:1px solid var(--line);"
    "border-radius:8px;padding:10px 12px 4px}figure.wide{overflow-x:auto}figure.wide "
    "span{white-space:normal}"
    "figcaption{font-size:.87em;line-height:1.4;margin-bottom:4px}"
    "figcaption b{color:var(--ink);font-size:1.1em;margin-right:.6em}"
    "figcaption span{white-space:nowrap;margin-right:.9em}"
    "rect{shape-rendering:crispEdges}figcaption "
    "i{display:inline-block;width:.8em;height:.8em;border-radius:2px;"
    "margin-right:.35em}svg{display:block;width:100%;height:auto;overflow:visible}"
    "svg text{font-size:12px;fill:var(--soft)}\n"
    ".grid{stroke:var(--line);stroke-width:1}.mark{stroke:var(--soft);stroke-width:1;"
    "stroke-dasharray:3 3}.h rect{fill:transparent}.h rect:hover{fill:var(--hover)}"
    ".l1,.l2,.l3,.l4,.l5{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}.l4{stroke:var(--c4)}"
    ".l5{stroke:var(--c5)}.b1,.b2,.b3,.b4,.b5{opacity:.2;stroke:none}"
    ".b1,.a1,.k1{fill:var(--c1);background:var(--c1)}"
    ".b2,.a2,.k2{fill:var(--c2);background:var(--c2)}"
    ".b3,.a3,.k3{fill:var(--c3);background:var(--c3)}"
    ".b4,.a4,.k4{fill:var(--c4);background:var(--c4)}"
    ".b5,.a5,.k5{fill:var(--c5);background:var(--c5)}.fgood{fill:var(--good)}"
    ".fwarn{fill:var(--warn)}.fbad{fill:var(--bad)}.cell{fill:var(--c2)}.cell0{fill:var(--hover)}\n"
    ".wide svg{max-width:1000px;min-width:620px}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.93em;min-width:50%}"
    "th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--line);"
    "vertical-align:top;overflow-wrap:break-word}td.t{white-space:nowrap}td "
    "code{display:block;min-width:16em}td.n,th.n{text-align:right;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}th{font-weight:500;font-size:.93em;white-space:nowrap}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;"
    "overflow-x:auto;font-size:.87em;line-height:1.4}code{font-size:.93em}"
    "summary{cursor:pointer;color:var(--soft)}footer{margin-top:2.5em;font-size:.87em;"
    "color:var(--soft)}\n"
    "@media print{body{padding:1px;font-size:12px}pre{columns:3;font-size:9px;white-space:pre-wrap;"
    "overflow-wrap:anywhere}summary{display:none}footer{margin-top:1em}.charts{grid-template-"
    "columns:1fr 1fr}"
    "details::details-content{content-visibility:visible;display:block}"
    ".wide svg{min-width:0}}\n";

void html_begin(FILE *out, const char *title, int refresh_s)
{
    /* Nothing is to be loaded or run, whatever a file of the run may hold. */
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" "
                "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
                out);
    if (refresh_s > 0)
        (void)fprintf(out, "<meta http-equiv=\"refresh\" content=\"%d\">\n", refresh_s);
    (void)fputs("<title>", out);
    html_text(out, title);
    (void)fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
}

void html_end(FILE *out)
{
    (void)fputs("</body>\n</html>\n", out);
}

const char *html_number(char *out, double value)
{
    static const struct {
        double size;
        const char *unit;
    } scales[] = {{1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e4, " k"}};
    if (!isfinite(value)) {
        (void)snprintf(out, HTML_NUMBER_BYTES, "-");
        return out;
    }
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
        if (fabs(value) >= 0.9995 * scales[i].size) {
            double unit = scales[i].size == 1e4 ? 1e3 : scales[i].size;
            (void)snprintf(out, HTML_NUMBER_BYTES, "%.3g%s", value / unit, scales[i].unit);
            return out;
        }
    (void)snprintf(out, HTML_NUMBER_BYTES, "%.4g", value);
    return out;
}

const char *html_count(char *out, int64_t value)
{
    char digits[HTML_NUMBER_BYTES / 2 + 4];
    int length = snprintf(digits, sizeof digits, "%" PRId64, value);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        out[used++] = digits[i];
        if (i < length - 1 && digits[i] != '-' && (length - 1 - i) % 3 == 0)
            out[used++] = ',';
    }
    out[used] = '\0';
    return out;
}

const char *html_duration(char *out, double seconds)
{
    double whole = isfinite(seconds) && seconds > 0 ? floor(seconds + 0.5) : 0;
    if (seconds < 10)
        (void)snprintf(out, HTML_NUMBER_BYTES, "%.2g s", seconds > 0 ? seconds : 0.0);
    else if (whole < 120)
        (void)snprintf(out, HTML_NUMBER_BYTES, "%.0f s", whole);
    else if (whole < 7200)
        (void)snprintf(out, HTML_NUMBER_BYTES, "%.0f min %.0f s", floor(whole / 60),
                       fmod(whole, 60));
    else if (whole < 48 * 3600)
        (void)snprintf(out, HTML_NUMBER_BYTES, "%.0f h %.0f min", floor(whole / 3600),
                       floor(fmod(whole, 3600) / 60));
    else
        (void)snprintf(out, HTML_NUMBER_BYTES, "%.0f days %.0f h", floor(whole / 86400),
                       floor(fmod(whole, 86400) / 3600));
    return out;
}

const char *html_time(char *out, time_t time)
{
    struct tm utc;
    if (gmtime_r(&time, &utc) == NULL ||
        strftime(out, HTML_NUMBER_BYTES, "%Y-%m-%d %H:%M:%S", &utc) == 0)
        (void)snprintf(out, HTML_NUMBER_BYTES, "-");
    return out;
}
