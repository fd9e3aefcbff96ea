/* How gradients are summed over ranks: between the GPUs themselves (NCCL) or in host memory (MPI).
 *
 * NCCL wants a card for each rank, and only all ranks together can tell: on a node where every rank
 * sees one card of its own, as SLURM may arrange it, each sees as many cards as one that shares a
 * single card with its neighbours.  So the ranks exchange the cards' identities and all draw the
 * same conclusion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/device.h"
#include "core/files.h"
#include "core/log.h"
#include "worker/trainer.h"

enum { HOST_BYTES = 64, REASON_BYTES = 256 };

struct card {      /* exchanged as bytes */
    int32_t asked; /* enum config_gpu_comm */
    int32_t gpu, card, has_nccl;
    unsigned char id[DEVICE_ID_BYTES];
    char host[HOST_BYTES];
};

static struct card my_card(const struct trainer *trainer)
{
    const struct model_device *device = &trainer->device.model;
    struct card card;
    memset(&card, 0, sizeof card);
    card.asked = (int32_t)trainer->config->run.gpu_comm;
    card.gpu = device->gpu ? 1 : 0;
    card.card = device->card;
    if (device->gpu && comm_device_available() == LS_OK)
        card.has_nccl = 1;
    else if (device->gpu && trainer->size > 1)
        log_warn("nccl used=no reason=\"%s\"", status_message());
    status_clear();
    memcpy(card.id, device->card_id, sizeof card.id);
    if (gethostname(card.host, sizeof card.host - 1) != 0)
        (void)snprintf(card.host, sizeof card.host, "unknown host");
    return card;
}

static bool same_card(const struct card *a, const struct card *b)
{
    return a->gpu && b->gpu && memcmp(a->id, b->id, sizeof a->id) == 0 &&
           strcmp(a->host, b->host) == 0;
}

/* Why NCCL cannot be used, into `out`; "" when it can. */
static void find_obstacle(char *out, const struct card *cards, int size)
{
    out[0] = '\0';
    for (int r = 0; r < size && out[0] == '\0'; r++) {
        if (!cards[r].gpu)
            (void)snprintf(out, REASON_BYTES, "rank %d on %s computes on the CPU", r,
                           cards[r].host);
        else if (!cards[r].has_nccl)
            (void)snprintf(out, REASON_BYTES, "rank %d on %s has no NCCL", r, cards[r].host);
        for (int other = 0; other < r && out[0] == '\0'; other++)
            if (same_card(&cards[r], &cards[other]))
                (void)snprintf(out, REASON_BYTES, "ranks %d and %d on %s share card %d", other, r,
                               cards[r].host, cards[r].card);
    }
}

/* The same on every rank, from the cards of all. */
static ls_status choose(struct trainer *trainer, const struct card *cards)
{
    char obstacle[REASON_BYTES];
    const struct card *mine = &cards[trainer->rank];
    trainer->ranks_on_card = 0;
    for (int r = 0; r < trainer->size; r++)
        trainer->ranks_on_card += same_card(mine, &cards[r]) ? 1 : 0;
    for (int r = 1; r < trainer->size; r++)
        if (cards[r].asked != cards[0].asked)
            return LS_FAIL(LS_USAGE,
                           "rank %d on %s has another lockstep.gpu_comm than rank 0 on %s", r,
                           cards[r].host, cards[0].host);
    trainer->sums_by = trainer->size > 1 ? TRAINER_SUMS_HOST : TRAINER_SUMS_NONE;
    if (trainer->size == 1 || mine->asked == CONFIG_GPU_COMM_MPI)
        return LS_OK;
    find_obstacle(obstacle, cards, trainer->size);
    if (obstacle[0] == '\0')
        trainer->sums_by = TRAINER_SUMS_DEVICE;
    else if (mine->asked == CONFIG_GPU_COMM_NCCL)
        return LS_FAIL(LS_USAGE,
                       "lockstep.gpu_comm: nccl, but %s: give every rank a card of its own, or set "
                       "lockstep.gpu_comm: mpi",
                       obstacle);
    else if (cards[0].gpu)
        log_info("gradient_sums asked=auto used=mpi reason=\"%s\"", obstacle);
    return LS_OK;
}

ls_status trainer_choose_sums(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct card *cards = NULL;
    const struct card mine = my_card(trainer);
    LS_TRY(core_alloc(&cards, trainer->size));
    LS_TRY(comm_exchange(trainer->group, &mine, sizeof mine, cards));
    st = choose(trainer, cards);
    trainer->agreed = st != LS_OK;
    trainer->own = trainer->rank == 0;
done:
    free(cards);
    return st;
}
