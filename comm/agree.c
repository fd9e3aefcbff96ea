/* Agreement: an exchange of statuses with their words, and one rule. */
#include <stdio.h>
#include <stdlib.h>

#include "comm/comm.h"
#include "core/files.h"

enum { TEXT_BYTES = 512 };

struct vote {
    int32_t status;
    char text[TEXT_BYTES];
};

/* LS_OK < LS_EOF < LS_STOP < any failure. */
static int severity(ls_status st)
{
    if (st == LS_STOP)
        return LS_EOF + 1;
    return st <= LS_EOF ? (int)st : (int)st + 1;
}

ls_status comm_agree(struct comm_group *group, ls_status mine)
{
    ls_status st = LS_OK;
    int size = comm_size(group), worst = 0;
    struct vote vote = {.status = (int32_t)mine};
    struct vote *votes = NULL;
    char text[TEXT_BYTES + 32];
    if (size == 1)
        return mine;
    if (mine != LS_OK)
        (void)snprintf(vote.text, sizeof vote.text, "%s", status_message());
    LS_TRY(core_alloc(&votes, (size_t)size));
    LS_TRY(comm_exchange(group, &vote, sizeof vote, votes));
    for (int r = 1; r < size; r++)
        if (severity((ls_status)votes[r].status) > severity((ls_status)votes[worst].status))
            worst = r;
    st = (ls_status)votes[worst].status;
    if (st != LS_OK) {
        (void)snprintf(text, sizeof text, "rank %d: %s", worst, votes[worst].text);
        (void)status_adopt(st, text);
    }
done:
    free(votes);
    return st;
}
