/* Which lockstep this is: for people, logs, checkpoints and reports.  Whether two ranks run the
 * same program is told by its bytes (worker/identity.c), not by this. */
#ifndef LOCKSTEP_CORE_VERSION_H
#define LOCKSTEP_CORE_VERSION_H

/* Give the commit that the program was built from; a program's `main`, first.  Only its object file
 * knows the commit, so that a new one relinks two programs and not every test.  `commit` is kept by
 * reference: a literal.  Local. */
void version_set_commit(const char *commit);

/* "0.1.0 commit 0123456789ab release cuda": number, commit ("unknown" where nobody gave one; a +
 * behind it: with changes), variant of the build, GPU code in it (cuda, emulated or none).  Static.
 * Local, from any thread after version_set_commit. */
const char *version_text(void);

#endif
