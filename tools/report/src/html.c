#include "formats.h"

/* `before` and `after` the profile's JSON: embed.py makes it of the files in page/. */
#include "html.inc"

void cal__html_write(FILE *out, const struct cal__view *view)
{
    fwrite(before, 1, sizeof before, out);
    cal__json_write(out, view);
    fwrite(after, 1, sizeof after, out);
}
