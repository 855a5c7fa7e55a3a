/* Three events, each with a key that marks it as seen; a delivery that dies is repeated. */
#include "past.h"

#define CHECK assert(reported[_pid] <= paid[_pid])

byte seen[3], paid[3], reported[3];

active [3] proctype delivery() {
    byte at;
    MEMORY
end:
    do
#ifdef AT_ONCE
    :: d_step { at == 0 && !seen[_pid] -> seen[_pid] = 1; paid[_pid] = 1; at = 2; REMEMBER(1) }
#else
    :: d_step { at == 0 && !seen[_pid] -> seen[_pid] = 1; at = 1; REMEMBER(1) }
    :: d_step { at == 1 -> paid[_pid] = 1; at = 2; REMEMBER(0) }
#endif
    :: d_step { at == 0 && seen[_pid] -> at = 2; REMEMBER(0) }
    :: d_step { at == 2 -> reported[_pid] = 1; at = 3; FORGET; CHECK }
    :: d_step { at < 3 && MAY_FAIL -> faults++; at = 0; FORGET }
    od
}
