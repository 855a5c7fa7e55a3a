/* Two deliveries of one success, and a worker that calls the handler; each of them may die. */
#include "past.h"

#define CHECK assert(called <= 1)
#define ANEW at = 0; FORGET
#define DIES d_step { MAY_FAIL -> faults++; ANEW }

byte paid, pending, called, delivered, answered;

active [2] proctype delivery() {
    byte at;
    MEMORY
end:
    do
    :: d_step { at == 0 && !paid -> paid = 1; pending = 1; at = 1; REMEMBER(1) }
    :: d_step { at == 0 && paid -> at = 2; REMEMBER(0) }
    :: d_step { at == 1 -> delivered++; at = 2; REMEMBER(delivered) }
    :: d_step { at == 2 -> answered++; at = 3; FORGET }
    :: d_step { at < 3 && MAY_FAIL -> faults++; ANEW }
    od
}

active proctype worker() {
    byte at;
    MEMORY
end:
    do
    :: d_step { at == 0 && pending -> at = 1; REMEMBER(1) }
    :: d_step { at == 0 && !pending -> ANEW }
#ifdef KEY
    :: d_step { at == 1 -> called = 1; at = 2; REMEMBER(0); CHECK }
#else
    :: d_step { at == 1 -> called++; at = 2; REMEMBER(called); CHECK }
#endif
    :: d_step { at == 2 -> pending = 0; ANEW }
    :: DIES
    od
}
