/* A failure and a success, delivered again and again, and a worker; answers may be lost. */
#include "past.h"

#define CHECK assert(called <= 1)
#define ANEW at = 0; FORGET

byte version, paid, failed, pending, called, failure_reported, success_reported;

/* To lose the answer to a step that ends the flow leaves no trace but the fault. */
#define LOSES(place) d_step { at == place && MAY_FAIL -> faults++; seen = 0; ANEW }

active proctype failure() {
    byte at, seen;
    MEMORY
end:
    do
    :: d_step { at == 0 -> seen = version; at = 1; REMEMBER(seen) }
    :: d_step { at == 1 && paid -> seen = 0; at = 3; REMEMBER(1) }
    :: d_step { at == 1 && !paid -> at = 2; REMEMBER(0) }
    :: d_step { at == 2 && version == seen ->
            version = (seen + 1) % 3; failed = 1; seen = 0; at = 3; REMEMBER(1) }
    :: d_step { at == 2 && version != seen -> seen = 0; ANEW }
    :: LOSES(2)
    :: d_step { at == 2 && version != seen && MAY_FAIL -> faults++; seen = 0; ANEW }
    :: d_step { at == 2 && version == seen && MAY_FAIL ->
            version = (seen + 1) % 3; failed = 1; faults++; seen = 0; ANEW }
    :: d_step { at == 3 -> failure_reported = 1; ANEW }
    :: LOSES(3)
    :: d_step { at == 3 && MAY_FAIL -> failure_reported = 1; faults++; ANEW }
    od
}

active proctype success() {
    byte at, seen;
    MEMORY
end:
    do
    :: d_step { at == 0 -> seen = version; at = 1; REMEMBER(seen) }
    :: d_step { at == 1 && paid -> seen = 0; at = 3; REMEMBER(1) }
    :: d_step { at == 1 && !paid -> at = 2; REMEMBER(0) }
    :: d_step { at == 2 && version == seen ->
            version = (seen + 1) % 3; paid = 1; pending = 1; seen = 0; at = 3; REMEMBER(1) }
    :: d_step { at == 2 && version != seen -> seen = 0; ANEW }
    :: LOSES(2)
    :: d_step { at == 2 && version != seen && MAY_FAIL -> faults++; seen = 0; ANEW }
    :: d_step { at == 2 && version == seen && MAY_FAIL ->
            version = (seen + 1) % 3; paid = 1; pending = 1; faults++; seen = 0; ANEW }
    :: d_step { at == 3 -> success_reported = 1; ANEW }
    :: LOSES(3)
    :: d_step { at == 3 && MAY_FAIL -> success_reported = 1; faults++; ANEW }
    od
}

active proctype worker() {
    byte at, seen;
    MEMORY
end:
    do
    :: d_step { at == 0 && pending -> at = 1; REMEMBER(1) }
    :: d_step { at == 0 && !pending -> ANEW }
#ifdef KEY
#define CALL called = 1
#else
#define CALL called++
#endif
    :: d_step { at == 1 -> CALL; at = 2; REMEMBER(called); CHECK }
    :: LOSES(1)
    :: d_step { at == 1 && MAY_FAIL -> CALL; faults++; ANEW; CHECK }
    :: d_step { at == 2 -> pending = 0; ANEW }
    :: LOSES(2)
    :: d_step { at == 2 && MAY_FAIL -> pending = 0; faults++; ANEW }
    od
}
