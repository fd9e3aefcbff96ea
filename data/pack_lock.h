/* Lock files between packs.  Locks only save double work: two packs that make the same shard make
 * the same bytes, so where a file system has no locks nothing is lost but time. */
#ifndef LOCKSTEP_DATA_PACK_LOCK_H
#define LOCKSTEP_DATA_PACK_LOCK_H

#include "core/status.h"

/* Open the file (made when missing) and lock it as flock's `how` says; -1 when another process has
 * it.  Where locks do not exist, as if it were free.  Local.  Errors: LS_IO. */
ls_status pack_lock_take(int *out, const char *path, int how) LS_MUST_CHECK;

/* Unlock and close; sets -1.  Local. */
void pack_lock_drop(int *lock);

/* The shared lock PARTS/pack.lock that says a pack is at work; makes the folder.  Local.  Errors:
 * LS_IO. */
ls_status pack_lock_join(int *presence, const char *parts_folder) LS_MUST_CHECK;

#endif
