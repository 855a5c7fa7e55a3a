/* Three workers and one lease, which may run out while its holder works. */
#include "past.h"

#define ME (_pid + 1)
#define CHECK assert(!undone)

byte holder, token, written, undone;

active [3] proctype worker() {
    byte at, tries, mine;
    MEMORY
end:
    do
    :: d_step { at == 0 && holder == 0 -> holder = ME; tries = 0; at = 1; REMEMBER(1) }
    :: d_step { at == 0 && holder != 0 && tries == 0 -> tries = 1; REMEMBER(0) }
    :: d_step { at == 0 && holder != 0 && tries == 1 -> tries = 0; at = 4; FORGET }
    :: d_step { at == 1 -> token++; mine = token; at = 2; REMEMBER(token) }
    :: d_step { at == 2 && mine >= written -> written = mine; mine = 0; at = 3; REMEMBER(1) }
#ifdef FENCED
    :: d_step { at == 2 && mine < written -> mine = 0; at = 3; REMEMBER(0) }
#else
    :: d_step { at == 2 && mine < written ->
            written = mine; undone = 1; mine = 0; at = 3; REMEMBER(1); CHECK }
#endif
    :: d_step { at == 3 && holder == ME -> holder = 0; at = 4; FORGET }
    :: d_step { at == 3 && holder != ME -> at = 4; FORGET }
    od
}

active proctype time() {
end:
    do
    :: d_step { holder != 0 && MAY_FAIL -> holder = 0; faults++ }
    od
}
